//! `fsck`: verifies the invariants of `docs/FORMAT.md`, and changes nothing.
//!
//! A check goes in parts. Each part reads all metadata, but keeps records of some inodes and some
//! blocks only, and verifies those: so its heap is bounded, it needs nothing of the parts before
//! it, and the file system may change between two of them.

mod names;
mod space;

use std::ops::Range;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::finding::{Finding, Invariant};
use super::node::Node;
use super::{Fs, extents};
use crate::format::inode::{self, FLAG_ORPHAN, Inode, Kind, MapForm};
use crate::format::{FIRST_FREE, GROUP_BLOCKS};

/// Findings beyond which a part goes on silently: a damaged image has one cause, many effects.
const MAX_FINDINGS: usize = 1000;

/// How much one part of a check keeps records of.
#[derive(Copy, Clone, Debug)]
pub struct PartSize {
    /// Inodes: some 28 bytes of heap each.
    pub inodes: u32,
    /// Groups of 32,768 blocks: 4 KiB of heap each.
    pub groups: u32,
}

impl PartSize {
    /// About 1.5 MiB of heap.
    pub const SMALL: Self = Self {
        inodes: 1 << 15,
        groups: 128,
    };
    /// About 60 MiB of heap, for the largest file systems.
    pub const LARGE: Self = Self {
        inodes: 1 << 20,
        groups: 8192,
    };
}

/// What directories say of an inode.
#[derive(Clone, Default)]
struct Names {
    count: u32,
    parent: u32,
    subdirs: u32,
}

/// What an inode says of itself.
#[derive(Clone)]
struct Seen {
    kind: Kind,
    nlink: u32,
    parent: u32,
}

/// A set of inodes or blocks.
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: u32) -> Self {
        Self(vec![0; (len as usize).div_ceil(64)])
    }

    fn contains(&self, index: u32) -> bool {
        self.0[index as usize / 64] >> (index % 64) & 1 != 0
    }

    /// Adds `index`; whether it was in before.
    fn insert(&mut self, index: u32) -> bool {
        let was = self.contains(index);
        self.0[index as usize / 64] |= 1 << (index % 64);
        was
    }
}

struct Check<'a, M: Memory> {
    fs: &'a mut Fs<M>,
    findings: Vec<Finding>,
    /// Also verifies what is there once: counters and lists.
    first: bool,
    inodes: Range<u32>,
    blocks: Range<u32>,
    /// Of `blocks`: those that have an owner.
    owned: Bits,
    /// Of each of `inodes`.
    names: Vec<Names>,
    seen: Vec<Option<Seen>>,
    used_slots: u32,
    free_slots: u32,
    orphans: u32,
}

impl<M: Memory> Fs<M> {
    /// Verifies all invariants; an empty result is a sound file system. Changes nothing.
    /// Cost: reads all metadata; heap as [`PartSize::LARGE`].
    pub fn check(&mut self) -> Vec<Finding> {
        let size = PartSize::LARGE;
        let parts = 0..self.check_parts(size);
        parts
            .flat_map(|part| self.check_part(part, size))
            .take(MAX_FINDINGS)
            .collect()
    }

    /// How many parts of `size` a check has now, at least 1. Creating files adds parts.
    pub fn check_parts(&self, size: PartSize) -> u32 {
        let sb = &self.store.sb;
        let groups = sb.total_blocks.div_ceil(GROUP_BLOCKS);
        let inodes = sb.inode_end.div_ceil(size.inodes.max(1));
        inodes.max(groups.div_ceil(size.groups.max(1)))
    }

    /// One part of a check, from 0 on; the findings of all parts are those of [`Self::check`].
    /// Changes nothing. A part that does not exist has no findings.
    ///
    /// Cost: reads all inodes and directory pages, and the extents of all files in the parts that
    /// look at blocks; heap as `size` says.
    pub fn check_part(&mut self, part: u32, size: PartSize) -> Vec<Finding> {
        let sb = &self.store.sb;
        let span = |size: u64, end: u32| {
            let start = (u64::from(part) * size).min(end.into());
            start as u32..(start + size).min(end.into()) as u32
        };
        let inodes = span(size.inodes.max(1).into(), sb.inode_end);
        let group = u64::from(GROUP_BLOCKS);
        let blocks = span(u64::from(size.groups.max(1)) * group, sb.total_blocks);
        if inodes.is_empty() && blocks.is_empty() {
            return Vec::new();
        }
        let mut check = Check {
            fs: self,
            findings: Vec::new(),
            first: part == 0,
            owned: Bits::new(blocks.end - blocks.start),
            names: vec![Names::default(); inodes.len()],
            seen: vec![None; inodes.len()],
            inodes,
            blocks,
            used_slots: 0,
            free_slots: 0,
            orphans: 0,
        };
        check.fixed();
        check.slots();
        check.links();
        check.tree();
        check.bitmap();
        if check.first {
            check.orphans();
            check.free_list();
            check.counters();
        }
        check.findings
    }
}

impl<M: Memory> Check<'_, M> {
    fn find(&mut self, invariant: Invariant, subject: u32, detail: &'static str) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                invariant,
                subject: subject.into(),
                detail,
            });
        }
    }

    fn fail(&mut self, invariant: Invariant, subject: u32, error: FsError) {
        let detail = match error {
            FsError::Corrupt(detail) => detail,
            _ => "unreadable",
        };
        self.find(invariant, subject, detail);
    }

    fn own(&mut self, start: u32, len: u32) {
        let end = start.saturating_add(len);
        if self.first && end > self.fs.store.sb.total_blocks {
            self.find(Invariant::Blocks, start, "outside the memory");
        }
        for block in start.max(self.blocks.start)..end.min(self.blocks.end) {
            if self.owned.insert(block - self.blocks.start) {
                self.find(Invariant::Blocks, block, "has two owners");
            }
        }
    }

    /// The record of an inode, if this part keeps one.
    fn index(&self, ino: u32) -> Option<usize> {
        let within = self.inodes.contains(&ino);
        within.then(|| (ino - self.inodes.start) as usize)
    }

    /// Superblock, bitmaps and inode table.
    fn fixed(&mut self) {
        self.own(0, FIRST_FREE);
        let total = self.fs.store.sb.total_blocks;
        for group in 1..total.div_ceil(GROUP_BLOCKS) {
            self.own(group * GROUP_BLOCKS, 1);
        }
        for (i, start) in self.fs.store.sb.chunks.clone().into_iter().enumerate() {
            self.own(start, inode::chunk_blocks(i as u32));
        }
    }

    fn slots(&mut self) {
        for ino in 1..self.fs.store.sb.inode_end {
            match self.fs.store.read_inode(ino) {
                Ok(Some(inode)) => self.inode(ino, inode),
                Ok(None) => self.free_slots += 1,
                Err(error) if self.inodes.contains(&ino) => {
                    self.fail(Invariant::Maps, ino, error);
                }
                Err(_) => {}
            }
        }
    }

    fn inode(&mut self, ino: u32, inode: Inode) {
        self.used_slots += 1;
        self.orphans += u32::from(inode.nlink == 0);
        let index = self.index(ino);
        if let Some(index) = index {
            self.seen[index] = Some(Seen {
                kind: inode.kind,
                nlink: inode.nlink,
                parent: inode.parent,
            });
            if (inode.flags & FLAG_ORPHAN != 0) != (inode.nlink == 0) {
                let detail = "orphan flag and link count disagree";
                self.find(Invariant::Orphans, ino, detail);
            }
        }
        let mut node = Node::new(ino, inode);
        let result = match (node.inode.kind, node.inode.form) {
            (Kind::Directory, _) => self.directory(&node, index),
            (Kind::Symlink, MapForm::Target) => Ok(0),
            _ if index.is_none() && self.blocks.is_empty() => return,
            _ => self.file(&mut node),
        };
        match result {
            _ if index.is_none() => {}
            Ok(blocks) if blocks != node.inode.blocks => {
                self.find(Invariant::Maps, ino, "count of blocks");
            }
            Ok(_) => {}
            Err(error) => self.fail(Invariant::Maps, ino, error),
        }
    }

    /// Owns a file's blocks; returns how many.
    fn file(&mut self, node: &mut Node) -> Result<u32, FsError> {
        extents::load(&self.fs.store, node)?;
        let mut blocks = node.index.1;
        if node.index.1 > 0 {
            self.own(node.index.0, node.index.1);
        }
        for leaf in 0..node.leaves.len() {
            let block = node.leaves[leaf].block;
            if block != 0 {
                self.own(block, 1);
                blocks = blocks.saturating_add(1);
            }
            extents::load_leaf(&self.fs.store, node, leaf)?;
            // Not kept: a file may have more leaves than the heap holds.
            for extent in node.leaves[leaf].extents.take().unwrap_or_default() {
                self.own(extent.physical, extent.len);
                blocks = blocks.saturating_add(extent.len);
            }
        }
        Ok(blocks)
    }
}

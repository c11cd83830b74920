//! `fsck`: verifies the invariants of `docs/FORMAT.md`, and changes nothing.
//!
//! A check goes in parts. Each part reads all metadata, but keeps records of some inodes and some
//! blocks only, and verifies those: so its heap is bounded, it needs nothing of the parts before
//! it, and the file system may change between two of them.

use std::ops::Range;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::finding::{Finding, Invariant};
use super::node::Node;
use super::{Fs, check_name, dir, dirpage, extents};
use crate::format::dirent::{COOKIE_BITS, PAGE_ENTRIES, entry_len, table_blocks};
use crate::format::inode::{self, FLAG_ORPHAN, INODE_LEN, Inode, Kind, MapForm};
use crate::format::superblock::{ROOT_INO, SYSTEM_INO};
use crate::format::{BLOCK, FIRST_FREE, GROUP_BLOCKS, get_u32};

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

    /// Owns a directory's blocks and counts what its entries name; returns how many blocks. With
    /// an `index`, verifies its entries.
    fn directory(&mut self, node: &Node, index: Option<usize>) -> Result<u32, FsError> {
        let table = dir::table(&self.fs.store, node)?;
        if table.start != 0 {
            self.own(table.start, table_blocks(table.depth));
        }
        let pages = dir::pages(&self.fs.store, node)?;
        pages.iter().for_each(|&page| self.own(page, 1));
        if index.is_none() && self.inodes.is_empty() {
            return Ok(0);
        }
        let mut entries = Entries::default();
        for &page in &pages {
            let loaded = dirpage::load(&self.fs.store, page, node.ino)?;
            for entry in loaded.entries()? {
                if let Some(target) = self.index(entry.ino) {
                    self.names[target].count += 1;
                    self.names[target].parent = node.ino;
                }
                if let Some(index) = index {
                    self.names[index].subdirs += u32::from(entry.kind == Kind::Directory);
                }
            }
            if index.is_some() {
                self.page(node, table, (page, &loaded), &mut entries)?;
            }
        }
        if index.is_some() {
            if entries.count != node.inode.count {
                self.find(Invariant::Entries, node.ino, "count of entries");
            }
            if node.inode.size != u64::from(table.pages) * BLOCK {
                self.find(Invariant::Entries, node.ino, "size of a directory");
            }
            if pages.len() as u32 != table.pages {
                self.find(Invariant::Entries, node.ino, "count of pages");
            }
        }
        Ok(pages.len() as u32 + table_blocks(table.depth))
    }

    /// Verifies a page of a directory; `so_far` is what came before it.
    fn page(
        &mut self,
        node: &Node,
        table: dir::Table,
        (page, loaded): (u32, &dirpage::Page),
        so_far: &mut Entries,
    ) -> Result<(), FsError> {
        let header = &loaded.header;
        let share = 1_u64 << (table.depth - header.depth);
        for i in so_far.share..so_far.share + share {
            if i >> table.depth != 0 || dir::page_at(&self.fs.store, node, table, i as u32)? != page
            {
                return Err(FsError::Corrupt("directory table and page depths disagree"));
            }
        }
        so_far.share += share;
        let bits = COOKIE_BITS - u32::from(header.depth);
        let (mut on_page, mut bytes) = (0, 0);
        for entry in loaded.entries()? {
            on_page += 1;
            bytes += entry_len(entry.name.len());
            let placed = entry.cookie >> bits == header.prefix >> bits
                && dir::belongs(&self.fs.store, entry.name, entry.cookie)
                && entry.cookie > so_far.last;
            if !placed {
                self.find(Invariant::Entries, node.ino, "entry in the wrong place");
            }
            so_far.last = entry.cookie;
            if check_name(entry.name).is_err() || matches!(entry.name, b"." | b"..") {
                self.find(Invariant::Entries, node.ino, "name that no entry may have");
            }
            let found = dir::find(&self.fs.store, node, entry.name)?;
            if found.is_none_or(|found| found.ino != entry.ino) {
                let detail = "entry that a look-up does not find";
                self.find(Invariant::Entries, node.ino, detail);
            }
            match self.fs.store.read_inode(entry.ino) {
                Ok(Some(inode)) if inode.kind == entry.kind => {}
                _ => self.find(Invariant::Links, entry.ino, "entry without such an inode"),
            }
        }
        so_far.count += on_page;
        if on_page != u32::from(header.live) {
            self.find(Invariant::Entries, node.ino, "count of entries on a page");
        }
        if PAGE_ENTRIES + bytes + header.dead != header.used {
            self.find(Invariant::Entries, node.ino, "count of bytes on a page");
        }
        Ok(())
    }

    fn links(&mut self) {
        for ino in self.inodes.clone() {
            let index = (ino - self.inodes.start) as usize;
            let Some(Seen {
                kind,
                nlink,
                parent,
            }) = self.seen[index]
            else {
                continue;
            };
            let names = self.names[index].clone();
            let is_root = ino == ROOT_INO || ino == SYSTEM_INO;
            if kind != Kind::Directory {
                if nlink != names.count {
                    self.find(Invariant::Links, ino, "link count");
                }
                continue;
            }
            let removed = names.count == 0 && !is_root;
            if nlink != if removed { 0 } else { 2 + names.subdirs } {
                self.find(Invariant::Links, ino, "link count of a directory");
            }
            if names.count != u32::from(!is_root && nlink != 0) {
                self.find(Invariant::Tree, ino, "directory with none or several names");
            }
            let expected = if is_root { ino } else { names.parent };
            if nlink != 0 && parent != expected {
                self.find(Invariant::Tree, ino, "parent of a directory");
            }
        }
    }

    /// Every directory leads up to a root.
    fn tree(&mut self) {
        let end = self.fs.store.sb.inode_end;
        let (mut sound, mut loose) = (Bits::new(end), Bits::new(end));
        sound.insert(ROOT_INO);
        sound.insert(SYSTEM_INO);
        for ino in self.inodes.clone() {
            let seen = &self.seen[(ino - self.inodes.start) as usize];
            let is_directory = |seen: &Seen| seen.kind == Kind::Directory && seen.nlink != 0;
            if !seen.as_ref().is_some_and(is_directory) {
                continue;
            }
            // Up to what is known, to the end, or around: a mark that is moved on in ever longer
            // laps is met again.
            let (mut at, mut mark, mut lap, mut steps) = (ino, 0, 1_u32, 0_u32);
            while at != 0 && at != mark && !sound.contains(at) && !loose.contains(at) {
                if steps == lap {
                    (mark, lap, steps) = (at, lap.saturating_mul(2), 0);
                }
                steps += 1;
                at = self.parent(at);
            }
            let hangs = at != 0 && sound.contains(at);
            let walked = if hangs { &mut sound } else { &mut loose };
            at = ino;
            while at != 0 && !walked.insert(at) {
                at = self.parent(at);
            }
            if !hangs {
                let detail = "directory that hangs from no root";
                self.find(Invariant::Tree, ino, detail);
            }
        }
    }

    /// The directory above a directory; 0 if there is none.
    fn parent(&self, ino: u32) -> u32 {
        match self.fs.store.read_inode(ino) {
            Ok(Some(inode))
                if inode.kind == Kind::Directory
                    && inode.nlink != 0
                    && inode.parent < self.fs.store.sb.inode_end =>
            {
                inode.parent
            }
            _ => 0,
        }
    }

    fn orphans(&mut self) {
        let (mut at, mut previous, mut listed) = (self.fs.store.sb.orphans, 0, 0);
        while at != 0 {
            match self.fs.store.read_inode(at) {
                Ok(Some(inode))
                    if inode.nlink == 0 && inode.parent == previous && listed <= self.orphans =>
                {
                    listed += 1;
                    (previous, at) = (at, inode.next);
                }
                _ => {
                    self.find(Invariant::Orphans, at, "list of orphans");
                    break;
                }
            }
        }
        if listed != self.orphans {
            self.find(Invariant::Orphans, 0, "an orphan is not in the list");
        }
    }

    fn free_list(&mut self) {
        let (mut at, mut seen) = (self.fs.store.sb.free_inode, 0);
        while at != 0 && seen <= self.free_slots && at < self.fs.store.sb.inode_end {
            let mut b = [0; INODE_LEN];
            let read = self.fs.store.read(self.fs.store.slot_address(at), &mut b);
            if read.is_err() || b[inode::KIND] != 0 {
                return self.find(Invariant::FreeInodes, at, "list of free inodes");
            }
            seen += 1;
            at = get_u32(&b, inode::NEXT);
        }
        if seen != self.free_slots || at != 0 {
            self.find(Invariant::FreeInodes, at, "list of free inodes");
        }
    }

    fn counters(&mut self) {
        if self.used_slots != self.fs.store.sb.inodes {
            self.find(Invariant::Counters, 0, "number of inodes");
        }
        let total = self.fs.store.sb.total_blocks;
        let mut free = 0;
        for start in (0..total).step_by(GROUP_BLOCKS as usize) {
            // A group that cannot be read is found with its blocks.
            let Ok(words) = self.fs.store.used_in(start / GROUP_BLOCKS) else {
                return;
            };
            let valid = masks(total - start).zip(words.iter());
            free += valid
                .map(|(mask, word)| (mask & !word).count_ones())
                .sum::<u32>();
        }
        if free != self.fs.store.sb.free_blocks {
            self.find(Invariant::Counters, 0, "number of free blocks");
        }
    }

    fn bitmap(&mut self) {
        for start in self.blocks.clone().step_by(GROUP_BLOCKS as usize) {
            let group = start / GROUP_BLOCKS;
            let words = match self.fs.store.used_in(group) {
                Ok(words) => words,
                Err(error) => {
                    self.fail(Invariant::Blocks, start, error);
                    continue;
                }
            };
            let first = (start - self.blocks.start) as usize / 64;
            let end = self.blocks.end.min(start + GROUP_BLOCKS);
            let mut free = false;
            for (i, mask) in masks(end - start).enumerate() {
                let (used, owned) = (words[i] & mask, self.owned.0[first + i]);
                free |= used != mask;
                let mut differ = used ^ owned;
                while differ != 0 {
                    let bit = differ.trailing_zeros();
                    differ &= differ - 1;
                    let detail = if used >> bit & 1 != 0 {
                        "used by nothing"
                    } else {
                        "in use, but free"
                    };
                    self.find(Invariant::Blocks, start + 64 * i as u32 + bit, detail);
                }
            }
            if free && self.fs.store.group_is_full(group) != Ok(false) {
                let detail = "free blocks in a group marked full";
                self.find(Invariant::Blocks, end - 1, detail);
            }
        }
    }
}

/// Of the words of a group, the bits that are among its first `blocks`.
fn masks(blocks: u32) -> impl Iterator<Item = u64> {
    let blocks = blocks.min(GROUP_BLOCKS);
    (0..blocks.div_ceil(64)).map(move |word| match blocks - word * 64 {
        64.. => u64::MAX,
        rest => (1 << rest) - 1,
    })
}

/// What was seen of a directory so far.
#[derive(Default)]
struct Entries {
    count: u32,
    /// Cookie of the last entry.
    last: u64,
    /// Entries of the table.
    share: u64,
}

//! `fsck`: verifies the invariants of `docs/FORMAT.md`, and changes nothing.

use std::collections::BTreeMap;
use std::fmt;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::node::Node;
use super::{Fs, check_name, dir, dirpage, extents};
use crate::format::dirent::{COOKIE_BITS, PAGE_ENTRIES, entry_len, table_blocks};
use crate::format::extent::MAX_LOGICAL;
use crate::format::inode::{self, FLAG_ORPHAN, INODE_LEN, Kind, MapForm};
use crate::format::superblock::{ROOT_INO, SYSTEM_INO};
use crate::format::{BLOCK, FIRST_FREE, GROUP_BLOCKS, get_u32};

/// An invariant of the format, as numbered in `docs/FORMAT.md`.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Invariant {
    /// I1: every block in use has exactly one owner, every other one is free in the bitmap.
    Blocks,
    /// I2: the superblock's counters are those of the bitmap and the inode table.
    Counters,
    /// I3: the link count of an inode is the number of its names.
    Links,
    /// I4: a directory has one name, in its parent; all directories hang from a root.
    Tree,
    /// I5: the orphans are the inodes without names.
    Orphans,
    /// I6: maps are sorted, within bounds, and count their blocks.
    Maps,
    /// I7: an entry is on the page that its hash says, under a cookie of its own.
    Entries,
    /// I8: the list of free inodes holds the free slots.
    FreeInodes,
}

impl Invariant {
    /// Its number in `docs/FORMAT.md`.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }
}

/// Something that is wrong.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What does not hold.
    pub invariant: Invariant,
    /// Where: a block for `Blocks`, an inode otherwise; 0 for the whole.
    pub subject: u64,
    /// What was found.
    pub detail: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.invariant == Invariant::Blocks {
            "block"
        } else {
            "inode"
        };
        write!(
            f,
            "I{} ({kind} {}): {}",
            self.invariant.number(),
            self.subject,
            self.detail
        )
    }
}

/// Findings beyond which a check goes on silently: a damaged image has one cause, many effects.
const MAX_FINDINGS: usize = 1000;

#[derive(Default)]
struct Names {
    count: u32,
    parent: u32,
    subdirs: u32,
}

struct Check<'a, M: Memory> {
    fs: &'a mut Fs<M>,
    findings: Vec<Finding>,
    /// One bit a block: has an owner.
    owned: Vec<u64>,
    names: BTreeMap<u32, Names>,
    nodes: BTreeMap<u32, (Kind, u32, u32)>,
    orphans: Vec<u32>,
    free_slots: u64,
}

impl<M: Memory> Fs<M> {
    /// Verifies all invariants; an empty result is a sound file system. Changes nothing.
    /// Cost: reads all metadata; heap for a bit a block and some 100 bytes an inode.
    pub fn check(&mut self) -> Vec<Finding> {
        let words = (self.store.sb.total_blocks as usize).div_ceil(64);
        let mut check = Check {
            fs: self,
            findings: Vec::new(),
            owned: vec![0; words],
            names: BTreeMap::new(),
            nodes: BTreeMap::new(),
            orphans: Vec::new(),
            free_slots: 0,
        };
        check.fixed();
        for ino in 1..check.fs.store.sb.inode_end {
            check.inode(ino);
        }
        check.links();
        check.tree();
        check.lists();
        check.bitmap();
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
        for block in start..start.saturating_add(len) {
            let Some(word) = self.owned.get_mut(block as usize / 64) else {
                return self.find(Invariant::Blocks, block, "outside the memory");
            };
            let bit = 1 << (block % 64);
            let twice = *word & bit != 0;
            *word |= bit;
            if twice {
                self.find(Invariant::Blocks, block, "has two owners");
            }
        }
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

    fn inode(&mut self, ino: u32) {
        let inode = match self.fs.store.read_inode(ino) {
            Ok(Some(inode)) => inode,
            Ok(None) => {
                self.free_slots += 1;
                return;
            }
            Err(error) => return self.fail(Invariant::Maps, ino, error),
        };
        self.nodes
            .insert(ino, (inode.kind, inode.nlink, inode.parent));
        if (inode.flags & FLAG_ORPHAN != 0) != (inode.nlink == 0) {
            self.find(
                Invariant::Orphans,
                ino,
                "orphan flag and link count disagree",
            );
        }
        if inode.nlink == 0 {
            self.orphans.push(ino);
        }
        let mut node = Node::new(ino, inode);
        let result = match (node.inode.kind, node.inode.form) {
            (Kind::Directory, _) => self.directory(&node),
            (Kind::Symlink, MapForm::Target) => Ok(0),
            _ => self.file(&mut node),
        };
        match result {
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
        let all = extents::collect(&self.fs.store, node, 0, MAX_LOGICAL)?;
        let mut blocks = 0_u32;
        for extent in all {
            self.own(extent.physical, extent.len);
            blocks = blocks.saturating_add(extent.len);
        }
        let leaves: Vec<u32> = node
            .leaves
            .iter()
            .map(|leaf| leaf.block)
            .filter(|&block| block != 0)
            .collect();
        for block in leaves {
            self.own(block, 1);
            blocks = blocks.saturating_add(1);
        }
        if node.index.1 > 0 {
            self.own(node.index.0, node.index.1);
        }
        Ok(blocks.saturating_add(node.index.1))
    }

    /// Owns a directory's blocks and counts what its entries name; returns how many blocks.
    fn directory(&mut self, node: &Node) -> Result<u32, FsError> {
        let table = dir::table(&self.fs.store, node)?;
        if table.start != 0 {
            self.own(table.start, table_blocks(table.depth));
        }
        let pages = dir::pages(&self.fs.store, node)?;
        let (mut count, mut last, mut share_sum) = (0_u32, 0, 0_u64);
        for &page in &pages {
            self.own(page, 1);
            let loaded = dirpage::load(&self.fs.store, page, node.ino)?;
            let header = loaded.header.clone();
            let share = 1_u64 << (table.depth - header.depth);
            for i in share_sum..share_sum + share {
                if i >> table.depth != 0
                    || dir::page_at(&self.fs.store, node, table, i as u32)? != page
                {
                    return Err(FsError::Corrupt("directory table and page depths disagree"));
                }
            }
            share_sum += share;
            let bits = COOKIE_BITS - u32::from(header.depth);
            for entry in loaded.entries()? {
                count += 1;
                let placed = entry.cookie >> bits == header.prefix >> bits
                    && dir::belongs(&self.fs.store, entry.name, entry.cookie)
                    && entry.cookie > last;
                if !placed {
                    self.find(Invariant::Entries, node.ino, "entry in the wrong place");
                }
                last = entry.cookie;
                if check_name(entry.name).is_err() || matches!(entry.name, b"." | b"..") {
                    self.find(Invariant::Entries, node.ino, "name that no entry may have");
                }
                let found = dir::find(&self.fs.store, node, entry.name)?;
                if found.is_none_or(|found| found.ino != entry.ino) {
                    self.find(
                        Invariant::Entries,
                        node.ino,
                        "entry that a look-up does not find",
                    );
                }
                let names = self.names.entry(entry.ino).or_default();
                names.count += 1;
                names.parent = node.ino;
                if entry.kind == Kind::Directory {
                    self.names.entry(node.ino).or_default().subdirs += 1;
                }
                match self.fs.store.read_inode(entry.ino) {
                    Ok(Some(inode)) if inode.kind == entry.kind => {}
                    _ => self.find(Invariant::Links, entry.ino, "entry without such an inode"),
                }
            }
            if loaded.entries()?.len() != usize::from(header.live) {
                self.find(Invariant::Entries, node.ino, "count of entries on a page");
            }
            let live: usize = loaded
                .entries()?
                .iter()
                .map(|entry| entry_len(entry.name.len()))
                .sum();
            if PAGE_ENTRIES + live + header.dead != header.used {
                self.find(Invariant::Entries, node.ino, "count of bytes on a page");
            }
        }
        if count != node.inode.count {
            self.find(Invariant::Entries, node.ino, "count of entries");
        }
        if node.inode.size != u64::from(table.pages) * BLOCK {
            self.find(Invariant::Entries, node.ino, "size of a directory");
        }
        if pages.len() as u32 != table.pages {
            self.find(Invariant::Entries, node.ino, "count of pages");
        }
        Ok(pages.len() as u32 + table_blocks(table.depth))
    }

    fn links(&mut self) {
        for (ino, (kind, nlink, parent)) in std::mem::take(&mut self.nodes) {
            self.nodes.insert(ino, (kind, nlink, parent));
            let names = self.names.get(&ino);
            let (count, named_in, subdirs) = names.map_or((0, 0, 0), |names| {
                (names.count, names.parent, names.subdirs)
            });
            let is_root = ino == ROOT_INO || ino == SYSTEM_INO;
            if kind != Kind::Directory {
                if nlink != count {
                    self.find(Invariant::Links, ino, "link count");
                }
                continue;
            }
            if nlink
                != if count == 0 && !is_root {
                    0
                } else {
                    2 + subdirs
                }
            {
                self.find(Invariant::Links, ino, "link count of a directory");
            }
            if count != u32::from(!is_root && nlink != 0) {
                self.find(Invariant::Tree, ino, "directory with none or several names");
            }
            let expected = if is_root { ino } else { named_in };
            if nlink != 0 && parent != expected {
                self.find(Invariant::Tree, ino, "parent of a directory");
            }
        }
    }

    /// Every directory leads up to a root.
    fn tree(&mut self) {
        let mut sound: BTreeMap<u32, ()> = [(ROOT_INO, ()), (SYSTEM_INO, ())].into();
        let dirs: Vec<u32> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.0 == Kind::Directory && node.1 != 0)
            .map(|(&ino, _)| ino)
            .collect();
        for ino in dirs {
            let (mut at, mut path) = (ino, Vec::new());
            while !sound.contains_key(&at) {
                path.push(at);
                let next = self.nodes.get(&at).map_or(0, |node| node.2);
                if next == 0 || path.len() > self.nodes.len() {
                    break;
                }
                at = next;
            }
            if sound.contains_key(&at) {
                sound.extend(path.into_iter().map(|ino| (ino, ())));
            } else {
                self.find(Invariant::Tree, ino, "directory that hangs from no root");
            }
        }
    }

    /// The lists of orphans and of free inodes.
    fn lists(&mut self) {
        let (mut at, mut previous) = (self.fs.store.sb.orphans, 0);
        let mut listed = Vec::new();
        while at != 0 {
            match self.fs.store.read_inode(at) {
                Ok(Some(inode))
                    if inode.nlink == 0
                        && inode.parent == previous
                        && listed.len() <= self.orphans.len() =>
                {
                    listed.push(at);
                    (previous, at) = (at, inode.next);
                }
                _ => {
                    self.find(Invariant::Orphans, at, "list of orphans");
                    break;
                }
            }
        }
        listed.sort_unstable();
        if listed != self.orphans {
            self.find(Invariant::Orphans, 0, "an orphan is not in the list");
        }

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
        if self.nodes.len() as u64 != u64::from(self.fs.store.sb.inodes) {
            self.find(Invariant::Counters, 0, "number of inodes");
        }
    }

    fn bitmap(&mut self) {
        let total = self.fs.store.sb.total_blocks;
        let mut free = 0;
        let mut group_free = false;
        for block in 0..total {
            let owned = self.owned[block as usize / 64] >> (block % 64) & 1 != 0;
            match self.fs.store.is_used(block) {
                Ok(used) => {
                    free += u32::from(!used);
                    group_free |= !used;
                    match (used, owned) {
                        (true, false) => self.find(Invariant::Blocks, block, "used by nothing"),
                        (false, true) => self.find(Invariant::Blocks, block, "in use, but free"),
                        _ => {}
                    }
                }
                Err(error) => return self.fail(Invariant::Blocks, block, error),
            }
            if block + 1 == total || (block + 1).is_multiple_of(GROUP_BLOCKS) {
                let full = self.fs.store.group_is_full(block / GROUP_BLOCKS);
                if group_free && full != Ok(false) {
                    self.find(
                        Invariant::Blocks,
                        block,
                        "free blocks in a group marked full",
                    );
                }
                group_free = false;
            }
        }
        if free != self.fs.store.sb.free_blocks {
            self.find(Invariant::Counters, 0, "number of free blocks");
        }
    }
}

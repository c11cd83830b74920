//! `fsck`: verifies the invariants of `docs/FORMAT.md`, and changes nothing.

use std::collections::BTreeMap;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::finding::{Finding, Invariant};
use super::node::Node;
use super::{Fs, check_name, dir, dirpage, extents};
use crate::format::dirent::{COOKIE_BITS, PAGE_ENTRIES, entry_len, table_blocks};
use crate::format::extent::MAX_LOGICAL;
use crate::format::inode::{self, FLAG_ORPHAN, INODE_LEN, Kind, MapForm};
use crate::format::superblock::{ROOT_INO, SYSTEM_INO};
use crate::format::{BLOCK, FIRST_FREE, GROUP_BLOCKS, get_u32};

/// Findings beyond which a check goes on silently: a damaged image has one cause, many effects.
const MAX_FINDINGS: usize = 1000;

#[derive(Default)]
struct Names {
    count: u32,
    parent: u32,
    subdirs: u32,
}

/// How far a check is, and what it has seen. Heap: a bit a block and some 100 bytes an inode.
#[derive(Default)]
pub struct CheckState {
    /// What was found so far; all of it once the check is done.
    pub findings: Vec<Finding>,
    phase: Phase,
    /// Stores of the mount when the check began.
    stores: u64,
    /// One bit a block: has an owner.
    owned: Vec<u64>,
    names: BTreeMap<u32, Names>,
    nodes: BTreeMap<u32, (Kind, u32, u32)>,
    orphans: Vec<u32>,
    free_slots: u64,
    free_blocks: u32,
    group_free: bool,
}

#[derive(Copy, Clone, Default)]
enum Phase {
    #[default]
    Start,
    /// From this inode on.
    Inodes(u32),
    /// What needs all inodes.
    Names,
    /// From this block on.
    Bitmap(u32),
    Done,
}

/// What a step of a check came to.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum CheckProgress {
    /// More steps are needed.
    More,
    /// All is checked.
    Done,
    /// The file system was changed since the last step: the state is reset, the check starts anew.
    Changed,
}

/// Blocks of the bitmap that cost as much as an inode.
const BLOCKS_PER_UNIT: u32 = 32;

struct Check<'a, M: Memory> {
    fs: &'a mut Fs<M>,
    state: &'a mut CheckState,
}

impl<M: Memory> Fs<M> {
    /// Verifies all invariants; an empty result is a sound file system. Changes nothing.
    /// Cost: reads all metadata; heap as [`CheckState`].
    pub fn check(&mut self) -> Vec<Finding> {
        let mut state = CheckState::default();
        while self.check_step(&mut state, u32::MAX) != CheckProgress::Done {}
        state.findings
    }

    /// Goes on with a check that began with an empty `state`, on this mount. Changes nothing.
    ///
    /// `budget` is about the number of inodes, directory pages, and 32 blocks of the bitmap, that
    /// one step goes through; a step does at least one inode with all its pages or extents, and
    /// compares all link counts in one go, on the heap.
    pub fn check_step(&mut self, state: &mut CheckState, budget: u32) -> CheckProgress {
        let stores = self.store.stores.get();
        if !matches!(state.phase, Phase::Start) && state.stores != stores {
            *state = CheckState::default();
            return CheckProgress::Changed;
        }
        let mut left = budget.max(1);
        while left > 0 {
            let mut check = Check { fs: self, state };
            left = left.saturating_sub(check.part(left));
            if matches!(state.phase, Phase::Done) {
                return CheckProgress::Done;
            }
        }
        CheckProgress::More
    }
}

impl<M: Memory> Check<'_, M> {
    /// Does a part of the check, of about `left` units at most; returns how many it took.
    fn part(&mut self, left: u32) -> u32 {
        let total = self.fs.store.sb.total_blocks;
        match self.state.phase {
            Phase::Start => {
                self.state.stores = self.fs.store.stores.get();
                self.state.owned = vec![0; (total as usize).div_ceil(64)];
                self.fixed();
                self.state.phase = Phase::Inodes(1);
                1
            }
            Phase::Inodes(ino) if ino < self.fs.store.sb.inode_end => {
                self.state.phase = Phase::Inodes(ino + 1);
                self.inode(ino).saturating_add(1)
            }
            Phase::Inodes(_) => {
                self.state.phase = Phase::Names;
                0
            }
            Phase::Names => {
                self.links();
                self.tree();
                self.lists();
                self.state.phase = Phase::Bitmap(0);
                1
            }
            Phase::Bitmap(from) if from < total => {
                let blocks = left.saturating_mul(BLOCKS_PER_UNIT).min(total - from);
                self.state.phase = Phase::Bitmap(from + blocks);
                self.bitmap(from, from + blocks);
                blocks.div_ceil(BLOCKS_PER_UNIT)
            }
            Phase::Bitmap(_) => {
                if self.state.free_blocks != self.fs.store.sb.free_blocks {
                    self.find(Invariant::Counters, 0, "number of free blocks");
                }
                self.state.phase = Phase::Done;
                0
            }
            Phase::Done => left,
        }
    }

    fn find(&mut self, invariant: Invariant, subject: u32, detail: &'static str) {
        if self.state.findings.len() < MAX_FINDINGS {
            self.state.findings.push(Finding {
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
            let Some(word) = self.state.owned.get_mut(block as usize / 64) else {
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

    /// Checks one inode; returns how many metadata blocks it had, of a directory.
    fn inode(&mut self, ino: u32) -> u32 {
        let inode = match self.fs.store.read_inode(ino) {
            Ok(Some(inode)) => inode,
            Ok(None) => {
                self.state.free_slots += 1;
                return 0;
            }
            Err(error) => {
                self.fail(Invariant::Maps, ino, error);
                return 0;
            }
        };
        self.state
            .nodes
            .insert(ino, (inode.kind, inode.nlink, inode.parent));
        if (inode.flags & FLAG_ORPHAN != 0) != (inode.nlink == 0) {
            self.find(
                Invariant::Orphans,
                ino,
                "orphan flag and link count disagree",
            );
        }
        if inode.nlink == 0 {
            self.state.orphans.push(ino);
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
        match (node.is_dir(), result) {
            (true, Ok(blocks)) => blocks,
            _ => node.leaves.len() as u32,
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
                let names = self.state.names.entry(entry.ino).or_default();
                names.count += 1;
                names.parent = node.ino;
                if entry.kind == Kind::Directory {
                    self.state.names.entry(node.ino).or_default().subdirs += 1;
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
        for (ino, (kind, nlink, parent)) in std::mem::take(&mut self.state.nodes) {
            self.state.nodes.insert(ino, (kind, nlink, parent));
            let names = self.state.names.get(&ino);
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
            .state
            .nodes
            .iter()
            .filter(|(_, node)| node.0 == Kind::Directory && node.1 != 0)
            .map(|(&ino, _)| ino)
            .collect();
        for ino in dirs {
            let (mut at, mut path) = (ino, Vec::new());
            while !sound.contains_key(&at) {
                path.push(at);
                let next = self.state.nodes.get(&at).map_or(0, |node| node.2);
                if next == 0 || path.len() > self.state.nodes.len() {
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
                        && listed.len() <= self.state.orphans.len() =>
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
        if listed != self.state.orphans {
            self.find(Invariant::Orphans, 0, "an orphan is not in the list");
        }

        let (mut at, mut seen) = (self.fs.store.sb.free_inode, 0);
        while at != 0 && seen <= self.state.free_slots && at < self.fs.store.sb.inode_end {
            let mut b = [0; INODE_LEN];
            let read = self.fs.store.read(self.fs.store.slot_address(at), &mut b);
            if read.is_err() || b[inode::KIND] != 0 {
                return self.find(Invariant::FreeInodes, at, "list of free inodes");
            }
            seen += 1;
            at = get_u32(&b, inode::NEXT);
        }
        if seen != self.state.free_slots || at != 0 {
            self.find(Invariant::FreeInodes, at, "list of free inodes");
        }
        if self.state.nodes.len() as u64 != u64::from(self.fs.store.sb.inodes) {
            self.find(Invariant::Counters, 0, "number of inodes");
        }
    }

    fn bitmap(&mut self, from: u32, to: u32) {
        let total = self.fs.store.sb.total_blocks;
        for block in from..to {
            let owned = self.state.owned[block as usize / 64] >> (block % 64) & 1 != 0;
            match self.fs.store.is_used(block) {
                Ok(used) => {
                    self.state.free_blocks += u32::from(!used);
                    self.state.group_free |= !used;
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
                if self.state.group_free && full != Ok(false) {
                    self.find(
                        Invariant::Blocks,
                        block,
                        "free blocks in a group marked full",
                    );
                }
                self.state.group_free = false;
            }
        }
    }
}

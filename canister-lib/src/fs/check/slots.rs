//! Inodes, and the blocks of files.

use ic_stable_structures::Memory;

use super::Check;
use super::state::{Place, Seen};
use crate::format::inode::{self, FLAG_ORPHAN, Inode, Kind, MapForm};
use crate::format::{FIRST_FREE, GROUP_BLOCKS};
use crate::fs::error::FsError;
use crate::fs::extents;
use crate::fs::finding::Invariant;
use crate::fs::node::Node;

impl<M: Memory> Check<'_, M> {
    /// Goes through the inodes; whether all were seen.
    pub(super) fn slots(&mut self) -> bool {
        if self.state.at == 0 {
            self.fixed();
            self.state.at = 1;
        }
        while self.state.at < self.fs.store.sb.inode_end {
            let ino = self.state.at;
            match self.fs.store.read_inode(ino) {
                Ok(Some(inode)) => {
                    if !self.inode(ino, inode) {
                        return false;
                    }
                }
                Ok(None) => self.state.free_slots = self.state.free_slots.saturating_add(1),
                Err(error) if self.inodes.contains(&ino) => {
                    self.fail(Invariant::Maps, ino, error);
                }
                Err(_) => {}
            }
            self.state.place = Place::default();
            self.state.at += 1;
            if !(self.go_on)() {
                return false;
            }
        }
        true
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

    /// From the current place in an inode on; whether it was finished.
    fn inode(&mut self, ino: u32, inode: Inode) -> bool {
        let index = self.index(ino);
        if self.state.place == Place::default() {
            self.say(ino, &inode, index);
        }
        let mut node = Node::new(ino, inode);
        let result = match (node.inode.kind, node.inode.form) {
            (Kind::Directory, _) => self.directory(&node, index),
            (Kind::Symlink, MapForm::Target) => Ok(Some(0)),
            _ if index.is_none() && self.blocks.is_empty() => return true,
            _ => self.file(&mut node),
        };
        match result {
            Ok(None) => return false,
            _ if index.is_none() => {}
            Ok(Some(blocks)) if blocks != node.inode.blocks => {
                self.find(Invariant::Maps, ino, "count of blocks");
            }
            Ok(Some(_)) => {}
            Err(error) => self.fail(Invariant::Maps, ino, error),
        }
        true
    }

    /// What an inode says of itself.
    fn say(&mut self, ino: u32, inode: &Inode, index: Option<usize>) {
        let state = &mut self.state;
        let orphan = u32::from(inode.nlink == 0);
        state.used_slots = state.used_slots.saturating_add(1);
        state.orphans = state.orphans.saturating_add(orphan);
        let Some(index) = index else { return };
        state.seen[index] = Some(Seen {
            kind: inode.kind,
            nlink: inode.nlink,
            parent: inode.parent,
        });
        if (inode.flags & FLAG_ORPHAN != 0) != (inode.nlink == 0) {
            let detail = "orphan flag and link count disagree";
            self.find(Invariant::Orphans, ino, detail);
        }
    }

    /// Owns a file's blocks from the current leaf on; returns how many there are, `None` if there
    /// is more to do.
    fn file(&mut self, node: &mut Node) -> Result<Option<u32>, FsError> {
        extents::load(&self.fs.store, node)?;
        if self.state.place.item == 0 {
            self.own(node.index.0, node.index.1);
            self.count(node.index.1);
        }
        for leaf in self.state.place.item as usize..node.leaves.len() {
            let block = node.leaves[leaf].block;
            if block != 0 {
                self.own(block, 1);
                self.count(1);
            }
            extents::load_leaf(&self.fs.store, node, leaf)?;
            // Not kept: a file may have more leaves than the heap holds.
            for extent in node.leaves[leaf].extents.take().unwrap_or_default() {
                self.own(extent.physical, extent.len);
                self.count(extent.len);
            }
            self.state.place.item = leaf as u32 + 1;
            if leaf + 1 < node.leaves.len() && !(self.go_on)() {
                return Ok(None);
            }
        }
        Ok(Some(self.state.place.blocks))
    }

    /// Blocks that the current inode has.
    pub(super) fn count(&mut self, blocks: u32) {
        self.state.place.blocks = self.state.place.blocks.saturating_add(blocks);
    }

    /// Blocks that have an owner now.
    pub(super) fn own(&mut self, start: u32, len: u32) {
        let end = start.saturating_add(len);
        if self.first && end > self.fs.store.sb.total_blocks {
            self.find(Invariant::Blocks, start, "outside the memory");
        }
        let base = self.blocks.start;
        let end = end.min(self.blocks.end);
        let mut at = start.max(base);
        while at < end {
            let (word, bit) = ((at - base) / 64, (at - base) % 64);
            let bits = (end - at).min(64 - bit);
            let mask = (u64::MAX >> (64 - bits)) << bit;
            let owned = &mut self.state.owned.0[word as usize];
            let mut twice = *owned & mask;
            *owned |= mask;
            while twice != 0 {
                let block = base + word * 64 + twice.trailing_zeros();
                self.find(Invariant::Blocks, block, "has two owners");
                twice &= twice - 1;
            }
            at += bits;
        }
    }
}

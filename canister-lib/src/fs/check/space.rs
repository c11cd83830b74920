//! What is free: the bitmap, the lists of free inodes and of orphans, and the counters.

use ic_stable_structures::Memory;

use super::Check;
use crate::format::inode::{self, INODE_LEN};
use crate::format::{GROUP_BLOCKS, get_u32};
use crate::fs::finding::Invariant;

impl<M: Memory> Check<'_, M> {
    pub(super) fn orphans(&mut self) {
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

    pub(super) fn free_list(&mut self) {
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

    pub(super) fn counters(&mut self) {
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

    pub(super) fn bitmap(&mut self) {
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

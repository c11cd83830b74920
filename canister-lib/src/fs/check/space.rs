//! What is free: the bitmap, the lists of free inodes and of orphans, and the counters.

use ic_stable_structures::Memory;

use super::Check;
use super::state::Walk;
use crate::format::inode::{self, INODE_LEN};
use crate::format::{GROUP_BLOCKS, get_u32};
use crate::fs::finding::Invariant;

impl<M: Memory> Check<'_, M> {
    /// Follows the list of orphans; whether its end was reached.
    pub(super) fn orphans(&mut self) -> bool {
        self.begin_list(self.fs.store.sb.orphans);
        while self.state.walk.at != 0 {
            let Walk {
                at, mark, steps, ..
            } = self.state.walk;
            match self.fs.store.read_inode(at) {
                Ok(Some(inode))
                    if inode.nlink == 0 && inode.parent == mark && steps <= self.state.orphans =>
                {
                    let walk = &mut self.state.walk;
                    (walk.steps, walk.mark, walk.at) = (steps.saturating_add(1), at, inode.next);
                }
                _ => {
                    self.find(Invariant::Orphans, at, "list of orphans");
                    break;
                }
            }
            if !(self.go_on)() {
                return false;
            }
        }
        if self.state.walk.steps != self.state.orphans {
            self.find(Invariant::Orphans, 0, "an orphan is not in the list");
        }
        true
    }

    /// Follows the list of free inodes; whether its end was reached.
    pub(super) fn free_list(&mut self) -> bool {
        self.begin_list(self.fs.store.sb.free_inode);
        let end = self.fs.store.sb.inode_end;
        while let Walk { at, steps, .. } = self.state.walk
            && at != 0
            && steps <= self.state.free_slots
            && at < end
        {
            let mut b = [0; INODE_LEN];
            let read = self.fs.store.read(self.fs.store.slot_address(at), &mut b);
            if read.is_err() || b[inode::KIND] != 0 {
                self.find(Invariant::FreeInodes, at, "list of free inodes");
                return true;
            }
            self.state.walk.steps = steps.saturating_add(1);
            self.state.walk.at = get_u32(&b, inode::NEXT);
            if !(self.go_on)() {
                return false;
            }
        }
        let Walk { at, steps, .. } = self.state.walk;
        if steps != self.state.free_slots || at != 0 {
            self.find(Invariant::FreeInodes, at, "list of free inodes");
        }
        true
    }

    fn begin_list(&mut self, first: u32) {
        if !self.state.walk.begun {
            self.state.walk.begun = true;
            self.state.walk.at = first;
        }
    }

    pub(super) fn counters(&mut self) {
        if self.state.used_slots != self.fs.store.sb.inodes {
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
                let (used, owned) = (words[i] & mask, self.state.owned.0[first + i]);
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

//! Whether all directories hang from a root.

use ic_stable_structures::Memory;

use super::Check;
use super::state::Walk;
use crate::format::inode::Kind;
use crate::format::superblock::{ROOT_INO, SYSTEM_INO};
use crate::fs::finding::Invariant;

impl<M: Memory> Check<'_, M> {
    /// Goes up from every directory of the part; whether all were seen.
    ///
    /// A way ends at a directory of a lower number: from that one its own way is looked at. So by
    /// induction all hang from a root if no way ends elsewhere, and no way leads around: a circle
    /// has a lowest member.
    pub(super) fn tree(&mut self) -> bool {
        self.state.at = self.state.at.max(self.inodes.start);
        while self.state.at < self.inodes.end {
            let ino = self.state.at;
            let seen = &self.state.seen[(ino - self.inodes.start) as usize];
            let live = seen
                .as_ref()
                .is_some_and(|seen| seen.kind == Kind::Directory && seen.nlink != 0);
            if live && ino != ROOT_INO && ino != SYSTEM_INO {
                match self.way_up(ino) {
                    None => return false,
                    Some(true) => {}
                    Some(false) => {
                        let detail = "directory that hangs from no root";
                        self.find(Invariant::Tree, ino, detail);
                    }
                }
            }
            self.state.walk = Walk::default();
            self.state.at += 1;
        }
        true
    }

    /// Whether the way up from `ino` is sound; `None` if there is more to do.
    fn way_up(&mut self, ino: u32) -> Option<bool> {
        if !self.state.walk.begun {
            self.state.walk = Walk {
                begun: true,
                at: ino,
                mark: ino,
                steps: 0,
                lap: 1,
            };
        }
        loop {
            let at = self.parent(self.state.walk.at);
            if at < ino {
                return Some(self.parent(at) != 0);
            }
            // A mark that is moved on in ever longer laps is met again on a way that leads around.
            let walk = &mut self.state.walk;
            if at == walk.mark {
                return Some(false);
            }
            walk.at = at;
            walk.steps = walk.steps.saturating_add(1);
            if walk.steps >= walk.lap {
                (walk.mark, walk.steps) = (at, 0);
                walk.lap = walk.lap.saturating_mul(2).min(1 << 30);
            }
            if !(self.go_on)() {
                return None;
            }
        }
    }

    /// The directory above a directory that has not been removed; 0 if there is none.
    fn parent(&self, ino: u32) -> u32 {
        match self.fs.store.read_inode(ino) {
            Ok(Some(inode)) if inode.kind == Kind::Directory && inode.nlink != 0 => inode.parent,
            _ => 0,
        }
    }
}

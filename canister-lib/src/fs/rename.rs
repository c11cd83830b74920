//! `rename`.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::types::Ino;
use super::{Fs, check_name, dir, dirpage, dirroom};
use crate::format::inode::Kind;

impl<M: Memory> Fs<M> {
    /// Renames `from` to `to`, replacing `to` as POSIX has it.
    ///
    /// Two names of one inode: success, no change. Errors: `NotFound`; `Invalid` for "." and "..",
    /// or a directory into its own subtree; `IsDir`, `NotDir`, `NotEmpty` for what `to` is;
    /// `NoSpace`; `TooManyLinks`. All checks come before the first store. Keeps the link counts and
    /// the one parent of each directory. Cost: O(depth of `to`) reads, some six small stores, and
    /// by extents what was replaced.
    pub fn rename(
        &mut self,
        from_dir: Ino,
        from: &[u8],
        to_dir: Ino,
        to: &[u8],
    ) -> Result<(), FsError> {
        self.store.writable()?;
        check_name(from)?;
        check_name(to)?;
        self.reclaim_step();
        self.walked.forget();
        let result = self.rename_checked(from_dir, from, to_dir, to);
        if result.is_err() {
            // The walk up from `to_dir` cached it as it was before its pages were split.
            for dir in [from_dir, to_dir] {
                self.nodes.forget(dir.0 as u32);
            }
        }
        self.store.sync();
        result
    }

    fn rename_checked(
        &mut self,
        from_dir: Ino,
        from: &[u8],
        to_dir: Ino,
        to: &[u8],
    ) -> Result<(), FsError> {
        let source_dir = self.take_live_dir(from_dir)?;
        let is_dots = |name: &[u8]| matches!(name, b"." | b"..");
        let found = dir::find(&self.store, &source_dir, from);
        self.nodes.put(source_dir);
        let mut target_dir = self.take_live_dir(to_dir)?;
        if is_dots(from) || is_dots(to) {
            return Err(FsError::Invalid);
        }
        let found = found?.ok_or(FsError::NotFound)?;
        let target = dir::find(&self.store, &target_dir, to)?;
        if target.is_some_and(|target| target.ino == found.ino) {
            self.nodes.put(target_dir);
            return Ok(());
        }
        let moves_dir = found.kind == Kind::Directory;
        if moves_dir && self.is_inside(target_dir.ino, found.ino)? {
            return Err(FsError::Invalid);
        }
        let same_dir = from_dir == to_dir;
        let mut replaced = None;
        if let Some(target) = target {
            match (moves_dir, target.kind == Kind::Directory) {
                (false, true) => return Err(FsError::IsDir),
                (true, false) => return Err(FsError::NotDir),
                _ => {}
            }
            let node = self.take_target(target.ino, target.kind)?;
            let own = node.ino == target_dir.ino || Ino(node.ino.into()) == from_dir;
            if node.is_dir() && (node.inode.count > 0 || own) {
                return Err(FsError::NotEmpty);
            }
            replaced = Some(node);
        } else {
            if moves_dir && !same_dir && target_dir.inode.nlink >= u32::MAX / 2 {
                return Err(FsError::TooManyLinks);
            }
            dirroom::prepare(&mut self.store, &mut target_dir, to)?;
        }
        let mut moved = self.take_target(found.ino, found.kind)?;
        let mut source_dir = if same_dir {
            None
        } else {
            Some(self.take_live_dir(from_dir)?)
        };
        // What can fail comes first; after it, only changes. A rename inside a directory leaves it
        // an entry, so its pages stay.
        let now = self.store.now;
        let source = source_dir.as_ref().unwrap_or(&target_dir);
        let found = dir::find(&self.store, source, from)?.ok_or(FsError::NotFound)?;
        let removal = dir::prepare_remove(&self.store, source, found, !same_dir)?;
        let insertion = match (&mut replaced, target) {
            (Some(node), Some(_)) => {
                self.drop_name(node)?;
                None
            }
            _ => Some(dir::prepare_insert(&self.store, &target_dir, to)?),
        };
        let store = &mut self.store;
        let source = source_dir.as_mut().unwrap_or(&mut target_dir);
        dir::remove(store, source, removal);
        if moves_dir {
            source.inode.nlink = source.inode.nlink.saturating_sub(1);
        }
        match (insertion, target) {
            (Some(insertion), _) => {
                let entry = (to, moved.ino, found.kind);
                dir::finish_insert(store, &mut target_dir, insertion, entry);
            }
            (None, Some(target)) => {
                dirpage::repoint(store, &target, moved.ino, found.kind);
                if moves_dir {
                    target_dir.inode.nlink = target_dir.inode.nlink.saturating_sub(1);
                }
            }
            (None, None) => unreachable!("what is not inserted replaces a target"),
        }
        if moves_dir {
            target_dir.inode.nlink = target_dir.inode.nlink.saturating_add(1);
            moved.inode.parent = target_dir.ino;
        }
        moved.touch(now);
        moved.store(store);
        for mut node in source_dir.into_iter().chain([target_dir]) {
            node.touch_content(now);
            node.store(store);
            self.nodes.put(node);
        }
        self.nodes.put(moved);
        if let Some(node) = replaced {
            self.put_or_forget(node);
        }
        Ok(())
    }

    /// Whether directory `dir` is `ancestor` or below it.
    pub(super) fn is_inside(&mut self, dir: u32, ancestor: u32) -> Result<bool, FsError> {
        let mut at = dir;
        for _ in 0..=self.store.sb.inodes {
            if at == ancestor {
                return Ok(true);
            }
            let node = self.nodes.take(&self.store, at)?;
            let parent = node.inode.parent;
            let is_dir = node.is_dir();
            self.nodes.put(node);
            if !is_dir {
                return Err(FsError::Corrupt("parent of a directory"));
            }
            if parent == at || parent == 0 {
                return Ok(false);
            }
            at = parent;
        }
        Err(FsError::Corrupt("circle of directories"))
    }
}

//! Names: making and removing them, and what happens to inodes without any.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::node::Node;
use super::types::Ino;
use super::{Fs, check_name, dir, dirroom, extents, locate, room};
use crate::format::extent::{EXTENT_LEN, Extent};
use crate::format::inode::{FLAG_ORPHAN, Inode, Kind, MAP_LEN, MapForm};
use crate::format::{BLOCK_LEN, address};

/// Most names of one inode, and subdirectories of one directory.
const MAX_LINKS: u32 = u32::MAX / 2;
/// Longest target of a symbolic link.
const TARGET_MAX: usize = BLOCK_LEN - 1;

/// What [`Fs::create_plain`], [`Fs::mkdir_plain`] or [`Fs::find_plain`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plain {
    /// It was made.
    Made(Ino),
    /// A file or directory is there.
    Found(Ino),
    /// There is a link to follow, another file system, or more to resolve: nothing was done.
    Unknown,
}

impl<M: Memory> Fs<M> {
    /// Makes an empty regular file. Errors: `Exists`, `NoSpace`, `NotDir`, `NotFound` in a removed
    /// directory, those of bad names. Cost: four small stores, of inode, entry and directory.
    pub fn create(&mut self, dir: Ino, name: &[u8]) -> Result<Ino, FsError> {
        self.make(dir, name, self.new_inode(Kind::Regular))
    }

    /// Makes an empty directory. As [`Self::create`]; also `TooManyLinks`.
    pub fn mkdir(&mut self, dir: Ino, name: &[u8]) -> Result<Ino, FsError> {
        let mut inode = self.new_inode(Kind::Directory);
        inode.nlink = 2;
        self.make(dir, name, inode)
    }

    /// Makes a symbolic link to `target`, which need not exist. As [`Self::create`]; `NotFound` for
    /// an empty target, `NameTooLong` beyond 4,095 bytes.
    pub fn symlink(&mut self, dir: Ino, name: &[u8], target: &[u8]) -> Result<Ino, FsError> {
        self.store.writable()?;
        check_name(name)?;
        if target.is_empty() {
            return Err(FsError::NotFound);
        }
        if target.len() > TARGET_MAX {
            return Err(FsError::NameTooLong);
        }
        if target.contains(&0) || std::str::from_utf8(target).is_err() {
            return Err(FsError::IllegalByteSequence);
        }
        let mut inode = self.new_inode(Kind::Symlink);
        inode.size = target.len() as u64;
        if target.len() <= MAP_LEN {
            inode.form = MapForm::Target;
            inode.map[..target.len()].copy_from_slice(target);
            return self.make(dir, name, inode);
        }
        let block = self.store.alloc_contiguous(1)?;
        let birth = self.store.sb.generation;
        Extent {
            logical: 0,
            physical: block,
            len: 1,
            unwritten: false,
            birth,
        }
        .encode(&mut inode.map[..EXTENT_LEN]);
        (inode.count, inode.blocks) = (1, 1);
        self.store.put(address(block), target);
        let result = self.make(dir, name, inode);
        if result.is_err() {
            self.store.free_run(block, 1);
            self.store.sync();
        }
        result
    }

    /// The target of a symbolic link. Errors: `Invalid` for anything else.
    pub fn read_link(&mut self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let mut node = self.take(ino)?;
        if node.inode.kind != Kind::Symlink {
            return Err(FsError::Invalid);
        }
        let mut target = vec![0; node.inode.size as usize];
        if node.inode.form == MapForm::Target {
            target.copy_from_slice(&node.inode.map[..node.inode.size as usize]);
        } else {
            extents::load(&self.store, &mut node)?;
            match locate::locate(&self.store, &mut node, 0)? {
                locate::Segment::Mapped(block, _, false) => {
                    self.store.read(address(block), &mut target)?;
                }
                _ => return Err(FsError::Corrupt("symbolic link")),
            }
        }
        self.access(&mut node);
        self.nodes.put(node);
        Ok(target)
    }

    /// [`Self::resolve`] without following the last link, and [`Self::create`], in one, with a
    /// descriptor on what was made ([`Self::retain`]): for a path that is one name, or one name
    /// behind what was walked before. Errors and cost: those of both, for one look-up.
    pub fn create_plain(&mut self, start: Ino, path: &[u8]) -> Result<Plain, FsError> {
        let plain = self.make_plain(start, path, Kind::Regular);
        if let Ok(Plain::Made(ino)) = plain {
            self.open.retain(ino.0 as u32);
        }
        plain
    }

    /// The same for [`Self::mkdir`], without a descriptor.
    #[inline]
    pub fn mkdir_plain(&mut self, start: Ino, path: &[u8]) -> Result<Plain, FsError> {
        self.make_plain(start, path, Kind::Directory)
    }

    /// [`Self::resolve`] of such a path. Errors: also `NotFound`.
    #[inline(always)]
    pub fn find_plain(&mut self, start: Ino, path: &[u8]) -> Result<Plain, FsError> {
        let Some((dir, name)) = self.plain(start, path) else {
            return Ok(Plain::Unknown);
        };
        match self.stored_entry(dir, name)? {
            Some((ino, kind)) => Ok(self.found(ino, kind)),
            None => Err(FsError::NotFound),
        }
    }

    #[inline(always)]
    fn found(&self, ino: Ino, kind: Kind) -> Plain {
        if kind == Kind::Symlink || ino == self.covered {
            Plain::Unknown
        } else {
            Plain::Found(ino)
        }
    }

    #[inline(always)]
    fn make_plain(&mut self, start: Ino, path: &[u8], kind: Kind) -> Result<Plain, FsError> {
        let Some((dir, name)) = self.plain(start, path) else {
            return Ok(Plain::Unknown);
        };
        let mut parent = self.take_dir(dir)?;
        let spot = dir::probe(&self.store, &parent, name)?;
        if let Some(found) = &spot.found {
            let (ino, kind) = (Ino(found.ino.into()), found.kind);
            self.nodes.put(parent);
            return Ok(self.found(ino, kind));
        }
        self.store.writable()?;
        if parent.inode.nlink == 0 {
            return Err(FsError::NotFound);
        }
        self.reclaim_step();
        let (now, birth, above) = (self.store.now, self.store.sb.generation, parent.ino);
        let inode = || {
            let mut inode = Inode::new(kind, now, birth);
            if kind == Kind::Directory {
                (inode.nlink, inode.parent) = (2, above);
            }
            inode
        };
        let result = self.make_at(&mut parent, name, (kind, inode), &spot);
        self.store.sync();
        let ino = result?;
        self.nodes.put(parent);
        Ok(Plain::Made(Ino(ino.into())))
    }

    /// Makes `inode` under `name`.
    fn make(&mut self, dir: Ino, name: &[u8], inode: Inode) -> Result<Ino, FsError> {
        self.store.writable()?;
        check_name(name)?;
        self.reclaim_step();
        let mut parent = self.take_live_dir(dir)?;
        let result = self.make_in(&mut parent, name, inode);
        self.store.sync();
        // On an error the node is dropped, and read again: pages may have been split.
        let ino = result?;
        self.nodes.put(parent);
        Ok(Ino(ino.into()))
    }

    #[inline(always)]
    fn make_in(
        &mut self,
        parent: &mut Node,
        name: &[u8],
        mut inode: Inode,
    ) -> Result<u32, FsError> {
        if matches!(name, b"." | b"..") {
            return Err(FsError::Exists);
        }
        let spot = dir::probe(&self.store, parent, name)?;
        if spot.found.is_some() {
            return Err(FsError::Exists);
        }
        let kind = inode.kind;
        if kind == Kind::Directory {
            inode.parent = parent.ino;
        }
        self.make_at(parent, name, (kind, || inode), &spot)
    }

    /// Makes an inode under a name that was not found at `spot`.
    #[inline(always)]
    fn make_at(
        &mut self,
        parent: &mut Node,
        name: &[u8],
        (kind, inode): (Kind, impl FnOnce() -> Inode),
        spot: &dir::Spot,
    ) -> Result<u32, FsError> {
        let store = &mut self.store;
        if kind == Kind::Directory && parent.inode.nlink >= MAX_LINKS {
            return Err(FsError::TooManyLinks);
        }
        let room = dirroom::make_room(store, parent, spot, name.len())?;
        let ino = store.find_slot()?;
        dir::insert_at(store, parent, name, (ino, kind), spot, room)?;
        store.take_slot(ino);
        parent.inode.nlink += u32::from(kind == Kind::Directory);
        // Whoever makes something opens it next.
        self.nodes.put_new(ino, inode).store(store);
        parent.touch_content(store.now);
        // `make_room` stored the map if it changed it.
        parent.store_entries(store);
        Ok(ino)
    }

    /// Gives `ino` another name. Errors: `NotPermitted` for directories, `Exists`, `TooManyLinks`,
    /// `NotFound` when it has no name left, `NoSpace`.
    pub fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), FsError> {
        self.store.writable()?;
        check_name(name)?;
        self.reclaim_step();
        let mut parent = self.take_live_dir(dir)?;
        let mut node = self.take(ino)?;
        if node.is_dir() {
            return Err(FsError::NotPermitted);
        }
        let store = &mut self.store;
        if matches!(name, b"." | b"..") || dir::find(store, &parent, name)?.is_some() {
            return Err(FsError::Exists);
        }
        if node.inode.nlink == 0 {
            return Err(FsError::NotFound);
        }
        if node.inode.nlink >= MAX_LINKS {
            return Err(FsError::TooManyLinks);
        }
        let prepared = dirroom::prepare(store, &mut parent, name)
            .and_then(|()| dir::insert(store, &mut parent, name, node.ino, node.inode.kind));
        if prepared.is_ok() {
            parent.touch_content(store.now);
            parent.store(store);
            node.inode.nlink += 1;
            node.touch(store.now);
            node.store(store);
            self.nodes.put(parent);
            self.nodes.put(node);
        }
        self.store.sync();
        prepared
    }

    /// Removes the name of a file or symbolic link; the inode goes with its last name and its last
    /// open descriptor. Errors: `IsDir`, `NotFound`. Cost: by extents if the inode goes.
    pub fn unlink(&mut self, dir: Ino, name: &[u8]) -> Result<(), FsError> {
        self.store.writable()?;
        check_name(name)?;
        self.reclaim_step();
        let mut parent = self.take_live_dir(dir)?;
        if matches!(name, b"." | b"..") {
            return Err(FsError::IsDir);
        }
        let found = dir::find(&self.store, &parent, name)?.ok_or(FsError::NotFound)?;
        if found.kind == Kind::Directory {
            return Err(FsError::IsDir);
        }
        let mut node = self.take_target(found.ino, found.kind)?;
        let removal = dir::prepare_remove(&self.store, &parent, found, true)?;
        let result = self.drop_name(&mut node);
        if result.is_ok() {
            dir::remove(&mut self.store, &mut parent, removal);
            parent.touch_content(self.store.now);
            parent.store(&self.store);
            self.nodes.put(parent);
            self.put_or_forget(node);
        }
        self.store.sync();
        result
    }

    /// Removes an empty directory. Errors: `NotDir`, `NotEmpty`, `Invalid` for ".".
    pub fn rmdir(&mut self, dir: Ino, name: &[u8]) -> Result<(), FsError> {
        self.store.writable()?;
        check_name(name)?;
        self.walked.forget();
        self.reclaim_step();
        let mut parent = self.take_live_dir(dir)?;
        match name {
            b"." => return Err(FsError::Invalid),
            b".." => return Err(FsError::NotEmpty),
            _ => {}
        }
        let found = dir::find(&self.store, &parent, name)?.ok_or(FsError::NotFound)?;
        if found.kind != Kind::Directory {
            return Err(FsError::NotDir);
        }
        if found.ino == parent.ino {
            return Err(FsError::Corrupt("directory inside itself"));
        }
        let mut node = self.take_target(found.ino, found.kind)?;
        if node.inode.count > 0 {
            self.nodes.put(node);
            return Err(FsError::NotEmpty);
        }
        let removal = dir::prepare_remove(&self.store, &parent, found, true)?;
        let result = self.drop_name(&mut node);
        if result.is_ok() {
            dir::remove(&mut self.store, &mut parent, removal);
            parent.inode.nlink = parent.inode.nlink.saturating_sub(1);
            parent.touch_content(self.store.now);
            parent.store(&self.store);
            self.nodes.put(parent);
            self.put_or_forget(node);
        }
        self.store.sync();
        result
    }

    /// The inode that an entry names.
    pub(super) fn take_target(&mut self, ino: u32, kind: Kind) -> Result<Box<Node>, FsError> {
        let node = self.nodes.take(&self.store, ino)?;
        if node.inode.kind != kind || node.inode.nlink == 0 {
            return Err(FsError::Corrupt("entry and inode disagree"));
        }
        Ok(node)
    }

    /// Puts a node back, unless [`Self::drop_name`] freed it.
    pub(super) fn put_or_forget(&mut self, node: Box<Node>) {
        if node.inode.nlink > 0 || self.is_open(node.ino) {
            self.nodes.put(node);
        }
    }

    /// One name less, of a directory the only one. Without any, the inode is freed, or becomes an
    /// orphan if it is open. Fails before the first store.
    pub(super) fn drop_name(&mut self, node: &mut Node) -> Result<(), FsError> {
        let last = node.is_dir() || node.inode.nlink == 1;
        if last && self.is_open(node.ino) {
            let head = self.store.sb.orphans;
            if head != 0 {
                let mut next = self.nodes.take(&self.store, head)?;
                next.inode.parent = node.ino;
                next.store(&self.store);
                self.nodes.put(next);
            }
            node.inode.nlink = 0;
            node.forget_places();
            node.inode.flags |= FLAG_ORPHAN;
            (node.inode.parent, node.inode.next) = (0, head);
            self.store.sb.orphans = node.ino;
            self.store.dirty = true;
        } else if last {
            return self.free_inode(node);
        } else {
            node.inode.nlink -= 1;
        }
        node.touch(self.store.now);
        node.store(&self.store);
        Ok(())
    }

    /// Frees an inode and its blocks. Fails before the first store.
    fn free_inode(&mut self, node: &mut Node) -> Result<(), FsError> {
        match (node.inode.kind, node.inode.form) {
            (Kind::Directory, _) => {
                let pages = dir::pages(&self.store, node)?;
                dir::free_pages(&mut self.store, node, &pages);
            }
            (_, MapForm::Target) => {}
            _ => extents::free_all(&mut self.store, node)?,
        }
        node.inode.nlink = 0;
        self.store.free_slot(node.ino);
        self.nodes.forget(node.ino);
        // The slot may be a directory's again, with as many changes.
        self.listing = None;
        Ok(())
    }

    /// One more open descriptor on `ino`: its data lives on when its last name goes.
    pub fn retain(&mut self, ino: Ino) -> Result<(), FsError> {
        let node = self.take(ino)?;
        self.open.retain(node.ino);
        self.nodes.put(node);
        Ok(())
    }

    /// One open descriptor less on `ino`. The last one frees an inode without names, and what was
    /// allocated ahead of a file. Errors: `BadInode` if it was not open.
    pub fn release(&mut self, ino: Ino) -> Result<(), FsError> {
        let number = u32::try_from(ino.0).map_err(|_| FsError::BadInode)?;
        let left = self.open.release(number).ok_or(FsError::BadInode)?;
        if left > 0 || self.store.read_only {
            return Ok(());
        }
        // Most often there is nothing to do.
        if let Some(node) = self.nodes.cached(ino.0)
            && node.inode.nlink > 0
            && (node.inode.blocks == 0 || node.inode.kind != Kind::Regular)
        {
            return Ok(());
        }
        let mut node = self.nodes.take(&self.store, number)?;
        let result = if node.inode.nlink == 0 {
            self.free_orphan(&mut node)
        } else if node.inode.kind == Kind::Regular && node.inode.blocks > 0 {
            extents::load(&self.store, &mut node)
                .and_then(|()| room::trim(&mut self.store, &mut node))
        } else {
            Ok(())
        };
        if result.is_ok() {
            self.put_or_forget(node);
        }
        self.store.sync();
        result
    }

    /// Takes an inode out of the list of orphans and frees it.
    fn free_orphan(&mut self, node: &mut Node) -> Result<(), FsError> {
        let (previous, next) = (node.inode.parent, node.inode.next);
        let mut neighbours = Vec::with_capacity(2);
        for (ino, is_previous) in [(previous, true), (next, false)] {
            if ino != 0 {
                let mut neighbour = self.nodes.take(&self.store, ino)?;
                if neighbour.inode.flags & FLAG_ORPHAN == 0 || ino == node.ino {
                    return Err(FsError::Corrupt("list of orphans"));
                }
                if is_previous {
                    neighbour.inode.next = next;
                } else {
                    neighbour.inode.parent = previous;
                }
                neighbours.push(neighbour);
            }
        }
        self.free_inode(node)?;
        for neighbour in neighbours {
            neighbour.store(&self.store);
            self.nodes.put(neighbour);
        }
        if previous == 0 {
            self.store.sb.orphans = next;
            self.store.dirty = true;
        }
        Ok(())
    }

    /// Frees one orphan of an earlier run, if there is one. Orphans of this run stand before it in
    /// the list. Damage ends the reclaiming; `check` reports what is left. Stores the counters, as
    /// the operation that follows may end early with an error.
    pub(super) fn reclaim_step(&mut self) {
        let ino = std::mem::take(&mut self.stale_orphan);
        if ino == 0 || self.store.read_only || self.is_open(ino) {
            return;
        }
        let Ok(mut node) = self.nodes.take(&self.store, ino) else {
            return;
        };
        if node.inode.nlink != 0 || node.inode.flags & FLAG_ORPHAN == 0 {
            return;
        }
        let next = node.inode.next;
        if self.free_orphan(&mut node).is_ok() {
            self.stale_orphan = next;
        }
        self.store.sync();
    }
}

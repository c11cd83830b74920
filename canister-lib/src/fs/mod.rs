//! The file system on one [`Memory`].
//!
//! Everything is complete on stable memory after each call; the heap holds only caches. Validate,
//! then mutate: an error means that nothing anyone can see has changed. Layers, from below:
//! `store` (superblock, inode table), `alloc`, `node` (cache); for files `extents`, `locate`, `room`,
//! `file`; for directories `dirpage`, `dir`, `dirroom`, `list`; then `link`, `rename`, `path`,
//! `check`.

mod alloc;
mod attached;
mod bytes;
mod check;
mod dir;
mod dirpage;
mod dirroom;
mod error;
mod extents;
mod file;
mod finding;
mod jumps;
mod link;
mod list;
mod locate;
mod mount;
mod node;
mod open;
mod path;
mod rename;
mod room;
mod store;
mod types;
mod walk;

use std::ops::ControlFlow;

use ic_stable_structures::Memory;

pub use check::{Part, PartSize, ResumeError, Step};
pub use error::{FsError, MountError};
pub use finding::{Finding, Invariant};
pub use link::Plain;
pub use path::Resolved;
pub use types::{DirEntry, FileType, FormatOptions, Ino, Nanos, Stat, Usage};
pub(crate) use walk::{Tree, Walk, walk};

use crate::format::inode::{Inode, Kind};
use crate::format::{BLOCK, dirent, superblock};
use bytes::plain_until;
use node::{Node, Nodes};
use open::OpenFiles;
use store::Store;

/// Age at which the access time is updated although nothing changed: a day.
const RELATIME_NANOS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// A mounted file system.
pub struct Fs<M: Memory> {
    store: Store<M>,
    nodes: Nodes,
    /// Open descriptors by inode.
    open: OpenFiles,
    /// Where the last listing ended.
    listing: Option<list::Listing>,
    walked: path::Walked,
    /// A directory under which another file system is; 0: none. See [`Self::set_covered`].
    covered: Ino,
    /// Files whose bytes are in other memories.
    attached: attached::Attached,
    /// Next orphan of an earlier run to be reclaimed; 0: none.
    stale_orphan: u32,
}

/// Checks a name that is to be looked up or made.
fn check_name(name: &[u8]) -> Result<(), FsError> {
    if name.is_empty() {
        return Err(FsError::NotFound);
    }
    if name.len() > dirent::NAME_MAX {
        return Err(FsError::NameTooLong);
    }
    match plain_until(name) {
        at if at == name.len() => Ok(()),
        _ if name.contains(&b'/') => Err(FsError::Invalid),
        _ => check_text(name),
    }
}

/// Checks that `bytes` are text without NUL.
fn check_text(bytes: &[u8]) -> Result<(), FsError> {
    if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() {
        Err(FsError::IllegalByteSequence)
    } else {
        Ok(())
    }
}

impl<M: Memory> Fs<M> {
    /// Sets the time that all operations use until the next call.
    pub fn set_now(&mut self, now: Nanos) {
        self.store.now = now;
        self.store.message += 1;
        if self.store.mounted == 0 {
            self.store.mounted = now;
        }
    }

    /// Whether it is of a newer minor version, so that nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.store.read_only
    }

    /// Says that another file system lies over directory `dir`: [`Self::resolve_plain`] stops there.
    pub(crate) fn set_covered(&mut self, dir: Ino) {
        self.covered = dir;
        self.walked.forget();
    }

    /// Sets or lifts the limit of all blocks. A limit below what is used only stops growth.
    pub fn set_quota(&mut self, quota: Option<u64>) -> Result<(), FsError> {
        self.store.writable()?;
        self.store.sb.quota = quota;
        let bytes = quota.unwrap_or(u64::MAX).to_le_bytes();
        self.store.put(superblock::QUOTA as u64, &bytes);
        Ok(())
    }

    /// Space in use and left.
    pub fn usage(&self) -> Usage {
        let sb = &self.store.sb;
        Usage {
            block_size: BLOCK as u32,
            used_bytes: u64::from(self.store.used_blocks()) * BLOCK,
            free_bytes: self.store.available_blocks() * BLOCK,
            quota_bytes: sb.quota,
            inodes: u64::from(sb.inodes),
            format: sb.version,
        }
    }

    /// The root directory.
    pub fn root(&self) -> Ino {
        Ino(superblock::ROOT_INO.into())
    }

    /// The hidden directory, which no path reaches: its ".." is itself, and it is in no directory.
    pub fn system_dir(&self) -> Ino {
        Ino(superblock::SYSTEM_INO.into())
    }

    /// The inode that `name` leads to in `dir`. Understands "." and ".."; ".." of a root is itself.
    ///
    /// Errors: `NotDir`, `NotFound`, and those of bad names. Cost: three small reads.
    pub fn lookup(&mut self, dir: Ino, name: &[u8]) -> Result<Ino, FsError> {
        check_name(name)?;
        match self.entry(dir, name)? {
            Some((ino, _)) => Ok(ino),
            None => Err(FsError::NotFound),
        }
    }

    /// [`Self::lookup`] of a name that was checked, with the kind that its entry says.
    fn entry(&mut self, dir: Ino, name: &[u8]) -> Result<Option<(Ino, Kind)>, FsError> {
        if !matches!(name, b"." | b"..") {
            return self.stored_entry(dir, name);
        }
        let node = self.take_dir(dir)?;
        let found = match name {
            b"." => Some(node.ino),
            _ if node.inode.nlink == 0 => None,
            _ => Some(node.inode.parent),
        };
        self.nodes.put(node);
        Ok(found.map(|ino| (Ino(ino.into()), Kind::Directory)))
    }

    /// [`Self::entry`] of another name than "." and "..".
    #[inline(always)]
    fn stored_entry(&mut self, dir: Ino, name: &[u8]) -> Result<Option<(Ino, Kind)>, FsError> {
        let node = self.take_dir(dir)?;
        // By reference: what was found would be copied twice.
        let entry = match &dir::find(&self.store, &node, name) {
            Ok(Some(found)) => Ok(Some((Ino(found.ino.into()), found.kind))),
            Ok(None) => Ok(None),
            Err(error) => Err(*error),
        };
        self.nodes.put(node);
        entry
    }

    /// Metadata of `ino`.
    pub fn stat(&mut self, ino: Ino) -> Result<Stat, FsError> {
        let node = self.take(ino)?;
        let inode = &node.inode;
        let stat = Stat {
            ino,
            file_type: inode.kind.into(),
            nlink: inode.nlink,
            size: inode.size,
            allocated: u64::from(inode.blocks) * BLOCK,
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            version: inode.changes,
        };
        self.nodes.put(node);
        Ok(stat)
    }

    /// What `ino` is.
    pub(crate) fn file_type(&mut self, ino: Ino) -> Result<FileType, FsError> {
        let node = self.take(ino)?;
        let kind = node.inode.kind;
        self.nodes.put(node);
        Ok(kind.into())
    }

    /// Lists `dir`: ".", "..", then entries in the order of their cookies, from after `cookie` (0:
    /// the start). Entries that stay are seen once, whatever is added or removed meanwhile. A
    /// removed directory has none. Cost: one page read for some 80 entries.
    pub fn read_dir(
        &mut self,
        dir: Ino,
        cookie: u64,
        visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        let mut node = self.take_dir(dir)?;
        let result = if node.inode.nlink == 0 {
            Ok(())
        } else {
            list::list(&self.store, &node, cookie, &mut self.listing, visit)
        };
        if result.is_ok() {
            self.access(&mut node);
        }
        self.nodes.put(node);
        result
    }

    /// Sets access and modification time; `None` leaves one as it is.
    pub fn set_times(
        &mut self,
        ino: Ino,
        atime: Option<Nanos>,
        mtime: Option<Nanos>,
    ) -> Result<(), FsError> {
        self.change(ino, |store, node| {
            node.inode.atime = atime.unwrap_or(node.inode.atime);
            node.inode.mtime = mtime.unwrap_or(node.inode.mtime);
            node.counted = 0;
            node.touch(store.now);
            Ok(())
        })
    }

    /// Nothing to do: state is complete on stable memory after every call.
    pub fn flush(&mut self) -> Result<(), FsError> {
        Ok(())
    }

    /// Whether a descriptor is open on inode `ino`.
    fn is_open(&self, ino: u32) -> bool {
        self.open.count(ino) > 0
    }

    /// Takes an inode that exists: has a name, or is held open. Put it back with `nodes.put`.
    #[inline(always)]
    fn take(&mut self, ino: Ino) -> Result<Box<Node>, FsError> {
        let number = u32::try_from(ino.0).map_err(|_| FsError::BadInode)?;
        let node = self.nodes.take(&self.store, number)?;
        if node.inode.nlink == 0 && !self.is_open(number) {
            return Err(FsError::BadInode);
        }
        Ok(node)
    }

    #[inline(always)]
    fn take_dir(&mut self, dir: Ino) -> Result<Box<Node>, FsError> {
        let node = self.take(dir)?;
        if node.is_dir() {
            Ok(node)
        } else {
            Err(FsError::NotDir)
        }
    }

    /// The directory `dir`, in which a name is about to be made or removed: not a removed one.
    #[inline(always)]
    fn take_live_dir(&mut self, dir: Ino) -> Result<Box<Node>, FsError> {
        let node = self.take_dir(dir)?;
        if node.inode.nlink > 0 {
            Ok(node)
        } else {
            Err(FsError::NotFound)
        }
    }

    /// Changes one inode: takes it, runs `change`, stores the inode if that succeeded.
    fn change<T>(
        &mut self,
        ino: Ino,
        change: impl FnOnce(&mut Store<M>, &mut Node) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        self.store.writable()?;
        let mut node = self.take(ino)?;
        let result = change(&mut self.store, &mut node);
        if result.is_ok() {
            node.store(&self.store);
            self.nodes.put(node);
        }
        self.store.sync();
        result
    }

    /// A new inode with one link.
    fn new_inode(&self, kind: Kind) -> Inode {
        Inode::new(kind, self.store.now, self.store.sb.generation)
    }
}

//! Making and mounting a file system. Constant time in its size.

use ic_stable_structures::Memory;

use super::Fs;
use super::error::{FsError, MountError};
use super::node::Nodes;
use super::store::Store;
use super::types::{FormatOptions, Nanos};
use crate::format::inode::Kind;
use crate::format::superblock::{END, ROOT_INO, SYSTEM_INO, Superblock, SuperblockError, VERSION};
use crate::format::{BLOCK, FIRST_FREE};
use crate::memory::{Space, WASM_PAGE};

/// Orphans of earlier runs that are reclaimed at mount; the rest go one with each change.
const RECLAIMED_AT_MOUNT: u32 = 4;

impl From<SuperblockError> for MountError {
    fn from(error: SuperblockError) -> Self {
        match error {
            SuperblockError::Foreign => MountError::Foreign,
            SuperblockError::UnknownMajor(major) => MountError::UnknownMajor(major),
            SuperblockError::Corrupt(what) => MountError::Corrupt(what),
        }
    }
}

fn mount_error(error: FsError) -> MountError {
    match error {
        FsError::Corrupt(what) => MountError::Corrupt(what),
        FsError::NoSpace { .. } => MountError::NoSpace,
        _ => MountError::Corrupt("inode table"),
    }
}

impl<M: Memory> Fs<M> {
    /// Opens `memory`: of size 0, makes a file system in it (64 KiB); one of ours is mounted.
    /// Anything else, also memory that is all zero, is refused and left alone.
    pub fn open(memory: M, options: &FormatOptions, now: Nanos) -> Result<Self, MountError> {
        let mut fs = if memory.size() == 0 {
            Self::format(memory, options, now)?
        } else {
            Self::mount(memory)?
        };
        fs.set_now(now);
        Ok(fs)
    }

    fn format(memory: M, options: &FormatOptions, now: Nanos) -> Result<Self, MountError> {
        let mut space = Space::new(memory);
        if !space.grow(1) {
            return Err(MountError::NoSpace);
        }
        let total_blocks = (WASM_PAGE / BLOCK) as u32;
        let sb = Superblock {
            version: VERSION,
            hash_key: options.hash_key,
            created: now,
            quota: options.quota_bytes,
            generation: 1,
            total_blocks,
            free_blocks: total_blocks,
            alloc_hint: FIRST_FREE,
            inode_end: 1,
            inodes: 0,
            free_inode: 0,
            orphans: 0,
            chunks: Vec::new(),
        };
        let mut store = Store::new(space, sb, now);
        store.put(0, &store.sb.encode());
        store.take_fixed(0).map_err(mount_error)?;
        let mut fs = Self::with_store(store);
        for ino in [ROOT_INO, SYSTEM_INO] {
            let slot = fs.store.find_slot().map_err(mount_error)?;
            debug_assert_eq!(slot, ino);
            fs.store.take_slot(slot);
            let mut inode = fs.new_inode(Kind::Directory);
            (inode.nlink, inode.parent) = (2, ino);
            fs.store.write_inode(ino, &inode);
        }
        fs.store.sync();
        Ok(fs)
    }

    /// Mounts a file system that is there. The time is 0 until [`Self::set_now`].
    ///
    /// Reads the superblock and two inodes, and frees up to four files that an earlier run had
    /// unlinked and still held open.
    pub fn mount(memory: M) -> Result<Self, MountError> {
        let space = Space::new(memory);
        let mut b = vec![0; END];
        space.read(0, &mut b).map_err(|_| MountError::Foreign)?;
        let sb = Superblock::decode(&b)?;
        if u64::from(sb.total_blocks) * BLOCK > space.size() {
            return Err(MountError::Corrupt(
                "memory is shorter than the file system",
            ));
        }
        let mut fs = Self::with_store(Store::new(space, sb, 0));
        for ino in [ROOT_INO, SYSTEM_INO] {
            match fs.store.read_inode(ino).map_err(mount_error)? {
                Some(inode) if inode.kind == Kind::Directory && inode.nlink >= 2 => {}
                _ => return Err(MountError::Corrupt("root directory")),
            }
        }
        fs.stale_orphan = fs.store.sb.orphans;
        for _ in 0..RECLAIMED_AT_MOUNT {
            fs.reclaim_step();
        }
        fs.store.sync();
        Ok(fs)
    }

    fn with_store(store: Store<M>) -> Self {
        Self {
            store,
            nodes: Nodes::default(),
            open: Default::default(),
            listing: None,
            walked: super::path::Walked::new(),
            covered: super::types::Ino(0),
            attached: Default::default(),
            stale_orphan: 0,
        }
    }

    /// Unmounts: gives the memory back. There is nothing to write.
    pub fn into_memory(self) -> M {
        self.store.space.into_inner()
    }
}

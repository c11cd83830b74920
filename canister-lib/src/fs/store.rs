//! Stable memory with the superblock and the bitmap at hand: what everything else stands on.

use ic_stable_structures::Memory;

use super::alloc::Bitmap;
use super::error::FsError;
use super::types::Nanos;
use crate::format::inode::{self, INODE_LEN, Inode};
use crate::format::{address, get_u32, superblock};
use crate::memory::Space;

/// Stable memory, superblock, bitmap, time.
pub struct Store<M> {
    pub space: Space<M>,
    pub sb: superblock::Superblock,
    /// The counters of `sb` differ from those stored. Every public operation ends with [`Self::sync`].
    pub dirty: bool,
    pub bitmap: Bitmap,
    pub now: Nanos,
    /// Goes up whenever the time is set: tells messages apart, which may have the same time.
    pub message: u64,
    /// The first time that was set since the mount.
    pub mounted: Nanos,
    pub read_only: bool,
    /// The memory refused to grow at this size.
    pub grow_refused: bool,
}

impl<M: Memory> Store<M> {
    pub fn new(space: Space<M>, sb: superblock::Superblock, now: Nanos) -> Self {
        let read_only = sb.version.1 > superblock::VERSION.1;
        let bitmap = Bitmap::default();
        Self {
            space,
            sb,
            dirty: false,
            bitmap,
            now,
            message: 1,
            mounted: now,
            read_only,
            grow_refused: false,
        }
    }

    /// Stores the counters if they changed.
    #[inline]
    pub fn sync(&mut self) {
        if self.dirty {
            self.dirty = false;
            self.put(superblock::COUNTERS as u64, &self.sb.counters());
        }
    }

    /// Stores at an address that was checked before: inside `total_blocks`, which is never beyond
    /// the memory. Panics otherwise, to roll the message back.
    #[inline]
    pub fn put(&self, at: u64, data: &[u8]) {
        self.space
            .write(at, data)
            .expect("addresses of stores are validated before the first one");
    }

    #[inline]
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), FsError> {
        Ok(self.space.read(at, buf)?)
    }

    pub fn read_u32(&self, at: u64) -> Result<u32, FsError> {
        let mut b = [0; 4];
        self.read(at, &mut b)?;
        Ok(u32::from_le_bytes(b))
    }

    /// Whether changes are allowed at all.
    pub fn writable(&self) -> Result<(), FsError> {
        if self.read_only {
            Err(FsError::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Address of inode slot `slot`, which must be below `inode_end`.
    #[inline]
    pub fn slot_address(&self, slot: u32) -> u64 {
        let (chunk, block) = inode::locate_slot(slot);
        let within = u64::from(slot % inode::INODES_PER_BLOCK) * INODE_LEN as u64;
        address(self.sb.chunks[chunk as usize] + block) + within
    }

    /// Reads the inode in `slot`; `None` if the slot is free or does not exist.
    pub fn read_inode(&self, slot: u32) -> Result<Option<Inode>, FsError> {
        if slot == 0 || slot >= self.sb.inode_end {
            return Ok(None);
        }
        let mut b = [0; INODE_LEN];
        self.read(self.slot_address(slot), &mut b)?;
        Inode::decode(&b).map_err(FsError::Corrupt)
    }

    /// Stores the inode of `slot`.
    #[inline]
    pub fn write_inode(&self, slot: u32, inode: &Inode) {
        self.put(self.slot_address(slot), inode.encode().as_flattened());
    }

    /// Finds a slot for a new inode, adding a chunk to the table if all are used. Takes nothing
    /// yet: that is [`Self::take_slot`], which cannot fail.
    pub fn find_slot(&mut self) -> Result<u32, FsError> {
        let free = self.sb.free_inode;
        if free != 0 {
            let mut b = [0; INODE_LEN];
            self.read(self.slot_address(free), &mut b)?;
            if b[inode::KIND] != 0 || get_u32(&b, inode::NEXT) >= self.sb.inode_end {
                return Err(FsError::Corrupt("list of free inodes"));
            }
            return Ok(free);
        }
        let slot = self.sb.inode_end;
        let chunks = self.sb.chunks.len();
        if inode::locate_slot(slot).0 as usize >= chunks {
            if chunks >= superblock::MAX_CHUNKS {
                return Err(FsError::NoSpace {
                    needed: INODE_LEN as u64,
                    available: 0,
                });
            }
            let start = self.alloc_contiguous(inode::chunk_blocks(chunks as u32))?;
            self.sb.chunks.push(start);
            let at = superblock::CHUNK_TABLE + 4 * chunks;
            self.put(at as u64, &start.to_le_bytes());
            self.dirty = true;
        }
        Ok(slot)
    }

    /// Takes the slot that [`Self::find_slot`] found.
    #[inline(always)]
    pub fn take_slot(&mut self, slot: u32) {
        if slot == self.sb.free_inode {
            let next = self.read_u32(self.slot_address(slot) + inode::NEXT as u64);
            self.sb.free_inode = next.expect("the slot was read by find_slot");
        } else {
            self.sb.inode_end += 1;
        }
        self.sb.inodes += 1;
        self.dirty = true;
    }

    /// Marks `slot` free and puts it at the head of the list of free ones.
    pub fn free_slot(&mut self, slot: u32) {
        let mut b = [0; INODE_LEN];
        crate::format::put_u32(&mut b, inode::NEXT, self.sb.free_inode);
        self.put(self.slot_address(slot), &b);
        self.sb.free_inode = slot;
        self.sb.inodes = self.sb.inodes.saturating_sub(1);
        self.dirty = true;
    }
}

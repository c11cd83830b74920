//! Regular files: read, write, truncate, allocate.

use std::num::NonZeroU64;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::extents;
use super::locate::{Segment, locate, refocus};
use super::node::Node;
use super::room::{Piece, blocks_of, make_room, remap, store_data, trim, written_until, zero_tail};
use super::store::Store;
use super::types::Ino;
use super::{Fs, RELATIME_NANOS, attached};
use crate::format::extent::MAX_FILE;
use crate::format::inode::{ATIME, Kind, MAP_LEN, MapForm};
use crate::format::{BLOCK, address};

/// The regular file `node`, with its map loaded.
fn regular<M: Memory>(store: &Store<M>, node: &mut Node) -> Result<(), FsError> {
    match node.inode.kind {
        Kind::Regular => extents::load(store, node),
        Kind::Directory => Err(FsError::IsDir),
        Kind::Symlink => Err(FsError::Invalid),
    }
}

/// Address of the bytes `offset..end`, if they are in one extent, and the map is at hand.
#[inline(always)]
fn address_of(node: &mut Node, offset: u64, end: u64) -> Option<u64> {
    match node.window.covers(offset, end) {
        None => refocus(node, offset, end).map(NonZeroU64::get),
        at => at,
    }
}

/// Writes `data` if all of it lies in one extent of `node`, which has a name then.
#[inline(always)]
fn write_in_window<M: Memory>(store: &Store<M>, node: &mut Node, offset: u64, data: &[u8]) -> bool {
    let end = offset.wrapping_add(data.len() as u64);
    let size = node.inode.size;
    // `end` may have wrapped around.
    if offset > size || end <= offset || store.read_only {
        return false;
    }
    let Some(at) = address_of(node, offset, end) else {
        return false;
    };
    // A check of the whole file system need not know of what is in files.
    store.space.write_inside(at, data);
    let grown = end > size;
    if grown {
        node.inode.size = end;
    }
    if node.counted != store.message {
        store_change(store, node);
    } else if grown {
        node.store_size(store);
    }
    true
}

/// Counts the first change of this message.
#[inline(never)]
fn store_change<M: Memory>(store: &Store<M>, node: &mut Node) {
    node.counted = store.message;
    node.touch_content(store.now);
    node.store_hot(store);
}

/// Applies the relatime rule.
#[inline(never)]
fn access<M: Memory>(store: &Store<M>, node: &mut Node) {
    let (now, inode) = (store.now, &mut node.inode);
    let stale = inode.atime <= inode.mtime
        || inode.atime <= inode.ctime
        || now.saturating_sub(inode.atime) >= RELATIME_NANOS;
    if stale && inode.atime != now && !store.read_only {
        inode.atime = now;
        let at = store.slot_address(node.ino) + ATIME as u64;
        store.put(at, &now.to_le_bytes());
    }
}

impl<M: Memory> Fs<M> {
    /// Reads from `offset` into `buf`; short only at the end of the file. Holes read as zero.
    ///
    /// Updates the access time by the relatime rule: if it is not after the last change, or a day
    /// old. Errors: `IsDir`, `Invalid` for symbolic links. Cost: one access of stable memory for
    /// each extent touched.
    #[inline(always)]
    pub fn read(&mut self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        if self.read_in_place(ino, offset, buf) {
            return Ok(buf.len());
        }
        self.read_extents(ino, offset, buf)
    }

    /// Fills `buf` if all of it lies in one extent, and the map is at hand.
    #[inline(always)]
    pub fn read_in_place(&mut self, ino: Ino, offset: u64, buf: &mut [u8]) -> bool {
        let end = offset.wrapping_add(buf.len() as u64);
        if let Some(node) = self.nodes.cached(ino.0)
            && end <= node.inode.size
            // Not if it wrapped around.
            && end > offset
            && let Some(at) = address_of(node, offset, end)
        {
            self.store.space.read_inside(at, buf);
            if node.inode.atime != self.store.now {
                access(&self.store, node);
            }
            return true;
        }
        false
    }

    /// [`Self::read`] from any number of extents.
    #[inline(never)]
    fn read_extents(&mut self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        let mut node = self.take(ino)?;
        let store = &self.store;
        regular(store, &mut node)?;
        let left = node.inode.size.saturating_sub(offset);
        let len = (buf.len() as u64).min(left) as usize;
        if let Some(memory) = self.attached.of(node.ino) {
            attached::read(&**memory, offset, &mut buf[..len]);
            self.access(&mut node);
            self.nodes.put(node);
            return Ok(len);
        }
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let segment = locate(store, &mut node, (at / BLOCK) as u32)?;
            let blocks = match segment {
                Segment::Mapped(_, blocks, _) | Segment::Hole(blocks) => blocks,
            };
            let n = (u64::from(blocks) * BLOCK - at % BLOCK).min((len - done) as u64) as usize;
            let part = &mut buf[done..done + n];
            match segment {
                Segment::Mapped(block, _, false) => {
                    store.read(address(block) + at % BLOCK, part)?;
                }
                _ => part.fill(0),
            }
            done += n;
        }
        self.access(&mut node);
        self.nodes.put(node);
        Ok(len)
    }

    /// Where the first byte at or behind `offset` is that is not in a hole, as `SEEK_DATA` of Linux;
    /// `None`: none up to the end of the file. What is allocated and not written is a hole.
    ///
    /// Errors: as [`Self::read`]. Cost: a look-up for each extent that is passed.
    pub fn next_data(&mut self, ino: Ino, offset: u64) -> Result<Option<u64>, FsError> {
        let mut node = self.take(ino)?;
        regular(&self.store, &mut node)?;
        let (mut at, size) = (offset, node.inode.size);
        let attached = self.attached.of(node.ino).is_some();
        while at < size && !attached {
            let blocks = match locate(&self.store, &mut node, (at / BLOCK) as u32)? {
                Segment::Mapped(_, _, false) => break,
                Segment::Mapped(_, blocks, true) | Segment::Hole(blocks) => blocks,
            };
            at = (at / BLOCK + u64::from(blocks)) * BLOCK;
        }
        self.nodes.put(node);
        Ok((at < size).then_some(at))
    }

    /// Applies the relatime rule.
    pub(super) fn access(&self, node: &mut Node) {
        access(&self.store, node);
    }

    /// The size of `ino`: what a write in append mode needs of [`Self::stat`].
    #[inline]
    pub fn size(&mut self, ino: Ino) -> Result<u64, FsError> {
        match self.nodes.cached(ino.0) {
            Some(node) if node.inode.nlink > 0 => Ok(node.inode.size),
            _ => Ok(self.stat(ino)?.size),
        }
    }

    /// Writes `data` if it lies in one extent, and so has all it needs.
    #[inline(always)]
    pub fn write_in_place(&mut self, ino: Ino, offset: u64, data: &[u8]) -> bool {
        match self.nodes.cached(ino.0) {
            Some(node) => write_in_window(&self.store, node, offset, data),
            None => false,
        }
    }

    /// [`Self::write_in_place`] at the end of the file.
    #[inline(always)]
    pub fn append_in_place(&mut self, ino: Ino, data: &[u8]) -> Option<u64> {
        let node = self.nodes.cached(ino.0)?;
        let offset = node.inode.size;
        write_in_window(&self.store, node, offset, data).then_some(offset)
    }

    /// Writes `data` at `offset`, all or nothing; a gap before it reads as zero.
    ///
    /// Errors: `IsDir`, `Invalid`, `FileTooBig` beyond 8 TiB, `NoSpace`. Cost over mapped blocks:
    /// one store for each extent and one to the inode.
    #[inline(always)]
    pub fn write(&mut self, ino: Ino, offset: u64, data: &[u8]) -> Result<(), FsError> {
        if self.write_in_place(ino, offset, data) {
            return Ok(());
        }
        self.write_vectored(ino, offset, &[data]).map(drop)
    }

    /// Writes the pieces of `data` one after the other at `offset`, all or nothing; returns how
    /// many bytes that is. Otherwise as [`Self::write`].
    #[inline(never)]
    pub fn write_vectored(
        &mut self,
        ino: Ino,
        offset: u64,
        data: &[&[u8]],
    ) -> Result<u64, FsError> {
        self.store.writable()?;
        let mut node = self.take(ino)?;
        let store = &mut self.store;
        regular(store, &mut node)?;
        let len = data.iter().map(|part| part.len() as u64).sum::<u64>();
        if len == 0 {
            self.nodes.put(node);
            return Ok(0);
        }
        let end = offset.checked_add(len).filter(|&end| end <= MAX_FILE);
        let end = end.ok_or(FsError::FileTooBig)?;
        if let Some(memory) = self.attached.of(node.ino) {
            attached::write(&**memory, node.inode.size, offset, data)?;
            node.inode.size = node.inode.size.max(end);
            node.touch_content(store.now);
            node.store_hot(store);
            self.nodes.put(node);
            return Ok(len);
        }
        let (lo, hi) = ((offset / BLOCK) as u32, blocks_of(end));
        let fast = offset <= node.inode.size && written_until(store, &mut node, lo, hi)?;
        let result = if fast {
            Ok(())
        } else {
            let open = self.open.count(node.ino) > 0;
            make_room(store, &mut node, (offset, end), open)
        };
        if result.is_ok() {
            store_data(store, &mut node, offset, data)?;
            node.inode.size = node.inode.size.max(end);
            node.touch_content(store.now);
            if fast {
                node.store_hot(store);
            } else {
                node.store(store);
            }
            self.nodes.put(node);
        }
        self.store.sync();
        result.map(|()| len)
    }

    /// Makes the file `size` bytes long. What it gains reads as zero, what it loses is freed.
    ///
    /// Errors: `IsDir`, `Invalid`, `FileTooBig`, `Corrupt`. Cost: by extents removed.
    pub fn set_len(&mut self, ino: Ino, size: u64) -> Result<(), FsError> {
        if let Some(memory) = self.attached_to(ino) {
            return self.resize_attached(&memory, ino, size, false);
        }
        self.change(ino, |store, node| {
            regular(store, node)?;
            if size > MAX_FILE {
                return Err(FsError::FileTooBig);
            }
            let (old, new) = (blocks_of(node.inode.size), blocks_of(size));
            if size == 0 {
                extents::free_all(store, node)?;
                node.inode.form = MapForm::Extents;
                node.inode.count = 0;
                node.inode.map = [0; MAP_LEN];
            } else if size > node.inode.size {
                // Loads what `zero_tail` will need.
                locate(store, node, (node.inode.size / BLOCK) as u32)?;
                if old < new {
                    let beyond = Piece {
                        lo: old,
                        hi: new,
                        set: Some(true),
                        fill: None,
                    };
                    remap(store, node, &[beyond])?;
                }
                zero_tail(store, node, size)?;
            }
            let shorter = size < node.inode.size;
            node.inode.size = size;
            if shorter {
                extents::load(store, node)?;
                trim(store, node)?;
            }
            node.touch_content(store.now);
            Ok(())
        })
    }

    /// `posix_fallocate`: allocates the blocks of `offset..offset + len`, so that writes there need
    /// no more data blocks, and extends the file to there. New blocks read as zero.
    ///
    /// Errors: `Invalid` for `len` 0, `IsDir`, `FileTooBig`, `NoSpace`.
    pub fn allocate(&mut self, ino: Ino, offset: u64, len: u64) -> Result<(), FsError> {
        if let Some(memory) = self.attached_to(ino) {
            let end = offset.checked_add(len).ok_or(FsError::FileTooBig)?;
            return match len {
                0 => Err(FsError::Invalid),
                _ => self.resize_attached(&memory, ino, end, true),
            };
        }
        self.change(ino, |store, node| {
            regular(store, node)?;
            if len == 0 {
                return Err(FsError::Invalid);
            }
            let end = offset.checked_add(len).filter(|&end| end <= MAX_FILE);
            let end = end.ok_or(FsError::FileTooBig)?;
            let size = node.inode.size;
            let (lo, hi, valid) = ((offset / BLOCK) as u32, blocks_of(end), blocks_of(size));
            let mut pieces = Vec::with_capacity(2);
            if lo < valid.min(hi) {
                pieces.push(Piece {
                    lo,
                    hi: hi.min(valid),
                    set: None,
                    fill: Some(true),
                });
            }
            if valid < lo {
                pieces.push(Piece {
                    lo: valid,
                    hi: lo,
                    set: Some(true),
                    fill: None,
                });
            }
            if valid.max(lo) < hi {
                let lo = valid.max(lo);
                pieces.push(Piece {
                    lo,
                    hi,
                    set: Some(true),
                    fill: Some(true),
                });
            }
            remap(store, node, &pieces)?;
            if end > size {
                zero_tail(store, node, end)?;
                node.inode.size = end;
            }
            node.touch_content(store.now);
            Ok(())
        })
    }
}

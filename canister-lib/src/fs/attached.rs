//! Files whose bytes are those of another memory.
//!
//! Such a file has an inode like others, which keeps its name, size and times, and owns no block:
//! without the memory it reads as zero. No extent means no window, so ordinary reads and writes
//! come here only after they had to look the map up anyway.

use std::rc::Rc;

use ic_stable_structures::Memory;

use super::Fs;
use super::error::FsError;
use super::types::Ino;
use crate::format::extent::MAX_FILE;
use crate::format::inode::Kind;
use crate::memory::WASM_PAGE;

/// The memories by inode number.
#[derive(Default)]
pub(super) struct Attached(Vec<(u32, Rc<dyn Memory>)>);

impl Attached {
    /// The memory that holds the bytes of inode `ino`.
    #[inline]
    pub fn of(&self, ino: u32) -> Option<&Rc<dyn Memory>> {
        if self.0.is_empty() {
            return None;
        }
        let found = self.0.iter().find(|(attached, _)| *attached == ino);
        found.map(|(_, memory)| memory)
    }
}

fn bytes(memory: &dyn Memory) -> u64 {
    memory.size().saturating_mul(WASM_PAGE)
}

/// Grows `memory` to hold `end` bytes.
fn grow(memory: &dyn Memory, end: u64) -> Result<(), FsError> {
    let missing = end.div_ceil(WASM_PAGE).saturating_sub(memory.size());
    if missing > 0 && memory.grow(missing) < 0 {
        return Err(FsError::NoSpace {
            needed: missing * WASM_PAGE,
            available: 0,
        });
    }
    Ok(())
}

/// Zeroes `from..to`, as far as the memory reaches: what a truncation left must not show again.
fn zero(memory: &dyn Memory, from: u64, to: u64) {
    const ZEROES: [u8; 4096] = [0; 4096];
    let (mut at, to) = (from, to.min(bytes(memory)));
    while at < to {
        let n = (to - at).min(ZEROES.len() as u64);
        memory.write(at, &ZEROES[..n as usize]);
        at += n;
    }
}

/// Reads from `at`; zeros beyond the end of the memory.
pub(super) fn read(memory: &dyn Memory, at: u64, buf: &mut [u8]) {
    let there = bytes(memory).saturating_sub(at).min(buf.len() as u64) as usize;
    let (stored, beyond) = buf.split_at_mut(there);
    if !stored.is_empty() {
        memory.read(at, stored);
    }
    beyond.fill(0);
}

/// Writes `data` at `at`, for a file of `size` bytes. Fails before the first store.
pub(super) fn write(
    memory: &dyn Memory,
    size: u64,
    mut at: u64,
    data: &[&[u8]],
) -> Result<(), FsError> {
    let end = at + data.iter().map(|part| part.len() as u64).sum::<u64>();
    grow(memory, end)?;
    zero(memory, size, at);
    for part in data {
        memory.write(at, part);
        at += part.len() as u64;
    }
    Ok(())
}

impl<M: Memory> Fs<M> {
    /// Makes the bytes of `memory` those of the regular file `ino`, until the file system is
    /// mounted anew. Its size stays; what is beyond the memory reads as zero, and writing there
    /// grows it. The memory is not part of quotas and of [`Self::usage`].
    ///
    /// Errors: `IsDir`, `Invalid` for other kinds; `NotPermitted` if the file has blocks of its
    /// own, which would be hidden; `Exists` if it has a memory already.
    pub fn attach(&mut self, ino: Ino, memory: Rc<dyn Memory>) -> Result<(), FsError> {
        let node = self.take(ino)?;
        let (number, kind, blocks) = (node.ino, node.inode.kind, node.inode.blocks);
        self.nodes.put(node);
        match kind {
            Kind::Regular => {}
            Kind::Directory => return Err(FsError::IsDir),
            Kind::Symlink => return Err(FsError::Invalid),
        }
        if blocks > 0 {
            return Err(FsError::NotPermitted);
        }
        if self.attached.of(number).is_some() {
            return Err(FsError::Exists);
        }
        // Its number must not become another file's.
        self.retain(ino)?;
        self.attached.0.push((number, memory));
        Ok(())
    }

    /// Lengthens or shortens a file in another memory, or reserves room in it.
    pub(super) fn resize_attached(
        &mut self,
        memory: &Rc<dyn Memory>,
        ino: Ino,
        size: u64,
        reserve: bool,
    ) -> Result<(), FsError> {
        self.change(ino, |store, node| {
            if size > MAX_FILE {
                return Err(FsError::FileTooBig);
            }
            let old = node.inode.size;
            if reserve {
                grow(&**memory, size)?;
            }
            zero(&**memory, old, size);
            node.inode.size = if reserve { old.max(size) } else { size };
            node.touch_content(store.now);
            Ok(())
        })
    }

    /// The memory behind `ino`, if it is not blocks.
    #[inline]
    pub(super) fn attached_to(&self, ino: Ino) -> Option<Rc<dyn Memory>> {
        self.attached.of(u32::try_from(ino.0).ok()?).cloned()
    }
}

//! Stable memory with errors instead of traps.
//!
//! [`Memory`] panics (traps, on the IC) when an access is out of bounds. An address that was read
//! from stable memory must not be able to cause that, so the file system goes through [`Space`].

use ic_stable_structures::Memory;

#[cfg(not(target_family = "wasm"))]
pub mod counting;
#[cfg(not(target_family = "wasm"))]
pub mod faulty;
pub mod heap;

/// Bytes in a WebAssembly page, the unit in which memories grow.
pub const WASM_PAGE: u64 = 65536;

/// An access outside the memory: the address came from a damaged image.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct OutOfBounds;

/// A [`Memory`] whose every access is checked against its size first.
pub struct Space<M> {
    memory: M,
    /// Size in bytes. Memories never shrink, so a copy is safe, and cheaper than asking.
    limit: u64,
}

impl<M: Memory> Space<M> {
    /// Wraps `memory`, whose size must only change through this value from now on.
    pub fn new(memory: M) -> Self {
        let limit = memory.size().saturating_mul(WASM_PAGE);
        Self { memory, limit }
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.limit
    }

    /// Fills `buf` from address `at`.
    #[inline]
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), OutOfBounds> {
        self.check(at, buf.len())?;
        self.memory.read(at, buf);
        Ok(())
    }

    /// Stores `data` at address `at`.
    #[inline]
    pub fn write(&self, at: u64, data: &[u8]) -> Result<(), OutOfBounds> {
        self.check(at, data.len())?;
        self.memory.write(at, data);
        Ok(())
    }

    /// [`Self::read`] of a range that is known to be inside; panics otherwise.
    #[inline(always)]
    pub fn read_inside(&self, at: u64, buf: &mut [u8]) {
        self.memory.read(at, buf);
    }

    /// [`Self::write`] of a range that is known to be inside; panics otherwise.
    #[inline(always)]
    pub fn write_inside(&self, at: u64, data: &[u8]) {
        self.memory.write(at, data);
    }

    /// Grows by `pages` WebAssembly pages; `false` if the memory would not.
    pub fn grow(&mut self, pages: u64) -> bool {
        if self.memory.grow(pages) < 0 {
            return false;
        }
        self.limit = self.memory.size().saturating_mul(WASM_PAGE);
        true
    }

    /// Gives the memory back.
    pub fn into_inner(self) -> M {
        self.memory
    }

    #[inline]
    fn check(&self, at: u64, len: usize) -> Result<(), OutOfBounds> {
        match at.checked_add(len as u64) {
            Some(end) if end <= self.limit => Ok(()),
            _ => Err(OutOfBounds),
        }
    }
}

/// A memory of a type that is chosen at run time.
pub struct AnyMemory(Box<dyn Memory>);

impl AnyMemory {
    /// Boxes `memory`.
    pub fn new(memory: impl Memory + 'static) -> Self {
        Self(Box::new(memory))
    }
}

impl Memory for AnyMemory {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn grow(&self, pages: u64) -> i64 {
        self.0.grow(pages)
    }
    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.0.read(offset, dst);
    }
    fn write(&self, offset: u64, src: &[u8]) {
        self.0.write(offset, src);
    }
}

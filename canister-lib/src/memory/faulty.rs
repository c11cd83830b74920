//! A memory that fails when told to, for tests.

use std::cell::Cell;
use std::rc::Rc;

use ic_stable_structures::Memory;

/// What is to go wrong, and counts of what happened. Shared between a test and its memory.
#[derive(Default)]
pub struct Faults {
    /// Calls of `grow` so far.
    pub grows: Cell<u64>,
    /// Stores so far.
    pub writes: Cell<u64>,
    /// `grow` fails once so many calls have been made.
    pub fail_grow_after: Cell<Option<u64>>,
    /// A store panics once so many have been made.
    pub panic_write_after: Cell<Option<u64>>,
    /// `grow` fails beyond this size in WebAssembly pages.
    pub max_pages: Cell<Option<u64>>,
}

/// A memory with [`Faults`].
pub struct FaultyMemory<M> {
    inner: M,
    faults: Rc<Faults>,
}

impl<M: Memory> FaultyMemory<M> {
    /// Wraps `inner`; `faults` stays in the test's hands.
    pub fn new(inner: M, faults: Rc<Faults>) -> Self {
        Self { inner, faults }
    }
}

impl<M: Memory> Memory for FaultyMemory<M> {
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn grow(&self, pages: u64) -> i64 {
        let done = self.faults.grows.get();
        self.faults.grows.set(done + 1);
        let too_often = self.faults.fail_grow_after.get().is_some_and(|n| done >= n);
        let too_big = self
            .faults
            .max_pages
            .get()
            .is_some_and(|max| self.inner.size() + pages > max);
        if too_often || too_big {
            return -1;
        }
        self.inner.grow(pages)
    }
    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.inner.read(offset, dst);
    }
    fn write(&self, offset: u64, src: &[u8]) {
        let done = self.faults.writes.get();
        self.faults.writes.set(done + 1);
        if self
            .faults
            .panic_write_after
            .get()
            .is_some_and(|n| done >= n)
        {
            panic!("injected fault at store {done}");
        }
        self.inner.write(offset, src);
    }
}

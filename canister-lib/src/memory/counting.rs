//! A memory that counts what the Internet Computer would charge for, for tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use ic_stable_structures::Memory;

/// Counts since the last [`Costs::start_message`].
#[derive(Default)]
pub struct Costs {
    /// Calls of `read` and `write`.
    pub calls: Cell<u64>,
    /// Bytes that they moved.
    pub bytes: Cell<u64>,
    dirty: RefCell<BTreeSet<u64>>,
}

impl Costs {
    /// Forgets all counts: a new message begins, in which every page is clean.
    pub fn start_message(&self) {
        self.calls.set(0);
        self.bytes.set(0);
        self.dirty.borrow_mut().clear();
    }

    /// 4 KiB pages dirtied in this message.
    pub fn dirty_pages(&self) -> u64 {
        self.dirty.borrow().len() as u64
    }

    /// Instructions for the accesses alone: 25 a call, one a byte.
    pub fn access(&self) -> u64 {
        self.calls.get() * 25 + self.bytes.get()
    }

    /// [`Self::access`] and the fee of 1,000 for each page dirtied first.
    pub fn total(&self) -> u64 {
        self.access() + 1000 * self.dirty_pages()
    }
}

/// A memory with [`Costs`].
pub struct CountingMemory<M> {
    inner: M,
    costs: Rc<Costs>,
}

impl<M: Memory> CountingMemory<M> {
    /// Wraps `inner`; `costs` stays in the test's hands.
    pub fn new(inner: M, costs: Rc<Costs>) -> Self {
        Self { inner, costs }
    }

    fn count(&self, len: usize) {
        self.costs.calls.set(self.costs.calls.get() + 1);
        self.costs.bytes.set(self.costs.bytes.get() + len as u64);
    }
}

impl<M: Memory> Memory for CountingMemory<M> {
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn grow(&self, pages: u64) -> i64 {
        self.inner.grow(pages)
    }
    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.count(dst.len());
        self.inner.read(offset, dst);
    }
    fn write(&self, offset: u64, src: &[u8]) {
        self.count(src.len());
        if !src.is_empty() {
            let mut dirty = self.costs.dirty.borrow_mut();
            dirty.extend(offset / 4096..=(offset + src.len() as u64 - 1) / 4096);
        }
        self.inner.write(offset, src);
    }
}

//! A memory that can take back what was stored since a point, as a trap does on the IC.

use std::cell::RefCell;
use std::rc::Rc;

use ic_stable_structures::{Memory, VectorMemory};

/// A memory with an undo log while one is being kept.
#[derive(Clone, Default)]
pub struct Journal {
    memory: VectorMemory,
    log: Rc<RefCell<Option<Log>>>,
}

struct Log {
    size: usize,
    old: Vec<(u64, Vec<u8>)>,
}

impl Journal {
    /// A message begins: what is stored from here on can be rolled back.
    pub fn begin(&self) {
        let size = self.memory.borrow().len();
        let old = Vec::new();
        *self.log.borrow_mut() = Some(Log { size, old });
    }

    /// Restores the memory of the last [`Self::begin`], byte for byte, and begins again.
    pub fn roll_back(&self) {
        let log = self.log.borrow_mut().take().expect("begun");
        for (at, bytes) in log.old.iter().rev() {
            self.memory.write(*at, bytes);
        }
        self.memory.borrow_mut().truncate(log.size);
        self.begin();
    }
}

impl Memory for Journal {
    fn size(&self) -> u64 {
        self.memory.size()
    }
    fn grow(&self, pages: u64) -> i64 {
        self.memory.grow(pages)
    }
    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.memory.read(offset, dst);
    }
    fn write(&self, offset: u64, src: &[u8]) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            let mut old = vec![0; src.len()];
            self.memory.read(offset, &mut old);
            log.old.push((offset, old));
        }
        self.memory.write(offset, src);
    }
}

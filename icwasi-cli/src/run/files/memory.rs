//! A file without a name as stable memory.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use ic_stable_structures::Memory;

const WASM_PAGE: u64 = 65_536;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct Scratch {
    file: Rc<File>,
    /// The first failure: a [`Memory`] has no errors.
    failure: Rc<RefCell<Option<io::Error>>>,
}

impl Scratch {
    /// Memory of no page.
    pub fn new() -> io::Result<Self> {
        Ok(Self::over(tempfile::tempfile()?))
    }

    /// What `file` holds.
    pub fn over(file: File) -> Self {
        Self {
            file: Rc::new(file),
            failure: Rc::default(),
        }
    }

    /// The file, and why what was read or written since cannot be trusted, if so.
    pub fn finish(&self) -> io::Result<File> {
        match self.failure.borrow_mut().take() {
            Some(error) => Err(error),
            None => self.file.try_clone(),
        }
    }

    fn note(&self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                false
            }
        }
    }
}

impl Memory for Scratch {
    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.len() / WASM_PAGE)
    }

    fn grow(&self, pages: u64) -> i64 {
        let old = self.size();
        let bytes = old
            .checked_add(pages)
            .and_then(|pages| pages.checked_mul(WASM_PAGE));
        match bytes {
            Some(bytes) if self.note(self.file.set_len(bytes)) => old as i64,
            _ => -1,
        }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        if !self.note(self.file.read_exact_at(dst, offset)) {
            dst.fill(0);
        }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.note(self.file.write_all_at(src, offset));
    }
}

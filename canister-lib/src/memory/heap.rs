//! A memory on the heap, of limited size.

use std::cell::RefCell;

use ic_stable_structures::Memory;

use super::WASM_PAGE;

const PAGE: usize = WASM_PAGE as usize;

/// Pages that are allocated one by one, so that growing copies nothing. When the heap is full, it
/// does not grow.
pub struct HeapMemory {
    pages: RefCell<Vec<Vec<u8>>>,
    limit: u64,
}

impl HeapMemory {
    /// An empty memory that grows to `bytes` at most, rounded up to pages.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            pages: RefCell::default(),
            limit: bytes.div_ceil(WASM_PAGE),
        }
    }

    /// Calls `part` for each piece of `len` bytes from `offset` on, with the piece and where in
    /// them it begins.
    fn each(&self, offset: u64, len: usize, mut part: impl FnMut(&mut [u8], usize)) {
        let mut pages = self.pages.borrow_mut();
        let mut done = 0;
        while done < len {
            let at = offset as usize + done;
            let page = &mut pages[at / PAGE];
            let piece = &mut page[at % PAGE..];
            let n = piece.len().min(len - done);
            part(&mut piece[..n], done);
            done += n;
        }
    }
}

fn new_page() -> Option<Vec<u8>> {
    let mut page = Vec::new();
    page.try_reserve_exact(PAGE).ok()?;
    page.resize(PAGE, 0);
    Some(page)
}

impl Memory for HeapMemory {
    fn size(&self) -> u64 {
        self.pages.borrow().len() as u64
    }

    fn grow(&self, pages: u64) -> i64 {
        let mut all = self.pages.borrow_mut();
        let old = all.len();
        if (old as u64)
            .checked_add(pages)
            .is_none_or(|new| new > self.limit)
            || all.try_reserve(pages as usize).is_err()
        {
            return -1;
        }
        for _ in 0..pages {
            match new_page() {
                Some(page) => all.push(page),
                None => {
                    all.truncate(old);
                    return -1;
                }
            }
        }
        old as i64
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.each(offset, dst.len(), |piece, at| {
            dst[at..at + piece.len()].copy_from_slice(piece);
        });
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.each(offset, src.len(), |piece, at| {
            piece.copy_from_slice(&src[at..at + piece.len()]);
        });
    }
}

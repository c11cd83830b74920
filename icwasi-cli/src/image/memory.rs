//! A file with stable memory as a [`Memory`] that never changes the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ic_stable_structures::Memory;

const WASM_PAGE: u64 = 65_536;
const PAGE: usize = 4_096;

type Page = Box<[u8; PAGE]>;

/// What stores changed, and the first failure to read.
#[derive(Default)]
struct State {
    /// Pages by number.
    changed: BTreeMap<u64, Page>,
    failure: Option<io::Error>,
}

/// The content of a file, which is only read: a mount frees what an earlier run left behind, and
/// reading updates times, so stores go to pages on the heap.
#[derive(Clone)]
pub(super) struct FileMemory {
    file: Arc<File>,
    pages: u64,
    state: Arc<Mutex<State>>,
}

impl FileMemory {
    /// All whole pages of `file`.
    pub fn new(file: File) -> io::Result<Self> {
        let pages = file.metadata()?.len() / WASM_PAGE;
        Ok(FileMemory {
            file: Arc::new(file),
            pages,
            state: Arc::default(),
        })
    }

    /// Why what was read since the last call cannot be trusted, if so: a [`Memory`] has no errors.
    pub fn take_failure(&self) -> Option<io::Error> {
        self.state().failure.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_file(&self, state: &mut State, offset: u64, bytes: &mut [u8]) {
        if let Err(error) = self.file.read_exact_at(bytes, offset) {
            bytes.fill(0);
            state.failure.get_or_insert(error);
        }
    }
}

/// The pieces of `offset..offset + len` by page: page, where in it, where in the range.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let position = offset + at as u64;
        let within = (position % PAGE as u64) as usize;
        let end = len.min(at + PAGE - within);
        let piece = (at < len).then_some((position / PAGE as u64, within, at..end));
        at = end;
        piece
    })
}

impl Memory for FileMemory {
    fn size(&self) -> u64 {
        self.pages
    }

    fn grow(&self, _: u64) -> i64 {
        -1
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        let mut state = self.state();
        self.read_file(&mut state, offset, dst);
        if state.changed.is_empty() {
            return;
        }
        for (page, within, range) in pieces(offset, dst.len()) {
            if let Some(changed) = state.changed.get(&page) {
                let len = range.len();
                dst[range].copy_from_slice(&changed[within..within + len]);
            }
        }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        let mut state = self.state();
        for (page, within, range) in pieces(offset, src.len()) {
            if !state.changed.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE]);
                self.read_file(&mut state, page * PAGE as u64, &mut bytes[..]);
                state.changed.insert(page, bytes);
            }
            if let Some(bytes) = state.changed.get_mut(&page) {
                bytes[within..within + range.len()].copy_from_slice(&src[range]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_seen_and_do_not_reach_the_file() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..2 * WASM_PAGE).map(|i| (i % 251) as u8).collect();
        io::Write::write_all(&mut file, &bytes).expect("written");
        let memory = FileMemory::new(file).expect("a memory");
        assert_eq!((memory.size(), memory.grow(1)), (2, -1));
        let mut expected = bytes.clone();
        for (at, len) in [(0, 1), (4_000, 200), (4_095, 8_194), (131_071, 1)] {
            let data = vec![0xee; len];
            memory.write(at, &data);
            expected[at as usize..at as usize + len].copy_from_slice(&data);
        }
        let mut read = vec![0; bytes.len()];
        memory.read(0, &mut read);
        assert!(read == expected);
        memory.read(4_090, &mut read[..20]);
        assert_eq!(read[..20], expected[4_090..4_110]);
        memory.file.read_exact_at(&mut read, 0).expect("reads");
        assert!(read == bytes);
        assert!(memory.take_failure().is_none());
        memory.read(2 * WASM_PAGE, &mut read[..1]);
        assert!(memory.take_failure().is_some() && memory.take_failure().is_none());
    }
}

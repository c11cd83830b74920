//! What a loop of reads and writes goes to: a file, or stable memory itself.

/// Bytes in order.
pub trait Device {
    /// Writes at the cursor, which moves.
    fn write(&mut self, data: &[u8]);
    /// Fills `buffer` from the cursor, which moves.
    fn read(&mut self, buffer: &mut [u8]);
    /// Writes at an offset.
    fn write_at(&mut self, offset: u64, data: &[u8]);
    /// Fills `buffer` from an offset.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]);
    /// Moves the cursor.
    fn seek(&mut self, offset: u64);
}

#[cfg(not(feature = "floor"))]
pub use file::{File, open};
#[cfg(feature = "floor")]
pub use raw::{File, open};

/// How `open` opens a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A new one.
    Create,
    /// An existing one, from its start.
    Existing,
    /// An existing one, to write at its end.
    Append,
}

#[cfg(not(feature = "floor"))]
mod file {
    use super::{Device, Mode};
    use crate::wasi;

    /// An open file.
    pub struct File(u32);

    /// Opens file number `file` in the root. `total` matters for stable memory only.
    pub fn open(file: u64, mode: Mode, _total: u64) -> File {
        let name = wasi::Name::file(file);
        let (open, flags) = match mode {
            // Not exclusively: a file on a memory of its own is there from the beginning.
            Mode::Create => (wasi::O_CREAT, 0),
            Mode::Existing => (0, 0),
            Mode::Append => (0, wasi::APPEND),
        };
        File(wasi::open(wasi::ROOT, name.bytes(), open, flags))
    }

    impl Drop for File {
        fn drop(&mut self) {
            wasi::close(self.0);
        }
    }

    impl Device for File {
        #[inline]
        fn write(&mut self, data: &[u8]) {
            wasi::write(self.0, data);
        }
        #[inline]
        fn read(&mut self, buffer: &mut [u8]) {
            wasi::read(self.0, buffer);
        }
        #[inline]
        fn write_at(&mut self, offset: u64, data: &[u8]) {
            wasi::write_at(self.0, offset, data);
        }
        #[inline]
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) {
            wasi::read_at(self.0, offset, buffer);
        }
        #[inline]
        fn seek(&mut self, offset: u64) {
            wasi::seek(self.0, offset);
        }
    }

    impl File {
        /// Reserves the blocks of the first `bytes` bytes.
        pub fn allocate(&mut self, bytes: u64) {
            wasi::allocate(self.0, bytes);
        }
    }
}

#[cfg(feature = "floor")]
mod raw {
    use super::{Device, Mode};
    use crate::message::trap;

    #[link(wasm_import_module = "ic0")]
    unsafe extern "C" {
        safe fn stable64_size() -> u64;
        safe fn stable64_grow(pages: u64) -> i64;
        fn stable64_write(offset: u64, src: u64, size: u64);
        fn stable64_read(dst: u64, offset: u64, size: u64);
    }

    /// A part of stable memory.
    pub struct File {
        start: u64,
        cursor: u64,
    }

    /// The part of stable memory that stands for file number `file`, of `total` bytes.
    pub fn open(file: u64, mode: Mode, total: u64) -> File {
        let start = file * total.next_multiple_of(4096);
        let pages = (start + total)
            .div_ceil(65_536)
            .saturating_sub(stable64_size());
        if pages > 0 && stable64_grow(pages) < 0 {
            trap("stable memory cannot grow");
        }
        let _ = mode;
        File {
            start,
            cursor: start,
        }
    }

    impl Device for File {
        #[inline]
        fn write(&mut self, data: &[u8]) {
            // SAFETY: `data` is a readable range.
            unsafe { stable64_write(self.cursor, data.as_ptr().addr() as u64, data.len() as u64) };
            self.cursor += data.len() as u64;
        }
        #[inline]
        fn read(&mut self, buffer: &mut [u8]) {
            let address = buffer.as_mut_ptr().addr() as u64;
            // SAFETY: `buffer` is a writable range.
            unsafe { stable64_read(address, self.cursor, buffer.len() as u64) };
            self.cursor += buffer.len() as u64;
        }
        #[inline]
        fn write_at(&mut self, offset: u64, data: &[u8]) {
            let address = data.as_ptr().addr() as u64;
            // SAFETY: `data` is a readable range.
            unsafe { stable64_write(self.start + offset, address, data.len() as u64) };
        }
        #[inline]
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) {
            let address = buffer.as_mut_ptr().addr() as u64;
            // SAFETY: `buffer` is a writable range.
            unsafe { stable64_read(address, self.start + offset, buffer.len() as u64) };
        }
        #[inline]
        fn seek(&mut self, offset: u64) {
            self.cursor = self.start + offset;
        }
    }
}

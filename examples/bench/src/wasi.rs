//! The functions of WASI that the workloads call, and names of files.

use crate::message::trap;

/// The preopened directory.
pub const ROOT: u32 = 3;
/// `oflags`
pub const O_CREAT: u32 = 1;
/// `oflags`
pub const O_DIRECTORY: u32 = 2;
/// `oflags`
pub const O_EXCL: u32 = 4;
/// `fdflags`
pub const APPEND: u32 = 1;

/// What `std` and wasi-libc ask for: everything that can be done with a file.
const RIGHTS: u64 = (1 << 29) - 1;
/// For directories: writing to one is not a right.
const DIRECTORY_RIGHTS: u64 = RIGHTS & !(1 << 6);

#[repr(C)]
struct Buffer {
    address: *const u8,
    len: usize,
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn fd_write(fd: u32, iovs: *const Buffer, count: u32, out: *mut u32) -> i32;
    fn fd_read(fd: u32, iovs: *const Buffer, count: u32, out: *mut u32) -> i32;
    fn fd_pwrite(fd: u32, iovs: *const Buffer, count: u32, offset: u64, out: *mut u32) -> i32;
    fn fd_pread(fd: u32, iovs: *const Buffer, count: u32, offset: u64, out: *mut u32) -> i32;
    fn fd_seek(fd: u32, delta: i64, whence: u32, out: *mut u64) -> i32;
    safe fn fd_close(fd: u32) -> i32;
    safe fn fd_allocate(fd: u32, offset: u64, len: u64) -> i32;
    safe fn fd_filestat_set_size(fd: u32, size: u64) -> i32;
    fn fd_readdir(fd: u32, buf: *mut u8, len: u32, cookie: u64, out: *mut u32) -> i32;
    fn path_open(
        fd: u32,
        lookup: u32,
        path: *const u8,
        len: u32,
        open: u32,
        base: u64,
        inheriting: u64,
        flags: u32,
        out: *mut u32,
    ) -> i32;
    fn path_create_directory(fd: u32, path: *const u8, len: u32) -> i32;
    fn path_filestat_get(fd: u32, flags: u32, path: *const u8, len: u32, out: *mut [u64; 8])
    -> i32;
    fn path_rename(
        old_fd: u32,
        old: *const u8,
        old_len: u32,
        new_fd: u32,
        new: *const u8,
        new_len: u32,
    ) -> i32;
    fn path_unlink_file(fd: u32, path: *const u8, len: u32) -> i32;
}

#[inline]
fn check(errno: i32, what: &str) {
    if errno != 0 {
        trap(what);
    }
}

/// Opens `path`.
pub fn open(fd: u32, path: &[u8], open: u32, flags: u32) -> u32 {
    let rights = if open & O_DIRECTORY != 0 {
        DIRECTORY_RIGHTS
    } else {
        RIGHTS
    };
    let mut out = 0;
    let (path, len) = (path.as_ptr(), path.len() as u32);
    // SAFETY: path and result are ranges of this memory.
    let errno = unsafe { path_open(fd, 1, path, len, open, rights, RIGHTS, flags, &mut out) };
    check(errno, "path_open");
    out
}

/// Closes a descriptor.
pub fn close(fd: u32) {
    check(fd_close(fd), "fd_close");
}

/// Writes all of `data`.
#[inline]
pub fn write(fd: u32, data: &[u8]) {
    let buffer = Buffer {
        address: data.as_ptr(),
        len: data.len(),
    };
    let mut out = 0;
    // SAFETY: buffer and result are ranges of this memory.
    let errno = unsafe { fd_write(fd, &buffer, 1, &mut out) };
    if errno != 0 || out as usize != data.len() {
        trap("fd_write");
    }
}

/// Fills `buffer`.
#[inline]
pub fn read(fd: u32, buffer: &mut [u8]) {
    let len = buffer.len();
    let buffer = Buffer {
        address: buffer.as_mut_ptr(),
        len,
    };
    let mut out = 0;
    // SAFETY: as in `write`; the buffer is writable.
    let errno = unsafe { fd_read(fd, &buffer, 1, &mut out) };
    if errno != 0 || out as usize != len {
        trap("fd_read");
    }
}

/// Writes all of `data` at `offset`.
#[inline]
pub fn write_at(fd: u32, offset: u64, data: &[u8]) {
    let buffer = Buffer {
        address: data.as_ptr(),
        len: data.len(),
    };
    let mut out = 0;
    // SAFETY: as in `write`.
    let errno = unsafe { fd_pwrite(fd, &buffer, 1, offset, &mut out) };
    if errno != 0 || out as usize != data.len() {
        trap("fd_pwrite");
    }
}

/// Fills `buffer` from `offset`.
#[inline]
pub fn read_at(fd: u32, offset: u64, buffer: &mut [u8]) {
    let len = buffer.len();
    let buffer = Buffer {
        address: buffer.as_mut_ptr(),
        len,
    };
    let mut out = 0;
    // SAFETY: as in `read`.
    let errno = unsafe { fd_pread(fd, &buffer, 1, offset, &mut out) };
    if errno != 0 || out as usize != len {
        trap("fd_pread");
    }
}

/// Moves the cursor to `offset`.
#[inline]
pub fn seek(fd: u32, offset: u64) {
    let mut out = 0;
    // SAFETY: the result is a range of this memory.
    let errno = unsafe { fd_seek(fd, offset as i64, 0, &mut out) };
    check(errno, "fd_seek");
}

/// Reserves space.
pub fn allocate(fd: u32, len: u64) {
    check(fd_allocate(fd, 0, len), "fd_allocate");
}

/// Cuts a file.
pub fn set_size(fd: u32, size: u64) {
    check(fd_filestat_set_size(fd, size), "fd_filestat_set_size");
}

/// Entries after `cookie` into `buffer`; how many bytes of it were used.
pub fn list(fd: u32, buffer: &mut [u8], cookie: u64) -> usize {
    let mut used = 0;
    let (start, len) = (buffer.as_mut_ptr(), buffer.len() as u32);
    // SAFETY: buffer and result are ranges of this memory.
    let errno = unsafe { fd_readdir(fd, start, len, cookie, &mut used) };
    check(errno, "fd_readdir");
    used as usize
}

/// Makes a directory.
pub fn make_directory(fd: u32, path: &[u8]) {
    // SAFETY: the path is a range of this memory.
    let errno = unsafe { path_create_directory(fd, path.as_ptr(), path.len() as u32) };
    check(errno, "path_create_directory");
}

/// Whether there is something at `path`.
pub fn exists(fd: u32, path: &[u8]) -> bool {
    let mut stat = [0; 8];
    // SAFETY: path and result are ranges of this memory.
    unsafe { path_filestat_get(fd, 1, path.as_ptr(), path.len() as u32, &mut stat) == 0 }
}

/// Renames within the root.
pub fn rename(from: &[u8], to: &[u8]) {
    let (old, new) = (from.as_ptr(), to.as_ptr());
    let (old_len, new_len) = (from.len() as u32, to.len() as u32);
    // SAFETY: the paths are ranges of this memory.
    let errno = unsafe { path_rename(ROOT, old, old_len, ROOT, new, new_len) };
    check(errno, "path_rename");
}

/// Removes a file.
pub fn remove(path: &[u8]) {
    // SAFETY: the path is a range of this memory.
    let errno = unsafe { path_unlink_file(ROOT, path.as_ptr(), path.len() as u32) };
    check(errno, "path_unlink_file");
}

/// A path that ends in a number, which is written in place: formatting a new string for each
/// would cost as much as what is measured.
pub struct Name {
    bytes: [u8; 24],
    len: usize,
}

impl Name {
    /// File number `file` of the root.
    pub fn file(file: u64) -> Self {
        Self::new(b"file-", file)
    }

    /// Directory number `directory` of the root.
    pub fn directory(directory: u64) -> Self {
        Self::new(b"dir-", directory)
    }

    /// Something in the directory `self`, to be numbered by [`Self::with`].
    pub fn within(self, stem: &[u8; 5]) -> Self {
        let Self { mut bytes, len } = self;
        bytes[len] = b'/';
        bytes[len + 1..len + 6].copy_from_slice(stem);
        Self {
            bytes,
            len: len + 12,
        }
    }

    fn new(stem: &[u8], number: u64) -> Self {
        let mut bytes = [0; 24];
        bytes[..stem.len()].copy_from_slice(stem);
        bytes[stem.len()] = b'0' + (number / 10 % 10) as u8;
        bytes[stem.len() + 1] = b'0' + (number % 10) as u8;
        Self {
            bytes,
            len: stem.len() + 2,
        }
    }

    /// The name with six digits at its end.
    pub fn with(&mut self, number: u64) -> &[u8] {
        let mut rest = number as u32;
        for digit in self.bytes[self.len - 6..self.len].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes()
    }

    /// The name.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

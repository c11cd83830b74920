//! Constants and layouts of the WASI preview1 ABI, encoded byte by byte.

use crate::fs::{FileType, Stat};

/// Kinds of files in `filestat`, `fdstat` and `dirent`.
pub mod filetype {
    /// `character_device`: what `isatty` looks for.
    pub const CHARACTER_DEVICE: u8 = 2;
    /// `directory`
    pub const DIRECTORY: u8 = 3;
    /// `regular_file`
    pub const REGULAR_FILE: u8 = 4;
    /// `symbolic_link`
    pub const SYMBOLIC_LINK: u8 = 7;
}

/// The ABI's number for a kind of file.
#[must_use]
pub fn filetype_of(file_type: FileType) -> u8 {
    match file_type {
        FileType::Regular => filetype::REGULAR_FILE,
        FileType::Directory => filetype::DIRECTORY,
        FileType::Symlink => filetype::SYMBOLIC_LINK,
    }
}

/// `rights`
#[allow(missing_docs)] // the names are the documentation
pub mod rights {
    pub const FD_DATASYNC: u64 = 1;
    pub const FD_READ: u64 = 1 << 1;
    pub const FD_SEEK: u64 = 1 << 2;
    pub const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub const FD_SYNC: u64 = 1 << 4;
    pub const FD_TELL: u64 = 1 << 5;
    pub const FD_WRITE: u64 = 1 << 6;
    pub const FD_ADVISE: u64 = 1 << 7;
    pub const FD_ALLOCATE: u64 = 1 << 8;
    pub const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub const PATH_CREATE_FILE: u64 = 1 << 10;
    pub const PATH_LINK_SOURCE: u64 = 1 << 11;
    pub const PATH_LINK_TARGET: u64 = 1 << 12;
    pub const PATH_OPEN: u64 = 1 << 13;
    pub const FD_READDIR: u64 = 1 << 14;
    pub const PATH_READLINK: u64 = 1 << 15;
    pub const PATH_RENAME_SOURCE: u64 = 1 << 16;
    pub const PATH_RENAME_TARGET: u64 = 1 << 17;
    pub const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
    pub const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
    pub const FD_FILESTAT_GET: u64 = 1 << 21;
    pub const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub const PATH_SYMLINK: u64 = 1 << 24;
    pub const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
    pub const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub const POLL_FD_READWRITE: u64 = 1 << 27;
    pub const SOCK_SHUTDOWN: u64 = 1 << 28;
    pub const SOCK_ACCEPT: u64 = 1 << 29;

    /// What a directory can be used for.
    pub const DIRECTORY: u64 = PATH_CREATE_DIRECTORY
        | PATH_CREATE_FILE
        | PATH_LINK_SOURCE
        | PATH_LINK_TARGET
        | PATH_OPEN
        | FD_READDIR
        | PATH_READLINK
        | PATH_RENAME_SOURCE
        | PATH_RENAME_TARGET
        | PATH_SYMLINK
        | PATH_REMOVE_DIRECTORY
        | PATH_UNLINK_FILE
        | PATH_FILESTAT_GET
        | PATH_FILESTAT_SET_TIMES
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES;

    /// What a regular file can be used for.
    pub const FILE: u64 = FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_SIZE
        | FD_FILESTAT_SET_TIMES
        | POLL_FD_READWRITE;
}

/// `fdflags`
#[allow(missing_docs)]
pub mod fdflags {
    pub const APPEND: u16 = 1;
    pub const DSYNC: u16 = 1 << 1;
    pub const NONBLOCK: u16 = 1 << 2;
    pub const RSYNC: u16 = 1 << 3;
    pub const SYNC: u16 = 1 << 4;
    pub const ALL: u16 = 0x1f;
}

/// `oflags`
#[allow(missing_docs)]
pub mod oflags {
    pub const CREAT: u16 = 1;
    pub const DIRECTORY: u16 = 1 << 1;
    pub const EXCL: u16 = 1 << 2;
    pub const TRUNC: u16 = 1 << 3;
    pub const ALL: u16 = 0xf;
}

/// `lookupflags`: the only one, `symlink_follow`.
pub const LOOKUP_SYMLINK_FOLLOW: u32 = 1;

/// `fstflags`
#[allow(missing_docs)]
pub mod fstflags {
    pub const ATIM: u16 = 1;
    pub const ATIM_NOW: u16 = 1 << 1;
    pub const MTIM: u16 = 1 << 2;
    pub const MTIM_NOW: u16 = 1 << 3;
    pub const ALL: u16 = 0xf;
}

/// `clockid`
#[allow(missing_docs)]
pub mod clockid {
    pub const REALTIME: u32 = 0;
    pub const MONOTONIC: u32 = 1;
    pub const PROCESS_CPUTIME: u32 = 2;
    pub const THREAD_CPUTIME: u32 = 3;
}

/// `whence`, numbered as in preview1; `wasi_unstable` has another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// From the start: 0.
    Set,
    /// From the cursor: 1.
    Cur,
    /// From the end: 2.
    End,
}

impl Whence {
    /// From its number in preview1.
    #[must_use]
    pub fn from_preview1(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Set),
            1 => Some(Self::Cur),
            2 => Some(Self::End),
            _ => None,
        }
    }

    /// From its number in `wasi_unstable`.
    #[must_use]
    pub fn from_unstable(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Cur),
            1 => Some(Self::End),
            2 => Some(Self::Set),
            _ => None,
        }
    }
}

/// What `filestat` of either ABI is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Filestat {
    /// Device: 1 for the file system, 2 for the one on the heap, 0 for stdio.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// One of [`filetype`].
    pub filetype: u8,
    /// Number of links.
    pub nlink: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub atim: u64,
    /// Nanoseconds since 1970.
    pub mtim: u64,
    /// Nanoseconds since 1970.
    pub ctim: u64,
}

impl Filestat {
    /// Of an object on device `dev`.
    #[must_use]
    pub fn new(dev: u64, stat: &Stat) -> Self {
        Self {
            dev,
            ino: stat.ino.0,
            filetype: filetype_of(stat.file_type),
            nlink: u64::from(stat.nlink),
            size: stat.size,
            atim: stat.atime,
            mtim: stat.mtime,
            ctim: stat.ctime,
        }
    }
}

impl Filestat {
    /// Bytes in preview1.
    pub const SIZE: u32 = 64;
    /// Bytes in `wasi_unstable`.
    pub const UNSTABLE_SIZE: u32 = 56;

    /// ```text
    ///  0 dev u64   8 ino u64   16 filetype u8   24 nlink u64   32 size u64
    /// 40 atim u64  48 mtim u64  56 ctim u64
    /// ```
    #[must_use]
    pub fn encode(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        put(&mut bytes, 0, &self.dev.to_le_bytes());
        put(&mut bytes, 8, &self.ino.to_le_bytes());
        bytes[16] = self.filetype;
        put(&mut bytes, 24, &self.nlink.to_le_bytes());
        put(&mut bytes, 32, &self.size.to_le_bytes());
        put(&mut bytes, 40, &self.atim.to_le_bytes());
        put(&mut bytes, 48, &self.mtim.to_le_bytes());
        put(&mut bytes, 56, &self.ctim.to_le_bytes());
        bytes
    }

    /// ```text
    ///  0 dev u64   8 ino u64   16 filetype u8   20 nlink u32   24 size u64
    /// 32 atim u64  40 mtim u64  48 ctim u64
    /// ```
    #[must_use]
    pub fn encode_unstable(&self) -> [u8; 56] {
        let mut bytes = [0; 56];
        put(&mut bytes, 0, &self.dev.to_le_bytes());
        put(&mut bytes, 8, &self.ino.to_le_bytes());
        bytes[16] = self.filetype;
        let nlink = u32::try_from(self.nlink).unwrap_or(u32::MAX);
        put(&mut bytes, 20, &nlink.to_le_bytes());
        put(&mut bytes, 24, &self.size.to_le_bytes());
        put(&mut bytes, 32, &self.atim.to_le_bytes());
        put(&mut bytes, 40, &self.mtim.to_le_bytes());
        put(&mut bytes, 48, &self.ctim.to_le_bytes());
        bytes
    }
}

/// ```text
/// fdstat:  0 filetype u8   2 flags u16   8 rights_base u64   16 rights_inheriting u64
/// ```
#[must_use]
pub fn encode_fdstat(filetype: u8, flags: u16, base: u64, inheriting: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0] = filetype;
    put(&mut bytes, 2, &flags.to_le_bytes());
    put(&mut bytes, 8, &base.to_le_bytes());
    put(&mut bytes, 16, &inheriting.to_le_bytes());
    bytes
}

/// ```text
/// dirent:  0 next u64   8 ino u64   16 namlen u32   20 filetype u8; the name follows at 24
/// ```
#[must_use]
pub fn encode_dirent(next: u64, ino: u64, namlen: u32, filetype: u8) -> [u8; 24] {
    let mut bytes = [0; 24];
    put(&mut bytes, 0, &next.to_le_bytes());
    put(&mut bytes, 8, &ino.to_le_bytes());
    put(&mut bytes, 16, &namlen.to_le_bytes());
    bytes[20] = filetype;
    bytes
}

/// `eventtype`, the tag of a subscription too.
#[allow(missing_docs)]
pub mod eventtype {
    pub const CLOCK: u8 = 0;
    pub const FD_READ: u8 = 1;
    pub const FD_WRITE: u8 = 2;
}

/// `eventrwflags`: the only one, `fd_readwrite_hangup`.
pub const EVENT_HANGUP: u16 = 1;

/// ```text
/// event:  0 userdata u64   8 error u16   10 type u8   16 nbytes u64   24 flags u16
/// ```
#[must_use]
pub fn encode_event(userdata: u64, error: u16, kind: u8, nbytes: u64, flags: u16) -> [u8; 32] {
    let mut bytes = [0; 32];
    put(&mut bytes, 0, &userdata.to_le_bytes());
    put(&mut bytes, 8, &error.to_le_bytes());
    bytes[10] = kind;
    put(&mut bytes, 16, &nbytes.to_le_bytes());
    put(&mut bytes, 24, &flags.to_le_bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

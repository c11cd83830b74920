//! WASI error numbers, and what each file system error becomes.

use crate::fs::{FsError, MountError};

/// `errno` of WASI preview1; the same numbers in `wasi_unstable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Errno(pub u16);

#[allow(missing_docs)] // the names are the documentation
impl Errno {
    pub const SUCCESS: Self = Self(0);
    pub const BADF: Self = Self(8);
    pub const BUSY: Self = Self(10);
    pub const EXIST: Self = Self(20);
    pub const FAULT: Self = Self(21);
    pub const FBIG: Self = Self(22);
    pub const ILSEQ: Self = Self(25);
    pub const INVAL: Self = Self(28);
    pub const IO: Self = Self(29);
    pub const ISDIR: Self = Self(31);
    pub const LOOP: Self = Self(32);
    pub const MFILE: Self = Self(33);
    pub const MLINK: Self = Self(34);
    pub const NAMETOOLONG: Self = Self(37);
    pub const NOENT: Self = Self(44);
    pub const NOSPC: Self = Self(51);
    pub const NOTCAPABLE: Self = Self(76);
    pub const NOTDIR: Self = Self(54);
    pub const NOTEMPTY: Self = Self(55);
    pub const NOTSOCK: Self = Self(57);
    pub const NOTSUP: Self = Self(58);
    pub const OVERFLOW: Self = Self(61);
    pub const PERM: Self = Self(63);
    pub const ROFS: Self = Self(69);
    pub const SPIPE: Self = Self(70);
    pub const XDEV: Self = Self(75);
}

/// Result of a WASI function.
pub type Result<T> = core::result::Result<T, Errno>;

impl From<FsError> for Errno {
    fn from(error: FsError) -> Self {
        match error {
            FsError::NotFound => Self::NOENT,
            FsError::Exists => Self::EXIST,
            FsError::NotDir => Self::NOTDIR,
            FsError::IsDir => Self::ISDIR,
            FsError::NotEmpty => Self::NOTEMPTY,
            FsError::Invalid => Self::INVAL,
            FsError::NameTooLong => Self::NAMETOOLONG,
            FsError::IllegalByteSequence => Self::ILSEQ,
            FsError::NoSpace { .. } => Self::NOSPC,
            FsError::FileTooBig => Self::FBIG,
            FsError::TooManyLinks => Self::MLINK,
            FsError::SymlinkLoop => Self::LOOP,
            FsError::ReadOnly => Self::ROFS,
            FsError::CrossDevice => Self::XDEV,
            // Other runtimes say EPERM for a path that leaves its root, and programs test for it.
            FsError::NotCapable | FsError::NotPermitted => Self::PERM,
            FsError::BadInode => Self::BADF,
            FsError::Corrupt(_) => Self::IO,
        }
    }
}

impl From<MountError> for Errno {
    fn from(_: MountError) -> Self {
        Self::IO
    }
}

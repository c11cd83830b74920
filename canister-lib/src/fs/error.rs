//! Errors of the file system.
//!
//! Rules: no strings are built (an error may be what a guest probes for in a loop); an error means
//! that nothing changed, because on the IC what was stored before an error stays stored; an
//! invariant that breaks in the middle of a change panics, which rolls the message back.

use std::fmt;

use crate::memory::OutOfBounds;

/// Why an operation failed. Nothing was changed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum FsError {
    /// No such name.
    NotFound,
    /// The name exists.
    Exists,
    /// Not a directory.
    NotDir,
    /// A directory.
    IsDir,
    /// The directory has entries.
    NotEmpty,
    /// The arguments make no sense for this object.
    Invalid,
    /// A name longer than 255 bytes, or a target longer than 4,095.
    NameTooLong,
    /// A name with a NUL byte, or that is not UTF-8.
    IllegalByteSequence,
    /// No room: quota, the memory's limit, or the format's.
    NoSpace {
        /// Bytes that the operation needs.
        needed: u64,
        /// Bytes that could be had.
        available: u64,
    },
    /// Beyond the largest file.
    FileTooBig,
    /// The link count would overflow.
    TooManyLinks,
    /// More than 40 symbolic links in a path.
    SymlinkLoop,
    /// The image has a newer minor version, which this code only reads.
    ReadOnly,
    /// Between file systems.
    CrossDevice,
    /// The path leaves its root.
    NotCapable,
    /// Not for this kind of object.
    NotPermitted,
    /// No such inode.
    BadInode,
    /// The image is damaged; run `fsck`.
    Corrupt(&'static str),
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotFound => "no such file or directory",
            Self::Exists => "file exists",
            Self::NotDir => "not a directory",
            Self::IsDir => "is a directory",
            Self::NotEmpty => "directory not empty",
            Self::Invalid => "invalid argument",
            Self::NameTooLong => "name too long",
            Self::IllegalByteSequence => "name is not valid UTF-8, or has a NUL byte",
            Self::NoSpace { needed, available } => {
                return write!(f, "no space: {needed} bytes needed, {available} available");
            }
            Self::FileTooBig => "file too big",
            Self::TooManyLinks => "too many links",
            Self::SymlinkLoop => "too many symbolic links in the path",
            Self::ReadOnly => "file system is read-only: its format is newer than this code",
            Self::CrossDevice => "not on the same file system",
            Self::NotCapable => "path leads outside its directory",
            Self::NotPermitted => "operation not permitted",
            Self::BadInode => "no such inode",
            Self::Corrupt(what) => return write!(f, "file system is damaged ({what}); run fsck"),
        };
        f.write_str(text)
    }
}

impl std::error::Error for FsError {}

impl From<OutOfBounds> for FsError {
    fn from(_: OutOfBounds) -> Self {
        FsError::Corrupt("address outside the memory")
    }
}

/// Why a memory could not be opened. It was not changed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum MountError {
    /// Neither empty nor a file system of ours.
    Foreign,
    /// Of a major version that this code does not know.
    UnknownMajor(u16),
    /// Ours, and damaged.
    Corrupt(&'static str),
    /// The memory could not grow to hold an empty file system.
    NoSpace,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "the memory holds something else; give the file system a memory of its own",
            ),
            Self::UnknownMajor(major) => {
                write!(
                    f,
                    "the file system has format version {major}; use a newer icwasi"
                )
            }
            Self::Corrupt(what) => write!(f, "the file system is damaged ({what})"),
            Self::NoSpace => f.write_str("no space for an empty file system"),
        }
    }
}

impl std::error::Error for MountError {}

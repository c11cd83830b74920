//! What the file system takes and gives.

use crate::format::inode::Kind;

/// Inode number.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Ino(pub u64);

/// Nanoseconds since the epoch.
pub type Nanos = u64;

/// Kind of a file.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum FileType {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
}

impl From<Kind> for FileType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Regular => FileType::Regular,
            Kind::Directory => FileType::Directory,
            Kind::Symlink => FileType::Symlink,
        }
    }
}

/// Metadata of an inode.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Stat {
    /// Inode number.
    pub ino: Ino,
    /// Kind.
    pub file_type: FileType,
    /// Names; of a directory: 2 and one for each subdirectory.
    pub nlink: u32,
    /// Bytes; of a directory: those of its pages.
    pub size: u64,
    /// Bytes of stable memory, metadata blocks included.
    pub allocated: u64,
    /// Last read, by the relatime rule.
    pub atime: Nanos,
    /// Last change of content.
    pub mtime: Nanos,
    /// Last change.
    pub ctime: Nanos,
    /// Goes up with every change of content or metadata, except `atime` by reading. Writes to one
    /// file count once between two calls of `set_now`, so at least once in each message.
    pub version: u64,
}

/// An entry of a directory.
#[derive(Copy, Clone, Debug)]
pub struct DirEntry<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Inode.
    pub ino: Ino,
    /// Kind.
    pub file_type: FileType,
    /// Pass it to `read_dir` to continue after this entry.
    pub cookie: u64,
}

/// What a new file system is made with.
#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    /// Key of the directory hashes: random, so that nobody can choose names that collide.
    pub hash_key: [u8; 16],
    /// Limit of all blocks in bytes.
    pub quota_bytes: Option<u64>,
}

/// Space.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Usage {
    /// Bytes in a block.
    pub block_size: u32,
    /// Bytes in use, metadata included.
    pub used_bytes: u64,
    /// Bytes that can still be allocated: under the quota, and up to where the memory is known to
    /// end (the IC's limit until a `grow` has failed).
    pub free_bytes: u64,
    /// The quota.
    pub quota_bytes: Option<u64>,
    /// Inodes in use.
    pub inodes: u64,
    /// Format version.
    pub format: (u16, u16),
}

use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::{Range, UploadId};

/// Why an admin method refused. The method changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub enum AdminError {
    /// The caller does not have the role that the method needs, or did not begin the upload.
    NotAuthorized,
    /// Nothing is at this path.
    NotFound(String),
    /// Something is at this path already.
    AlreadyExists(String),
    /// A component of the path is not a directory.
    NotADirectory(String),
    /// A directory where a file is needed.
    IsADirectory(String),
    /// A directory that holds entries.
    NotEmpty(String),
    /// The path cannot name a file here.
    InvalidPath {
        /// As sent.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another argument is out of its range.
    InvalidArgument(String),
    /// Quota or stable memory is exhausted. Bytes.
    NoSpace {
        /// What the operation needs.
        needed: u64,
        /// What is left.
        available: u64,
    },
    /// No such upload, or it expired.
    UploadNotFound(UploadId),
    /// The upload was committed.
    UploadFinished(UploadId),
    /// As many uploads are open as may be.
    TooManyUploads(u32),
    /// The chunk reaches over the end of the file.
    ChunkOutOfRange {
        /// Of the chunk.
        offset: u64,
        /// Of the chunk.
        length: u64,
        /// Of the file.
        size: u64,
    },
    /// Offset or length is not a multiple of the alignment.
    ChunkMisaligned {
        /// Of the chunk.
        offset: u64,
        /// Of the chunk.
        length: u64,
        /// Alignment in bytes.
        align: u32,
    },
    /// Other bytes were received for this range before: abort and begin again.
    ChunkConflict {
        /// Where they differ: start of the granule.
        offset: u64,
    },
    /// Bytes are missing.
    UploadIncomplete {
        /// Which: the first 1,000 ranges.
        missing: Vec<Range>,
    },
    /// The content is not what was announced. The upload can only be aborted.
    HashMismatch {
        /// As announced.
        expected: ByteBuf,
        /// As received.
        actual: ByteBuf,
    },
    /// Any other failure of the file system.
    Io {
        /// WASI preview1 errno.
        errno: u16,
        /// In words.
        message: String,
    },
}

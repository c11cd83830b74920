//! File system errors in the words of the admin interface.

use icwasi_types::AdminError;

use crate::fs::FsError;

/// Errno of WASI preview1 for the failures that have no variant of their own.
mod errno {
    pub const FBIG: u16 = 22;
    pub const IO: u16 = 29;
    pub const MLINK: u16 = 34;
    pub const PERM: u16 = 63;
    pub const ROFS: u16 = 69;
    pub const XDEV: u16 = 75;
}

fn io(errno: u16, path: &str, message: &str) -> AdminError {
    AdminError::Io {
        errno,
        message: format!("{path}: {message}"),
    }
}

/// `InvalidPath` with a reason.
pub(super) fn invalid_path(path: &str, reason: impl Into<String>) -> AdminError {
    AdminError::InvalidPath {
        path: path.into(),
        reason: reason.into(),
    }
}

/// What `error` means to a caller who asked for something at `path`.
pub(super) fn fs_error(error: FsError, path: &str) -> AdminError {
    match error {
        FsError::NotFound => AdminError::NotFound(path.into()),
        FsError::Exists => AdminError::AlreadyExists(path.into()),
        FsError::NotDir => AdminError::NotADirectory(path.into()),
        FsError::IsDir => AdminError::IsADirectory(path.into()),
        FsError::NotEmpty => AdminError::NotEmpty(path.into()),
        FsError::Invalid => AdminError::InvalidArgument(format!("{path}: not possible here")),
        FsError::NameTooLong => invalid_path(path, "a name or the path is too long"),
        FsError::IllegalByteSequence => invalid_path(path, "a name is not valid UTF-8"),
        FsError::NoSpace { needed, available } => AdminError::NoSpace { needed, available },
        FsError::FileTooBig => io(errno::FBIG, path, "larger than a file can be"),
        FsError::TooManyLinks => io(errno::MLINK, path, "too many links"),
        FsError::SymlinkLoop => invalid_path(path, "too many symbolic links; is there a loop?"),
        FsError::ReadOnly => io(errno::ROFS, path, "the file system is read-only"),
        FsError::CrossDevice => io(errno::XDEV, path, "cannot be moved between file systems"),
        FsError::NotCapable => {
            invalid_path(path, "a symbolic link in it leads out of the file system")
        }
        FsError::NotPermitted => io(errno::PERM, path, "not permitted"),
        FsError::BadInode => io(errno::IO, path, "the file has gone"),
        FsError::Corrupt(what) => AdminError::Io {
            errno: errno::IO,
            message: format!("damaged file system: {what}"),
        },
    }
}

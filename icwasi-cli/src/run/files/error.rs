//! What can go wrong when directories are copied.

use std::io;
use std::path::{Path, PathBuf};

use icwasi::{FsError, MountError};

/// Why a directory, or something in it, could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Something here could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `use`.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is neither file nor directory nor symbolic link.
    #[error(
        "{} is a {kind}, which the canister's file system does not have: remove it, or map a \
         directory without it", path.display()
    )]
    Special {
        /// What.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A name or the target of a link that no program could name.
    #[error("{:?} is not UTF-8, as names in the canister are", path)]
    NotUtf8 {
        /// What.
        path: PathBuf,
    },
    /// Directories are nested too deep.
    #[error("{}: directories are nested more than {limit} deep", path.display())]
    TooDeep {
        /// Where.
        path: PathBuf,
        /// How deep they may be.
        limit: usize,
    },
    /// Two directories that would be copied back over one another.
    #[error(
        "{} and {} are one inside the other: they cannot both be copied back; map one of them with \
         `::ro`", one.display(), other.display()
    )]
    Overlap {
        /// The first.
        one: PathBuf,
        /// The second.
        other: PathBuf,
    },
    /// The canister's file system does not take it.
    #[error("{path} in the canister: {source}")]
    Canister {
        /// Path in the canister.
        path: String,
        /// Why.
        source: FsError,
    },
    /// The canister's file system cannot be mounted after the run.
    #[error("the canister's files cannot be read: {0}")]
    Mount(#[from] MountError),
    /// What the program made is of another kind than what is here.
    #[error(
        "{} was not written: it is a {here} here, and the program made it a {there}",
        path.display()
    )]
    Conflict {
        /// What.
        path: PathBuf,
        /// What is here.
        here: &'static str,
        /// What the program made.
        there: &'static str,
    },
    /// A name in the canister that is none here.
    #[error("{directory} in the canister holds the name {name:?}, which is none here")]
    HostileName {
        /// Directory in the canister.
        directory: String,
        /// The name.
        name: String,
    },
}

impl FilesError {
    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        FilesError::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn canister(path: &str, source: FsError) -> Self {
        FilesError::Canister {
            path: path.to_owned(),
            source,
        }
    }
}

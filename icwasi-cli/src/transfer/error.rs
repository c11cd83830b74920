//! Why a transfer did not happen.

use std::path::PathBuf;

use thiserror::Error;

use crate::remote::{PathError, RemoteError};

/// Why a push or pull failed. Whatever existed at the target is unchanged.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The canister or the network.
    #[error("{path}: {source}")]
    Remote {
        /// Path in the canister.
        path: String,
        /// Why.
        source: Box<RemoteError>,
    },
    /// A path in the canister is not possible.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A local file or directory can't be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadLocal {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A local file or directory can't be written.
    #[error("cannot write {}: {source}", path.display())]
    WriteLocal {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A local name is not UTF-8.
    #[error("{}: the name is not UTF-8, as names in a canister have to be", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
    },
    /// A directory without `-r`.
    #[error("{0} is a directory: use -r for it and all it holds")]
    IsDirectory(String),
    /// Neither a file nor a directory.
    #[error("{0} is neither a regular file nor a directory")]
    Special(String),
    /// Several sources, or a path with a slash at its end, need a directory.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// A source has no name that could be used at the target.
    #[error("{}: cannot tell what to call this in the canister: give its name", path.display())]
    NoName {
        /// Which.
        path: PathBuf,
    },
    /// The local file changed while it was read.
    #[error("{} changed while it was being pushed: nothing was changed in the canister; push it again when it is at rest", path.display())]
    LocalChanged {
        /// Which.
        path: PathBuf,
    },
    /// The remote file kept changing.
    #[error(
        "{path} kept changing while it was read ({attempts} attempts): try again when the \
         canister is at rest"
    )]
    RemoteChanged {
        /// Path in the canister.
        path: String,
        /// How often it was tried.
        attempts: usize,
    },
    /// The target of a pull exists.
    #[error("{} exists already: use --overwrite to replace it", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The target of a pull is what is read from.
    #[error("{} is the file that is read, which would be overwritten: give another destination", path.display())]
    IsSource {
        /// Which.
        path: PathBuf,
    },
    /// A name that must not become a file here.
    #[error("refusing the name {name:?} in {directory}: {reason}")]
    HostileName {
        /// Directory in the canister.
        directory: String,
        /// The name.
        name: String,
        /// Why it can't be a file name here.
        reason: &'static str,
    },
    /// The canister's limits make no sense.
    #[error("the canister announces limits that cannot be right: {0}")]
    BadLimits(String),
    /// The output of `cat` was closed or failed.
    #[error("cannot write the output: {0}")]
    Output(#[source] std::io::Error),
}

impl TransferError {
    pub(super) fn remote(path: &str) -> impl FnOnce(RemoteError) -> TransferError {
        let path = path.to_owned();
        move |source| {
            let source = Box::new(source);
            TransferError::Remote { path, source }
        }
    }

    /// A stable word for machine-readable output.
    pub fn kind(&self) -> &'static str {
        match self {
            TransferError::Remote { source, .. } => source.kind(),
            TransferError::Path(_) => "invalid_path",
            TransferError::ReadLocal { .. } => "read_local",
            TransferError::WriteLocal { .. } => "write_local",
            TransferError::NotUtf8 { .. } => "not_utf8",
            TransferError::IsDirectory(_) => "is_a_directory",
            TransferError::Special(_) => "special_file",
            TransferError::NotADirectory(_) => "not_a_directory",
            TransferError::NoName { .. } => "no_name",
            TransferError::LocalChanged { .. } => "local_changed",
            TransferError::RemoteChanged { .. } => "remote_changed",
            TransferError::Exists { .. } => "exists",
            TransferError::IsSource { .. } => "is_source",
            TransferError::HostileName { .. } => "hostile_name",
            TransferError::BadLimits(_) => "bad_limits",
            TransferError::Output(_) => "output",
        }
    }
}

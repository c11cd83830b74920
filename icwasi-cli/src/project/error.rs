//! What can be wrong with a project's files.

use std::path::PathBuf;

use thiserror::Error;

/// Why a name could not be resolved or recorded.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// A project file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A project file is not what it should be.
    #[error("{} is not valid: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// An id could not be recorded.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No file knows the name.
    #[error(
        "no canister named {name:?} on network {network}: deploy it first (icwasi deploy {name}), \
         or give its principal. Looked in: {looked}"
    )]
    UnknownCanister {
        /// The name.
        name: String,
        /// The network.
        network: String,
        /// The files, in order.
        looked: String,
    },
    /// The name can't be one of a canister.
    #[error("{0:?} is neither a principal nor a canister name")]
    BadName(String),
    /// A recorded id is no principal.
    #[error("{}: the id of {name} is not a principal: {id:?}", path.display())]
    BadId {
        /// The file.
        path: PathBuf,
        /// The canister.
        name: String,
        /// What stands there.
        id: String,
    },
}

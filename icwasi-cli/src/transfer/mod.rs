//! Push and pull: files of this computer to and from the file system of a canister.
//!
//! Functions take an [`crate::remote::AdminApi`], which is expected to retry
//! ([`crate::remote::Retrying`]), and report to a [`Progress`].

mod error;
mod local;
mod names;
mod progress;
mod pull;
mod push;
mod tree;

pub use error::TransferError;
pub use names::check_local_name;
pub use progress::{FileProgress, NoProgress, Progress};
pub use pull::{PullOptions, Pulled, pull, read_to};
pub use push::{PushOptions, Pushed, push};
pub use tree::{Kind, is_directory, list_all};

/// Requests that are under way at the same time, unless told otherwise.
pub const DEFAULT_CONCURRENCY: usize = 8;

//! Talking to a canister: which network, as whom, and its admin interface as typed calls.

pub mod connect;
mod error;
pub mod identity;
pub mod methods;
pub mod operate;
pub mod path;
pub mod retry;

pub use error::{RemoteError, Sent};
pub use methods::{AdminApi, AgentAdmin};
pub use path::{CanisterPath, PathError};
pub use retry::{RetryPolicy, Retrying};

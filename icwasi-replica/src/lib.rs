//! Embedded local replica of the Internet Computer: wasmtime, IC metering, the HTTP interface,
//! certificates. It knows nothing of the rest of icwasi, so that it stays an independent judge.
//!
//! [`Replica::start`] runs one in this process; real clients (ic-agent, `@icp-sdk/core`, `icp`)
//! talk to [`Replica::url`].

pub mod certificate;
pub mod clock;
pub mod core;
pub mod executor;
pub mod fakes;
pub mod http;
pub mod ingress;
pub mod management;
pub mod persist;
mod replica;
pub mod state_tree;

pub use replica::{Replica, ReplicaOptions, StartError};

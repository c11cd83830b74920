//! The admin interface of `candid/icwasi.did`: what operators do with the files of a canister.
//!
//! Everything but `endpoints` is plain code over [`Fs`](crate::fs::Fs): caller and time are
//! passed in, so it is tested natively. `endpoints` alone talks to the System API.
//!
//! The rule that all of it keeps: **a method that returns an error has changed nothing** that a
//! caller can see, because the IC commits what was stored before an error is returned.

pub mod auth;
pub mod download;
mod endpoints;
mod error;
pub mod fsck;
mod granules;
pub mod manage;
mod paths;
pub mod remove;
mod session;
pub mod settings;
pub mod upload;

#[cfg(not(target_family = "wasm"))]
pub use endpoints::interface;
pub use endpoints::{Call, Reply, dispatch};

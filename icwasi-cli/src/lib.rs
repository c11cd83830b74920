//! The library behind the `icwasi` binary. It neither prints nor exits; the commands do.
//!
//! - [`link`]: turns WASI modules into modules for the Internet Computer.
//! - [`remote`]: networks, identities, and the admin interface of a canister as typed calls.
//! - [`transfer`]: push and pull over that interface.
//! - [`project`]: names of canisters in `dfx.json` and `icp.yaml` projects.
//! - [`deploy`]: creating and installing canisters on a local network.
//! - [`run`]: running a program in a canister that lives as long as the run.
//! - [`image`]: file systems in files, without a canister.
//! - [`local_replica`]: the background process of `icwasi replica`.

pub mod deploy;
pub mod image;
pub mod link;
pub mod local_replica;
pub mod project;
pub mod remote;
pub mod run;
pub mod transfer;

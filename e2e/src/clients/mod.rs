//! Real clients that drive the replica: ic-agent, `@icp-sdk/core` from Node, the `icp` tool. And
//! a canister in Motoko.
//!
//! What a machine may lack is no failure, but it is no success either: see [`Outcome`].

pub mod agent;
pub mod assets;
pub mod counter;
pub mod counts;
pub mod icp;
pub mod motoko;
pub mod node;
pub mod npm;

use std::path::PathBuf;

use anyhow::{Context, Result};

/// How a client's run ended, if it did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that was to be seen was seen. What it was.
    Passed(String),
    /// Something that is not part of this repository is missing. What.
    NotRun(String),
}

/// Where packages from npm are put, a directory a client: `target/clients`.
///
/// # Errors
/// If it cannot be created.
pub fn install_dir(client: &str) -> Result<PathBuf> {
    let directory = xtask::guests::target_dir().join("clients").join(client);
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// Files of the clients in the repository.
pub fn source_dir(client: &str) -> PathBuf {
    xtask::process::root().join("e2e/clients").join(client)
}

//! `@icp-sdk/core` from Node.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::npm::{self, Installed};
use super::{Outcome, counter, source_dir};
use crate::cli::wait;
use crate::network::Network;

const LIMIT: Duration = Duration::from_secs(120);

/// Runs `e2e/clients/node/client.mjs`.
///
/// # Errors
/// With the step that went wrong.
pub async fn run() -> Result<Outcome> {
    let Some(version) = npm::version("node") else {
        return Ok(Outcome::NotRun("Node is not installed".into()));
    };
    let directory = match npm::install("node")? {
        Installed::In(directory) => directory,
        Installed::Missing(reason) => return Ok(Outcome::NotRun(reason)),
    };
    let network = Network::start().await?;
    let module = network.path("counter.wasm");
    std::fs::write(&module, counter::module()?)?;
    // Node looks for packages beside the script.
    let script = directory.join("client.mjs");
    std::fs::copy(source_dir("node").join("client.mjs"), &script)?;
    let (out, errors) = (network.path("steps"), network.path("errors"));
    let mut node = Command::new("node")
        .arg(&script)
        .arg(network.replica.url())
        .arg(&module)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out)?)
        .stderr(std::fs::File::create(&errors)?)
        .spawn()
        .context("cannot start node")?;
    // The replica is in this process: do not block its threads.
    let status = tokio::task::spawn_blocking(move || wait(&mut node, LIMIT)).await??;
    let steps = std::fs::read_to_string(&out)?;
    let errors = std::fs::read_to_string(&errors)?;
    ensure!(status.success(), "{status}\n{steps}{errors}");
    let steps: Vec<&str> = steps
        .lines()
        .filter_map(|l| l.strip_prefix("ok "))
        .collect();
    // So that a script that stops early does not pass.
    ensure!(
        steps.last() == Some(&"install from chunks"),
        "the script ended after {steps:?}"
    );
    network.stop().await?;
    Ok(Outcome::Passed(format!(
        "Node {version}: {}",
        steps.join("; ")
    )))
}

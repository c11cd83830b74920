//! Instruction counts of the replica in this process against those of other networks.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Outcome;
use crate::cli::Icwasi;
use crate::counts::{compare, measure};
use crate::host::{Host, PocketIc};
use crate::network::Network;

const LIMIT: Duration = Duration::from_secs(60);

async fn against(host: Host) -> Result<Outcome> {
    let ours = Network::on(Host::embedded().await?).await?;
    let theirs = Network::on(host).await?;
    let (our, their) = (measure(&ours).await?, measure(&theirs).await?);
    ours.stop().await?;
    theirs.stop().await?;
    let table = compare(&our, &their)?;
    Ok(Outcome::Passed(format!(
        "{} counts agree\n{}",
        our.len(),
        table.trim_end()
    )))
}

/// A server that `POCKET_IC_BIN` names.
///
/// # Errors
/// If a count differs, or the server does not work.
pub async fn pocket_ic() -> Result<Outcome> {
    if std::env::var_os("POCKET_IC_BIN").is_none() {
        return Ok(Outcome::NotRun("POCKET_IC_BIN is not set".into()));
    }
    against(Host::PocketIc(PocketIc::from_environment().await?)).await
}

/// `icwasi replica start --background`, reached by its URL.
///
/// # Errors
/// If a count differs, or the process does not work.
pub async fn other_process() -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let icwasi = Icwasi::new()?.in_directory(directory.path());
    let replica = |arguments: &'static [&'static str]| {
        let icwasi = icwasi.clone();
        async move {
            let words = [&["--json", "replica"][..], arguments].concat();
            let output = tokio::task::spawn_blocking(move || icwasi.run(&words, LIMIT)).await??;
            output.success()
        }
    };
    let started = replica(&["start", "--background", "--port", "0", "--state-dir", "."]).await?;
    let compared = async {
        let started: serde_json::Value = serde_json::from_slice(&started.stdout)?;
        let url = started["url"].as_str().context("it says no URL")?;
        against(Host::Url(url.to_owned())).await
    }
    .await;
    replica(&["stop", "--state-dir", "."]).await?;
    compared
}

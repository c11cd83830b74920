//! The network launcher of the `icp` tool: `icp network start` runs the program that
//! ICP_CLI_NETWORK_LAUNCHER_PATH names, with options instead of a command.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use icwasi_cli::local_replica::{self, RunRecord};
use icwasi_replica::{Replica, ReplicaOptions};
use serde_json::json;

use super::interrupted;
use crate::exit::ExitStatus;

/// The interface's first number; others are other interfaces.
const INTERFACE: &str = "1.";

/// What `icp` passes.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    interface_version: String,
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long)]
    status_dir: PathBuf,
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    #[arg(long, default_value_t = 0)]
    gateway_port: u16,
    #[arg(long)]
    domain: Vec<String>,
    #[arg(long)]
    subnet: Vec<String>,
    #[arg(long)]
    artificial_delay_ms: Option<u64>,
    #[arg(long)]
    ii: bool,
    #[arg(long)]
    nns: bool,
    #[arg(long)]
    bitcoind_addr: Vec<String>,
    #[arg(long)]
    dogecoind_addr: Vec<String>,
}

/// Puts the command in front of the launcher's options, which come without one.
pub fn arguments(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_launch = arguments.get(1).is_some_and(|first| {
        first
            .to_str()
            .is_some_and(|first| first.starts_with("--interface-version"))
    });
    if is_launch {
        arguments.splice(1..1, ["replica".into(), "launcher".into()]);
    }
    arguments
}

fn check(args: &Args) -> anyhow::Result<()> {
    if !args.interface_version.starts_with(INTERFACE) {
        bail!(
            "this icp tool speaks version {} of the launcher interface, icwasi only 1.x",
            args.interface_version
        );
    }
    let missing = [
        ("ii", args.ii),
        ("nns", args.nns),
        ("bitcoind-addr", !args.bitcoind_addr.is_empty()),
        ("dogecoind-addr", !args.dogecoind_addr.is_empty()),
        (
            "artificial-delay-ms",
            args.artificial_delay_ms.is_some_and(|ms| ms > 0),
        ),
        (
            "subnet",
            args.subnet.iter().any(|kind| kind != "application"),
        ),
    ];
    for (name, asked) in missing {
        if asked {
            bail!(
                "the replica of icwasi does not implement the launcher's option --{name}; take \
                 it out of the network in icp.yaml"
            );
        }
    }
    Ok(())
}

/// Serves until it is interrupted.
pub async fn run(args: Args) -> anyhow::Result<ExitStatus> {
    check(&args)?;
    let state_dir = std::path::absolute(&args.state_dir)
        .with_context(|| args.state_dir.display().to_string())?;
    let guard = local_replica::acquire(&state_dir)?;
    let replica = Replica::start(ReplicaOptions {
        bind: SocketAddr::new(args.bind, args.gateway_port),
        state_dir: Some(local_replica::state_path(&state_dir)),
        ..ReplicaOptions::default()
    })
    .await?;
    let port = replica.address().port();
    let root_key = hex::encode(replica.root_key());
    guard.publish(&RunRecord {
        version: 1,
        pid: std::process::id(),
        url: replica.url(),
        port,
        root_key: root_key.clone(),
    })?;
    let status = json!({
        "v": "1",
        "instance_id": null,
        "config_port": null,
        "gateway_port": port,
        "root_key": root_key,
        "default_effective_canister_id": null,
        "supported_features": [],
    });
    write_status(&args.status_dir, &status.to_string())?;
    tokio::select! {
        () = interrupted() => {}
        () = replica.wait_for_shutdown() => {}
    }
    replica
        .stop()
        .await
        .context("the replica did not stop in good order")?;
    drop(guard);
    Ok(ExitStatus::Done)
}

/// `icp` watches the directory: it must not see half a file.
fn write_status(directory: &Path, line: &str) -> anyhow::Result<()> {
    let path = directory.join("status.json");
    let part = directory.join(".status.json.part");
    std::fs::write(&part, format!("{line}\n"))
        .and_then(|()| std::fs::rename(&part, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_launchers_options_become_its_command() {
        let of = |words: &[&str]| arguments(words.iter().map(OsString::from).collect());
        assert_eq!(
            of(&["icwasi", "--interface-version", "1.1.0", "--state-dir", "x"]),
            [
                "icwasi",
                "replica",
                "launcher",
                "--interface-version",
                "1.1.0",
                "--state-dir",
                "x"
            ]
        );
        assert_eq!(of(&["icwasi", "ls"]), ["icwasi", "ls"]);
        assert_eq!(of(&["icwasi"]), ["icwasi"]);
    }
}

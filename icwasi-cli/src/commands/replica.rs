//! `icwasi replica`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use icwasi_cli::local_replica::{self, Launch, LocalReplicaError, RunRecord};
use icwasi_replica::{Replica, ReplicaOptions};
use serde_json::json;

use super::{Context, interrupted};
use crate::exit::ExitStatus;

/// Run a local network.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start a replica; its canisters and their files survive in the state directory.
    Start(StartArgs),
    /// End the replica that runs on a state directory.
    Stop(StateArgs),
    /// Say whether a replica runs on a state directory, and where it serves.
    Status(StateArgs),
    /// What `icp network start` runs, by ICP_CLI_NETWORK_LAUNCHER_PATH.
    #[command(hide = true)]
    Launcher(super::launcher::Args),
}

/// Which replica.
#[derive(clap::Args)]
pub struct StateArgs {
    /// State directory. Default: .icwasi/replica in the project.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// How to start.
#[derive(clap::Args)]
pub struct StartArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Return when it is ready, and let it run until `icwasi replica stop`.
    #[arg(long)]
    background: bool,
    /// Port; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Address to listen on. Whoever can reach it can do anything to this network.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The background process itself.
    #[arg(long, hide = true, conflicts_with = "background")]
    detached: bool,
}

pub async fn run(command: Command, context: &Context) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Start(args) => {
            let dir = state_dir(&args.state, context)?;
            if args.background {
                tokio::select! {
                    biased;
                    _ = interrupted() => Ok(ExitStatus::Interrupted),
                    result = background(&args, dir, context) => result,
                }
            } else {
                serve(&args, dir, context).await
            }
        }
        Command::Launcher(args) => super::launcher::run(args).await,
        Command::Stop(args) => {
            let dir = state_dir(&args, context)?;
            let record = local_replica::stop(&dir).await?;
            context
                .printer
                .note(&format!("stopped {} (process {})", record.url, record.pid));
            context
                .printer
                .json(json!({ "stopped": true, "url": record.url }))?;
            Ok(ExitStatus::Done)
        }
        Command::Status(args) => {
            let dir = state_dir(&args, context)?;
            match local_replica::running(&dir) {
                Some(record) => {
                    announce(&record, context)?;
                    Ok(ExitStatus::Done)
                }
                None => {
                    context.printer.json(json!({ "running": false }))?;
                    Err(LocalReplicaError::NotRunning { path: dir }.into())
                }
            }
        }
    }
}

fn state_dir(args: &StateArgs, context: &Context) -> anyhow::Result<PathBuf> {
    match &args.state_dir {
        // A background process and a later command may have other current directories.
        Some(dir) => std::path::absolute(dir).with_context(|| dir.display().to_string()),
        None => Ok(context.project()?.state_dir().join("replica")),
    }
}

fn announce(record: &RunRecord, context: &Context) -> anyhow::Result<()> {
    context.printer.line(&record.url)?;
    context.printer.json(json!({
        "running": true,
        "url": record.url,
        "port": record.port,
        "pid": record.pid,
        "root_key": record.root_key,
    }))
}

async fn background(
    args: &StartArgs,
    state_dir: PathBuf,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut command = std::process::Command::new(program);
    command
        .args(["replica", "start", "--detached", "--port"])
        .arg(args.port.to_string());
    command.arg("--bind").arg(args.bind.to_string());
    command.arg("--state-dir").arg(&state_dir);
    let record = local_replica::launch(Launch { command, state_dir }).await?;
    let connection = icwasi_cli::remote::connect::is_loopback(&record.url);
    if !connection {
        context
            .printer
            .note("warning: this network can be reached from other computers");
    }
    announce(&record, context)?;
    Ok(ExitStatus::Done)
}

/// Serves until it is interrupted.
async fn serve(
    args: &StartArgs,
    state_dir: PathBuf,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    if args.detached {
        // Leaves the terminal's session: neither Ctrl-C nor closing it reaches us any more.
        rustix::process::setsid().context("cannot leave the terminal")?;
    }
    let guard = local_replica::acquire(&state_dir)?;
    let options = ReplicaOptions {
        bind: SocketAddr::new(args.bind, args.port),
        // A directory of its own: beside it are our lock, record and log.
        state_dir: Some(state_dir.join("state")),
        ..ReplicaOptions::default()
    };
    let replica = Replica::start(options).await?;
    let address = replica.address();
    let record = RunRecord {
        version: 1,
        pid: std::process::id(),
        url: replica.url(),
        port: address.port(),
        root_key: hex::encode(replica.root_key()),
    };
    guard.publish(&record)?;
    announce(&record, context)?;
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

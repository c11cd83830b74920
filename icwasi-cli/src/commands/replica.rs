//! `icwasi replica`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use icwasi_cli::local_replica::{self, Launch, LocalReplicaError, Log, RunRecord};
use icwasi_replica::core::Limits;
use icwasi_replica::persist::StateError;
use icwasi_replica::{Replica, ReplicaOptions, StartError};
use serde_json::json;

use super::{Context, UsageError, interrupted};
use crate::exit::ExitStatus;
use crate::printer::safe;

/// Run a local network.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start a replica; its canisters and their files survive in the state directory.
    Start(StartArgs),
    /// End the replica that runs on a state directory.
    Stop(StateArgs),
    /// Say whether a replica runs on a state directory, and where it serves.
    Status(StateArgs),
    /// Print the log of a replica in the background: what its canisters print, and its own
    /// messages since its last start.
    Logs(LogsArgs),
    /// Remove all canisters, their files and the network's keys from a state directory.
    Reset(ResetArgs),
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

/// What to print.
#[derive(clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Go on printing until the replica ends.
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines.
    #[arg(short = 'l', long, value_name = "N")]
    lines: Option<usize>,
}

/// What to remove.
#[derive(clap::Args)]
pub struct ResetArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
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
    /// Limit how fast code is installed and chunks and snapshots are written, as the IC does.
    #[arg(long)]
    rate_limits: bool,
    /// Keys, randomness and the time that canisters see depend on nothing but the calls, so that
    /// the same calls give the same results. Anybody can know the keys.
    #[arg(long)]
    deterministic: bool,
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
        Command::Logs(args) => {
            let dir = state_dir(&args.state, context)?;
            tokio::select! {
                biased;
                _ = interrupted() => Ok(ExitStatus::Interrupted),
                result = logs(&args, &dir, context) => result,
            }
        }
        Command::Reset(args) => {
            let dir = state_dir(&args.state, context)?;
            reset(&args, &dir, context)
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
    if args.rate_limits {
        command.arg("--rate-limits");
    }
    if args.deterministic {
        command.arg("--deterministic");
    }
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

/// Prints the log line by line, as far as lines are complete.
async fn logs(args: &LogsArgs, dir: &Path, context: &Context) -> anyhow::Result<ExitStatus> {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut log = Log::open(dir, args.lines)?;
    let mut rest = Vec::new();
    loop {
        // Asked before reading: what it wrote before it ended is not missed.
        let running = local_replica::running(dir).is_some();
        let piece = log.read()?;
        let at_end = piece.is_empty();
        rest.extend(piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            print_line(&rest[..end], context)?;
            rest.drain(..=end);
        }
        if at_end {
            if !args.follow || !running {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    if !rest.is_empty() {
        print_line(&rest, context)?;
    }
    Ok(ExitStatus::Done)
}

/// A line of a log; with --json an object, so that each can be used as soon as it is there.
fn print_line(line: &[u8], context: &Context) -> anyhow::Result<()> {
    let line = String::from_utf8_lossy(line);
    // Canisters print what they like.
    context.printer.line(&safe(&line))?;
    context.printer.json(json!({ "line": line }))
}

fn reset(args: &ResetArgs, dir: &Path, context: &Context) -> anyhow::Result<ExitStatus> {
    let state = local_replica::state_path(dir);
    if !(args.yes || state.exists() && confirmed(dir)?) {
        if state.exists() {
            let text = format!(
                "this removes all canisters and files of the network in {}: say --yes",
                dir.display()
            );
            return Err(UsageError(text).into());
        }
        context.printer.note("there is nothing to remove");
        context.printer.json(json!({ "removed": false }))?;
        return Ok(ExitStatus::Done);
    }
    let removed = local_replica::reset(dir)?;
    context.printer.note(&if removed {
        format!("removed {}", state.display())
    } else {
        "there is nothing to remove".to_owned()
    });
    context.printer.json(json!({ "removed": removed }))?;
    Ok(ExitStatus::Done)
}

/// Asks at a terminal; without one nobody can be asked, which counts as no.
fn confirmed(dir: &Path) -> anyhow::Result<bool> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    crate::ui_progress::stderr_line(&format!(
        "This removes all canisters and files of the network in {}. Type `yes` to go on:",
        dir.display()
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
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
    let mut limits = Limits::default();
    limits.management.rate_limited = args.rate_limits;
    let options = ReplicaOptions {
        limits,
        bind: SocketAddr::new(args.bind, args.port),
        // A directory of its own: beside it are our lock, record and log.
        state_dir: Some(local_replica::state_path(&state_dir)),
        deterministic: args.deterministic,
        ..ReplicaOptions::default()
    };
    let replica = Replica::start(options).await.map_err(|error| {
        let damaged = match &error {
            StartError::State(StateError::InUse { .. } | StateError::Foreign(_)) => false,
            StartError::State(_) | StartError::Core(_) => true,
            _ => false,
        };
        let error = anyhow::Error::new(error);
        if damaged {
            error.context(format!(
                "cannot start from the state in {}; `icwasi replica reset` removes it",
                state_dir.display()
            ))
        } else {
            error
        }
    })?;
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

//! A file per command: from arguments to a call of the library, from its result to output.

pub mod access;
pub mod call;
pub mod cat;
pub mod check;
pub mod deploy;
pub mod df;
pub mod env;
pub mod fsck;
pub mod image;
pub mod launcher;
pub mod link;
pub mod ls;
mod markdown;
pub mod mkdir;
pub mod mv;
mod outputs;
pub mod pull;
pub mod push;
pub mod quota;
pub mod replica;
pub mod rm;
pub mod run;
pub mod stat;

use std::sync::Arc;

use anyhow::Context as _;
use icwasi_cli::deploy::{ArgumentError, DeployError};
use icwasi_cli::local_replica::LocalReplicaError;
use icwasi_cli::project::Project;
use icwasi_cli::remote::connect::{self, ConnectError, Connection, is_loopback};
use icwasi_cli::remote::identity::{self, Choice};
use icwasi_cli::remote::{AgentAdmin, RemoteError, RetryPolicy, Retrying};
use icwasi_cli::run::RunError;
use icwasi_cli::transfer::TransferError;

use crate::cli::{Cli, Command, GlobalOptions};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// What every command gets.
pub struct Context {
    /// Options of every command.
    pub global: GlobalOptions,
    /// For output.
    pub printer: Printer,
}

/// A command line that the argument parser can't know to be wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Runs a command until it is done or the user interrupts it.
pub async fn run(cli: Cli, printer: Printer) -> anyhow::Result<ExitStatus> {
    let context = Context {
        global: cli.global,
        printer,
    };
    let hint = match &cli.command {
        Command::Push(_) => ": what was sent is kept for a day, push again to resume",
        Command::Pull(_) => ": nothing was left behind",
        _ => "",
    };
    // A replica in the foreground ends in its own, orderly way.
    if let Command::Replica(command) = cli.command {
        return replica::run(command, &context).await;
    }
    tokio::select! {
        biased;
        _ = interrupted() => {
            printer.note(&format!("interrupted{hint}"));
            Ok(ExitStatus::Interrupted)
        }
        result = dispatch(cli.command, &context) => result,
    }
}

async fn dispatch(command: Command, context: &Context) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Link(args) => link::run(args, context),
        Command::Run(args) => run::run(args, context).await,
        Command::Check(args) => check::run(args, context),
        Command::Push(args) => push::run(args, context).await,
        Command::Pull(args) => pull::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Stat(args) => stat::run(args, context).await,
        Command::Cat(args) => cat::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Mkdir(args) => mkdir::run(args, context).await,
        Command::Mv(args) => mv::run(args, context).await,
        Command::Df(args) => df::run(args, context).await,
        Command::Fsck(args) => fsck::run(args, context).await,
        Command::Quota(args) => quota::run(args, context).await,
        Command::Env(args) => env::run(args, context).await,
        Command::Access(command) => access::run(command, context).await,
        Command::Image(command) => image::run(command, context).await,
        Command::Call(args) => call::run(args, context).await,
        Command::Deploy(args) => deploy::run(args, context).await,
        Command::Replica(command) => replica::run(command, context).await,
        Command::MarkdownHelp => markdown::run(context),
    }
}

/// Completes when the user or the system asks the process to end.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let term = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => {
            if result.is_err() {
                std::future::pending::<()>().await;
            }
        }
        () = term => {}
    }
}

impl Context {
    /// The project around the current directory.
    pub fn project(&self) -> anyhow::Result<Project> {
        let here = std::env::current_dir().context("cannot tell the current directory")?;
        Ok(Project::discover(&here)?)
    }

    /// Connects to the network that the options name.
    pub async fn connect(&self, project: &Project) -> anyhow::Result<Connection> {
        let name = self.global.network.clone();
        let name = name.or_else(|| first_env(&["ICWASI_NETWORK", "ICP_NETWORK", "DFX_NETWORK"]));
        let name = name.unwrap_or_else(|| "local".to_owned());
        let network = connect::find_network(&name, self.global.root_key.as_deref(), project)?;
        let choice = self.identity();
        let loaded = identity::load(&choice, project, is_loopback(&network.url))?;
        if let Some(note) = &loaded.note {
            self.printer.note(note);
        }
        Ok(connect::connect(network, loaded.identity).await?)
    }

    fn identity(&self) -> Choice {
        if let Some(name) = &self.global.identity {
            return Choice::Named(name.clone());
        }
        if let Some(path) = &self.global.pem {
            return Choice::Pem(path.clone());
        }
        let named = first_env(&["ICWASI_IDENTITY", "ICP_IDENTITY", "DFX_IDENTITY"]);
        named.map_or(Choice::Default, Choice::Named)
    }

    /// The admin interface of `canister`, a name or a principal.
    pub async fn admin(&self, canister: &str) -> anyhow::Result<Retrying<AgentAdmin>> {
        let project = self.project()?;
        let connection = self.connect(&project).await?;
        let id = project.resolve(canister, &connection.network.name)?;
        let Connection {
            agent,
            network,
            caller,
        } = connection;
        let admin = AgentAdmin::new(Arc::clone(&agent), id, caller, network.url);
        Ok(Retrying::new(admin, RetryPolicy::default()))
    }
}

fn first_env(names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()))
}

/// All paths are of one canister: its name.
pub fn one_canister<'a>(
    paths: impl IntoIterator<Item = &'a icwasi_cli::remote::CanisterPath>,
) -> anyhow::Result<&'a str> {
    let mut paths = paths.into_iter();
    let first = paths
        .next()
        .ok_or_else(|| UsageError("no path is given".to_owned()))?;
    for path in paths {
        if path.canister != first.canister {
            let text = format!(
                "{} and {} are two canisters: this command works on one at a time",
                first.canister, path.canister
            );
            return Err(UsageError(text).into());
        }
    }
    Ok(&first.canister)
}

/// A stable word for the kind of a failure.
pub fn kind_of(error: &anyhow::Error) -> &'static str {
    for cause in error.chain() {
        if let Some(e) = cause.downcast_ref::<TransferError>() {
            return e.kind();
        }
        if let Some(e) = cause.downcast_ref::<RemoteError>() {
            return e.kind();
        }
        if let Some(e) = cause.downcast_ref::<ConnectError>() {
            return match e {
                ConnectError::Remote(e) => e.kind(),
                _ => "connect",
            };
        }
        if cause.is::<identity::IdentityError>() {
            return "identity";
        }
        if cause.is::<icwasi_cli::project::ProjectError>() {
            return "project";
        }
        if let Some(e) = cause.downcast_ref::<RunError>() {
            return match e {
                RunError::Link(_) | RunError::NotACommand | RunError::Refused(_) => "link",
                RunError::Files(_) => "files",
                _ => "run",
            };
        }
        if cause.is::<icwasi_cli::image::ImageError>() {
            return "image";
        }
        if cause.is::<icwasi_cli::link::LinkError>() {
            return "link";
        }
        if cause.is::<UsageError>() {
            return "usage";
        }
        if let Some(e) = cause.downcast_ref::<LocalReplicaError>() {
            return match e {
                LocalReplicaError::NotRunning { .. } => "not_running",
                LocalReplicaError::Running { .. } => "running",
                _ => "replica",
            };
        }
        if let Some(e) = cause.downcast_ref::<DeployError>() {
            return match e {
                DeployError::Remote { source, .. } => source.kind(),
                DeployError::Project(_) => "project",
                DeployError::Argument(_) => "argument",
                _ => "deploy",
            };
        }
        if cause.is::<ArgumentError>() {
            return "argument";
        }
    }
    "failed"
}

/// Parses a number of requests under way.
pub fn concurrency(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=64) => Ok(n),
        _ => Err("expected a number from 1 to 64".to_owned()),
    }
}

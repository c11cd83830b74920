//! Runs a command in a canister that lives as long as the run: link, install in a replica's
//! execution core in this process, copy directories in, run, copy them back.

mod backtrace;
mod cache;
mod core_thread;
mod local_admin;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use candid::Principal;
use icwasi_replica::core::{
    Core, CoreConfig, ExecutionStats, InstallMode, Limits, Settings, UserError,
};
use icwasi_types::exec::{ExecRequest, ExecResult};
use serde_bytes::ByteBuf;

use crate::link::{self, GrowthChoice, LinkError, LinkOptions};
use crate::remote::path::{PathError, RemotePath};
use crate::remote::{AdminApi, RemoteError};
use crate::transfer::{self, NoProgress, PullOptions, PushOptions, TransferError};
pub use cache::compile_cache;
use core_thread::CoreThread;
use local_admin::LocalAdmin;

/// A directory of this computer and its place in the canister.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The directory here.
    pub host: PathBuf,
    /// Absolute path in the canister.
    pub guest: String,
    /// It is not copied back.
    pub read_only: bool,
}

/// What to run, besides the module.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Directories that are copied in before the run.
    pub directories: Vec<Mapping>,
    /// Copy those that are not read-only back after a run that did not trap.
    pub copy_back: bool,
    /// See [`LinkOptions::growth`].
    pub growth: GrowthChoice,
    /// See [`LinkOptions::headroom`].
    pub headroom: Option<u64>,
    /// Where compiled programs are kept between runs; see [`compile_cache`].
    pub compile_cache: Option<PathBuf>,
}

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What the program gave.
    pub result: ExecResult,
    /// What the message consumed.
    pub stats: ExecutionStats,
    /// What the IC charges for the message, without storage and without bytes of the request.
    pub cycles: u128,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The program returned or exited.
    Finished(Finished),
    /// The message trapped: nothing that it wrote was kept.
    Trapped {
        /// The reason, with a backtrace.
        message: String,
        /// What the program printed before.
        printed: Vec<u8>,
        /// What was consumed, if known.
        stats: Option<ExecutionStats>,
    },
}

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be linked, or the IC would refuse it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It is a reactor.
    #[error(
        "the module has no `_start`, or exports canister methods: it is not a program that can be \
         run. Deploy it with `icwasi link` and `icwasi deploy`"
    )]
    NotACommand,
    /// The replica's core did not start, or ended.
    #[error("cannot execute: {0}")]
    Core(String),
    /// The canister could not be installed.
    #[error("the module was refused: {0}")]
    Refused(#[source] Box<UserError>),
    /// A directory could not be copied.
    #[error(transparent)]
    Transfer(Box<TransferError>),
    /// A directory could not be made in the canister.
    #[error(transparent)]
    Remote(Box<RemoteError>),
    /// A path in the canister is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A directory of `--dir` is not there.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The request or the reply is not candid of the interface.
    #[error("the canister's reply cannot be decoded: {0}")]
    Decode(#[from] candid::Error),
}

impl From<TransferError> for RunError {
    fn from(error: TransferError) -> Self {
        RunError::Transfer(Box::new(error))
    }
}

impl From<RemoteError> for RunError {
    fn from(error: RemoteError) -> Self {
        RunError::Remote(Box::new(error))
    }
}

fn refused(error: UserError) -> RunError {
    RunError::Refused(Box::new(error))
}

/// Bytes of the guest's stack of calls, as on the IC.
const WASM_STACK: usize = 5 << 20;
/// What is kept of the output of a program that traps.
const PRINTED: usize = 1 << 20;

/// Who controls the canister.
fn operator() -> Principal {
    Principal::self_authenticating(b"icwasi run")
}

/// Runs `module`. All of it happens in this process; nothing is left behind but what is copied
/// back.
///
/// Cost: linking, compilation (the larger part for large programs), the run.
pub async fn run(module: &[u8], options: RunOptions) -> Result<Outcome, RunError> {
    for directory in &options.directories {
        if !directory.host.is_dir() {
            return Err(RunError::NotADirectory(directory.host.clone()));
        }
    }
    let linked = link::link(
        module,
        &LinkOptions {
            admin: !options.directories.is_empty(),
            arena: link::DEFAULT_ARENA + 4 * options.stdin.len() as u64,
            growth: options.growth,
            headroom: options.headroom,
            ..LinkOptions::default()
        },
    )?;
    if !linked
        .methods
        .iter()
        .any(|m| m == link::DEFAULT_EXEC_METHOD)
    {
        return Err(RunError::NotACommand);
    }
    let printed = Arc::new(Mutex::new(Vec::new()));
    let core = start_core(Arc::clone(&printed), options.compile_cache)?;
    let module = linked.module;
    let canister = core.run(move |core| install(core, &module)).await??;
    let admin = LocalAdmin::new(core.clone(), canister, operator());
    copy_in(&admin, &options.directories).await?;

    lock(&printed).clear();
    let request = ExecRequest {
        args: options.args,
        env: options.env,
        stdin: ByteBuf::from(options.stdin),
        cwd: None,
    };
    let arg = candid::encode_one(&request)?;
    let answer = core
        .run(move |core| {
            let answer = core.update(&canister, operator(), link::DEFAULT_EXEC_METHOD, arg);
            (answer, core.limits().fees.clone())
        })
        .await?;
    let (outcome, fees) = match answer {
        (Ok(outcome), fees) => (outcome, fees),
        (Err(error), _) => {
            return Ok(Outcome::Trapped {
                message: backtrace::readable(&error.message),
                printed: std::mem::take(&mut *lock(&printed)),
                stats: error.stats,
            });
        }
    };
    if options.copy_back {
        copy_back(&admin, &options.directories).await?;
    }
    let instructions = u128::from(outcome.stats.instructions);
    Ok(Outcome::Finished(Finished {
        result: candid::decode_one(&outcome.reply)?,
        cycles: fees.update + fees.ten_instructions * instructions / 10,
        stats: outcome.stats,
    }))
}

/// Takes up to [`PRINTED`] bytes of what the canister prints.
fn start_core(
    printed: Arc<Mutex<Vec<u8>>>,
    compile_cache: Option<PathBuf>,
) -> Result<CoreThread, RunError> {
    let make = move || {
        let mut core = Core::new(CoreConfig {
            limits: Limits {
                wasm_stack_bytes: WASM_STACK,
                ..Limits::default()
            },
            compile_cache,
            ..CoreConfig::default()
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        core.set_time(now.map_or(0, |now| now.as_nanos() as u64));
        core.set_print(Arc::new(move |_, _, line| {
            let mut printed = lock(&printed);
            if printed.len() + line.len() < PRINTED {
                printed.extend_from_slice(line);
                printed.push(b'\n');
            }
        }));
        Ok(core)
    };
    CoreThread::start(WASM_STACK, make)
}

fn lock(printed: &Mutex<Vec<u8>>) -> std::sync::MutexGuard<'_, Vec<u8>> {
    printed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install(core: &mut Core, module: &[u8]) -> Result<Principal, RunError> {
    let settings = Settings::new(vec![operator()], core.limits());
    let id = core
        .create_canister(operator(), None, settings, 1_000_000_000_000_000)
        .map_err(refused)?;
    core.install_code(operator(), &id, InstallMode::Install, module, &[])
        .map_err(refused)?;
    Ok(id)
}

/// `path/`: what it holds.
fn content_of(path: &Path) -> PathBuf {
    path.join("")
}

async fn copy_in(admin: &LocalAdmin, directories: &[Mapping]) -> Result<(), RunError> {
    let options = PushOptions {
        recursive: true,
        overwrite: true,
        concurrency: 1,
    };
    for directory in directories {
        let target = RemotePath::parse(&directory.guest)?;
        if !target.is_root() {
            admin.mkdir(target.as_str(), true).await.or_else(exists)?;
        }
        let sources = [content_of(&directory.host)];
        transfer::push(admin, &sources, &target, &options, &NoProgress).await?;
    }
    Ok(())
}

fn exists(error: RemoteError) -> Result<(), RemoteError> {
    match error.admin() {
        Some(icwasi_types::AdminError::AlreadyExists(_)) => Ok(()),
        _ => Err(error),
    }
}

async fn copy_back(admin: &LocalAdmin, directories: &[Mapping]) -> Result<(), RunError> {
    let options = PullOptions {
        recursive: true,
        overwrite: true,
        concurrency: 1,
    };
    for directory in directories.iter().filter(|d| !d.read_only) {
        let source = RemotePath::parse(&format!("{}/", directory.guest.trim_end_matches('/')))?;
        let target = content_of(&directory.host);
        transfer::pull(admin, &[source], &target, &options, &NoProgress).await?;
    }
    Ok(())
}

//! Runs a command in a canister that lives as long as the run: link, install in a replica's
//! execution core in this process, copy directories in, run, copy them back.

mod backtrace;
mod cache;
mod core_thread;
mod files;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use candid::Principal;
use icwasi_replica::core::{
    Core, CoreConfig, ExecutionStats, InstallMode, Limits, SavedMemory, Settings, UpgradeOptions,
    UserError,
};
use icwasi_types::exec::{ExecRequest, ExecResult};
use serde_bytes::ByteBuf;

use crate::link::{self, GrowthChoice, LinkError, LinkOptions, Preopen};
pub use cache::compile_cache;
use core_thread::CoreThread;
pub use files::{FilesError, Mapping};

/// What to run, besides the module.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Directories that are copied in before the run, and all that the program finds open; if
    /// there are none, that is `/`.
    pub directories: Vec<Mapping>,
    /// Copy those that are not read-only back after a run that did not trap.
    pub copy_back: bool,
    /// Directory of the canister in which relative paths begin.
    pub cwd: Option<String>,
    /// See [`LinkOptions::growth`].
    pub growth: GrowthChoice,
    /// See [`LinkOptions::headroom`].
    pub headroom: Option<u64>,
    /// Where compiled programs are kept between runs; see [`compile_cache`].
    pub compile_cache: Option<PathBuf>,
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// What the program gave.
    pub result: ExecResult,
    /// What the message consumed.
    pub stats: ExecutionStats,
    /// What the IC charges for the message, without storage and without bytes of the request.
    pub cycles: u128,
    /// What could not be copied back.
    pub not_copied: Vec<FilesError>,
}

/// How a run ended.
#[derive(Debug)]
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
    /// A directory could not be copied in. Nothing was run.
    #[error(transparent)]
    Files(Box<FilesError>),
    /// The program was not begun: something is wrong with what it was to be run with.
    #[error("{0}")]
    Request(String),
    /// The request or the reply is not candid of the interface.
    #[error("the canister's reply cannot be decoded: {0}")]
    Decode(#[from] candid::Error),
}

impl From<FilesError> for RunError {
    fn from(error: FilesError) -> Self {
        RunError::Files(Box::new(error))
    }
}

fn refused(error: UserError) -> RunError {
    RunError::Refused(Box::new(error))
}

/// Bytes of the guest's stack of calls, as on the IC.
const WASM_STACK: usize = 5 << 20;
/// What is kept of the output of a program that traps.
const PRINTED: usize = 1 << 20;

/// Most bytes of standard input: the program and what carries them share the 4 GiB of the heap.
pub const MAX_STDIN: usize = 60_000_000;

/// Error code of a call that the canister rejected itself.
const REJECTED: u32 = 406;

/// Who controls the canister.
fn operator() -> Principal {
    Principal::self_authenticating(b"icwasi run")
}

/// Runs `module`. All of it happens in this process; nothing is left behind but what is copied
/// back.
///
/// Cost: linking, compilation (the larger part for large programs), the run.
pub async fn run(module: &[u8], options: RunOptions) -> Result<Outcome, RunError> {
    files::check(&options.directories, options.copy_back)?;
    if options.stdin.len() > MAX_STDIN {
        return Err(RunError::Request(format!(
            "standard input is longer than the {MAX_STDIN} bytes that a run is given: let the \
             program read a file, in a directory that --dir maps"
        )));
    }
    let linked = link::link(
        module,
        &LinkOptions {
            preopens: options.directories.iter().map(preopen).collect(),
            arena: link::DEFAULT_ARENA + 4 * options.stdin.len() as u64,
            growth: options.growth,
            headroom: options.headroom,
            // There is nobody to ask, and it would add to what the run costs.
            reseed: false,
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
    let (stable, seen) = if options.directories.is_empty() {
        (None, files::Seen::new())
    } else {
        let (stable, seen) = files::copy_in(&options.directories, now())?;
        (Some(stable), seen)
    };
    let installed = core.run(move |core| install(core, &module, stable.as_ref()));
    let canister = installed.await??;

    lock(&printed).clear();
    let request = ExecRequest {
        args: options.args,
        env: options.env,
        stdin: ByteBuf::from(options.stdin),
        cwd: options.cwd,
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
        // Only this method rejects, and only before it runs the program.
        (Err(error), _) if error.code as u32 == REJECTED => {
            return Err(RunError::Request(error.message));
        }
        (Err(error), _) => {
            return Ok(Outcome::Trapped {
                message: backtrace::readable(&error.message),
                printed: std::mem::take(&mut *lock(&printed)),
                stats: error.stats,
            });
        }
    };
    let not_copied = if options.copy_back {
        let stable = core.run(move |core| stable_memory(core, &canister)).await?;
        match stable {
            Ok(stable) => files::copy_out(stable, &options.directories, &seen),
            Err(source) => vec![FilesError::Io {
                action: "write",
                path: std::env::temp_dir(),
                source,
            }],
        }
    } else {
        Vec::new()
    };
    let instructions = u128::from(outcome.stats.instructions);
    Ok(Outcome::Finished(Finished {
        result: candid::decode_one(&outcome.reply)?,
        cycles: fees.update + fees.ten_instructions * instructions / 10,
        stats: outcome.stats,
        not_copied,
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
            quick_compile: true,
            ..CoreConfig::default()
        })?;
        core.set_time(now());
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

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

fn preopen(mapping: &Mapping) -> Preopen {
    Preopen {
        path: mapping.guest.clone(),
        read_only: mapping.read_only,
    }
}

/// A canister with `module`, and with `stable` as its stable memory if given.
fn install(core: &mut Core, module: &[u8], stable: Option<&File>) -> Result<Principal, RunError> {
    let settings = Settings::new(vec![operator()], core.limits());
    let id = core
        .create_canister(operator(), None, settings, 1_000_000_000_000_000)
        .map_err(refused)?;
    let mut mode = InstallMode::Install;
    if let Some(stable) = stable {
        // An upgrade keeps stable memory, and asks for code to be upgraded.
        let io = |e: std::io::Error| RunError::Core(e.to_string());
        let stable_bytes = stable.metadata().map_err(io)?.len();
        let saved = SavedMemory {
            module: b"\0asm\x01\0\0\0",
            globals: &[],
            heap_bytes: 0,
            heap: &mut |_, _| Ok(()),
            stable_bytes,
            stable: Some(&mut |offset, piece| stable.read_exact_at(piece, offset)),
        };
        core.load_state(&id, saved, Vec::new()).map_err(refused)?;
        mode = InstallMode::Upgrade(UpgradeOptions::default());
    }
    core.install_code(operator(), &id, mode, module, &[])
        .map_err(refused)?;
    Ok(id)
}

/// A copy of the canister's stable memory.
fn stable_memory(core: &Core, id: &Principal) -> std::io::Result<File> {
    const PIECE: u64 = 1 << 20;
    let file = tempfile::tempfile()?;
    let Some(canister) = core.canister(id) else {
        return Ok(file);
    };
    let size = canister.stable_bytes();
    file.set_len(size)?;
    let mut piece = vec![0; PIECE as usize];
    for at in (0..size).step_by(PIECE as usize) {
        let part = &mut piece[..PIECE.min(size - at) as usize];
        canister.stable_read(at, part);
        if part.iter().any(|byte| *byte != 0) {
            file.write_all_at(part, at)?;
        }
    }
    Ok(file)
}

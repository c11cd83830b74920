//! The program as a command of a canister, in the replica's core.
//!
//! Its files are read from stable memory by the file system's own code, which also checks them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use candid::Principal;
use ic_stable_structures::{Memory, VectorMemory};
use icwasi::fs::{FileType, FormatOptions, Fs, Ino};
use icwasi_cli::link::{self, LinkOptions};
use icwasi_replica::core::{Core, CoreConfig, InstallMode, Limits, Settings, UserError};
use icwasi_types::exec::{ExecRequest, ExecResult};
use serde_bytes::ByteBuf;

use crate::{End, Input, Node, Outcome};

/// Bytes of the guest's stack of calls, as on the IC.
const WASM_STACK: usize = 5 << 20;

/// Runs `work` in a thread with the stack that the core asks for.
///
/// # Errors
/// Those of `work`.
///
/// # Panics
/// As `work` does.
pub fn with_stack<R: Send + 'static>(
    work: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let thread = std::thread::Builder::new()
        .stack_size(WASM_STACK + (2 << 20))
        .spawn(work)?;
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A canister that holds a command. Use it in [`with_stack`].
pub struct Canister {
    core: Core,
    id: Principal,
    printed: Arc<Mutex<Vec<u8>>>,
}

/// Who controls the canisters.
pub fn operator() -> Principal {
    Principal::self_authenticating(b"e2e-programs")
}

/// A core like that of the local network, at the time of this computer.
///
/// # Errors
/// If the engine cannot be set up.
pub fn core() -> Result<Core> {
    let mut core = Core::new(CoreConfig {
        limits: Limits {
            wasm_stack_bytes: WASM_STACK,
            ..Limits::default()
        },
        compile_cache: Some(cache()?),
        ..CoreConfig::default()
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    core.set_time(now.as_nanos() as u64);
    Ok(core)
}

/// Where compiled code is kept: tests use the same modules.
///
/// # Errors
/// If it cannot be made.
pub fn cache() -> Result<PathBuf> {
    let cache = xtask::guests::target_dir().join("programs/cache");
    std::fs::create_dir_all(&cache)?;
    Ok(cache)
}

/// Installs `module`. Of tests that install the same one at the same time, one compiles it.
///
/// # Errors
/// If it is refused.
pub fn install(
    core: &mut Core,
    id: &Principal,
    mode: InstallMode,
    module: &[u8],
) -> Result<(), UserError> {
    static LOCKS: Mutex<BTreeMap<[u8; 32], Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let lock = {
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(*blake3::hash(module).as_bytes()).or_default())
    };
    let _lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
    core.install_code(operator(), id, mode, module, &[])
        .map(drop)
}

impl Canister {
    /// Links and installs `module`.
    ///
    /// # Errors
    /// If either fails.
    pub fn new(module: &[u8], options: &LinkOptions) -> Result<Self> {
        let linked = link::link(module, options)?;
        let mut core = core()?;
        let printed = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&printed);
        core.set_print(Arc::new(move |_, _, line| {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.extend_from_slice(line);
            log.push(b'\n');
        }));
        let settings = Settings::new(vec![operator()], core.limits());
        let id = core.create_canister(operator(), None, settings, 1 << 60)?;
        install(&mut core, &id, InstallMode::Install, &linked.module)?;
        Ok(Canister { core, id, printed })
    }

    /// One run of the program.
    ///
    /// # Errors
    /// If the message trapped or was refused.
    pub fn run(&mut self, request: &ExecRequest) -> Result<ExecResult, UserError> {
        let arg = candid::encode_one(request).map_err(|e| {
            UserError::new(
                icwasi_replica::core::ErrorCode::CanisterContractViolation,
                e.to_string(),
            )
        })?;
        let outcome = self
            .core
            .update(&self.id, operator(), link::DEFAULT_EXEC_METHOD, arg)?;
        candid::decode_one(&outcome.reply).map_err(|e| {
            UserError::new(
                icwasi_replica::core::ErrorCode::CanisterContractViolation,
                e.to_string(),
            )
        })
    }

    /// The file system in stable memory, checked.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn file_system(&self) -> Result<Fs<VectorMemory>> {
        let canister = self.core.canister(&self.id).context("is there")?;
        let mut bytes = vec![0; canister.stable_bytes() as usize];
        ensure!(
            canister.stable_read(0, &mut bytes),
            "stable memory can be read"
        );
        let memory = VectorMemory::default();
        memory.grow(bytes.len() as u64 >> 16);
        memory.write(0, &bytes);
        drop(bytes);
        let options = FormatOptions {
            hash_key: [0; 16],
            quota_bytes: None,
        };
        let mut fs = Fs::open(memory, &options, 0).map_err(|e| anyhow!("{e}"))?;
        let findings = fs.check();
        ensure!(
            findings.is_empty(),
            "the file system is damaged: {findings:?}"
        );
        Ok(fs)
    }

    /// Everything in the file system, by path.
    ///
    /// # Errors
    /// As [`Self::file_system`].
    pub fn files(&self) -> Result<BTreeMap<String, Node>> {
        let mut fs = self.file_system()?;
        let mut files = BTreeMap::new();
        let root = fs.root();
        walk(&mut fs, root, "", &mut files)?;
        Ok(files)
    }

    /// What was printed to the canister log.
    pub fn printed(&self) -> Vec<u8> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.clone()
    }
}

/// Runs `module` in a canister.
///
/// # Errors
/// If it cannot be linked or installed. A trap is an outcome.
pub fn run(module: &[u8], input: &Input) -> Result<Outcome> {
    let mut canister = Canister::new(module, &LinkOptions::default())?;
    let result = canister.run(&ExecRequest {
        args: input.args.clone(),
        env: input.env.clone(),
        stdin: ByteBuf::from(input.stdin.clone()),
        cwd: None,
    });
    let (end, stdout, stderr) = match result {
        Ok(result) => (
            End::Exit(result.exit_code),
            result.stdout.into_vec(),
            result.stderr.into_vec(),
        ),
        // The two streams are one in the log.
        Err(error) => {
            ensure!(error.to_string().contains("trapped"), "{error}");
            (End::Trap, canister.printed(), Vec::new())
        }
    };
    Ok(Outcome {
        end,
        stdout,
        stderr,
        files: canister.files()?,
    })
}

fn walk<M: Memory>(
    fs: &mut Fs<M>,
    directory: Ino,
    prefix: &str,
    files: &mut BTreeMap<String, Node>,
) -> Result<()> {
    let mut entries = Vec::new();
    fs.read_dir(directory, 0, &mut |entry| {
        if entry.name != b"." && entry.name != b".." {
            entries.push((entry.name.to_vec(), entry.ino, entry.file_type));
        }
        ControlFlow::Continue(())
    })
    .map_err(|e| anyhow!("{e}"))?;
    for (name, ino, file_type) in entries {
        let path = format!("{prefix}/{}", String::from_utf8(name)?);
        let node = match file_type {
            FileType::Directory => {
                walk(fs, ino, &path, files)?;
                Node::Directory
            }
            FileType::Symlink => Node::Symlink(fs.read_link(ino).map_err(|e| anyhow!("{e}"))?),
            FileType::Regular => {
                let size = fs.size(ino).map_err(|e| anyhow!("{e}"))?;
                let mut content = vec![0; size as usize];
                let read = fs.read(ino, 0, &mut content).map_err(|e| anyhow!("{e}"))?;
                ensure!(read as u64 == size, "{path} can be read");
                Node::File(content)
            }
        };
        files.insert(path, node);
    }
    Ok(())
}

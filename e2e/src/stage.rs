//! A canister in the core of the replica, without HTTP: for tests with very many messages, or that
//! look at stable memory.

use anyhow::{Context, Result, anyhow};
use candid::Principal;
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use ic_stable_structures::{Memory, VectorMemory};
use icwasi_replica::core::{
    Canister, Core, CoreConfig, ErrorCode, ExecutionStats, InstallMode, ManagementHandler,
    ManagementReply, Settings, UpgradeOptions, UserError,
};

/// Stack of the thread that a core runs on.
const STACK: usize = 32 << 20;

/// One canister and its controller.
pub struct Stage {
    core: Core,
    id: Principal,
    owner: Principal,
}

/// Runs `test` on a thread with the stack that a core needs.
///
/// # Errors
/// Those of the test.
pub fn with_stack(test: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(test)?;
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A management canister that can only answer `raw_rand`, always with the same bytes.
struct RawRand(Vec<u8>);

impl ManagementHandler for RawRand {
    fn call(
        &mut self,
        _: &mut Core,
        _: Principal,
        method: &str,
        _: &[u8],
        cycles: u128,
    ) -> ManagementReply {
        let result = match method {
            "raw_rand" => {
                Ok(candid::encode_one(serde_bytes::Bytes::new(&self.0)).expect("bytes encode"))
            }
            _ => Err(UserError::new(ErrorCode::CanisterMethodNotFound, method)),
        };
        ManagementReply {
            result,
            refund: cycles,
        }
    }
}

impl Stage {
    /// From now on, `raw_rand` answers with `bytes`.
    pub fn answer_raw_rand(&mut self, bytes: &[u8]) {
        self.core.set_management(Box::new(RawRand(bytes.to_vec())));
    }

    /// A core with one empty canister.
    ///
    /// # Errors
    /// If the engine cannot be set up.
    pub fn new() -> Result<Self> {
        let config = CoreConfig {
            compile_cache: Some(xtask::guests::out_dir()?.join("compiled")),
            ..CoreConfig::default()
        };
        let mut core = Core::new(config)?;
        core.set_time(1_767_225_600_000_000_000);
        let owner = Principal::self_authenticating(b"owner");
        let settings = Settings::new(vec![owner], core.limits());
        let id = core
            .create_canister(owner, None, settings, 1_000_000_000_000_000)
            .map_err(refused)?;
        Ok(Self { core, id, owner })
    }

    /// Installs a module in the empty canister.
    ///
    /// # Errors
    /// If it is refused or traps.
    pub fn install(&mut self, module: &[u8], arg: &[u8]) -> Result<ExecutionStats> {
        let Self { core, id, owner } = self;
        core.install_code(*owner, id, InstallMode::Install, module, arg)
            .map_err(refused)
    }

    /// Upgrades the canister, a second later.
    ///
    /// # Errors
    /// If it is refused or traps.
    pub fn upgrade(&mut self, module: &[u8]) -> Result<ExecutionStats> {
        let Self { core, id, owner } = self;
        core.set_time(core.time() + 1_000_000_000);
        let mode = InstallMode::Upgrade(UpgradeOptions::default());
        core.install_code(*owner, id, mode, module, &candid::encode_args(())?)
            .map_err(refused)
    }

    /// An update by the controller, a second later.
    ///
    /// # Errors
    /// If it traps or rejects, or the reply is something else.
    pub fn update<A, R>(&mut self, method: &str, args: A) -> Result<R>
    where
        A: ArgumentEncoder,
        R: for<'a> ArgumentDecoder<'a>,
    {
        let Self { core, id, owner } = self;
        core.set_time(core.time() + 1_000_000_000);
        let arg = candid::encode_args(args)?;
        let outcome = core.update(id, *owner, method, arg).map_err(refused)?;
        candid::decode_args(&outcome.reply).with_context(|| format!("reply of {method}"))
    }

    /// A query with bytes for argument and reply.
    ///
    /// # Errors
    /// If it traps or rejects.
    pub fn query_raw(&mut self, method: &str, arg: Vec<u8>) -> Result<Vec<u8>> {
        let Self { core, id, owner } = self;
        let outcome = core.query(id, *owner, method, arg).map_err(refused)?;
        Ok(outcome.reply)
    }

    /// A query by the controller.
    ///
    /// # Errors
    /// If it traps or rejects, or the reply is something else.
    pub fn query<A, R>(&mut self, method: &str, args: A) -> Result<R>
    where
        A: ArgumentEncoder,
        R: for<'a> ArgumentDecoder<'a>,
    {
        let reply = self.query_raw(method, candid::encode_args(args)?)?;
        candid::decode_args(&reply).with_context(|| format!("reply of {method}"))
    }

    fn canister(&self) -> Result<&Canister> {
        self.core.canister(&self.id).context("the canister")
    }

    /// A copy of its stable memory.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn stable(&self) -> Result<VectorMemory> {
        let canister = self.canister()?;
        let mut bytes = vec![0; usize::try_from(canister.stable_bytes())?];
        anyhow::ensure!(canister.stable_read(0, &mut bytes), "stable memory");
        let memory = VectorMemory::default();
        memory.grow(bytes.len() as u64 / 65_536);
        memory.borrow_mut().copy_from_slice(&bytes);
        Ok(memory)
    }
}

fn refused(error: UserError) -> anyhow::Error {
    anyhow!("{}", error.message)
}

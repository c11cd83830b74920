//! A canister in the replica, whose messages are measured.

use anyhow::{Context, Result, anyhow, ensure};
use candid::Principal;
use icwasi_replica::core::{
    Core, CoreConfig, InstallMode, Limits, Settings, UpgradeOptions, UserError,
};
use icwasi_types::methods::FSCK;
use icwasi_types::{AdminError, CheckedPart};
use serde_bytes::ByteBuf;

/// A method and its four numbers.
#[derive(Clone, Copy, Debug)]
pub struct Step(pub &'static str, pub [u64; 4]);

/// A canister.
pub struct Machine {
    core: Core,
    id: Principal,
    time: u64,
}

fn reason(error: &UserError) -> anyhow::Error {
    anyhow!("{}", error.message)
}

fn owner() -> Principal {
    Principal::self_authenticating(b"the owner of the benchmark")
}

impl Machine {
    /// Installs `module`.
    ///
    /// Limits of messages are lifted, because the libraries that are compared would run into
    /// them; so is that of globals, in which a profile is counted.
    pub fn install(module: &[u8]) -> Result<Self> {
        let limits = Limits {
            update_instructions: 1 << 50,
            stable_access_update_bytes: 1 << 40,
            globals: 100_000,
            ..Limits::default()
        };
        let config = CoreConfig {
            limits,
            // Compiling a canister takes seconds.
            compile_cache: Some(xtask::guests::out_dir()?.join("compiled")),
            ..CoreConfig::default()
        };
        let mut core = Core::new(config)?;
        let mut time = 1_767_225_600_000_000_000;
        core.set_time(time);
        let settings = Settings::new(vec![owner()], core.limits());
        let id = core
            .create_canister(owner(), None, settings, u128::MAX / 4)
            .map_err(|error| reason(&error))?;
        core.install_code(owner(), &id, InstallMode::Install, module, b"DIDL\0\0")
            .map_err(|error| reason(&error))
            .context("install")?;
        time += 1_000_000_000;
        Ok(Self { core, id, time })
    }

    /// Runs a message; its instructions.
    pub fn call(&mut self, Step(method, numbers): Step) -> Result<u64> {
        let mut argument = b"DIDL\x00\x04\x78\x78\x78\x78".to_vec();
        for number in numbers {
            argument.extend_from_slice(&number.to_le_bytes());
        }
        self.time += 1_000_000_000;
        self.core.set_time(self.time);
        let outcome = self.core.update(&self.id, owner(), method, argument);
        let outcome = outcome
            .map_err(|error| reason(&error))
            .with_context(|| format!("{method}{numbers:?}"))?;
        Ok(outcome.stats.instructions)
    }

    /// The number that a query replies.
    pub fn ask(&mut self, method: &str) -> Result<u64> {
        let outcome = self
            .core
            .query(&self.id, owner(), method, b"DIDL\0\0".to_vec());
        let outcome = outcome.map_err(|error| reason(&error));
        let reply = outcome.with_context(|| method.to_owned())?.reply;
        Ok(candid::decode_one(&reply)?)
    }

    /// Checks the whole file system; the instructions of all queries that it takes.
    pub fn check(&mut self) -> Result<u64> {
        let (mut part, mut rest, mut sum) = (0_u32, None::<ByteBuf>, 0);
        loop {
            let argument = candid::encode_args((part, &rest, None::<u64>))?;
            let outcome = self.core.query(&self.id, owner(), FSCK, argument);
            let outcome = outcome.map_err(|error| reason(&error)).context(FSCK)?;
            sum += outcome.stats.instructions;
            let reply: Result<CheckedPart, AdminError> = candid::decode_one(&outcome.reply)?;
            let reply = reply.map_err(|error| anyhow!("{error:?}"))?;
            ensure!(reply.findings.is_empty(), "{:?}", reply.findings);
            let Some(next) = reply.next else {
                return Ok(sum);
            };
            (part, rest) = (next, reply.rest);
        }
    }

    /// Runs messages; their instructions.
    pub fn run(&mut self, steps: &[Step]) -> Result<u64> {
        let mut sum = 0;
        for step in steps {
            sum += self.call(*step)?;
        }
        Ok(sum)
    }

    /// Upgrades to `module`; the instructions of its entry points, without those that compiling
    /// costs.
    pub fn upgrade(&mut self, module: &[u8]) -> Result<u64> {
        let mode = InstallMode::Upgrade(UpgradeOptions::default());
        let stats = self
            .core
            .install_code(owner(), &self.id, mode, module, b"DIDL\0\0")
            .map_err(|error| reason(&error))
            .context("upgrade")?;
        Ok(stats.instructions - stats.compile_instructions)
    }

    /// The mutable globals that are `i64`, in order.
    pub fn counters(&self) -> Vec<u64> {
        use icwasi_replica::core::GlobalValue;
        let canister = self.core.canister(&self.id);
        let globals = canister.map_or(&[][..], |canister| canister.globals());
        globals
            .iter()
            .filter_map(|global| match global {
                GlobalValue::I64(value) => Some(*value as u64),
                _ => None,
            })
            .collect()
    }
}

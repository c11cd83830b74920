//! A canister in Motoko, compiled by the compiler that npm has: 64-bit memory that is kept over
//! upgrades, timers, calls to itself and to the management canister.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use candid::{Nat, Principal};
use ic_agent::Agent;
use ic_utils::call::SyncCall;
use ic_utils::interfaces::ManagementCanister;
use ic_utils::interfaces::management_canister::FetchCanisterLogsArgs;
use ic_utils::interfaces::management_canister::builders::{
    CanisterInstallMode, UpgradeFlags, WasmMemoryPersistence,
};

use super::npm::{self, Installed};
use super::{Outcome, source_dir};
use crate::cli::wait;
use crate::network::Network;

const LIMIT: Duration = Duration::from_secs(120);

/// Compiles `e2e/clients/motoko/Notes.mo` and uses it.
///
/// # Errors
/// With the step that went wrong.
pub async fn run() -> Result<Outcome> {
    if npm::version("node").is_none() {
        return Ok(Outcome::NotRun("Node is not installed".into()));
    }
    let directory = match npm::install("motoko")? {
        Installed::In(directory) => directory,
        Installed::Missing(reason) => return Ok(Outcome::NotRun(reason)),
    };
    let module = tokio::task::spawn_blocking(move || compile(directory)).await??;
    let network = Network::start().await?;
    let notes = Notes {
        id: network.create().await?,
        network: &network,
    };
    notes.behaves(&module).await?;
    network.stop().await?;
    Ok(Outcome::Passed(
        "compile; install; updates and queries; calls to itself and for randomness; a trap rolls \
         back and is caught; its log; timers; an upgrade that keeps its memory"
            .into(),
    ))
}

fn compile(directory: PathBuf) -> Result<Vec<u8>> {
    let source = source_dir("motoko");
    // Node looks for packages beside the script.
    let script = directory.join("compile.mjs");
    std::fs::copy(source.join("compile.mjs"), &script)?;
    let (output, errors) = (directory.join("notes.wasm"), directory.join("errors"));
    let mut node = Command::new("node")
        .arg(&script)
        .arg(source.join("Notes.mo"))
        .arg(&output)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&errors)?)
        .spawn()
        .context("cannot start node")?;
    let status = wait(&mut node, LIMIT)?;
    let errors = std::fs::read_to_string(&errors)?;
    ensure!(status.success(), "the Motoko compiler: {status}\n{errors}");
    std::fs::read(&output).context("what the Motoko compiler has written")
}

struct Notes<'a> {
    network: &'a Network,
    id: Principal,
}

impl Notes<'_> {
    async fn update<R: for<'a> ArgumentDecoder<'a>>(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<R> {
        let agent = &self.network.owner.agent;
        let call = agent.update(&self.id, method);
        let reply = call
            .with_arg(candid::encode_args(args)?)
            .call_and_wait()
            .await
            .with_context(|| method.to_owned())?;
        Ok(candid::decode_args(&reply)?)
    }

    async fn query<R: for<'a> ArgumentDecoder<'a>>(&self, method: &str) -> Result<R> {
        let agent = &self.network.owner.agent;
        let call = agent.query(&self.id, method);
        let reply = call.with_arg(candid::encode_args(())?).call().await?;
        Ok(candid::decode_args(&reply)?)
    }

    async fn all(&self) -> Result<Vec<String>> {
        Ok(self.query::<(Vec<String>,)>("all").await?.0)
    }

    /// Notes, additions since the upgrade, ticks of the timer.
    async fn counts(&self) -> Result<(Nat, Nat, Nat)> {
        self.query("counts").await
    }

    async fn install(&self, agent: &Agent, module: &[u8], mode: CanisterInstallMode) -> Result<()> {
        ManagementCanister::create(agent)
            .install(&self.id, module)
            .with_raw_arg(candid::encode_args(())?)
            .with_mode(mode)
            .call_and_wait()
            .await
            .context("install")
    }

    async fn behaves(&self, module: &[u8]) -> Result<()> {
        let owner = &self.network.owner.agent;
        self.install(owner, module, CanisterInstallMode::Install)
            .await?;
        ensure!(self.update::<(Nat,)>("add", ("one",)).await?.0 == 1u8);
        ensure!(
            self.update::<(Nat,)>("addTwice", ("two",)).await?.0 == 3u8,
            "calls itself"
        );
        let notes = ["one", "two 1", "two 2"];
        ensure!(self.all().await? == notes, "{:?}", self.all().await?);

        let anonymous = crate::network::anonymous(&self.network.replica.url()).await?;
        let refused = anonymous
            .update(&self.id, "add")
            .with_arg(candid::encode_args(("mine",))?)
            .call_and_wait()
            .await;
        let refused = refused.err().context("it takes notes of anybody")?;
        ensure!(refused.to_string().contains("who are you?"), "{refused}");
        let failed = self.update::<()>("fail", ()).await;
        let failed = format!("{:#}", failed.err().context("it should trap")?);
        ensure!(failed.contains("on purpose"), "{failed}");
        let caught = self.update::<(String,)>("caught", ()).await?.0;
        ensure!(caught.contains("on purpose"), "{caught}");
        ensure!(self.all().await? == notes, "a trap rolls back");

        let random = || self.update::<(serde_bytes::ByteBuf,)>("random", ());
        let (first, second) = (random().await?.0, random().await?.0);
        ensure!(first.len() == 32 && first != second, "random bytes");

        let (logs,) = ManagementCanister::create(owner)
            .fetch_canister_logs(&FetchCanisterLogsArgs {
                canister_id: self.id,
                filter: None,
            })
            .call()
            .await?;
        let logged = |text: &str| {
            let mut records = logs.canister_log_records.iter();
            records.any(|r| String::from_utf8_lossy(&r.content).contains(text))
        };
        ensure!(logged("noted two 2") && logged("on purpose"), "{logs:?}");

        let start = Instant::now();
        while self.counts().await?.2 < 3u8 {
            ensure!(start.elapsed() < LIMIT, "the timer does not tick");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }

        // Its memory is 64-bit and kept as it is.
        let keep = UpgradeFlags {
            skip_pre_upgrade: None,
            wasm_memory_persistence: Some(WasmMemoryPersistence::Keep),
        };
        self.install(owner, module, CanisterInstallMode::Upgrade(Some(keep)))
            .await?;
        ensure!(self.all().await? == notes, "kept over the upgrade");
        let (count, since, ticks) = self.counts().await?;
        ensure!(
            count == 3u8 && since == 0u8 && ticks >= 3u8,
            "{count} notes, {since} since the upgrade, {ticks} ticks"
        );
        ensure!(self.update::<(Nat,)>("add", ("after",)).await?.0 == 4u8);
        Ok(())
    }
}

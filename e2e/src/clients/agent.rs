//! ic-agent and ic-utils.

use anyhow::{Context, Result, ensure};
use candid::{CandidType, Principal};
use ic_agent::Agent;
use ic_management_canister_types::{LoadCanisterSnapshotArgs, Snapshot, TakeCanisterSnapshotArgs};
use ic_utils::call::AsyncCall;
use ic_utils::interfaces::ManagementCanister;

use super::{Outcome, counter};
use crate::network::Network;

async fn inc(agent: &Agent, id: Principal) -> Result<u64> {
    let reply = agent
        .update(&id, "inc")
        .with_arg(candid::encode_args(())?)
        .await?;
    Ok(candid::decode_one(&reply)?)
}

async fn get(agent: &Agent, id: Principal) -> Result<u64> {
    let reply = agent
        .query(&id, "get")
        .with_arg(candid::encode_args(())?)
        .await?;
    Ok(candid::decode_one(&reply)?)
}

/// A method of the management canister that ic-utils has with types of its own.
async fn manage_raw(
    agent: &Agent,
    id: Principal,
    method: &str,
    arg: impl CandidType,
) -> Result<Vec<u8>> {
    agent
        .update(&Principal::management_canister(), method)
        .with_effective_canister_id(id)
        .with_arg(candid::encode_one(arg)?)
        .await
        .with_context(|| method.to_owned())
}

async fn manage<T: CandidType + for<'a> serde::Deserialize<'a>>(
    agent: &Agent,
    id: Principal,
    method: &str,
    arg: impl CandidType,
) -> Result<T> {
    Ok(candid::decode_one(
        &manage_raw(agent, id, method, arg).await?,
    )?)
}

/// The module with a section that makes it too large for one message.
fn large(module: &[u8]) -> Vec<u8> {
    let filler: Vec<u8> = (0..2_500_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut module = module.to_vec();
    module.push(0);
    let name = b"filler";
    let mut size = name.len() + 1 + filler.len();
    while size > 127 {
        module.push((size & 127) as u8 | 128);
        size >>= 7;
    }
    module.push(size as u8);
    module.push(name.len() as u8);
    module.extend_from_slice(name);
    module.extend_from_slice(&filler);
    module
}

/// The whole life of a canister, with query signatures verified.
///
/// # Errors
/// With the step that went wrong.
pub async fn run() -> Result<Outcome> {
    let network = Network::start().await?;
    let agent = &network.owner.agent;
    let management = ManagementCanister::create(agent);
    let module = counter::module()?;

    let id = network.create().await?;
    management
        .install(&id, &module)
        .call_and_wait()
        .await
        .context("install in one message")?;
    ensure!(
        inc(agent, id).await? == 1 && inc(agent, id).await? == 2,
        "update"
    );
    ensure!(get(agent, id).await? == 2, "query");

    let controllers = agent.read_state_canister_controllers(id).await?;
    ensure!(controllers == [network.owner.principal()?], "controllers");
    let service = agent
        .read_state_canister_metadata(id, "candid:service")
        .await?;
    ensure!(service.starts_with(b"service"), "metadata");

    let taken: Snapshot = manage(
        agent,
        id,
        "take_canister_snapshot",
        TakeCanisterSnapshotArgs {
            canister_id: id,
            replace_snapshot: None,
            uninstall_code: None,
            sender_canister_version: None,
        },
    )
    .await?;
    let (listed,) = management
        .list_canister_snapshots(&id)
        .call_and_wait()
        .await
        .context("list snapshots")?;
    ensure!(
        listed.len() == 1 && listed[0].id == taken.id,
        "one snapshot"
    );
    ensure!(inc(agent, id).await? == 3, "update after the snapshot");
    let load = LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: taken.id,
        sender_canister_version: None,
    };
    let reply = manage_raw(agent, id, "load_canister_snapshot", load).await?;
    ensure!(candid::decode_args::<()>(&reply).is_ok(), "empty reply");
    ensure!(get(agent, id).await? == 2, "the state of the snapshot");

    let chunked = network.create().await?;
    let large = large(&module);
    management
        .install(&chunked, &large)
        .call_and_wait()
        .await
        .context("install from chunks")?;
    ensure!(
        inc(agent, chunked).await? == 1,
        "update of the large module"
    );
    network.stop().await?;
    Ok(Outcome::Passed(
        "create; install; update; query, node signature checked; read_state; \
         take, list and load a snapshot; install from chunks"
            .into(),
    ))
}

//! ic-agent and ic-utils.

use anyhow::{Context, Result, ensure};
use candid::{CandidType, Principal};
use ic_agent::Agent;
use ic_management_canister_types::{
    LoadCanisterSnapshotArgs, ReadCanisterSnapshotDataArgs, ReadCanisterSnapshotDataResult,
    ReadCanisterSnapshotMetadataArgs, ReadCanisterSnapshotMetadataResult, Snapshot,
    SnapshotDataKind, SnapshotDataOffset, TakeCanisterSnapshotArgs, UploadCanisterSnapshotDataArgs,
    UploadCanisterSnapshotMetadataArgs, UploadCanisterSnapshotMetadataResult,
};
use ic_utils::call::AsyncCall;
use ic_utils::interfaces::ManagementCanister;

use super::{Outcome, counter};
use crate::network::Network;

/// Small enough that a heap of one page takes several.
const SLICE: u64 = 30_000;

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

async fn load(agent: &Agent, id: Principal, snapshot_id: Vec<u8>) -> Result<()> {
    let load = LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id,
        sender_canister_version: None,
    };
    let reply = manage_raw(agent, id, "load_canister_snapshot", load).await?;
    ensure!(candid::decode_args::<()>(&reply).is_ok(), "empty reply");
    Ok(())
}

/// Downloads a snapshot and uploads it to the canister `to`; its id there.
async fn carry(
    agent: &Agent,
    (from, snapshot_id): (Principal, Vec<u8>),
    to: Principal,
) -> Result<Vec<u8>> {
    let read = ReadCanisterSnapshotMetadataArgs {
        canister_id: from,
        snapshot_id: snapshot_id.clone(),
    };
    let method = "read_canister_snapshot_metadata";
    let meta: ReadCanisterSnapshotMetadataResult = manage(agent, from, method, read).await?;
    let sizes = [
        meta.wasm_module_size,
        meta.wasm_memory_size,
        meta.stable_memory_size,
    ];
    let metadata = UploadCanisterSnapshotMetadataArgs {
        canister_id: to,
        replace_snapshot: None,
        wasm_module_size: meta.wasm_module_size,
        globals: meta.globals.into_iter().flatten().collect(),
        wasm_memory_size: meta.wasm_memory_size,
        stable_memory_size: meta.stable_memory_size,
        certified_data: meta.certified_data,
        global_timer: meta.global_timer,
        on_low_wasm_memory_hook_status: meta.on_low_wasm_memory_hook_status,
    };
    let method = "upload_canister_snapshot_metadata";
    let made: UploadCanisterSnapshotMetadataResult = manage(agent, to, method, metadata).await?;
    for (part, total) in sizes.into_iter().enumerate() {
        let mut offset = 0;
        while offset < total {
            let size = SLICE.min(total - offset);
            let (kind, place) = match part {
                0 => (
                    SnapshotDataKind::WasmModule { offset, size },
                    SnapshotDataOffset::WasmModule { offset },
                ),
                1 => (
                    SnapshotDataKind::WasmMemory { offset, size },
                    SnapshotDataOffset::WasmMemory { offset },
                ),
                _ => (
                    SnapshotDataKind::StableMemory { offset, size },
                    SnapshotDataOffset::StableMemory { offset },
                ),
            };
            let read = ReadCanisterSnapshotDataArgs {
                canister_id: from,
                snapshot_id: snapshot_id.clone(),
                kind,
            };
            let method = "read_canister_snapshot_data";
            let data: ReadCanisterSnapshotDataResult = manage(agent, from, method, read).await?;
            ensure!(data.chunk.len() as u64 == size, "the whole slice");
            let write = UploadCanisterSnapshotDataArgs {
                canister_id: to,
                snapshot_id: made.snapshot_id.clone(),
                kind: place,
                chunk: data.chunk,
            };
            manage_raw(agent, to, "upload_canister_snapshot_data", write).await?;
            offset += size;
        }
    }
    Ok(made.snapshot_id)
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
    load(agent, id, taken.id.clone()).await?;
    ensure!(get(agent, id).await? == 2, "the state of the snapshot");

    // Down, and up again into a canister without code.
    let copy = network.create().await?;
    let uploaded = carry(agent, (id, taken.id), copy).await?;
    load(agent, copy, uploaded).await?;
    ensure!(get(agent, copy).await? == 2, "the state that was uploaded");
    ensure!(inc(agent, copy).await? == 3, "the copy goes on by itself");
    ensure!(get(agent, id).await? == 2, "the original stays");

    let chunked = network.create().await?;
    let large = counter::large(&module);
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
         take, list and load a snapshot, download and upload its data; install from chunks"
            .into(),
    ))
}

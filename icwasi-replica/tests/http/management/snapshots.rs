//! Snapshots of canisters.

use candid::Decode;
use ic_management_canister_types as types;

use crate::support::*;

#[tokio::test]
async fn snapshots_are_taken_loaded_and_carried_to_another_canister() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    for n in 1..=3 {
        assert_eq!(inc(&owner, id).await, n);
    }
    let take = types::TakeCanisterSnapshotArgs {
        canister_id: id,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let reply = manage(&owner, id, "take_canister_snapshot", &take)
        .await
        .expect("takes");
    let snapshot = Decode!(&reply, types::Snapshot).expect("the type of the method");
    assert_eq!(inc(&owner, id).await, 4);
    let load = types::LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: snapshot.id.clone(),
        sender_canister_version: None,
    };
    manage(&owner, id, "load_canister_snapshot", &load)
        .await
        .expect("loads");
    assert_eq!(get(&owner, id).await, 3);

    // Down and up again, into an empty canister.
    let read = types::ReadCanisterSnapshotMetadataArgs {
        canister_id: id,
        snapshot_id: snapshot.id.clone(),
    };
    let reply = manage(&owner, id, "read_canister_snapshot_metadata", &read)
        .await
        .expect("reads");
    let meta = Decode!(&reply, types::ReadCanisterSnapshotMetadataResult).expect("the type");
    let target = install(&owner, &counter()).await;
    let upload = types::UploadCanisterSnapshotMetadataArgs {
        canister_id: target,
        replace_snapshot: None,
        wasm_module_size: meta.wasm_module_size,
        globals: meta.globals.into_iter().flatten().collect(),
        wasm_memory_size: meta.wasm_memory_size,
        stable_memory_size: meta.stable_memory_size,
        certified_data: meta.certified_data,
        global_timer: meta.global_timer,
        on_low_wasm_memory_hook_status: None,
    };
    let reply = manage(&owner, target, "upload_canister_snapshot_metadata", &upload)
        .await
        .expect("made");
    let made = Decode!(&reply, types::UploadCanisterSnapshotMetadataResult).expect("the type");
    for (size, part) in [
        (meta.wasm_module_size, 0),
        (meta.wasm_memory_size, 1),
        (meta.stable_memory_size, 2),
    ] {
        use types::{SnapshotDataKind as Kind, SnapshotDataOffset as Offset};
        let (kind, offset) = match part {
            0 => (
                Kind::WasmModule { offset: 0, size },
                Offset::WasmModule { offset: 0 },
            ),
            1 => (
                Kind::WasmMemory { offset: 0, size },
                Offset::WasmMemory { offset: 0 },
            ),
            _ => (
                Kind::StableMemory { offset: 0, size },
                Offset::StableMemory { offset: 0 },
            ),
        };
        let arg = types::ReadCanisterSnapshotDataArgs {
            canister_id: id,
            snapshot_id: snapshot.id.clone(),
            kind,
        };
        let reply = manage(&owner, id, "read_canister_snapshot_data", &arg)
            .await
            .expect("reads");
        let data = Decode!(&reply, types::ReadCanisterSnapshotDataResult).expect("the type");
        let arg = types::UploadCanisterSnapshotDataArgs {
            canister_id: target,
            snapshot_id: made.snapshot_id.clone(),
            kind: offset,
            chunk: data.chunk,
        };
        manage(&owner, target, "upload_canister_snapshot_data", &arg)
            .await
            .expect("writes");
    }
    let load = types::LoadCanisterSnapshotArgs {
        canister_id: target,
        snapshot_id: made.snapshot_id,
        sender_canister_version: None,
    };
    manage(&owner, target, "load_canister_snapshot", &load)
        .await
        .expect("loads");
    assert_eq!(get(&owner, target).await, 3);
    assert_eq!(inc(&owner, target).await, 4);

    let list = types::CanisterIdRecord { canister_id: id };
    let stranger = agent(&replica.url(), identity(2)).await;
    assert!(
        manage(&stranger, id, "list_canister_snapshots", &list)
            .await
            .is_err()
    );
    let delete = types::DeleteCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: snapshot.id,
    };
    manage(&owner, id, "delete_canister_snapshot", &delete)
        .await
        .expect("deletes");
    let reply = manage(&owner, id, "list_canister_snapshots", &list)
        .await
        .expect("lists");
    assert!(
        Decode!(&reply, Vec<types::Snapshot>)
            .expect("the type")
            .is_empty()
    );
    assert!(
        manage(&owner, id, "delete_canister_snapshot", &delete)
            .await
            .is_err()
    );
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn an_id_is_not_given_twice_and_ten_are_the_most() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let take = |replace_snapshot| {
        let owner = owner.clone();
        async move {
            let arg = types::TakeCanisterSnapshotArgs {
                canister_id: id,
                replace_snapshot,
                uninstall_code: None,
                sender_canister_version: None,
            };
            let reply = manage(&owner, id, "take_canister_snapshot", &arg).await?;
            let snapshot = Decode!(&reply, types::Snapshot).expect("the type of the method");
            Ok::<_, ic_agent::AgentError>(snapshot.id)
        }
    };
    let mut ids = std::collections::BTreeSet::new();
    let first = take(None).await.expect("the first");
    ids.insert(first.clone());
    let delete = types::DeleteCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: first,
    };
    manage(&owner, id, "delete_canister_snapshot", &delete)
        .await
        .expect("deletes");
    for _ in 0..10 {
        let new = take(None).await.expect("room for ten");
        assert!(ids.insert(new), "a number was used again");
    }
    let refused = take(None).await.expect_err("an eleventh").to_string();
    assert!(refused.contains("maximum number of snapshots"), "{refused}");
    let last = ids.last().expect("there are ten").clone();
    let new = take(Some(last.clone())).await.expect("in its place");
    assert!(ids.insert(new));
    let again = take(Some(last)).await.expect_err("it is gone").to_string();
    assert!(again.contains("IC0305"), "{again}");
    replica.stop().await.expect("stops");
}

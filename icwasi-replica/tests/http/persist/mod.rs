//! The state directory: restarts, damage, and (in `kill`) processes that are killed at any moment.

mod kill;

use std::path::Path;

use crate::concurrency::{WAITER, asked};
use crate::support::*;
use ic_agent::agent::CallResponse;
use icwasi_replica::{Replica, ReplicaOptions, StartError};

fn options(dir: &Path) -> ReplicaOptions {
    ReplicaOptions {
        state_dir: Some(dir.to_path_buf()),
        ..ReplicaOptions::default()
    }
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = Replica::start(options(dir.path()))
        .await
        .expect("a fresh directory");
    let root_key = replica.root_key();
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let gone = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    let signed = owner.update(&id, "inc").with_arg([]).sign().expect("signs");
    owner
        .update_signed(id, signed.signed_update.clone())
        .await
        .expect("runs");
    owner
        .update(&id, "set_cert")
        .with_arg([3u8; 32])
        .call_and_wait()
        .await
        .expect("certifies");
    owner
        .update(&id, "print")
        .with_arg(*b"before")
        .call_and_wait()
        .await
        .expect("prints");
    let management = ic_utils::interfaces::ManagementCanister::create(&owner);
    use ic_utils::call::AsyncCall;
    management
        .stop_canister(&gone)
        .call_and_wait()
        .await
        .expect("stops");
    management
        .delete_canister(&gone)
        .call_and_wait()
        .await
        .expect("deletes");
    replica.stop().await.expect("stops");

    for round in 0..2 {
        let replica = Replica::start(options(dir.path()))
            .await
            .expect("its own directory");
        assert_eq!(replica.root_key(), root_key);
        let owner = agent(&replica.url(), identity(1)).await;
        assert_eq!(get(&owner, id).await, 2 + round, "stable memory");
        let heap = owner
            .query(&id, "heap_count")
            .with_arg([])
            .call()
            .await
            .expect("replies");
        assert_eq!(heap, (2 + round).to_le_bytes(), "heap");
        owner
            .query(&id, "cert")
            .with_arg([])
            .call()
            .await
            .expect("certified data");
        let note = owner
            .read_state_canister_metadata(id, "note")
            .await
            .expect("metadata");
        assert_eq!(note, b"hello");
        // A request from before the restart is still known.
        match owner
            .update_signed(id, signed.signed_update.clone())
            .await
            .expect("answered")
        {
            CallResponse::Response(reply) => assert_eq!(reply, 2u32.to_le_bytes()),
            CallResponse::Poll(_) => panic!("the outcome is on record"),
        }
        assert_eq!(inc(&owner, id).await, 3 + round);
        let lost = owner
            .update(&gone, "inc")
            .with_arg([])
            .call_and_wait()
            .await;
        assert!(lost.expect_err("deleted").to_string().contains("IC0301"));
        if round == 1 {
            let fresh = install(&owner, &counter()).await;
            assert!(fresh != id && fresh != gone, "ids are not given out twice");
        }
        replica.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn snapshots_and_chunks_survive_a_restart() {
    use candid::Decode;
    use ic_management_canister_types as types;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = Replica::start(options(dir.path()))
        .await
        .expect("a fresh directory");
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    let chunk = types::UploadChunkArgs {
        canister_id: id,
        chunk: vec![5; 1000],
    };
    manage(&owner, id, "upload_chunk", &chunk)
        .await
        .expect("stored");
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
    assert_eq!(inc(&owner, id).await, 2);
    let target = types::CanisterIdRecord { canister_id: id };
    manage(&owner, id, "clear_chunk_store", &target)
        .await
        .expect("cleared");
    replica.stop().await.expect("stops");

    let replica = Replica::start(options(dir.path()))
        .await
        .expect("its own directory");
    let owner = agent(&replica.url(), identity(1)).await;
    let load = types::LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: snapshot.id,
        sender_canister_version: None,
    };
    manage(&owner, id, "load_canister_snapshot", &load)
        .await
        .expect("loads");
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");

    let replica = Replica::start(options(dir.path()))
        .await
        .expect("its own directory");
    let owner = agent(&replica.url(), identity(1)).await;
    assert_eq!(inc(&owner, id).await, 2);
    let reply = manage(&owner, id, "stored_chunks", &target)
        .await
        .expect("listed");
    assert_eq!(
        Decode!(&reply, Vec<types::ChunkHash>)
            .expect("the type")
            .len(),
        1
    );
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn directories_and_ports_in_use_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = Replica::start(options(dir.path()))
        .await
        .expect("a fresh directory");
    let second = Replica::start(options(dir.path())).await;
    let error = second.err().expect("the directory is in use").to_string();
    assert!(error.contains("in use by another replica"), "{error}");
    assert!(error.contains(&std::process::id().to_string()), "{error}");

    let taken = ReplicaOptions {
        bind: first.address(),
        ..ReplicaOptions::default()
    };
    let error = Replica::start(taken)
        .await
        .err()
        .expect("the port is in use");
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
    first.stop().await.expect("stops");

    std::fs::write(dir.path().join("ingress"), b"rubbish").expect("writes");
    let error = Replica::start(options(dir.path()))
        .await
        .err()
        .expect("a damaged directory");
    assert!(error.to_string().contains("ingress is damaged"), "{error}");
}

/// Files under `dir`, with what changes when one is written again.
fn stamps(dir: &Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    use std::os::unix::fs::MetadataExt;
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("it can be listed");
            let metadata = entry.metadata().expect("it is there");
            let written = metadata.modified().expect("the system tells");
            (entry.path(), metadata.ino(), written)
        })
        .collect();
    all.sort();
    all
}

/// Compiling writes into the cache, so a start that leaves it as it was compiled nothing.
#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = Replica::start(options(dir.path())).await.expect("starts");
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    replica.stop().await.expect("stops");
    let cache = dir.path().join("compiled");
    let before = stamps(&cache);
    assert_eq!(before.len(), 1, "one module was compiled");

    let replica = Replica::start(options(dir.path())).await.expect("starts");
    let owner = agent(&replica.url(), identity(1)).await;
    assert_eq!(inc(&owner, id).await, 2);
    replica.stop().await.expect("stops");
    assert_eq!(stamps(&cache), before);

    // Without the cache it compiles again, and nothing is lost.
    std::fs::remove_dir_all(&cache).expect("removes");
    let replica = Replica::start(options(dir.path())).await.expect("starts");
    let owner = agent(&replica.url(), identity(1)).await;
    assert_eq!(inc(&owner, id).await, 3);
    replica.stop().await.expect("stops");
    assert_eq!(stamps(&cache).len(), 1);
}

#[tokio::test]
async fn damage_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = Replica::start(options(dir.path())).await.expect("starts");
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    replica.stop().await.expect("stops");

    let canister = dir.path().join("canisters").join(id.to_text());
    let blobs = std::fs::read_dir(dir.path().join("blobs")).expect("a directory");
    let blob = blobs
        .map(|blob| blob.expect("it can be listed").path())
        .next();
    for path in [
        dir.path().join("keys"),
        canister.join("state"),
        canister.join("heap"),
        canister.join("stable"),
        blob.expect("the module"),
    ] {
        let whole = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("writes");
        let error = Replica::start(options(dir.path())).await.err();
        let error = error.expect("half of it is missing").to_string();
        let name = path.display().to_string();
        assert!(
            error.contains(&name) && error.contains("damaged"),
            "{error}"
        );
        let left = std::fs::metadata(&path).expect("it is there").len();
        assert_eq!(left, whole.len() as u64 / 2, "{name} was changed");
        std::fs::write(&path, &whole).expect("writes");
    }
    let replica = Replica::start(options(dir.path()))
        .await
        .expect("all is back");
    let owner = agent(&replica.url(), identity(1)).await;
    assert_eq!(inc(&owner, id).await, 2);
    replica.stop().await.expect("stops");
}

/// Whatever a bit of a small file becomes: it starts, or it says what is wrong. A panic would say
/// that the executor has ended.
#[tokio::test]
async fn flipped_bits_are_no_panic() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = Replica::start(options(dir.path())).await.expect("starts");
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    replica.stop().await.expect("stops");
    let state = dir
        .path()
        .join("canisters")
        .join(id.to_text())
        .join("state");
    let (mut random, mut refused) = (1u64, 0);
    for path in [dir.path().join("keys"), dir.path().join("ingress"), state] {
        let whole = std::fs::read(&path).expect("it is there");
        for _ in 0..40 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(99);
            let mut bytes = whole.clone();
            let place = (random >> 33) as usize % bytes.len();
            bytes[place] ^= 1 << (random >> 60 & 7);
            std::fs::write(&path, bytes).expect("writes");
            match Replica::start(options(dir.path())).await {
                Ok(replica) => replica.stop().await.expect("stops"),
                Err(error) => {
                    refused += 1;
                    let error = error.to_string();
                    assert!(!error.contains("executor"), "byte {place}: {error}");
                }
            }
            // What a start has changed is not what is tested.
            std::fs::write(&path, &whole).expect("writes");
        }
    }
    assert!(refused > 20, "{refused} of 120 were noticed");
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_rejected_and_does_not_run_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = || async {
        Replica::start(options(dir.path()))
            .await
            .expect("its own directory")
    };
    let replica = start().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let module = wat::parse_str(WAITER).expect("valid text");
    let id = install(&owner, &module).await;
    let signed = owner
        .update(&id, "wait")
        .with_arg([])
        .sign()
        .expect("signs");
    let envelope = signed.signed_update.clone();
    let sending = tokio::spawn({
        let (owner, envelope) = (owner.clone(), envelope.clone());
        async move { owner.update_signed(id, envelope).await }
    });
    while asked(&owner, id).await < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // It goes on for ever, but does not keep the replica from stopping.
    replica.stop().await.expect("stops");
    assert!(!matches!(sending.await, Ok(Ok(CallResponse::Response(_)))));

    let replica = start().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let before = asked(&owner, id).await;
    assert!(before >= 3, "what its messages did is kept");
    let error = owner
        .update_signed(id, envelope)
        .await
        .expect_err("cut off");
    assert!(
        error.to_string().contains("the replica was stopped"),
        "{error}"
    );
    assert_eq!(asked(&owner, id).await, before);
    replica.stop().await.expect("stops");
}

//! Limits of rate and cycles of management calls, where they are switched on.

use candid::{Decode, Nat};
use ic_management_canister_types as types;
use icwasi_replica::core::Limits;
use icwasi_replica::{Replica, ReplicaOptions};

use super::status;
use crate::support::*;

async fn replica_with(change: impl FnOnce(&mut Limits)) -> Replica {
    let mut limits = Limits::default();
    change(&mut limits);
    Replica::start(ReplicaOptions {
        limits,
        ..ReplicaOptions::default()
    })
    .await
    .expect("starts")
}

#[tokio::test]
async fn installations_and_chunks_have_to_wait_if_rates_are_limited() {
    let replica = replica_with(|limits| {
        limits.management.rate_limited = true;
        // So slow that no test is fast enough to see it drain.
        limits.management.install_instructions_per_second = 1;
        limits.management.heap_delta_bytes_per_second = 1_000;
    })
    .await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let again = types::InstallCodeArgs {
        mode: types::CanisterInstallMode::Reinstall,
        canister_id: id,
        wasm_module: counter(),
        arg: vec![],
        sender_canister_version: None,
    };
    let refused = manage(&owner, id, "install_code", &again).await;
    let refused = refused.expect_err("rate limited").to_string();
    assert!(refused.contains("IC0209"), "{refused}");
    assert_eq!(inc(&owner, id).await, 1, "the canister works on");
    install(&owner, &counter()).await;

    let chunk = |byte| types::UploadChunkArgs {
        canister_id: id,
        chunk: vec![byte; 100_000],
    };
    manage(&owner, id, "upload_chunk", &chunk(1))
        .await
        .expect("the first");
    let refused = manage(&owner, id, "upload_chunk", &chunk(2)).await;
    let refused = refused.expect_err("rate limited").to_string();
    assert!(refused.contains("IC0210"), "{refused}");
    manage(&owner, id, "upload_chunk", &chunk(1))
        .await
        .expect("it is there already");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn without_that_they_do_not() {
    let replica = replica_with(|limits| {
        limits.management.install_instructions_per_second = 1;
        limits.management.heap_delta_bytes_per_second = 1_000;
    })
    .await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    for byte in 0..3 {
        let arg = types::UploadChunkArgs {
            canister_id: id,
            chunk: vec![byte; 100_000],
        };
        manage(&owner, id, "upload_chunk", &arg)
            .await
            .expect("free");
    }
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn management_costs_cycles_where_they_are_charged() {
    let replica = replica_with(|limits| limits.fees.charge = true).await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let take = types::TakeCanisterSnapshotArgs {
        canister_id: id,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let before = status(&owner, id).await.cycles;
    manage(&owner, id, "take_canister_snapshot", &take)
        .await
        .expect("it can pay");
    let after = status(&owner, id).await.cycles;
    let paid = before - after;
    // Two billion and the size of the canister, and the fee of a message.
    assert!(paid > 2_005_000_000u64 && paid < 2_010_000_000u64, "{paid}");

    let create = types::ProvisionalCreateCanisterWithCyclesArgs {
        amount: Some(Nat::from(1_000_000u32)),
        ..Default::default()
    };
    let management = candid::Principal::management_canister();
    let reply = manage(
        &owner,
        management,
        "provisional_create_canister_with_cycles",
        &create,
    )
    .await
    .expect("created");
    let poor = Decode!(&reply, types::CanisterIdRecord)
        .expect("an id")
        .canister_id;
    let arg = types::UploadChunkArgs {
        canister_id: poor,
        chunk: vec![1],
    };
    let refused = manage(&owner, poor, "upload_chunk", &arg).await;
    let refused = refused.expect_err("too poor").to_string();
    assert!(refused.contains("IC0207"), "{refused}");
    replica.stop().await.expect("stops");
}

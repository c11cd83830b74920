//! The management canister, called by canisters.

use candid::{CandidType, Decode, Encode, Nat, Principal};
use ic_management_canister_types as types;
use icwasi_replica::core::Limits;
use icwasi_replica::{Replica, ReplicaOptions};
use serde::Deserialize;

use super::proxy::{Proxy, set};
use super::status;
use crate::support::*;

const TRILLION: u64 = 1_000_000_000_000;

fn create() -> types::CreateCanisterArgs {
    types::CreateCanisterArgs {
        settings: None,
        sender_canister_version: None,
    }
}

/// The whole life of a canister that another canister controls.
#[tokio::test]
async fn a_canister_runs_another() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let proxy = Proxy::new(&owner).await;
    let before = proxy.balance().await;
    let made = proxy.manage("create_canister", TRILLION, &create()).await;
    assert_eq!(made.refunded, 0, "all cycles went into the canister");
    let id = Decode!(&made.reply(), types::CanisterIdRecord)
        .expect("an id")
        .canister_id;
    assert_eq!(proxy.balance().await, before - u128::from(TRILLION));
    let record = types::CanisterIdRecord { canister_id: id };

    let install = types::InstallCodeArgs {
        mode: types::CanisterInstallMode::Install,
        canister_id: id,
        wasm_module: counter(),
        arg: vec![],
        sender_canister_version: None,
    };
    proxy.manage("install_code", 0, &install).await.reply();
    assert_eq!(inc(&owner, id).await, 1);
    let deposited = proxy.manage("deposit_cycles", 500, &record).await;
    assert_eq!(deposited.refunded, 0);
    deposited.reply();
    let reply = proxy.manage("canister_status", 7, &record).await;
    assert_eq!(reply.refunded, 7, "what is not taken comes back");
    let held = Decode!(&reply.reply(), types::CanisterStatusResult).expect("the type");
    assert_eq!(held.settings.controllers, [proxy.id]);
    assert_eq!(held.cycles, Nat::from(TRILLION) + Nat::from(500u32));

    let info = types::CanisterInfoArgs {
        canister_id: id,
        num_requested_changes: Some(1),
    };
    let reply = proxy.manage("canister_info", 0, &info).await.reply();
    let info = Decode!(&reply, types::CanisterInfoResult).expect("the type");
    assert_eq!((info.total_num_changes, info.recent_changes.len()), (2, 1));
    assert!(
        matches!(&info.recent_changes[0].origin,
            types::ChangeOrigin::FromCanister(from) if from.canister_id == proxy.id),
        "{info:?}"
    );
    let metadata = |name: &str| types::CanisterMetadataArgs {
        canister_id: id,
        name: name.to_owned(),
    };
    for (name, value) in [("note", "hello"), ("secret", "hidden")] {
        let reply = proxy.manage("canister_metadata", 0, &metadata(name)).await;
        let reply = Decode!(&reply.reply(), types::CanisterMetadataResult).expect("the type");
        assert_eq!(reply.value, value.as_bytes(), "a controller sees both");
    }
    let random = || async {
        let management = Principal::management_canister();
        let arg = candid::encode_args(()).expect("candid");
        let reply = proxy.call(management, "raw_rand", 0, &arg).await.reply();
        Decode!(&reply, Vec<u8>).expect("bytes")
    };
    let (first, second) = (random().await, random().await);
    assert_eq!(first.len(), 32);
    assert_ne!(first, second);

    let taken = types::TakeCanisterSnapshotArgs {
        canister_id: id,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let reply = proxy.manage("take_canister_snapshot", 0, &taken).await;
    let snapshot = Decode!(&reply.reply(), types::Snapshot).expect("the type");
    assert_eq!(inc(&owner, id).await, 2);
    let load = types::LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: snapshot.id,
        sender_canister_version: None,
    };
    proxy
        .manage("load_canister_snapshot", 0, &load)
        .await
        .reply();
    assert_eq!(get(&owner, id).await, 1);

    owner
        .update(&id, "print")
        .with_arg(*b"seen by the controller")
        .call_and_wait()
        .await
        .expect("prints");
    let logs = types::FetchCanisterLogsArgs {
        canister_id: id,
        filter: None,
    };
    let reply = proxy.manage("fetch_canister_logs", 0, &logs).await.reply();
    let logs = Decode!(&reply, types::FetchCanisterLogsResult).expect("the type");
    let last = logs.canister_log_records.last().expect("a line");
    assert_eq!(last.content, b"seen by the controller");

    // Another canister has no say.
    let stranger = Proxy::new(&owner).await;
    for method in [
        "canister_status",
        "stop_canister",
        "uninstall_code",
        "upload_chunk",
    ] {
        let (code, message) = if method == "upload_chunk" {
            let arg = types::UploadChunkArgs {
                canister_id: id,
                chunk: vec![1],
            };
            stranger.manage(method, 0, &arg).await.rejection()
        } else {
            stranger.manage(method, 0, &record).await.rejection()
        };
        assert_eq!(code, 5, "{method}: {message}");
        assert!(message.contains("Only the controllers"), "{message}");
    }
    let hidden = stranger
        .manage("canister_metadata", 0, &metadata("secret"))
        .await;
    assert_eq!(hidden.rejection().0, 5);

    for method in [
        "stop_canister",
        "start_canister",
        "uninstall_code",
        "stop_canister",
        "delete_canister",
    ] {
        proxy.manage(method, 0, &record).await.reply();
    }
    let (code, message) = proxy
        .manage("canister_status", 9, &record)
        .await
        .rejection();
    assert_eq!(code, 3, "{message}");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn what_is_missing_is_refused_by_name_and_cycles_come_back() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let proxy = Proxy::new(&owner).await;
    let before = proxy.balance().await;
    let record = types::CanisterIdRecord {
        canister_id: proxy.id,
    };
    for method in [
        "http_request",
        "sign_with_ecdsa",
        "vetkd_derive_key",
        "bitcoin_get_balance",
    ] {
        let answer = proxy.manage(method, 1_000, &record).await;
        assert_eq!(answer.refunded, 1_000, "{method}");
        let (code, message) = answer.rejection();
        assert_eq!(code, 4, "{message}");
        assert!(
            message.contains(method) && message.contains("does not implement"),
            "{message}"
        );
    }
    let (code, message) = proxy.manage("nonsense", 0, &record).await.rejection();
    assert_eq!(code, 5, "{message}");
    let (code, message) = proxy
        .manage("delete_canister", 0, &record)
        .await
        .rejection();
    assert_eq!(code, 5, "{message}");
    assert!(message.contains("Only the controllers"), "{message}");
    assert_eq!(proxy.balance().await, before);

    let subnet = types::SubnetInfoArgs {
        subnet_id: owner
            .get_subnet_by_canister(&proxy.id)
            .await
            .expect("a subnet")
            .id(),
    };
    let reply = proxy.manage("subnet_info", 0, &subnet).await.reply();
    let info = Decode!(&reply, types::SubnetInfoResult).expect("the type");
    assert!(info.replica_version.contains("icwasi"), "{info:?}");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn creation_has_its_price_where_cycles_are_charged() {
    let mut limits = Limits::default();
    limits.fees.charge = true;
    let price = u64::try_from(limits.fees.create_canister).expect("it is known");
    let replica = Replica::start(ReplicaOptions {
        limits,
        ..ReplicaOptions::default()
    })
    .await
    .expect("starts");
    let owner = agent(&replica.url(), identity(1)).await;
    let proxy = Proxy::new(&owner).await;
    let poor = proxy.manage("create_canister", price - 1, &create()).await;
    assert_eq!(poor.refunded, u128::from(price) - 1, "nothing is kept");
    let (code, message) = poor.rejection();
    assert_eq!(code, 4);
    assert!(message.contains(&price.to_string()), "{message}");
    let made = proxy
        .manage("create_canister", price + TRILLION, &create())
        .await;
    let id = Decode!(&made.reply(), types::CanisterIdRecord)
        .expect("an id")
        .canister_id;
    let record = types::CanisterIdRecord { canister_id: id };
    let reply = proxy.manage("canister_status", 0, &record).await.reply();
    let held = Decode!(&reply, types::CanisterStatusResult).expect("the type");
    assert_eq!(held.cycles, Nat::from(TRILLION));
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn a_canister_may_want_cycles_for_each_call() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let proxy = Proxy::new(&owner).await;
    let id = install(&owner, &counter()).await;
    let wants = types::CanisterSettings {
        minimum_incoming_canister_call_cycles: Some(Nat::from(100u8)),
        ..Default::default()
    };
    set(&owner, id, wants).await;
    let held = status(&owner, id).await.settings;
    assert_eq!(held.minimum_incoming_canister_call_cycles, Nat::from(100u8));
    let (code, message) = proxy.call(id, "inc", 99, &[]).await.rejection();
    assert_eq!(code, 5, "{message}");
    assert!(message.contains("at least 100 cycles"), "{message}");
    proxy.call(id, "inc", 100, &[]).await.reply();
    assert_eq!(inc(&owner, id).await, 2, "messages from outside are free");
    replica.stop().await.expect("stops");
}

/// The stand-ins answer canisters as well: cycles find a way back into an account.
#[tokio::test]
async fn a_canister_deposits_its_cycles_with_the_ledger() {
    #[derive(CandidType, Clone)]
    struct Account {
        owner: Principal,
        subaccount: Option<Vec<u8>>,
    }
    #[derive(CandidType)]
    struct Deposit {
        to: Account,
    }
    #[derive(CandidType, Deserialize)]
    struct Deposited {
        balance: Nat,
    }
    const FEE: u64 = 100_000_000;
    let ledger = Principal::from_text("um5iw-rqaaa-aaaaq-qaaba-cai").expect("a principal");
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let proxy = Proxy::new(&owner).await;
    let to = Account {
        owner: owner.get_principal().expect("a key"),
        subaccount: None,
    };
    let deposit = Encode!(&Deposit { to: to.clone() }).expect("candid");
    let before = proxy.balance().await;
    let poor = proxy.call(ledger, "deposit", FEE, &deposit).await;
    assert_eq!(poor.refunded, u128::from(FEE), "nothing is kept");
    assert!(poor.rejection().1.contains("fee"));
    let answer = proxy.call(ledger, "deposit", TRILLION, &deposit).await;
    assert_eq!(answer.refunded, 0);
    let held = Decode!(&answer.reply(), Deposited)
        .expect("the type")
        .balance;
    assert_eq!(held, Nat::from(TRILLION - FEE));
    assert_eq!(proxy.balance().await, before - u128::from(TRILLION));
    let reply = owner
        .query(&ledger, "icrc1_balance_of")
        .with_arg(Encode!(&to).expect("candid"))
        .call()
        .await
        .expect("a reply");
    assert_eq!(Decode!(&reply, Nat).expect("a number"), held);
    let (code, message) = proxy.call(ledger, "nothing", 0, &deposit).await.rejection();
    assert_eq!(code, 5, "{message}");
    replica.stop().await.expect("stops");
}

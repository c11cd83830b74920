//! Settings, and what they change: who sees what, how much is kept.

use candid::{Decode, Nat, Principal};
use ic_agent::Agent;
use ic_management_canister_types as types;
use ic_utils::call::AsyncCall;
use ic_utils::interfaces::ManagementCanister;

use super::proxy::set;
use super::status;
use crate::support::*;

pub fn identity_principal(n: u8) -> Principal {
    use ic_agent::Identity;
    identity(n).sender().expect("keys have a principal")
}

#[tokio::test]
async fn settings_and_status() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let me = identity_principal(1);
    let before = status(&owner, id).await;
    assert_eq!(before.settings.controllers, vec![me]);
    assert_eq!(before.status, types::CanisterStatusType::Running);
    assert_eq!(before.settings.freezing_threshold, Nat::from(2_592_000u32));
    assert!(before.memory_size > 0u8);

    let mut update = types::UpdateSettingsArgs {
        canister_id: id,
        settings: types::CanisterSettings {
            controllers: Some(vec![me, identity_principal(2)]),
            log_visibility: Some(types::LogVisibility::Public),
            environment_variables: Some(vec![types::EnvironmentVariable {
                name: "PUBLIC_CANISTER_ID:x".into(),
                value: id.to_text(),
            }]),
            ..Default::default()
        },
        sender_canister_version: None,
    };
    manage(&owner, id, "update_settings", &update)
        .await
        .expect("valid settings");
    let after = status(&owner, id).await;
    assert_eq!(after.settings.controllers.len(), 2);
    assert_eq!(after.settings.environment_variables.len(), 1);
    assert!(after.version > before.version);
    assert_eq!(
        owner
            .read_state_canister_controllers(id)
            .await
            .expect("controllers")
            .len(),
        2
    );

    update.settings = types::CanisterSettings {
        controllers: Some((0..11).map(identity_principal).collect()),
        ..Default::default()
    };
    assert!(
        manage(&owner, id, "update_settings", &update)
            .await
            .is_err()
    );
    update.settings = types::CanisterSettings {
        compute_allocation: Some(Nat::from(101u8)),
        ..Default::default()
    };
    assert!(
        manage(&owner, id, "update_settings", &update)
            .await
            .is_err()
    );
    assert_eq!(
        status(&owner, id).await.settings,
        after.settings,
        "refused means unchanged"
    );

    // The same as a query, without a trace.
    let management = ManagementCanister::create(&owner);
    management
        .canister_status(&id)
        .call()
        .await
        .expect("status as a query");
    assert_eq!(status(&owner, id).await.version, after.version);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn logs_are_for_those_who_may_see_them() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    owner
        .update(&id, "print")
        .with_arg(*b"hello log")
        .call_and_wait()
        .await
        .expect("prints");
    let _ = owner.update(&id, "boom").with_arg([]).call_and_wait().await;
    let management = ManagementCanister::create(&owner);
    let logs = |agent: &Agent| {
        let agent = agent.clone();
        async move {
            let arg = types::FetchCanisterLogsArgs {
                canister_id: id,
                filter: None,
            };
            let reply = agent
                .query(&Principal::management_canister(), "fetch_canister_logs")
                .with_effective_canister_id(id)
                .with_arg(candid::encode_one(arg).expect("candid"))
                .call()
                .await?;
            Ok::<_, ic_agent::AgentError>(
                Decode!(&reply, types::FetchCanisterLogsResult).expect("the type of the method"),
            )
        }
    };
    let mine = logs(&owner).await.expect("own logs").canister_log_records;
    assert_eq!(mine[0].content, b"hello log");
    assert!(
        String::from_utf8_lossy(&mine[1].content).contains("bang"),
        "traps are logged"
    );
    let stranger = agent(&replica.url(), identity(2)).await;
    assert!(logs(&stranger).await.is_err());
    management
        .update_settings(&id)
        .with_log_visibility(ic_utils::interfaces::management_canister::LogVisibility::Public)
        .build()
        .expect("valid settings")
        .call_and_wait()
        .await
        .expect("own canister");
    assert_eq!(
        logs(&stranger)
            .await
            .expect("public now")
            .canister_log_records
            .len(),
        2
    );
    replica.stop().await.expect("stops");
}

async fn fetch_logs(agent: &Agent, id: Principal) -> Vec<types::CanisterLogRecord> {
    let arg = types::FetchCanisterLogsArgs {
        canister_id: id,
        filter: None,
    };
    let reply = agent
        .query(&Principal::management_canister(), "fetch_canister_logs")
        .with_effective_canister_id(id)
        .with_arg(candid::encode_one(arg).expect("candid"))
        .call()
        .await
        .expect("own logs");
    Decode!(&reply, types::FetchCanisterLogsResult)
        .expect("the type of the method")
        .canister_log_records
}

#[tokio::test]
async fn the_log_keeps_as_much_as_it_is_told_to() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let limit = |bytes: u32| types::CanisterSettings {
        log_memory_limit: Some(Nat::from(bytes)),
        ..Default::default()
    };
    let print = |byte: u8, bytes: usize| {
        let update = owner.update(&id, "print").with_arg(vec![byte; bytes]);
        async move { update.call_and_wait().await.expect("prints") }
    };
    for byte in *b"abc" {
        print(byte, 1_800).await;
    }
    // 4 KiB by default: the oldest had to go.
    let kept = fetch_logs(&owner, id).await;
    let first = |records: &[types::CanisterLogRecord]| {
        let heads = records.iter().map(|record| record.content[0]);
        heads.collect::<Vec<_>>()
    };
    assert_eq!(first(&kept), b"bc");
    assert_eq!(kept[0].idx, 1, "indices go on");

    set(&owner, id, limit(20_000)).await;
    for byte in *b"defg" {
        print(byte, 1_800).await;
    }
    assert_eq!(first(&fetch_logs(&owner, id).await), b"bcdefg");
    set(&owner, id, limit(4_096)).await;
    assert_eq!(first(&fetch_logs(&owner, id).await), b"fg", "cut at once");
    set(&owner, id, limit(0)).await;
    print(b'h', 10).await;
    assert!(fetch_logs(&owner, id).await.is_empty());
    for wrong in [4_095, (2 << 20) + 1] {
        let arg = types::UpdateSettingsArgs {
            canister_id: id,
            settings: limit(wrong),
            sender_canister_version: None,
        };
        let refused = manage(&owner, id, "update_settings", &arg).await;
        let refused = refused.expect_err("out of range").to_string();
        assert!(refused.contains("log_memory_limit"), "{refused}");
    }
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn the_status_is_for_those_who_may_see_it() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let viewer = agent(&replica.url(), identity(2)).await;
    let id = install(&owner, &counter()).await;
    let arg = types::CanisterIdRecord { canister_id: id };
    let refused = manage(&viewer, id, "canister_status", &arg).await;
    let refused = refused.expect_err("a stranger").to_string();
    assert!(refused.contains("IC0512"), "{refused}");
    for visibility in [
        types::StatusVisibility::AllowedViewers(vec![identity_principal(2)]),
        types::StatusVisibility::Public,
    ] {
        let settings = types::CanisterSettings {
            status_visibility: Some(visibility.clone()),
            ..Default::default()
        };
        set(&owner, id, settings).await;
        assert_eq!(
            status(&viewer, id).await.settings.status_visibility,
            visibility
        );
    }
    let refused = manage(&viewer, id, "stop_canister", &arg).await;
    assert!(refused.is_err(), "seeing is not controlling");
    replica.stop().await.expect("stops");
}

/// Grows by 16 MiB with each `grow`.
const GROWING: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (memory 1)
  (func (export "canister_update grow")
    (drop (memory.grow (i32.const 256)))
    (call $reply)))"#;

#[tokio::test]
async fn a_heap_above_the_memory_limit_is_reported() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &wat::parse_str(GROWING).expect("valid")).await;
    let settings = types::CanisterSettings {
        wasm_memory_limit: Some(Nat::from(20u32 << 20)),
        ..Default::default()
    };
    set(&owner, id, settings).await;
    let grow = || owner.update(&id, "grow").with_arg([]).call_and_wait();
    grow().await.expect("17 MiB are below the limit");
    let error = grow().await.expect_err("33 MiB are above").to_string();
    assert!(error.contains("IC0539"), "{error}");
    replica.stop().await.expect("stops");
}

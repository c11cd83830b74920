//! What every client does first, with ic-agent: status, create, install, update, query,
//! read_state. Query signatures and certificates are verified throughout.

use crate::support::*;
use candid::Principal;
use ic_agent::AgentError;
use ic_agent::agent::RejectCode;
use ic_management_canister_types::UploadChunkArgs;
use ic_utils::call::AsyncCall;
use ic_utils::interfaces::ManagementCanister;

#[tokio::test]
async fn status_and_subnet_are_what_clients_expect() {
    let replica = replica().await;
    let agent = anonymous(&replica.url()).await;
    assert_eq!(agent.read_root_key(), replica.root_key());
    let status = agent.status().await.expect("status");
    assert_eq!(status.replica_health_status.as_deref(), Some("healthy"));
    let subnet_id = Principal::self_authenticating(replica.root_key());
    let subnet = agent
        .fetch_subnet_by_id(&subnet_id)
        .await
        .expect("subnet record");
    assert_eq!(subnet.self_reported_key(), replica.root_key());
    assert_eq!(subnet.iter_nodes().count(), 1);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn a_canister_lives_through_the_public_interface() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    assert_eq!(id.to_text(), "bkyz2-fmaaa-aaaaa-qaaaq-cai");

    assert_eq!(inc(&owner, id).await, 1);
    assert_eq!(inc(&owner, id).await, 2);
    assert_eq!(get(&owner, id).await, 2);
    let subnet = owner
        .fetch_subnet_by_canister(&id)
        .await
        .expect("the canister is in range");
    assert!(subnet.contains_canister(&id));

    let stranger = agent(&replica.url(), identity(2)).await;
    let who = stranger
        .query(&id, "who")
        .with_arg([])
        .call()
        .await
        .expect("who replies");
    assert_eq!(
        Principal::from_slice(&who),
        stranger.get_principal().expect("it has one")
    );

    let (method, stats) = replica.last_stats(id).expect("something ran");
    assert_eq!(method, "who");
    assert!(stats.instructions > 0);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn read_state_tells_what_the_caller_may_know() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let wasm = counter();
    let id = install(&owner, &wasm).await;
    let stranger = agent(&replica.url(), identity(2)).await;

    let hash = stranger
        .read_state_canister_module_hash(id)
        .await
        .expect("hash");
    assert_eq!(hash, <sha2::Sha256 as sha2::Digest>::digest(&wasm).to_vec());
    let controllers = stranger
        .read_state_canister_controllers(id)
        .await
        .expect("controllers");
    assert_eq!(
        controllers,
        vec![owner.get_principal().expect("it has one")]
    );
    let note = stranger
        .read_state_canister_metadata(id, "note")
        .await
        .expect("public");
    assert_eq!(note, b"hello");
    let secret = owner
        .read_state_canister_metadata(id, "secret")
        .await
        .expect("own");
    assert_eq!(secret, b"hidden");

    let refused = stranger.read_state_canister_metadata(id, "secret").await;
    assert!(
        matches!(&refused, Err(AgentError::HttpError(e)) if e.status == 403),
        "{refused:?}"
    );
    let absent = stranger.read_state_canister_metadata(id, "nothing").await;
    assert!(
        matches!(absent, Err(AgentError::LookupPathAbsent(_))),
        "{absent:?}"
    );
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn refusals_carry_the_codes_of_the_platform() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;

    let code = |error: AgentError| match error {
        AgentError::UncertifiedReject { reject, .. } => ("uncertified", reject),
        AgentError::CertifiedReject { reject, .. } => ("certified", reject),
        other => panic!("not a rejection: {other}"),
    };
    let trapped = owner.update(&id, "boom").with_arg([]).call_and_wait().await;
    let (how, reject) = code(trapped.expect_err("it traps"));
    assert_eq!(
        (how, reject.reject_code),
        ("certified", RejectCode::CanisterError)
    );
    assert_eq!(reject.error_code.as_deref(), Some("IC0503"));
    assert!(
        reject.reject_message.contains("bang"),
        "{}",
        reject.reject_message
    );

    let trapped = owner.query(&id, "qboom").with_arg([]).call().await;
    let (how, reject) = code(trapped.expect_err("it traps"));
    assert_eq!(
        (how, reject.error_code.as_deref()),
        ("uncertified", Some("IC0503"))
    );

    let closed = owner
        .update(&id, "closed")
        .with_arg([])
        .call_and_wait()
        .await;
    let (how, reject) = code(closed.expect_err("inspect_message does not accept it"));
    assert_eq!(
        (how, reject.error_code.as_deref()),
        ("uncertified", Some("IC0406"))
    );

    let missing = owner
        .update(&id, "nowhere")
        .with_arg([])
        .call_and_wait()
        .await;
    let (_, reject) = code(missing.expect_err("there is no such method"));
    assert_eq!(reject.error_code.as_deref(), Some("IC0536"));

    let nobody = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 9, 9, 1, 1]);
    let lost = owner
        .update(&nobody, "inc")
        .with_arg([])
        .call_and_wait()
        .await;
    let (how, reject) = code(lost.expect_err("there is no such canister"));
    assert_eq!(
        (how, reject.error_code.as_deref()),
        ("uncertified", Some("IC0301"))
    );
    assert_eq!(reject.reject_code, RejectCode::DestinationInvalid);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn strangers_may_not_manage() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let stranger = agent(&replica.url(), identity(2)).await;
    let management = ManagementCanister::create(&stranger);
    let mut refusals = Vec::new();
    refusals.push(
        management
            .stop_canister(&id)
            .call_and_wait()
            .await
            .map(drop),
    );
    refusals.push(
        management
            .start_canister(&id)
            .call_and_wait()
            .await
            .map(drop),
    );
    refusals.push(
        management
            .uninstall_code(&id)
            .call_and_wait()
            .await
            .map(drop),
    );
    refusals.push(
        management
            .delete_canister(&id)
            .call_and_wait()
            .await
            .map(drop),
    );
    refusals.push(
        management
            .canister_status(&id)
            .as_update()
            .call()
            .await
            .map(drop),
    );
    refusals.push(
        management
            .install_code(&id, &counter())
            .call_and_wait()
            .await
            .map(drop),
    );
    refusals.push(
        management
            .update_settings(&id)
            .call_and_wait()
            .await
            .map(drop),
    );
    let chunk = UploadChunkArgs {
        canister_id: id,
        chunk: vec![1],
    };
    refusals.push(
        manage(&stranger, id, "upload_chunk", &chunk)
            .await
            .map(drop),
    );
    refusals.push(
        management
            .clear_chunk_store(&id)
            .call_and_wait()
            .await
            .map(drop),
    );
    for (n, refusal) in refusals.into_iter().enumerate() {
        let error = refusal.expect_err(&format!("call {n} must be refused"));
        assert!(error.to_string().contains("IC0512"), "call {n}: {error}");
    }
    assert_eq!(inc(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

/// Time follows the wall clock; in a deterministic replica, the number of calls.
#[tokio::test]
async fn time_is_the_wall_clock_or_follows_from_the_calls() {
    use icwasi_replica::{Replica, ReplicaOptions};
    let wasm = wat::parse_str(
        r#"(module
          (import "ic0" "time" (func $time (result i64)))
          (import "ic0" "msg_reply" (func $reply))
          (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
          (memory 1)
          (func (export "canister_update now")
            (i64.store (i32.const 0) (call $time))
            (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#,
    )
    .expect("the text is valid wat");
    let run = async |deterministic: bool| {
        let replica = Replica::start(ReplicaOptions {
            deterministic,
            ..ReplicaOptions::default()
        })
        .await
        .expect("a free port on loopback exists");
        let owner = agent(&replica.url(), identity(1)).await;
        let id = install(&owner, &wasm).await;
        let mut times = Vec::new();
        for _ in 0..2 {
            let reply = owner.update(&id, "now").with_arg([]).call_and_wait().await;
            let bytes = reply.expect("it replies").try_into().expect("eight bytes");
            times.push(u64::from_le_bytes(bytes));
        }
        let seen = (replica.root_key(), id, times);
        replica.stop().await.expect("stops");
        seen
    };
    let (one, two) = (run(true).await, run(true).await);
    assert_eq!(one, two);
    assert_eq!(one.2[1] - one.2[0], 1_000_000_000);
    let before = expiry(0);
    let wall = run(false).await;
    assert_ne!(wall.0, one.0, "keys are random");
    assert!(before <= wall.2[0] && wall.2[0] < wall.2[1] && wall.2[1] <= expiry(0));
}

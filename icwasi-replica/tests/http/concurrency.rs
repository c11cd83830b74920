//! Many requests at once.

use std::time::Duration;

use candid::Principal;
use ic_agent::{Agent, AgentError};
use icwasi_replica::Replica;
use tokio::task::JoinHandle;

use crate::support::*;

/// `work` adds one before it runs for a billion instructions, and one after.
const WORKER: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1)
  (func $add (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
  (func (export "canister_update work") (local $i i32)
    (call $add)
    (loop $l
      (i32.store (i32.const 8) (local.get $i))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (i32.const 100000000))))
    (call $add)
    (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_query get")
    (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#;

pub async fn asked(agent: &Agent, id: Principal) -> u32 {
    let reply = agent.query(&id, "get").with_arg([]).call().await;
    u32::from_le_bytes(reply.expect("replies").try_into().expect("four bytes"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_do_not_wait_for_a_long_update() {
    let replica: Replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let module = wat::parse_str(WORKER).expect("valid text");
    let id = install(&owner, &module).await;
    let idle = install(&owner, &counter()).await;
    let working = tokio::spawn({
        let owner = owner.clone();
        async move { owner.update(&id, "work").with_arg([]).call_and_wait().await }
    });
    // Until it has begun: the first answers may come before it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut answers = 0;
    loop {
        let count = asked(&owner, id).await;
        assert_eq!(get(&owner, idle).await, 0);
        let info = owner.read_state_canister_controllers(id).await;
        assert_eq!(info.expect("readable").len(), 1);
        if working.is_finished() || count == 2 {
            break;
        }
        assert_eq!(count, 0, "what it has changed so far is not seen");
        answers += 1;
    }
    assert!(answers >= 3, "{answers} rounds of questions while it ran");
    working.await.expect("no panic").expect("replies");
    assert_eq!(asked(&owner, id).await, 2);
    replica.stop().await.expect("stops");
}

/// `wait` calls itself (`e`) again and again until `release` was called, and replies then.
pub const WAITER: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (table funcref (elem $look $refused))
  (data (i32.const 100) "e")
  (func $call
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $self (i32.const 16) (i32.const 0) (i32.const 10))
    (call $new (i32.const 16) (i32.const 10) (i32.const 100) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (drop (call $perform)))
  (func $look (param i32)
    (if (i32.load (i32.const 4))
      (then (call $append (i32.const 0) (i32.const 4)) (call $reply))
      (else (call $call))))
  (func $refused (param i32) (call $reply))
  (func (export "canister_update wait") (call $call))
  (func (export "canister_update e") (call $reply))
  (func (export "canister_update release") (i32.store (i32.const 4) (i32.const 1)) (call $reply))
  (func (export "canister_query get")
    (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#;

/// A canister with a call of `wait` that has begun to wait.
async fn waiter(owner: &Agent) -> (Principal, JoinHandle<Result<Vec<u8>, AgentError>>) {
    let module = wat::parse_str(WAITER).expect("valid text");
    let id = install(owner, &module).await;
    let waiting = tokio::spawn({
        let owner = owner.clone();
        async move { owner.update(&id, "wait").with_arg([]).call_and_wait().await }
    });
    while asked(owner, id).await < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (id, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_lets_others_go_on() {
    let replica: Replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let (id, waiting) = waiter(&owner).await;
    let other = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, other).await, 1);
    assert!(!waiting.is_finished());
    let release = owner.update(&id, "release").with_arg([]);
    release.call_and_wait().await.expect("replies");
    let reply = waiting.await.expect("no panic").expect("replies");
    assert!(u32::from_le_bytes(reply.try_into().expect("four bytes")) >= 3);

    // A request to stop is answered although a call waits, which ends: its own calls are refused.
    let (id, waiting) = waiter(&owner).await;
    let record = ic_management_canister_types::CanisterIdRecord { canister_id: id };
    manage(&owner, id, "stop_canister", &record)
        .await
        .expect("stops");
    waiting
        .await
        .expect("no panic")
        .expect("its own call was refused, which ended it");
    replica.stop().await.expect("stops");
}

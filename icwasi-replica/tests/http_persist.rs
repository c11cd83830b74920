//! The state directory: restarts, and processes that are killed at any moment.

mod http_support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candid::Principal;
use http_support::*;
use ic_agent::Agent;
use ic_agent::agent::CallResponse;
use icwasi_replica::{Replica, ReplicaOptions, StartError};

fn options(dir: &Path) -> ReplicaOptions {
    ReplicaOptions { state_dir: Some(dir.to_path_buf()), ..ReplicaOptions::default() }
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = Replica::start(options(dir.path())).await.expect("a fresh directory");
    let root_key = replica.root_key();
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let gone = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    let signed = owner.update(&id, "inc").with_arg([]).sign().expect("signs");
    owner.update_signed(id, signed.signed_update.clone()).await.expect("runs");
    owner.update(&id, "set_cert").with_arg([3u8; 32]).call_and_wait().await.expect("certifies");
    owner.update(&id, "print").with_arg(*b"before").call_and_wait().await.expect("prints");
    let management = ic_utils::interfaces::ManagementCanister::create(&owner);
    use ic_utils::call::AsyncCall;
    management.stop_canister(&gone).call_and_wait().await.expect("stops");
    management.delete_canister(&gone).call_and_wait().await.expect("deletes");
    replica.stop().await.expect("stops");

    for round in 0..2 {
        let replica = Replica::start(options(dir.path())).await.expect("its own directory");
        assert_eq!(replica.root_key(), root_key);
        let owner = agent(&replica.url(), identity(1)).await;
        assert_eq!(get(&owner, id).await, 2 + round, "stable memory");
        let heap = owner.query(&id, "heap_count").with_arg([]).call().await.expect("replies");
        assert_eq!(heap, (2 + round).to_le_bytes(), "heap");
        owner.query(&id, "cert").with_arg([]).call().await.expect("certified data");
        let note = owner.read_state_canister_metadata(id, "note").await.expect("metadata");
        assert_eq!(note, b"hello");
        // A request from before the restart is still known.
        match owner.update_signed(id, signed.signed_update.clone()).await.expect("answered") {
            CallResponse::Response(reply) => assert_eq!(reply, 2u32.to_le_bytes()),
            CallResponse::Poll(_) => panic!("the outcome is on record"),
        }
        assert_eq!(inc(&owner, id).await, 3 + round);
        let lost = owner.update(&gone, "inc").with_arg([]).call_and_wait().await;
        assert!(lost.expect_err("deleted").to_string().contains("IC0301"));
        if round == 1 {
            let fresh = install(&owner, &counter()).await;
            assert!(fresh != id && fresh != gone, "ids are not given out twice");
        }
        replica.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn directories_and_ports_in_use_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = Replica::start(options(dir.path())).await.expect("a fresh directory");
    let second = Replica::start(options(dir.path())).await;
    let error = second.err().expect("the directory is in use").to_string();
    assert!(error.contains("in use by another replica"), "{error}");
    assert!(error.contains(&std::process::id().to_string()), "{error}");

    let taken = ReplicaOptions { bind: first.address(), ..ReplicaOptions::default() };
    let error = Replica::start(taken).await.err().expect("the port is in use");
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
    first.stop().await.expect("stops");

    std::fs::write(dir.path().join("ingress"), b"rubbish").expect("writes");
    let error = Replica::start(options(dir.path())).await.err().expect("a damaged directory");
    assert!(error.to_string().contains("ingress is damaged"), "{error}");
}

/// Not a test of its own: the process that the test below kills.
#[tokio::test]
async fn child_process() {
    let Ok(dir) = std::env::var("ICWASI_TEST_STATE_DIR") else { return };
    let replica = Replica::start(options(Path::new(&dir))).await.expect("the directory is free");
    let address = format!("{}\n", replica.address());
    let path = Path::new(&dir).with_extension("address");
    std::fs::write(path.with_extension("tmp"), address).expect("writes");
    std::fs::rename(path.with_extension("tmp"), path).expect("renames");
    replica.wait_for_shutdown().await;
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a replica in another process.
async fn spawn(dir: &Path) -> (Killed, String) {
    let file = dir.with_extension("address");
    let _ = std::fs::remove_file(&file);
    let child = Command::new(std::env::current_exe().expect("this test has a binary"))
        .args(["--exact", "child_process", "--nocapture"])
        .env("ICWASI_TEST_STATE_DIR", dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("this binary runs");
    let child = Killed(child);
    let start = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(&file) {
            let address: SocketAddr = text.trim().parse().expect("an address");
            return (child, format!("http://{address}"));
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the replica does not start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts up until the replica dies; the last count that was acknowledged.
async fn count_until_dead(agent: Agent, id: Principal, mut last: u32) -> u32 {
    loop {
        let signed = agent.update(&id, "inc").with_arg([]).sign().expect("signs");
        match agent.update_signed(id, signed.signed_update).await {
            Ok(CallResponse::Response(reply)) => {
                last = u32::from_le_bytes(reply.try_into().expect("four bytes"));
            }
            Ok(CallResponse::Poll(_)) => panic!("a short call is answered at once"),
            Err(_) => return last,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_at_most_the_message_in_flight() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state");
    let (mut child, mut url) = spawn(&state).await;
    let owner = agent(&url, identity(1)).await;
    let id = install(&owner, &counter()).await;
    let mut acknowledged = 0;
    for round in 0u64..8 {
        let counting =
            tokio::spawn(count_until_dead(agent(&url, identity(2)).await, id, acknowledged));
        let pause = 20 + (round * 7919) % 180;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        child.0.kill().expect("it runs");
        child.0.wait().expect("it ends");
        acknowledged = counting.await.expect("the counter ends");

        let (next, next_url) = spawn(&state).await;
        let reader = agent(&next_url, identity(1)).await;
        let found = get(&reader, id).await;
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {acknowledged} acknowledged, {found} found"
        );
        let heap = reader.query(&id, "heap_count").with_arg([]).call().await.expect("replies");
        assert_eq!(heap, found.to_le_bytes(), "heap and stable memory agree");
        acknowledged = found;
        child = next;
        url = next_url;
    }
    assert!(acknowledged > 8, "something was counted: {acknowledged}");
}

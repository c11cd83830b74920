//! Processes that are killed at any moment lose at most the messages in flight.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candid::{CandidType, Decode, Principal};
use ic_agent::agent::CallResponse;
use ic_agent::{Agent, AgentError};
use ic_management_canister_types as types;
use icwasi_replica::Replica;

use super::options;
use crate::support::*;

/// Not a test of its own: the process that the tests below kill.
#[tokio::test]
async fn child_process() {
    let Ok(dir) = std::env::var("ICWASI_TEST_STATE_DIR") else {
        return;
    };
    let replica = Replica::start(options(Path::new(&dir)))
        .await
        .expect("the directory is free");
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
    // Unlike a path, this also works when another build replaces the file meanwhile.
    let child = Command::new("/proc/self/exe")
        .args(["--exact", "persist::kill::child_process", "--nocapture"])
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
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the replica does not start"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a call replied; `None` if the replica died. A refusal is a failure of the test.
async fn acknowledged(
    agent: &Agent,
    to: Principal,
    id: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Option<Vec<u8>> {
    let signed = agent
        .update(&to, method)
        .with_effective_canister_id(id)
        .with_arg(arg)
        .sign()
        .expect("signs");
    match agent.update_signed(id, signed.signed_update).await {
        Ok(CallResponse::Response(reply)) => Some(reply),
        Err(
            error @ (AgentError::CertifiedReject { .. } | AgentError::UncertifiedReject { .. }),
        ) => panic!("{method} was refused: {error}"),
        // Whether it was done will never be known; the next one goes to a dead process.
        Ok(CallResponse::Poll(_)) | Err(_) => None,
    }
}

async fn managed(
    agent: &Agent,
    id: Principal,
    method: &str,
    arg: &impl CandidType,
) -> Option<Vec<u8>> {
    let arg = candid::encode_one(arg).expect("the types are candid's");
    acknowledged(agent, Principal::management_canister(), id, method, arg).await
}

/// Counts up until the replica dies; the last count that was acknowledged.
async fn count_until_dead(agent: Agent, id: Principal, mut last: u32) -> u32 {
    while let Some(reply) = acknowledged(&agent, id, id, "inc", vec![]).await {
        last = u32::from_le_bytes(reply.try_into().expect("four bytes"));
    }
    last
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
        let counting = tokio::spawn(count_until_dead(
            agent(&url, identity(2)).await,
            id,
            acknowledged,
        ));
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
        let heap = reader.query(&id, "heap_count").with_arg([]).call().await;
        assert_eq!(
            heap.expect("replies"),
            found.to_le_bytes(),
            "heap and stable memory agree"
        );
        acknowledged = found;
        child = next;
        url = next_url;
    }
    assert!(acknowledged > 8, "something was counted: {acknowledged}");
}

/// `put` writes its argument to the place in stable memory that its first eight bytes name; `take`
/// replies what is there.
const FILES: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_size" (func $size (result i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (memory 32)
  (func $args (call $arg_copy (i32.const 0) (i32.const 0) (call $arg_size)))
  (func (export "canister_update put") (local $end i64)
    (call $args)
    (local.set $end (i64.add (i64.load (i32.const 0)) (i64.extend_i32_u (call $arg_size))))
    (loop $more
      (if (i64.lt_u (i64.shl (call $size) (i64.const 16)) (local.get $end))
        (then (drop (call $grow (i64.const 1))) (br $more))))
    (call $write (i64.load (i32.const 0)) (i64.const 0) (i64.extend_i32_u (call $arg_size)))
    (call $reply))
  (func (export "canister_query take")
    (call $args)
    (call $read (i64.const 16) (i64.load (i32.const 0)) (i64.load (i32.const 8)))
    (call $append (i32.const 16) (i32.wrap_i64 (i64.load (i32.const 8)))) (call $reply)))"#;

const PIECE: usize = 700_001;

fn piece(n: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..PIECE as u64)
        .map(|i| (i.wrapping_mul(n + 3) >> 3) as u8)
        .collect();
    bytes[..8].copy_from_slice(&(n * PIECE as u64).to_le_bytes());
    bytes
}

/// Uploads pieces until the replica dies; how many were acknowledged.
async fn upload_until_dead(agent: Agent, id: Principal, mut done: u64) -> u64 {
    while acknowledged(&agent, id, id, "put", piece(done))
        .await
        .is_some()
    {
        done += 1;
    }
    done
}

/// The counter, in two versions that differ in a section.
fn version(n: u64) -> Vec<u8> {
    let mut wasm = counter();
    wasm.extend(custom_section("version", &(n % 2).to_le_bytes()));
    wasm
}

/// Upgrades until the replica dies; how many upgrades were acknowledged.
async fn upgrade_until_dead(agent: Agent, id: Principal, mut done: u64) -> u64 {
    loop {
        let arg = types::InstallCodeArgs {
            mode: types::CanisterInstallMode::Upgrade(None),
            canister_id: id,
            wasm_module: version(done + 1),
            arg: vec![],
            sender_canister_version: None,
        };
        if managed(&agent, id, "install_code", &arg).await.is_none() {
            return done;
        }
        done += 1;
    }
}

/// What is known of a canister that counts and takes snapshots.
#[derive(Clone, Default)]
struct Snapshots {
    /// Count that was acknowledged last.
    count: u32,
    /// The snapshot that was acknowledged last, and the count in it.
    latest: Option<(Vec<u8>, u32)>,
}

/// Counts and takes snapshots, each in place of the one before, until the replica dies.
async fn snapshot_until_dead(agent: Agent, id: Principal, mut known: Snapshots) -> Snapshots {
    loop {
        let Some(reply) = acknowledged(&agent, id, id, "inc", vec![]).await else {
            return known;
        };
        known.count = u32::from_le_bytes(reply.try_into().expect("four bytes"));
        let arg = types::TakeCanisterSnapshotArgs {
            canister_id: id,
            replace_snapshot: known.latest.as_ref().map(|(id, _)| id.clone()),
            uninstall_code: None,
            sender_canister_version: None,
        };
        let Some(reply) = managed(&agent, id, "take_canister_snapshot", &arg).await else {
            return known;
        };
        let snapshot = Decode!(&reply, types::Snapshot).expect("the type of the method");
        known.latest = Some((snapshot.id, known.count));
    }
}

/// Loads the one snapshot that there should be, and checks what it holds.
async fn check_snapshots(agent: &Agent, id: Principal, known: &mut Snapshots) {
    let arg = types::CanisterIdRecord { canister_id: id };
    let reply = manage(agent, id, "list_canister_snapshots", &arg).await;
    let found = Decode!(&reply.expect("listed"), Vec<types::Snapshot>).expect("the type");
    let Some(latest) = &known.latest else {
        known.count = get(agent, id).await;
        known.latest = found.first().map(|s| (s.id.clone(), known.count));
        return;
    };
    assert_eq!(found.len(), 1, "each took the place of the one before");
    // A snapshot that was in flight has the count that was acknowledged before it.
    let expected = if found[0].id == latest.0 {
        latest.1
    } else {
        known.count
    };
    let load = types::LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: found[0].id.clone(),
        sender_canister_version: None,
    };
    manage(agent, id, "load_canister_snapshot", &load)
        .await
        .expect("loads");
    assert_eq!(get(agent, id).await, expected, "what the snapshot holds");
    *known = Snapshots {
        count: expected,
        latest: Some((found[0].id.clone(), expected)),
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_under_load_loses_nothing_that_was_acknowledged() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state");
    let (mut child, mut url) = spawn(&state).await;
    let owner = agent(&url, identity(1)).await;
    let counting = install(&owner, &version(0)).await;
    let snapped = install(&owner, &counter()).await;
    let files = wat::parse_str(FILES).expect("the text is valid wat");
    let files = install(&owner, &files).await;
    let (mut count, mut pieces, mut upgrades) = (0, 0, 0);
    let mut known = Snapshots::default();
    for round in 0u64..6 {
        let owner = agent(&url, identity(1)).await;
        let tasks = (
            tokio::spawn(count_until_dead(
                agent(&url, identity(2)).await,
                counting,
                count,
            )),
            tokio::spawn(count_until_dead(
                agent(&url, identity(3)).await,
                counting,
                count,
            )),
            tokio::spawn(upload_until_dead(owner.clone(), files, pieces)),
            tokio::spawn(upgrade_until_dead(owner.clone(), counting, upgrades)),
            tokio::spawn(snapshot_until_dead(owner, snapped, known.clone())),
        );
        tokio::time::sleep(Duration::from_millis(100 + (round * 7919) % 400)).await;
        child.0.kill().expect("it runs");
        child.0.wait().expect("it ends");
        let counts = (tasks.0.await, tasks.1.await);
        let least = counts.0.expect("it ends").max(counts.1.expect("it ends"));
        pieces = tasks.2.await.expect("it ends");
        upgrades = tasks.3.await.expect("it ends");
        known = tasks.4.await.expect("it ends");

        (child, url) = spawn(&state).await;
        let owner = agent(&url, identity(1)).await;
        count = get(&owner, counting).await;
        assert!(
            (least..=least + 2).contains(&count),
            "round {round}: {least} acknowledged, {count} found"
        );
        for n in 0..pieces {
            let place = [n * PIECE as u64, PIECE as u64]
                .map(u64::to_le_bytes)
                .concat();
            let found = owner.query(&files, "take").with_arg(place).call().await;
            assert!(
                found.expect("it is there") == piece(n),
                "round {round}: piece {n}"
            );
        }
        let hash = owner.read_state_canister_module_hash(counting).await;
        let hash = hash.expect("it has code");
        let is = |n: u64| hash == Sha256::digest(version(n)).to_vec();
        assert!(
            is(upgrades) || is(upgrades + 1),
            "round {round}: another module"
        );
        upgrades += u64::from(!is(upgrades));
        check_snapshots(&owner, snapped, &mut known).await;
    }
    eprintln!("{count} counted, {pieces} pieces, {upgrades} upgrades");
    assert!(count > 6 && pieces > 1 && upgrades > 1, "there was load");
    assert!(known.latest.is_some(), "there were snapshots");
}

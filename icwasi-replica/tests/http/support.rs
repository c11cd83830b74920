//! What the HTTP tests share: a replica, agents, a small canister.

use candid::{CandidType, Principal};
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::identity::{AnonymousIdentity, BasicIdentity, Identity};
use ic_agent::{Agent, AgentError};
use ic_utils::interfaces::ManagementCanister;
use icwasi_replica::{Replica, ReplicaOptions};

/// A replica in this process, without a state directory.
pub async fn replica() -> Replica {
    Replica::start(ReplicaOptions::default())
        .await
        .expect("a free port on loopback exists")
}

/// An Ed25519 identity that depends on `n` alone.
pub fn identity(n: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[n; 32])
}

/// An agent of `identity` that has fetched the root key.
pub async fn agent(url: &str, identity: impl Identity + 'static) -> Agent {
    let agent = Agent::builder()
        .with_url(url)
        .with_identity(identity)
        .build()
        .expect("the URL of a replica is valid");
    agent
        .fetch_root_key()
        .await
        .expect("the replica tells its root key");
    agent
}

/// An anonymous agent.
pub async fn anonymous(url: &str) -> Agent {
    agent(url, AnonymousIdentity).await
}

/// A canister that counts in stable memory: `inc` (update) adds one and replies the count as
/// four little-endian bytes, `get` (query) replies it, `who` replies the caller,
/// `set_cert` certifies the argument, `cert` (query) replies the certificate, `print` prints the
/// argument, `boom` traps. Ingress to `closed` is refused by `canister_inspect_message`.
pub const COUNTER: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
  (import "ic0" "msg_method_name_size" (func $name_size (result i32)))
  (import "ic0" "accept_message" (func $accept))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "data_certificate_size" (func $cert_size (result i32)))
  (import "ic0" "data_certificate_copy" (func $cert_copy (param i32 i32 i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_size" (func $size (result i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (memory (export "memory") 4)
  (data (i32.const 100) "bang")
  (func $load (if (i64.gt_u (call $size) (i64.const 0))
    (then (call $read (i64.const 0) (i64.const 0) (i64.const 4)))))
  (func $send (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_update inc")
    (if (i64.eqz (call $size)) (then (drop (call $grow (i64.const 1)))))
    (call $load)
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $write (i64.const 0) (i64.const 0) (i64.const 4))
    (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
    (call $send))
  (func (export "canister_query get") (call $load) (call $send))
  (func (export "canister_query heap_count")
    (call $append (i32.const 8) (i32.const 4)) (call $reply))
  (func (export "canister_query who")
    (call $caller_copy (i32.const 1000) (i32.const 0) (call $caller_size))
    (call $append (i32.const 1000) (call $caller_size)) (call $reply))
  (func (export "canister_update set_cert")
    (call $arg_copy (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $certify (i32.const 1000) (call $arg_size)) (call $reply))
  (func (export "canister_query cert")
    (call $cert_copy (i32.const 1000) (i32.const 0) (call $cert_size))
    (call $append (i32.const 1000) (call $cert_size)) (call $reply))
  (func (export "canister_update print")
    (call $arg_copy (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $print (i32.const 1000) (call $arg_size)) (call $reply))
  (func (export "canister_update boom") (call $trap (i32.const 100) (i32.const 4)))
  (func (export "canister_query qboom") (call $trap (i32.const 100) (i32.const 4)))
  (func (export "canister_update closed") (call $reply))
  (func (export "canister_inspect_message")
    (if (i32.ne (call $name_size) (i32.const 6)) (then (call $accept))))
)"#;

/// Adds custom sections `icp:public note` and `icp:private secret` to a module.
pub fn with_metadata(mut wasm: Vec<u8>) -> Vec<u8> {
    for (name, content) in [
        ("icp:public note", "hello"),
        ("icp:private secret", "hidden"),
    ] {
        wasm.extend(custom_section(name, content.as_bytes()));
    }
    wasm
}

/// A custom section with its header.
pub fn custom_section(name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    leb128::write::unsigned(&mut body, name.len() as u64).expect("a Vec takes everything");
    body.extend(name.as_bytes());
    body.extend(content);
    let mut section = vec![0];
    leb128::write::unsigned(&mut section, body.len() as u64).expect("a Vec takes everything");
    section.extend(body);
    section
}

/// The counter canister as wasm.
pub fn counter() -> Vec<u8> {
    with_metadata(wat::parse_str(COUNTER).expect("the text is valid wat"))
}

/// A new canister of `agent`, with `wasm` installed.
pub async fn install(agent: &Agent, wasm: &[u8]) -> Principal {
    let management = ManagementCanister::create(agent);
    let (id,) = management
        .create_canister()
        .as_provisional_create_with_amount(None)
        .call_and_wait()
        .await
        .expect("anybody may create a canister here");
    management
        .install_code(&id, wasm)
        .call_and_wait()
        .await
        .expect("the controller may install a valid module");
    id
}

/// Calls a method of the management canister for the canister `id`.
pub async fn manage(
    agent: &Agent,
    id: Principal,
    method: &str,
    arg: &impl CandidType,
) -> Result<Vec<u8>, AgentError> {
    agent
        .update(&Principal::management_canister(), method)
        .with_effective_canister_id(id)
        .with_arg(candid::encode_one(arg).expect("the types are candid's"))
        .call_and_wait()
        .await
}

/// `inc`, as a number.
pub async fn inc(agent: &Agent, id: Principal) -> u32 {
    let reply = agent
        .update(&id, "inc")
        .with_arg([])
        .call_and_wait()
        .await
        .expect("inc replies");
    u32::from_le_bytes(reply.try_into().expect("inc replies four bytes"))
}

/// `get`, as a number.
pub async fn get(agent: &Agent, id: Principal) -> u32 {
    let reply = agent
        .query(&id, "get")
        .with_arg([])
        .call()
        .await
        .expect("get replies");
    u32::from_le_bytes(reply.try_into().expect("get replies four bytes"))
}

/// Now, plus `seconds` (which may be negative), as the interface wants it.
pub fn expiry(seconds: i64) -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is set")
        .as_nanos() as u64;
    now.saturating_add_signed(seconds * 1_000_000_000)
}

/// An update call that is valid for two minutes.
pub fn call(sender: Principal, canister_id: Principal, method: &str) -> EnvelopeContent {
    EnvelopeContent::Call {
        nonce: Some(b"nonce".to_vec()),
        ingress_expiry: expiry(120),
        sender,
        canister_id,
        method_name: method.to_string(),
        arg: vec![],
        sender_info: None,
    }
}

/// The content as `identity` signs it.
pub fn sign(identity: &dyn Identity, content: EnvelopeContent) -> Envelope<'static> {
    let signature = identity.sign(&content).expect("the identity signs");
    Envelope {
        content: std::borrow::Cow::Owned(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: signature.delegations,
    }
}

/// Posts bytes; the status and the body.
pub async fn post(url: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = url.strip_prefix("http://").expect("replicas speak http");
    let mut stream = tokio::net::TcpStream::connect(host)
        .await
        .expect("the replica listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/cbor\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .await
        .expect("the head is taken");
    // The replica may answer and close before it has read a body that it does not want.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("an HTTP answer")
        + 4;
    let status = std::str::from_utf8(&answer[9..12])
        .expect("ASCII")
        .parse()
        .expect("a number");
    (status, answer.split_off(end))
}

/// Posts an update call.
pub async fn post_call(url: &str, id: Principal, envelope: &Envelope<'_>) -> (u16, Vec<u8>) {
    post(
        url,
        &format!("/api/v4/canister/{id}/call"),
        &envelope.encode_bytes(),
    )
    .await
}

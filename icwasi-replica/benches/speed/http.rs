//! Updates, queries and uploads per second over HTTP, with 16 clients and a state directory.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use candid::Principal;
use ic_agent::Agent;
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::identity::{BasicIdentity, Identity};
use ic_utils::interfaces::ManagementCanister;
use icwasi_replica::{Replica, ReplicaOptions};

use super::Row;

const CLIENTS: usize = 16;
/// How long each rate is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// Updates that are signed before the clock starts; more than can be done in the window.
const UPDATES: usize = 3_000;
const CHUNK: usize = 1_900_000;
const CHUNKS: usize = 16;

/// `inc` counts in stable memory, `get` tells the count, `put` writes its argument to the place
/// in stable memory that its first eight bytes name.
const MODULE: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (memory 32)
  (func (export "canister_init") (drop (call $grow (i64.const 8192))))
  (func $load (call $read (i64.const 0) (i64.const 0) (i64.const 4)))
  (func $send (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_update inc")
    (call $load)
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $write (i64.const 0) (i64.const 0) (i64.const 4))
    (call $send))
  (func (export "canister_query get") (call $load) (call $send))
  (func (export "canister_update put")
    (call $arg_copy (i32.const 16) (i32.const 0) (call $arg_size))
    (call $write (i64.load (i32.const 16)) (i64.const 16)
      (i64.extend_i32_u (call $arg_size)))
    (call $reply)))"#;

/// Measures all three.
pub fn run() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be made");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = ReplicaOptions {
        state_dir: Some(dir.path().join("state")),
        ..ReplicaOptions::default()
    };
    let (replica, id) = runtime.block_on(async {
        let replica = Replica::start(options).await.expect("it starts");
        let id = install(&replica).await;
        (replica, id)
    });
    let address = replica.address();

    let get = |client: usize, n: usize| (n < 64).then(|| query(id, client, n));
    let queries = rate(address, &format!("/api/v3/canister/{id}/query"), true, get);
    let inc = |client: usize, n: usize| (n < UPDATES).then(|| update(id, client, n, "inc", vec![]));
    let calls = format!("/api/v4/canister/{id}/call");
    let updates = rate(address, &calls, false, inc);
    let put = |client: usize, n: usize| {
        (n < CHUNKS).then(|| {
            let mut arg = vec![n as u8; CHUNK];
            let place = ((client * CHUNKS + n) * CHUNK) as u64;
            arg[..8].copy_from_slice(&place.to_le_bytes());
            update(id, client, n, "put", arg)
        })
    };
    let uploads = rate(address, &calls, false, put);
    runtime.block_on(replica.stop()).expect("it stops");
    vec![
        Row::at_least("small updates per second", updates, 300.0),
        Row::at_least("small queries per second", queries, 3_000.0),
        Row::at_least(
            "upload in 1.9 MB chunks, MB per second",
            uploads * CHUNK as f64 / 1e6,
            50.0,
        ),
    ]
}

async fn install(replica: &Replica) -> Principal {
    let agent = Agent::builder()
        .with_url(replica.url())
        .with_identity(BasicIdentity::from_raw_key(&[1; 32]))
        .build()
        .expect("the URL is valid");
    agent.fetch_root_key().await.expect("it has one");
    let management = ManagementCanister::create(&agent);
    let (id,) = management
        .create_canister()
        .as_provisional_create_with_amount(None)
        .call_and_wait()
        .await
        .expect("anybody may create a canister here");
    let wasm = wat::parse_str(MODULE).expect("the text is valid wat");
    management
        .install_code(&id, &wasm)
        .call_and_wait()
        .await
        .expect("it is a valid module");
    id
}

fn expiry() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is set").as_nanos() as u64 + 240_000_000_000
}

fn signed(client: usize, content: impl FnOnce(Principal) -> EnvelopeContent) -> Vec<u8> {
    let identity = BasicIdentity::from_raw_key(&[client as u8 + 1; 32]);
    let content = content(identity.sender().expect("it has one"));
    let signature = identity.sign(&content).expect("it signs");
    Envelope {
        content: Cow::Owned(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: None,
    }
    .encode_bytes()
}

fn nonce(n: usize) -> Option<Vec<u8>> {
    Some(n.to_be_bytes().to_vec())
}

fn query(canister_id: Principal, client: usize, n: usize) -> Vec<u8> {
    signed(client, |sender| EnvelopeContent::Query {
        ingress_expiry: expiry(),
        sender,
        canister_id,
        method_name: "get".to_string(),
        arg: vec![],
        nonce: nonce(n),
        sender_info: None,
    })
}

fn update(canister_id: Principal, client: usize, n: usize, name: &str, arg: Vec<u8>) -> Vec<u8> {
    signed(client, |sender| EnvelopeContent::Call {
        nonce: nonce(n),
        ingress_expiry: expiry(),
        sender,
        canister_id,
        method_name: name.to_string(),
        arg,
        sender_info: None,
    })
}

/// Requests per second that all clients get answered, over the window or until they have no more.
/// `again`: the requests may be repeated.
fn rate(
    address: SocketAddr,
    path: &str,
    again: bool,
    request: impl Fn(usize, usize) -> Option<Vec<u8>> + Sync,
) -> f64 {
    let ready: Vec<Vec<Vec<u8>>> = (0..CLIENTS)
        .map(|client| (0..).map_while(|n| request(client, n)).collect())
        .collect();
    let start = Instant::now();
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = ready
            .iter()
            .map(|requests| {
                scope.spawn(move || {
                    let mut connection = Connection::new(address, path);
                    let mut done = 0;
                    loop {
                        for request in requests {
                            if start.elapsed() > WINDOW {
                                return done;
                            }
                            connection.ask(request);
                            done += 1;
                        }
                        if !again {
                            return done;
                        }
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client"))
            .sum()
    });
    done as f64 / start.elapsed().as_secs_f64()
}

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    path: String,
    buffer: Vec<u8>,
}

impl Connection {
    fn new(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the replica listens");
        stream.set_nodelay(true).expect("it is a TCP connection");
        Self {
            stream,
            path: path.to_string(),
            buffer: Vec::with_capacity(64 << 10),
        }
    }

    /// Sends a request, reads its answer, and checks that it was replied to.
    fn ask(&mut self, body: &[u8]) {
        let mut request = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\n\
             Content-Length: {}\r\n\r\n",
            self.path,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).expect("it is taken");
        self.buffer.clear();
        let (head, length) = loop {
            self.fill();
            if let Some(found) = self.head() {
                break found;
            }
        };
        while self.buffer.len() < head + length {
            self.fill();
        }
        let replied = b"replied";
        assert!(
            self.buffer.starts_with(b"HTTP/1.1 200")
                && self.buffer.windows(replied.len()).any(|w| w == replied),
            "{}",
            String::from_utf8_lossy(&self.buffer)
        );
    }

    fn fill(&mut self) {
        let at = self.buffer.len();
        self.buffer.resize(at + (16 << 10), 0);
        let n = self.stream.read(&mut self.buffer[at..]).expect("an answer");
        assert!(n > 0, "the replica closed the connection");
        self.buffer.truncate(at + n);
    }

    /// Length of the head, and of the body.
    fn head(&self) -> Option<(usize, usize)> {
        let end = self.buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&self.buffer[..end]).expect("ASCII");
        let length = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok());
        Some((end, length.expect("the answer has a length")))
    }
}

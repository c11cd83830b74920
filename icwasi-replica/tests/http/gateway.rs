//! Canisters that serve HTTP, through the gateway: certified, tampered with, raw, upgraded,
//! streamed.

use crate::support::*;
use candid::types::reference::Func;
use candid::{CandidType, Encode, Principal};
use ic_agent::Agent;
use ic_http_certification::utils::add_v2_certificate_header;
use ic_http_certification::{
    DefaultCelBuilder, DefaultResponseCertification, HttpCertification, HttpCertificationPath,
    HttpCertificationTree, HttpCertificationTreeEntry, HttpResponse, StatusCode,
};
use icwasi_replica::Replica;

mod hostile;

/// A canister that answers with what it was told to: `put` stores an answer under a letter,
/// `http_request` to `/t/x` gives the answer under `x`, with its certificate (base64) in the
/// middle. With `bytes=2..` in the arguments it is the one under `2`, `http_request_update` gives
/// the one under the capital letter, `stream` the one that its last argument byte names.
const SHELF: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "data_certificate_size" (func $cert_size (result i32)))
  (import "ic0" "data_certificate_copy" (func $cert_copy (param i32 i32 i32)))
  (memory 320)
  (data (i32.const 0x70000) "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  (func $slot (param $key i32) (result i32)
    (i32.mul (i32.sub (local.get $key) (i32.const 46)) (i32.const 0x40000)))
  (func $args (call $arg_copy (i32.const 0) (i32.const 0) (call $arg_size)))
  (func $digit (param $out i32) (param $n i32)
    (i32.store8 (local.get $out)
      (i32.load8_u (i32.add (i32.const 0x70000) (i32.and (local.get $n) (i32.const 63))))))
  (func $certificate (local $len i32) (local $at i32) (local $out i32) (local $n i32)
    (local.set $len (call $cert_size))
    (memory.fill (i32.const 0x40000) (i32.const 0) (i32.add (local.get $len) (i32.const 3)))
    (call $cert_copy (i32.const 0x40000) (i32.const 0) (local.get $len))
    (local.set $out (i32.const 0x60000))
    (loop $next
      (local.set $n (i32.or (i32.or
        (i32.shl (i32.load8_u offset=0x40000 (local.get $at)) (i32.const 16))
        (i32.shl (i32.load8_u offset=0x40001 (local.get $at)) (i32.const 8)))
        (i32.load8_u offset=0x40002 (local.get $at))))
      (call $digit (local.get $out) (i32.shr_u (local.get $n) (i32.const 18)))
      (call $digit (i32.add (local.get $out) (i32.const 1)) (i32.shr_u (local.get $n) (i32.const 12)))
      (call $digit (i32.add (local.get $out) (i32.const 2)) (i32.shr_u (local.get $n) (i32.const 6)))
      (call $digit (i32.add (local.get $out) (i32.const 3)) (local.get $n))
      (local.set $out (i32.add (local.get $out) (i32.const 4)))
      (local.set $at (i32.add (local.get $at) (i32.const 3)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $len))))
    ;; Padding, where the last three bytes were not all there.
    (local.set $n (i32.sub (local.get $at) (local.get $len)))
    (if (i32.ge_u (local.get $n) (i32.const 1))
      (then (i32.store8 (i32.sub (local.get $out) (i32.const 1)) (i32.const 61))))
    (if (i32.ge_u (local.get $n) (i32.const 2))
      (then (i32.store8 (i32.sub (local.get $out) (i32.const 2)) (i32.const 61))))
    (call $append (i32.const 0x60000) (i32.sub (local.get $out) (i32.const 0x60000))))
  (func $answer (param $key i32) (local $at i32) (local $first i32) (local $second i32)
    (local.set $at (call $slot (local.get $key)))
    (local.set $first (i32.load offset=1 (local.get $at)))
    (local.set $second (i32.load offset=5 (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 9)))
    (call $append (local.get $at) (local.get $first))
    (if (i32.ne (local.get $second) (i32.const -1)) (then
      (call $certificate)
      (call $append (i32.add (local.get $at) (local.get $first)) (local.get $second))))
    (call $reply))
  ;; The letter after "/t/", or the digit after "bytes=".
  (func $asked (result i32) (local $at i32) (local $key i32)
    (call $args)
    (loop $next
      (if (i32.eq (i32.and (i32.load (local.get $at)) (i32.const 0xffffff)) (i32.const 0x2f742f))
        (then (local.set $key (i32.load8_u offset=3 (local.get $at)))))
      (if (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 0x65747962))
                   (i32.eq (i32.load8_u offset=5 (local.get $at)) (i32.const 61)))
        (then (return (i32.load8_u offset=6 (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (call $arg_size))))
    (local.get $key))
  (func (export "canister_update put")
    (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 1))
    (call $arg_copy (call $slot (i32.load8_u (i32.const 0))) (i32.const 0) (call $arg_size))
    (call $reply))
  (func (export "canister_update set_cert")
    (call $args) (call $certify (i32.const 0) (call $arg_size)) (call $reply))
  (func (export "canister_query cert_size")
    (i32.store (i32.const 0) (call $cert_size))
    (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_query http_request") (call $answer (call $asked)))
  (func (export "canister_update http_request_update")
    (call $answer (i32.sub (call $asked) (i32.const 32))))
  (func (export "canister_query stream")
    (call $args)
    (call $answer (i32.load8_u (i32.sub (call $arg_size) (i32.const 1)))))
)"#;

#[derive(CandidType, Clone)]
struct Answer {
    status_code: u16,
    headers: Vec<(String, String)>,
    body: serde_bytes::ByteBuf,
    streaming_strategy: Option<Strategy>,
    upgrade: Option<bool>,
}

#[derive(CandidType, Clone)]
enum Strategy {
    Callback { callback: Callback, token: u8 },
}

candid::define_function!(Callback : (u8) -> (Part) query);

#[derive(CandidType)]
struct Part {
    body: serde_bytes::ByteBuf,
    token: Option<u8>,
}

fn answer(status_code: u16, body: &[u8]) -> Answer {
    Answer {
        status_code,
        headers: vec![],
        body: serde_bytes::ByteBuf::from(body),
        streaming_strategy: None,
        upgrade: None,
    }
}

/// A canister with answers, some of which are certified.
struct Shelf {
    owner: Agent,
    id: Principal,
    url: String,
    certified: HttpCertificationTree,
    /// Answers that wait for the tree to be complete: letter, path, entry, answer.
    waiting: Vec<(
        u8,
        String,
        HttpCertificationTreeEntry<'static>,
        HttpResponse<'static>,
        Answer,
    )>,
}

impl Shelf {
    async fn new(replica: &Replica) -> Self {
        let owner = agent(&replica.url(), identity(1)).await;
        let wasm = wat::parse_str(SHELF).expect("the text is valid wat");
        let id = install(&owner, &wasm).await;
        Self {
            owner,
            id,
            url: replica.url(),
            certified: HttpCertificationTree::default(),
            waiting: vec![],
        }
    }

    async fn put(&self, key: u8, before: &[u8], after: Option<&[u8]>) {
        let second = after.map_or(u32::MAX, |bytes| bytes.len() as u32);
        let mut arg = vec![key];
        arg.extend((before.len() as u32).to_le_bytes());
        arg.extend(second.to_le_bytes());
        arg.extend(before);
        arg.extend(after.unwrap_or_default());
        self.owner
            .update(&self.id, "put")
            .with_arg(arg)
            .call_and_wait()
            .await
            .expect("it is stored");
    }

    /// An answer without a certificate.
    async fn plain(&self, key: u8, answer: &impl CandidType) {
        let bytes = Encode!(answer).expect("the types are candid's");
        self.put(key, &bytes, None).await;
    }

    /// An answer that is certified; `answer.body` need not be what was certified.
    fn certified(&mut self, key: u8, certified_body: &[u8], mut answer: Answer) {
        let certification = DefaultResponseCertification::certified_response_headers(vec![
            "content-type",
            "content-range",
        ]);
        let expression = DefaultCelBuilder::response_only_certification()
            .with_response_certification(certification)
            .build();
        answer
            .headers
            .push(("IC-CertificateExpression".into(), expression.to_string()));
        let response = HttpResponse::builder()
            .with_status_code(StatusCode::from_u16(answer.status_code).expect("a status"))
            .with_headers(answer.headers.clone())
            .with_body(certified_body.to_vec())
            .build();
        let certification = HttpCertification::response_only(&expression, &response, None)
            .expect("the response has the expression");
        // Ranges have the path of the whole.
        let letter = if key.is_ascii_digit() { b'r' } else { key };
        let path = format!("/t/{}", char::from(letter));
        let entry = HttpCertificationTreeEntry::new(
            HttpCertificationPath::exact(path.clone()),
            certification,
        );
        self.certified.insert(&entry);
        self.waiting.push((key, path, entry, response, answer));
    }

    /// Certifies the tree, and stores the answers with a gap for the certificate.
    async fn finish(&mut self) {
        self.owner
            .update(&self.id, "set_cert")
            .with_arg(self.certified.root_hash().to_vec())
            .call_and_wait()
            .await
            .expect("it certifies");
        let size = self.owner.query(&self.id, "cert_size").with_arg([]).call();
        let size = size.await.expect("it has a certificate");
        let size = u32::from_le_bytes(size.try_into().expect("four bytes")) as usize;
        for (key, path, entry, mut response, mut answer) in std::mem::take(&mut self.waiting) {
            let witness = self.certified.witness(&entry, &path).expect("it is in it");
            let expr_path = HttpCertificationPath::exact(path).to_expr_path();
            add_v2_certificate_header(&vec![0; size], &mut response, &witness, &expr_path);
            answer.headers = response.headers().to_vec();
            let bytes = Encode!(&answer).expect("the types are candid's");
            let gap = b"certificate=:";
            let at = bytes
                .windows(gap.len())
                .position(|window| window == gap)
                .expect("it has the header")
                + gap.len();
            let end = at + size.div_ceil(3) * 4;
            self.put(key, &bytes[..at], Some(&bytes[end..])).await;
        }
    }

    async fn get(&self, path: &str, raw: &str, more: &str) -> (u16, String, Vec<u8>) {
        let host = format!("{}{raw}.localhost", self.id);
        http(&self.url, "GET", path, &host, more, b"").await
    }
}

/// Sends a request; status, head and body of the response.
async fn http(
    url: &str,
    method: &str,
    path: &str,
    host: &str,
    more: &str,
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = url.strip_prefix("http://").expect("replicas speak http");
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the replica listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("taken");
    // The replica may answer and close before it has read a body that it does not want.
    let _ = stream.write_all(body).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an HTTP response");
    let body = response.split_off(end + 4);
    let head = String::from_utf8(response).expect("ASCII").to_lowercase();
    let status = head[9..12].parse().expect("a number");
    (status, head, body)
}

fn undo_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n")?;
        let text = std::str::from_utf8(&body[..end]).ok()?;
        let len = usize::from_str_radix(text, 16).ok()?;
        if len == 0 {
            return Some(whole);
        }
        whole.extend(body.get(end + 2..end + 2 + len)?);
        body = body.get(end + 4 + len..)?;
    }
}

#[tokio::test]
async fn what_was_certified_is_served_and_nothing_else() {
    let replica = replica().await;
    let mut shelf = Shelf::new(&replica).await;
    let mut page = answer(200, b"<p>hello");
    page.headers = vec![
        ("content-type".into(), "text/html".into()),
        ("x-not-certified".into(), "1".into()),
        ("transfer-encoding".into(), "chunked".into()),
        ("content-length".into(), "99".into()),
    ];
    shelf.certified(b'a', b"<p>hello", page.clone());
    shelf.certified(b'b', b"<p>hello", answer(200, b"<p>other"));
    shelf.certified(b'd', b"moved", answer(301, b"moved"));
    shelf.finish().await;
    shelf.plain(b'c', &page).await;

    let (status, head, body) = shelf.get("/t/a", "", "").await;
    assert_eq!((status, &body[..]), (200, &b"<p>hello"[..]), "{head}");
    assert!(head.contains("content-type: text/html"), "{head}");
    assert!(!head.contains("x-not-certified"), "{head}");
    assert!(head.contains("content-length: 8"), "{head}");
    let by_parameter = format!("/t/a?canisterId={}", shelf.id);
    let found = http(&shelf.url, "GET", &by_parameter, "127.0.0.1", "", b"").await;
    assert_eq!((found.0, &found.2[..]), (200, &b"<p>hello"[..]));
    let head = http(
        &shelf.url,
        "HEAD",
        "/t/a",
        &format!("{}.localhost", shelf.id),
        "",
        b"",
    )
    .await;
    assert_eq!((head.0, head.2.len()), (200, 0));
    assert_eq!(shelf.get("/t/d", "", "").await.0, 301);

    for (path, why) in [
        ("/t/b", "the body is not what was certified"),
        ("/t/c", "there is no certificate"),
        ("/t/a/x", "the certificate is for another path"),
    ] {
        let (status, _, body) = shelf.get(path, "", "").await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 503, "{why}: {text}");
        assert!(text.starts_with("response verification failed: "), "{text}");
        let (status, _, _) = shelf.get(path, ".raw", "").await;
        assert_eq!(status, 200, "raw is not verified");
    }
    let (_, head, _) = shelf.get("/t/c", ".raw", "").await;
    assert!(head.contains("x-not-certified: 1"), "{head}");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn updates_streams_and_ranges_are_followed() {
    let replica = replica().await;
    let mut shelf = Shelf::new(&replica).await;
    // Upgrade.
    let mut upgrade = answer(200, b"");
    upgrade.upgrade = Some(true);
    shelf.plain(b'a', &upgrade).await;
    shelf.plain(b'A', &answer(201, b"made")).await;
    // A stream of three parts, put together and verified; one of seven, which is not verified.
    let callback = Callback(Func {
        principal: shelf.id,
        method: "stream".into(),
    });
    let streamed = |body: &[u8], token: u8| Answer {
        streaming_strategy: Some(Strategy::Callback {
            callback: callback.clone(),
            token,
        }),
        ..answer(200, body)
    };
    shelf.certified(b'b', b"one two three", streamed(b"one ", b'c'));
    shelf.certified(b'e', b"one two thirty", streamed(b"one ", b'c'));
    let parts: [(u8, &[u8], Option<u8>); 8] = [
        (b'c', b"two ", Some(b'd')),
        (b'd', b"three", None),
        (b'g', b"1", Some(b'h')),
        (b'h', b"2", Some(b'i')),
        (b'i', b"3", Some(b'j')),
        (b'j', b"4", Some(b'k')),
        (b'k', b"5", Some(b'l')),
        (b'l', b"6", None),
    ];
    for (key, body, token) in parts {
        let body = serde_bytes::ByteBuf::from(body);
        shelf.plain(key, &Part { body, token }).await;
    }
    shelf.plain(b'f', &streamed(b"0", b'g')).await;
    // A content in ranges, of which the last is not what was certified.
    let part = |body: &[u8], range: &str| Answer {
        headers: vec![("Content-Range".into(), format!("bytes {range}"))],
        ..answer(206, body)
    };
    shelf.certified(b'r', b"01", part(b"01", "0-1/6"));
    shelf.certified(b'2', b"123", part(b"123", "1-3/6"));
    shelf.certified(b'4', b"45", part(b"45", "4-5/6"));
    shelf.finish().await;

    let (status, _, body) = shelf.get("/t/a", "", "").await;
    assert_eq!((status, &body[..]), (201, &b"made"[..]));
    let (status, _, body) = shelf.get("/t/b", "", "").await;
    assert_eq!((status, &body[..]), (200, &b"one two three"[..]));
    assert_eq!(
        shelf.get("/t/e", "", "").await.0,
        503,
        "verified as a whole"
    );
    let (status, _, body) = shelf.get("/t/f", "", "").await;
    assert_eq!(status, 200);
    assert_eq!(undo_chunks(&body).expect("complete"), b"0123456");

    let (status, head, body) = shelf.get("/t/r", "", "").await;
    assert_eq!((status, &body[..]), (200, &b"012345"[..]), "{head}");
    assert!(head.contains("content-length: 6"), "{head}");
    assert!(!head.contains("\ncontent-range:"), "{head}");
    let (status, head, body) = shelf.get("/t/r", "", "Range: bytes=2-\r\n").await;
    assert_eq!((status, &body[..]), (206, &b"123"[..]));
    assert!(head.contains("content-range: bytes 1-3/6"), "{head}");
    shelf.certified(b'4', b"45", part(b"46", "4-5/6"));
    shelf.finish().await;
    let (_, _, body) = shelf.get("/t/r", "", "").await;
    assert!(body.len() < 6, "a false part ends the response: {body:?}");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn what_cannot_be_served_has_a_status_and_a_text() {
    let replica = replica().await;
    let shelf = Shelf::new(&replica).await;
    let ask = async |host: &str| {
        let (status, _, body) = http(&shelf.url, "GET", "/", host, "", b"").await;
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let (status, text) = ask("127.0.0.1").await;
    assert_eq!(status, 404);
    assert!(text.contains("<canister-id>.localhost"), "{text}");
    let (status, text) = ask("bd3sg-teaaa-aaaaa-qaaba-cai.localhost").await;
    assert_eq!((status, text.contains("IC0301")), (404, true), "{text}");
    let other = install(&shelf.owner, &counter()).await;
    let (status, text) = ask(&format!("{other}.localhost")).await;
    assert_eq!((status, text.contains("IC0536")), (502, true), "{text}");

    shelf.put(b'x', b"rubbish", None).await;
    shelf.plain(b'y', &answer(99, b"")).await;
    let mut bad_header = answer(200, b"");
    bad_header.headers = vec![("a\nb".into(), "c".into())];
    shelf.plain(b'z', &bad_header).await;
    for path in ["/t/x", "/t/y", "/t/z"] {
        let (status, _, body) = shelf.get(path, ".raw", "").await;
        assert_eq!(status, 502, "{path}");
        assert!(!body.is_empty(), "{path}");
    }
    let body = vec![0; 6 << 20];
    let host = format!("{}.localhost", shelf.id);
    let (status, _, _) = http(&shelf.url, "POST", "/t/x", &host, "", &body).await;
    assert_eq!(status, 413);
    // The interface of the IC stays reachable under the canister's own host.
    let (status, _, _) = http(&shelf.url, "GET", "/api/v2/status", &host, "", b"").await;
    assert_eq!(status, 200);
    replica.stop().await.expect("stops");
}

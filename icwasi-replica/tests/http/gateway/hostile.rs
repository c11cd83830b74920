//! Canisters that answer what they should not: they get an error, and everybody else is served.

use std::time::{Duration, Instant};

use icwasi_replica::ReplicaOptions;

use super::*;

fn with_range(status_code: u16, body: &[u8], range: &str) -> Answer {
    Answer {
        headers: vec![("Content-Range".into(), range.into())],
        ..answer(status_code, body)
    }
}

/// An answer with one more field, of which a few bytes say that it has millions of elements.
#[derive(CandidType)]
struct Bomb {
    status_code: u16,
    headers: Vec<(String, String)>,
    body: serde_bytes::ByteBuf,
    streaming_strategy: Option<Strategy>,
    upgrade: Option<bool>,
    more: Vec<()>,
}

fn bomb() -> Bomb {
    Bomb {
        status_code: 200,
        headers: vec![],
        body: serde_bytes::ByteBuf::new(),
        streaming_strategy: None,
        upgrade: None,
        more: vec![(); 1 << 24],
    }
}

fn upgrade() -> Answer {
    Answer {
        upgrade: Some(true),
        ..answer(200, b"")
    }
}

fn streamed(principal: Principal, method: &str, token: u8) -> Answer {
    let callback = Callback(Func {
        principal,
        method: method.into(),
    });
    Answer {
        streaming_strategy: Some(Strategy::Callback { callback, token }),
        ..answer(200, b"begin ")
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_bad_gateways() {
    let replica = replica().await;
    let shelf = Shelf::new(&replica).await;
    shelf.plain(b'a', &answer(101, b"")).await;
    let mut crowded = answer(200, b"");
    crowded.headers = (0..33_000)
        .map(|n| (format!("{n:x}"), String::new()))
        .collect();
    shelf.plain(b'b', &crowded).await;
    crowded.headers = vec![("a".into(), "b".into()); 1_001];
    shelf.plain(b'l', &crowded).await;
    shelf.plain(b'c', &answer(206, b"part")).await;
    shelf
        .plain(b'd', &with_range(206, b"part", "bytes 5-3/2"))
        .await;
    shelf
        .plain(b'e', &with_range(206, b"part", "bytes 3-6/9"))
        .await;
    shelf.plain(b'f', &bomb()).await;
    shelf.plain(b'g', &upgrade()).await;
    shelf.plain(b'G', &bomb()).await;
    // Callbacks of canisters that do not have them, or do not exist.
    let counter = install(&shelf.owner, &counter()).await;
    let absent = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 1]);
    let management = Principal::management_canister();
    shelf.plain(b'h', &streamed(counter, "stream", b'x')).await;
    shelf.plain(b'i', &streamed(absent, "stream", b'x')).await;
    shelf
        .plain(b'j', &streamed(management, "raw_rand", b'x'))
        .await;
    shelf.plain(b'k', &streamed(shelf.id, "none", b'x')).await;

    for key in 'a'..='l' {
        let (status, _, body) = shelf.get(&format!("/t/{key}"), ".raw", "").await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 502, "/t/{key}: {text}");
        assert!(!text.is_empty() && text.len() < 2_000, "/t/{key}: {text}");
    }
    let management = "aaaaa-aa.localhost";
    let (status, _, _) = http(&shelf.url, "GET", "/", management, "", b"").await;
    assert_eq!(status, 502, "it serves no HTTP");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn contents_that_stop_making_sense_are_cut() {
    let replica = replica().await;
    let shelf = Shelf::new(&replica).await;
    // The second range says that it has more than is there.
    shelf
        .plain(b'a', &with_range(206, b"01", "bytes 0-1/6"))
        .await;
    let second: [(&[u8], &str); 3] = [
        (b"", "bytes 0-3/6"),
        (b"01", "bytes 0-1/6"),
        (b"45", "bytes 4-5/6"),
    ];
    for (body, range) in second {
        shelf.plain(b'2', &with_range(206, body, range)).await;
        let (status, head, body) = shelf.get("/t/a", ".raw", "").await;
        assert_eq!(status, 200, "{range}");
        assert!(head.contains("content-length: 6"), "{head}");
        assert!(b"01".starts_with(&body[..]), "{range}: {body:?}");
    }
    // A stream without an end has one; one whose seventh part is missing is cut.
    let again = Part {
        body: serde_bytes::ByteBuf::from(b"x"),
        token: Some(b'c'),
    };
    shelf.plain(b'b', &streamed(shelf.id, "stream", b'c')).await;
    shelf.plain(b'c', &again).await;
    let (status, _, body) = shelf.get("/t/b", ".raw", "").await;
    let whole = undo_chunks(&body).expect("it ends as it should");
    assert_eq!((status, whole.len() > 900), (200, true));
    for key in b'd'..b'i' {
        let part = Part {
            body: serde_bytes::ByteBuf::from([key]),
            token: Some(key + 1),
        };
        shelf.plain(key, &part).await;
    }
    shelf.put(b'i', b"rubbish", None).await;
    shelf.plain(b'b', &streamed(shelf.id, "stream", b'd')).await;
    let (status, _, body) = shelf.get("/t/b", ".raw", "").await;
    assert_eq!((status, undo_chunks(&body)), (200, None), "{body:?}");
    // The length of a stream is not for the canister to say.
    let mut short = streamed(shelf.id, "stream", b'c');
    short.headers = vec![("content-length".into(), "3".into())];
    shelf.plain(b'b', &short).await;
    let (_, head, body) = shelf.get("/t/b", ".raw", "").await;
    assert!(!head.contains("content-length"), "{head}");
    assert!(undo_chunks(&body).is_some());
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn updates_are_polled_for_when_they_take_long() {
    let options = ReplicaOptions {
        sync_wait: Duration::ZERO,
        ..ReplicaOptions::default()
    };
    let replica = Replica::start(options).await.expect("a free port exists");
    let shelf = Shelf::new(&replica).await;
    shelf.plain(b'a', &upgrade()).await;
    shelf.plain(b'A', &answer(201, b"made")).await;
    shelf.plain(b'b', &upgrade()).await;
    shelf.plain(b'B', &bomb()).await;
    let (status, _, body) = shelf.get("/t/a", "", "").await;
    assert_eq!((status, &body[..]), (201, &b"made"[..]));
    assert_eq!(shelf.get("/t/b", "", "").await.0, 502);
    let body = vec![0; 3 << 20];
    let host = format!("{}.localhost", shelf.id);
    let (status, _, text) = http(&shelf.url, "POST", "/t/a", &host, "", &body).await;
    assert_eq!(status, 413, "{}", String::from_utf8_lossy(&text));
    replica.stop().await.expect("stops");
}

/// Asks for an update, in which it calls itself without an end.
const SILENT: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "canister_self_size" (func $self_size (result i32)))
  (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (table funcref (elem $again))
  (data (i32.const 100) "tick")
  (data (i32.const 200) "ANSWER")
  (func $call
    (call $self_copy (i32.const 0) (i32.const 0) (call $self_size))
    (call $call_new (i32.const 0) (call $self_size) (i32.const 100) (i32.const 4)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $perform)))
  (func $again (param i32) (call $call))
  (func (export "canister_update tick") (call $reply))
  (func (export "canister_query http_request")
    (call $append (i32.const 200) (i32.const LENGTH)) (call $reply))
  (func (export "canister_update http_request_update") (call $call))
)"#;

#[tokio::test]
async fn an_update_without_an_answer_holds_nobody_up() {
    let replica = replica().await;
    let shelf = Shelf::new(&replica).await;
    shelf.plain(b'a', &answer(200, b"here")).await;
    let bytes = Encode!(&upgrade()).expect("the types are candid's");
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = SILENT
        .replace("ANSWER", &escaped)
        .replace("LENGTH", &bytes.len().to_string());
    let wasm = wat::parse_str(text).expect("the text is valid wat");
    let silent = install(&shelf.owner, &wasm).await;
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let (url, host) = (shelf.url.clone(), format!("{silent}.localhost"));
            tokio::spawn(async move { http(&url, "GET", "/", &host, "", b"").await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(waiting.iter().all(|request| !request.is_finished()));
    let (status, _, body) = shelf.get("/t/a", ".raw", "").await;
    assert_eq!((status, &body[..]), (200, &b"here"[..]));
    let begun = Instant::now();
    replica.stop().await.expect("stops");
    assert!(begun.elapsed() < Duration::from_secs(30));
    for request in waiting {
        request.abort();
    }
}

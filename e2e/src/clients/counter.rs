//! A small canister for clients that are no Rust programs: it counts, prints and serves a page.

use anyhow::{Context, Result};
use candid::CandidType;
use serde_bytes::ByteBuf;

/// What it prints when it has counted.
pub const LOG_LINE: &str = "counted one more";
/// What it serves over HTTP.
pub const PAGE: &str = "a page of a canister";

#[derive(CandidType)]
struct HttpResponse {
    status_code: u16,
    headers: Vec<(String, String)>,
    body: ByteBuf,
}

/// The module: `inc : () -> (nat64)`, `get : () -> (nat64) query`, `http_request`.
///
/// # Errors
/// None that can be expected: its text is fixed.
pub fn module() -> Result<Vec<u8>> {
    let page = candid::encode_one(HttpResponse {
        status_code: 200,
        headers: vec![("Content-Type".into(), "text/plain".into())],
        body: ByteBuf::from(PAGE),
    })?;
    let text = format!(
        r#"(module
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "debug_print" (func $print (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "DIDL\00\01\78")
        (data (i32.const 256) "{LOG_LINE}")
        (data (i32.const 512) "{page}")
        (func $answer
            (call $append (i32.const 0) (i32.const 15))
            (call $reply))
        (func (export "canister_update inc")
            (i64.store (i32.const 7) (i64.add (i64.load (i32.const 7)) (i64.const 1)))
            (call $print (i32.const 256) (i32.const {log_bytes}))
            (call $answer))
        (func (export "canister_query get") (call $answer))
        (func (export "canister_query http_request")
            (call $append (i32.const 512) (i32.const {page_bytes}))
            (call $reply))
        (@custom "icp:public candid:service" "{service}"))"#,
        log_bytes = LOG_LINE.len(),
        page_bytes = page.len(),
        page = page
            .iter()
            .map(|b| format!("\\{b:02x}"))
            .collect::<String>(),
        service = "service : { inc : () -> (nat64); get : () -> (nat64) query }",
    );
    wat::parse_str(&text).context("the counter canister's text")
}

/// `module` with a section that makes it too large for one message.
pub fn large(module: &[u8]) -> Vec<u8> {
    let filler: Vec<u8> = (0..2_500_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut module = module.to_vec();
    module.push(0);
    let name = b"filler";
    let mut size = name.len() + 1 + filler.len();
    while size > 127 {
        module.push((size & 127) as u8 | 128);
        size >>= 7;
    }
    module.push(size as u8);
    module.push(name.len() as u8);
    module.extend_from_slice(name);
    module.extend_from_slice(&filler);
    module
}

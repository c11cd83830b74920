//! Modules that the IC refuses.

mod core_common;
use core_common::*;
use icwasi_replica::core::{ErrorCode, InstallMode};

fn refused(text: &str, why: &str) {
    refused_bytes(&wasm(text), why);
}

fn refused_bytes(module: &[u8], why: &str) {
    let (mut core, id) = empty();
    let e = core
        .install_code(user(), &id, InstallMode::Install, module, &[])
        .expect_err("the module must be refused");
    assert_eq!(e.code, ErrorCode::CanisterInvalidWasm, "{}", e.message);
    assert!(e.message.contains(why), "{why} is not in: {}", e.message);
    assert!(core.canister(&id).expect("exists").module_hash().is_none());
}

#[test]
fn not_a_module() {
    refused_bytes(b"", "unsupported canister module format");
    refused_bytes(b"\x7fELF", "unsupported canister module format");
    refused_bytes(b"\0asm\x0d\0\x01\0", "parse");
    let good = wasm("(module (func nop))");
    refused_bytes(&good[..good.len() - 2], "parse");
    refused_bytes(b"\x1f\x8b\x08rubbish", "decode");
}

#[test]
fn imports() {
    refused(
        r#"(module (import "wasi_snapshot_preview1" "fd_write"
            (func (param i32 i32 i32 i32) (result i32))))"#,
        "fd_write",
    );
    refused(r#"(module (import "ic0" "no_such" (func)))"#, "no_such");
    refused(
        r#"(module (import "ic0" "msg_reply" (func (param i32))))"#,
        "msg_reply",
    );
    refused(
        r#"(module (import "ic0" "time" (func (result i32))))"#,
        "time",
    );
    refused(r#"(module (import "env" "g" (global i32)))"#, "globals");
    refused(r#"(module (import "other" "m" (memory 1)))"#, "memory");
    // Widths follow the memory.
    refused(
        r#"(module (import "ic0" "debug_print" (func (param i32 i32))) (memory i64 1))"#,
        "debug_print",
    );
    refused(
        r#"(module (import "ic0" "stable_size" (func (result i32))) (memory i64 1))"#,
        "stable",
    );
    with(r#"(module (import "ic0" "debug_print" (func (param i64 i64))) (memory i64 1))"#);
    with(r#"(module (import "env" "memory" (memory 1)) (import "env" "table" (table 1 funcref)))"#);
}

#[test]
fn exports() {
    refused(r#"(module (func (export "canister_foo")))"#, "canister_foo");
    refused(
        r#"(module (func (export "canister_start")))"#,
        "canister_start",
    );
    refused(
        r#"(module (func (export "canister counter_instructions")))"#,
        "reserved",
    );
    refused(
        r#"(module (func (export "canister_init") (param i32)))"#,
        "canister_init",
    );
    refused(
        r#"(module (func (export "canister_query q") (result i32) i32.const 1))"#,
        "canister_query q",
    );
    refused(
        r#"(module (func (export "canister_query q")) (func (export "canister_update q")))"#,
        "Duplicate",
    );
    let many: String = (0..1001)
        .map(|i| format!("(func (export \"canister_query m{i}\"))"))
        .collect();
    refused(&format!("(module {many})"), "exceeds 1000");
    let long = "n".repeat(20_001);
    refused(
        &format!("(module (func (export \"canister_query {long}\")))"),
        "20000",
    );
}

#[test]
fn operators_and_proposals() {
    for op in [
        "(drop (table.grow $t (ref.null func) (i32.const 1)))",
        "(table.set $t (i32.const 0) (ref.null func))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))",
        "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 0))",
    ] {
        refused(
            &format!("(module (table $t 1 funcref) (func {op}))"),
            "table.",
        );
    }
    refused("(module (memory 1) (memory 1))", "memor");
    refused("(module (memory 1 1 shared))", "thread");
    refused("(module (tag))", "exceptions");
    refused(
        "(module (func (param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0)))))",
        "relaxed",
    );
    refused("(module (type (struct)))", "gc");
    refused(
        "(module (func (drop (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))))"
            .replace("(drop (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))", "(i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)) drop drop").as_str(),
        "wide arithmetic",
    );
    refused(
        "(module (memory 1) (data (i32.add (i32.const 1) (i32.const 2)) \"x\"))",
        "constant expression",
    );
}

#[test]
fn data_segments() {
    refused(
        "(module (memory 1) (data (i32.const 65530) \"12345678\"))",
        "does not fit",
    );
    refused(
        "(module (memory 1) (global $g i32 (i32.const 0)) (data (global.get $g) \"1\"))",
        "constant expression required",
    );
    with("(module (memory 1) (data (i32.const 65528) \"12345678\"))");
}

#[test]
fn sizes() {
    let globals = "(global i32 (i32.const 0))".repeat(1001);
    refused(&format!("(module {globals})"), "1001 globals");
    with(&format!(
        "(module {})",
        "(global i32 (i32.const 0))".repeat(1000)
    ));
    refused(
        &format!("(module {})", "(func)".repeat(50_001)),
        "50001 functions",
    );
    let body = "nop ".repeat(1_000_000);
    refused(&format!("(module (func {body}))"), "1000001 instructions");
    let body = "(block)".repeat(20_001);
    refused(&format!("(module (func {body}))"), "complexity");
    refused("(module (global externref (ref.null extern)))", "global");
}

#[test]
fn custom_sections() {
    refused(r#"(module (@custom "icp:secret x" "1"))"#, "icp:secret x");
    refused(
        r#"(module (@custom "icp:public x" "1") (@custom "icp:private x" "2"))"#,
        "duplicate",
    );
    let many: String = (0..17)
        .map(|i| format!("(@custom \"icp:public x{i}\" \"1\")"))
        .collect();
    refused(&format!("(module {many})"), "16");
    let (core, id) = with(r#"(module (@custom "icp:public candid:service" "service : {}"))"#);
    let metadata = core.canister(&id).and_then(|c| c.metadata()).expect("code");
    let service = metadata.get("candid:service").expect("there");
    assert!(service.public);
    assert_eq!(service.content, b"service : {}");
}

#[test]
fn gzip_is_accepted() {
    use std::io::Write;
    let plain = wasm("(module (func (export \"canister_update m\")))");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain).expect("in memory");
    let packed = encoder.finish().expect("in memory");
    let (mut core, id) = empty();
    core.install_code(user(), &id, InstallMode::Install, &packed, &[])
        .expect("installed");
    let hash = core
        .canister(&id)
        .and_then(|c| c.module_hash())
        .expect("code");
    use sha2::Digest;
    assert_eq!(
        hash,
        <[u8; 32]>::from(sha2::Sha256::digest(&packed)),
        "as it was uploaded"
    );
}

//! Modules that the IC refuses.

use crate::common::*;
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
}

#[test]
fn operators() {
    for (op, code) in [
        (
            "table.grow",
            "(drop (table.grow $t (ref.null func) (i32.const 1)))",
        ),
        ("table.set", "(table.set $t (i32.const 0) (ref.null func))"),
        (
            "table.fill",
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))",
        ),
        (
            "table.copy",
            "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 0))",
        ),
        (
            "table.init",
            "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))",
        ),
    ] {
        refused(
            &format!("(module (func) (table $t 1 funcref) (elem $e func 0) (func nop {code}))"),
            &format!("Function at index 1 uses the operator {op}"),
        );
    }
    with("(module (table $t 1 funcref) (func (drop (table.get $t (i32.const 0)))))");
}

/// A module for each proposal that is off there.
#[test]
fn proposals_that_are_off() {
    for (proposal, text, why) in [
        ("multi-memory", "(module (memory 1) (memory 1))", "memor"),
        ("threads", "(module (memory 1 1 shared))", "thread"),
        (
            "atomics",
            "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
            "thread",
        ),
        ("exceptions", "(module (tag))", "exceptions"),
        (
            "exception references",
            "(module (func (block $h (result exnref) (try_table (catch_all_ref $h)) unreachable) drop))",
            "exception",
        ),
        (
            "legacy exceptions",
            "(module (func try catch_all end))",
            "exceptions",
        ),
        (
            "relaxed SIMD",
            "(module (func (param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0)))))",
            "relaxed",
        ),
        ("GC structs", "(module (type (struct)))", "gc"),
        ("GC arrays", "(module (type (array i32)))", "gc"),
        (
            "GC i31",
            "(module (func (drop (ref.i31 (i32.const 1)))))",
            "gc",
        ),
        (
            "GC recursion groups",
            "(module (rec (type (func)) (type (func))))",
            "gc",
        ),
        (
            "function references",
            "(module (type $t (func)) (func (param (ref $t))))",
            "function references",
        ),
        (
            "call_ref",
            "(module (type $t (func)) (func (call_ref $t (ref.null $t))))",
            "function",
        ),
        (
            "wide arithmetic",
            "(module (func (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)) drop drop))",
            "wide arithmetic",
        ),
        (
            "custom page sizes",
            "(module (memory 1 (pagesize 1)))",
            "custom page sizes",
        ),
        (
            "memory control",
            "(module (memory 1) (func (memory.discard (i32.const 0) (i32.const 0))))",
            "memory control",
        ),
        (
            "stack switching",
            "(module (type $f (func)) (type $c (cont $f)))",
            "stack switching",
        ),
        (
            "extended constants",
            "(module (memory 1) (data (i32.add (i32.const 1) (i32.const 2)) \"x\"))",
            "constant expression",
        ),
        (
            "extended constants",
            "(module (global i32 (i32.mul (i32.const 1) (i32.const 2))))",
            "constant expression",
        ),
        (
            "shared globals",
            "(module (global (shared mut i32) (i32.const 0)))",
            "shared",
        ),
    ] {
        let module = wat::parse_str(text).unwrap_or_else(|e| panic!("{proposal}: {e}"));
        refused_bytes(&module, why);
    }
    refused_bytes(&wasm("(component)"), "parse");
}

/// The platform takes it; here it is refused, by name.
#[test]
fn external_references() {
    refused(
        "(module (table 1 externref))",
        "externref is not supported by this replica",
    );
}

/// A module for each proposal that is on there.
#[test]
fn proposals_that_are_on() {
    for text in [
        "(module (memory 1) (data $d \"x\") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)))",
        "(module (table 1 funcref) (table 1 funcref))",
        "(module (func (result i32 i64) (i32.const 1) (i64.const 1)) (func (param i32) (local.get 0) (block (param i32) drop)))",
        "(module (func (drop (i32x4.splat (i32.const 1)))))",
        "(module (memory i64 1) (func (drop (i64.load (i64.const 0)))))",
        "(module (func $f (return_call $f)))",
        "(module (func (drop (i32.extend8_s (i32.const 1)))))",
        "(module (func (drop (i32.trunc_sat_f32_s (f32.const 1)))))",
        "(module (global (export \"g\") (mut i32) (i32.const 0)))",
    ] {
        with(text);
    }
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

/// For each bound a module that just keeps it and one that does not.
#[test]
fn sizes() {
    let globals = |n| format!("(module {})", "(global i32 (i32.const 0))".repeat(n));
    with(&globals(1000));
    refused(
        &globals(1001),
        "defined 1001 globals which exceeds the maximum number allowed 1000",
    );
    let functions = |n| format!("(module {})", "(func)".repeat(n));
    with(&functions(50_000));
    refused(&functions(50_001), "defined 50001 functions");
    // The last operator is the function's `end`.
    let operators = |n: usize| format!("(module (func) (func {}))", "nop ".repeat(n - 1));
    with(&operators(1_000_000));
    refused(
        &operators(1_000_001),
        "Function at index 1 contains 1000001 instructions",
    );
    // A block weighs 50, its `end` 1, and so does the function's.
    let blocks = |n, m| {
        format!(
            "(module (func {} {}))",
            "block end ".repeat(n),
            "nop ".repeat(m)
        )
    };
    with(&blocks(19_607, 42));
    refused(&blocks(19_607, 43), "at index 0 with complexity 1000001");
    refused(
        "(module (global funcref (ref.null func)))",
        "a global of the unsupported type funcref",
    );
    let methods = |n| {
        let list: String = (0..n)
            .map(|i| format!("(export \"canister_query m{i}\" (func 0))"))
            .collect();
        format!("(module (func) {list})")
    };
    with(&methods(1000));
    refused(&methods(1001), "exceeds 1000");
    let named = |n| {
        format!(
            "(module (func (export \"canister_query {}\")))",
            "n".repeat(n)
        )
    };
    with(&named(20_000));
    refused(&named(20_001), "20000");
}

/// Weights of operators in a function's complexity: as many as just fit into the limit.
#[test]
fn complexity() {
    // Code, and its weight with constants (1 each), `drop` and `end`.
    for (code, weight) in [
        ("block end", 51),
        ("loop end", 51),
        ("i32.const 0 if end", 52),
        ("block br 0 end", 101),
        ("block i32.const 0 br_if 0 end", 102),
        ("block i32.const 0 br_table 0 end", 102),
        ("call 0", 50),
        ("i32.const 0 call_indirect 0", 51),
        ("i32.const 0 memory.grow drop", 52),
        ("i32.const 0 table.get 0 drop", 16),
        ("ref.func 0 drop", 9),
        ("ref.null func ref.is_null drop", 8),
        ("i32.const 0 f64.convert_i32_u drop", 7),
        ("f32.const 0 f32.neg drop", 6),
        ("f64.const 0 f64.abs drop", 6),
        ("i32.const 0 i32.const 0 i32.const 0 memory.copy", 7),
        ("i32.const 0 i32.const 0 i32.const 0 memory.fill", 6),
        ("i32.const 0 i64.load8_s drop", 5),
        ("i32.const 0 i32.const 1 i32.rem_u drop", 6),
        ("f32.const 0 i64.trunc_sat_f32_s drop", 5),
        ("i32.const 0 i32.const 0 i32.store8", 4),
        ("i32.const 0 i32.const 0 i32.lt_u drop", 5),
        ("f64.const 0 f64.const 0 f64.eq drop", 5),
    ] {
        // Fill up with nops, of which there may not be too many either.
        let n = (1_000_000 - 1) / weight;
        let rest = (1_000_000 - 1) % weight;
        let module = |more: usize| {
            format!(
                "(module (func) (memory 1) (table 1 funcref) (elem declare func 0) (type (func))
                    (func {} {}))",
                format!("{code} ").repeat(n),
                "nop ".repeat(rest + more)
            )
        };
        let fits = module(0);
        let check = |text: &str| {
            let (mut core, id) = empty();
            install(&mut core, &id, text).map(|_| ())
        };
        let e = check(&module(1)).expect_err("one too much");
        assert!(
            e.message.contains("with complexity 1000001"),
            "{code}: {}",
            e.message
        );
        // Compiling a function of this size takes long: two are enough to see that they pass.
        if code == "call 0" || code.starts_with("f32.const 0 f32.neg") {
            check(&fits).unwrap_or_else(|e| panic!("{code}: {e}"));
        }
    }
}

#[test]
fn large_modules() {
    // Bodies of 1,000,000 bytes: const and drop.
    let body = "i32.const 1000000 drop ".repeat(200_000);
    let code = |n: usize| wasm(&format!("(module {})", format!("(func {body})").repeat(n)));
    let too_much = code(13);
    assert!(too_much.len() > 12 << 20);
    refused_bytes(&too_much, "code section size");
    let mut large = wasm("(module)");
    large.resize((100 << 20) + 1, 0);
    refused_bytes(&large, "exceeds the maximum of 104857600 bytes");
    // The same when it is packed.
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&large).expect("in memory");
    let packed = encoder.finish().expect("in memory");
    refused_bytes(&packed, "exceeds the maximum of 104857600 bytes");
}

#[test]
fn custom_sections() {
    refused(r#"(module (@custom "icp:secret x" "1"))"#, "icp:secret x");
    refused(
        r#"(module (@custom "icp:public x" "1") (@custom "icp:private x" "2"))"#,
        "duplicate",
    );
    let many = |n| {
        let list: String = (0..n)
            .map(|i| format!("(@custom \"icp:public x{i}\" \"1\")"))
            .collect();
        format!("(module {list} (@custom \"other\" \"not counted\"))")
    };
    with(&many(16));
    refused(&many(17), "exceeds the maximum of 16");
    // Name and content.
    let long = |n: usize| format!("(module (@custom \"icp:private x\" \"{}\"))", "a".repeat(n));
    let name = "icp:private x".len();
    with(&long((1 << 20) - name));
    refused(&long((1 << 20) - name + 1), "total size of 1048577");
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

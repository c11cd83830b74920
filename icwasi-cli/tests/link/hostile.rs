//! Damaged and unsuitable input: a clear error or valid output, never a panic.

use crate::support::{options, standin};
use icwasi_cli::link::verify::verify;
use icwasi_cli::link::{LinkError, LinkOptions, check, link as link_module};

/// A module with one of everything that the linker rewrites.
const SMALL: &str = r#"
(module
  (type (func))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $again (param i32) (result i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (memory (export "memory") 1 10)
  (table (export "table") 4 funcref)
  (global (mut i32) (i32.const 7))
  (global funcref_free i64 (i64.const -1))
  (export "canister_update go" (func $go))
  (export "_initialize" (func $init))
  (start $start)
  (elem (i32.const 1) func $close $go)
  (elem declare func $again)
  (elem (table 0) (i32.const 3) funcref (ref.func $again))
  (func $start (global.set 0 (i32.const 8)))
  (func $init (drop (call $close (i32.const 1))))
  (func $go
    (local i32)
    (memory.init 1 (i32.const 64) (i32.const 0) (i32.const 4))
    (data.drop 1)
    (drop (memory.grow (memory.size)))
    (block (br_table 0 0 (global.get 0)))
    (drop (call_indirect (param i32) (result i32) (i32.const 3) (i32.const 1)))
    (drop (ref.func $again))
    (call $print (i32.const 16) (i32.const 2)))
  (data (i32.const 16) "hi")
  (data "pass")
  (@custom "icp:public candid:service" "service : { go : () -> () }"))
"#;

fn small() -> Vec<u8> {
    wat::parse_str(SMALL.replace("funcref_free ", "")).expect("is valid")
}

fn link_error(module: &[u8]) -> LinkError {
    link_module(module, &options())
        .map(|_| ())
        .expect_err("must be refused")
}

fn refused(wat: &str) -> String {
    link_error(&wat::parse_str(wat).expect("is valid text")).to_string()
}

#[test]
fn every_truncation_is_an_error() {
    let module = small();
    link_module(&module, &options()).expect("the whole links");
    for end in 0..module.len() {
        // A module may end behind any section; then it lacks its candid or its code.
        if let Ok(linked) = link_module(&module[..end], &options()) {
            assert!(verify(&linked.module).invalid.is_none(), "at {end}");
        }
        let _ = check(&module[..end]);
    }
}

#[test]
fn flipped_bits_give_errors_or_valid_output() {
    let module = small();
    for at in 0..module.len() {
        for flip in [0x01, 0x80, 0xff, 0x40, 0x55] {
            let mut damaged = module.clone();
            damaged[at] ^= flip;
            match link_module(&damaged, &options()) {
                Ok(linked) => {
                    let verdict = verify(&linked.module);
                    assert!(
                        verdict.invalid.is_none() && verdict.problems.is_empty(),
                        "{at}"
                    );
                }
                // The linker's own fault would be one.
                Err(LinkError::Relocation(message)) => panic!("at {at:#x} ^ {flip:#x}: {message}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn files_that_are_no_modules_are_named() {
    let text = |bytes: &[u8]| link_error(bytes).to_string();
    assert!(text(b"").contains("empty"));
    assert!(text(b"\0asm\x01").contains("header"));
    assert!(text(b"\x1f\x8b\x08\0").contains("gunzip"));
    assert!(text(b"\x7fELF\x02").contains("wasm32-wasip1"));
    assert!(text(b"(module)").contains("wasm-tools parse"));
    assert!(text(b"hello world").contains("magic number"));
    assert!(text(b"\0asm\x0d\0\x01\0").contains("component"));
    assert!(matches!(
        link_error(b"\0asm\x0d\0\x01\0"),
        LinkError::Component
    ));
}

#[test]
fn features_that_the_ic_lacks_are_named() {
    let cases = [
        ("(module (memory i64 1))", "64-bit memory"),
        ("(module (memory 1 2 shared))", "shared memory"),
        ("(module (memory 1) (memory 1))", "several memories"),
        ("(module (tag))", "exceptions"),
        ("(module (import \"x\" \"g\" (global i32)))", "x.g"),
        ("(module (type (struct)))", "garbage-collected"),
        (
            "(module (memory 1) (func (export \"canister_update a\") \
             (drop (i32.atomic.load (i32.const 0)))))",
            "atomic",
        ),
        (
            "(module (func (export \"canister_update a\") \
             (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))",
            "relaxed SIMD",
        ),
        (
            "(module (table 1 funcref) (func (export \"canister_update a\") \
             (drop (table.grow (ref.null func) (i32.const 1)))))",
            "table.grow",
        ),
        (
            "(module (memory 1) (data (i32.add (i32.const 1) (i32.const 2)) \"a\"))",
            "not a constant",
        ),
        (
            // Behind the declared memory is the library, once it is injected.
            "(module (memory 1) (data (i32.const 65535) \"ab\") \
             (func (export \"canister_update a\")))",
            "behind the end of the memory",
        ),
    ];
    for (wat, word) in cases {
        let message = refused(wat);
        assert!(message.contains(word), "{wat}: {message}");
    }
}

#[test]
fn unknown_imports_are_listed_together() {
    let message = refused(
        "(module (import \"env\" \"b\" (func)) (import \"env\" \"a\" (func (param i32))) \
         (import \"ic0\" \"no_such\" (func)))",
    );
    assert!(message.contains("env.a, env.b, ic0.no_such"), "{message}");
    let message = refused("(module (import \"wasi_snapshot_preview1\" \"fd_new\" (func)))");
    assert!(
        message.contains("wasi_snapshot_preview1.fd_new"),
        "{message}"
    );
    let message = refused("(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func)))");
    assert!(message.contains("(i32) -> i32"), "{message}");
    let message = refused("(module (import \"ic0\" \"time\" (func (result i32))))");
    assert!(message.contains("i64"), "{message}");
}

#[test]
fn rules_of_the_ic_are_checked() {
    let message = refused(
        "(module (func (export \"canister_update a\")) \
                           (func (export \"canister_query a\")))",
    );
    assert!(message.contains("exported twice"), "{message}");
    let message = refused("(module (func (export \"canister_update a\") (param i32)))");
    assert!(message.contains("() -> ()"), "{message}");
    let message = refused("(module (func (export \"canister_reboot\")))");
    assert!(message.contains("canister_reboot"), "{message}");
    let message = refused("(module (func (export \"canister_update icwasi_x\")))");
    assert!(message.contains("icwasi_x"), "{message}");
    let message = refused(
        "(module (func (export \"_start\")) \
                 (func (export \"icwasi.p1.sched_yield\") (result i32) (i32.const 0)))",
    );
    assert!(message.contains("command"), "{message}");
    let globals = "(global i32 (i32.const 0))".repeat(1_001);
    let message = refused(&format!("(module {globals})"));
    assert!(message.contains("at most 1000"), "{message}");
    let big = LinkOptions {
        arena: 5 << 30,
        ..options()
    };
    let error = link_module(&small(), &big)
        .map(|_| ())
        .expect_err("has no room");
    assert!(matches!(error, LinkError::MemoryFull { .. }), "{error}");
}

/// A library that was not built as the linker needs it must be noticed.
#[test]
fn damaged_libraries_are_noticed() {
    let library = standin();
    let compressed = LinkOptions {
        library: Some(small()),
        ..LinkOptions::default()
    };
    assert!(matches!(
        link_module(&small(), &compressed),
        Err(LinkError::Relocation(_))
    ));
    // Without one relocation, an operator is left alone.
    let name = b"reloc.CODE";
    let at = library
        .windows(name.len())
        .position(|w| w == name)
        .expect("is there");
    for offset in [2, 3, 4, 40, 400] {
        let mut damaged = library.clone();
        damaged[at + name.len() + offset] ^= 0x3;
        let damaged = LinkOptions {
            library: Some(damaged),
            ..LinkOptions::default()
        };
        if let Ok(linked) = link_module(&small(), &damaged) {
            assert!(verify(&linked.module).invalid.is_none());
        }
    }
}

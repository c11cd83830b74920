//! Speed, as ratios within one run: metering against plain wasmtime, undoing against memory size.

mod core_common;
use std::time::{Duration, Instant};

use core_common::*;

/// Sieve, arithmetic and memory in a loop: about a billion instructions.
const WORK: &str = r#"
    (func $mix (param i32) (result i32)
        (i32.xor (i32.mul (local.get 0) (i32.const 0x9e3779b1)) (i32.shr_u (local.get 0) (i32.const 15))))
    (func $work (result i32) (local $i i32) (local $x i32)
        (loop $l
            (local.set $x (i32.add (local.get $x) (call $mix (local.get $i))))
            (i32.store (i32.and (local.get $x) (i32.const 0xfffc))
                (i32.add (i32.load (i32.and (local.get $i) (i32.const 0xfffc))) (local.get $x)))
            (if (i32.and (local.get $x) (i32.const 1))
                (then (local.set $x (i32.rotl (local.get $x) (i32.const 3)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 25000000))))
        (local.get $x))"#;

fn fastest(n: u32, mut f: impl FnMut()) -> Duration {
    (0..n)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed()
        })
        .min()
        .expect("n > 0")
}

#[test]
fn a_billion_instructions_within_four_times_plain_wasmtime() {
    let plain = format!(r#"(module (memory 2) {WORK} (export "work" (func $work)))"#);
    let engine = wasmtime::Engine::default();
    let module = wasmtime::Module::new(&engine, wasm(&plain)).expect("compiles");
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("instance");
    let work = instance
        .get_typed_func::<(), i32>(&mut store, "work")
        .expect("exported");
    let plain = fastest(3, || {
        work.call(&mut store, ()).expect("runs");
    });
    let (mut core, id) = with(&format!(
        r#"(module (import "ic0" "msg_reply" (func $reply)) (memory 2) {WORK}
            (func (export "canister_update work") (drop (call $work)) (call $reply)))"#
    ));
    let mut count = 0;
    let ours = fastest(3, || {
        count = update(&mut core, &id, "work")
            .expect("replied")
            .stats
            .instructions;
    });
    eprintln!("{count} instructions: plain {plain:?}, metered {ours:?}");
    assert!(count > 700_000_000, "{count}");
    assert!(ours < plain * 4, "plain {plain:?}, metered {ours:?}");
}

#[test]
fn small_messages() {
    let module = |pages: u32| {
        format!(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (memory {pages})
                (func (export "canister_update u")
                    (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
                    (i32.store (i32.const 50000) (i32.const 1))
                    (call $append (i32.const 0) (i32.const 64)) (call $reply))
                (func (export "canister_update t")
                    (i32.store (i32.const 50000) (i32.const 1)) unreachable)
                (func (export "canister_query q")
                    (i32.store (i32.const 50000) (i32.const 1))
                    (call $append (i32.const 0) (i32.const 64)) (call $reply)))"#
        )
    };
    let (mut small, small_id) = with(&module(1));
    let (mut large, large_id) = with(&module(32_768));
    for (name, query_it) in [("u", false), ("t", false), ("q", true)] {
        let run = |core: &mut icwasi_replica::core::Core, id| {
            fastest(5, || {
                for _ in 0..2_000 {
                    let _ = if query_it {
                        query(core, id, name)
                    } else {
                        update(core, id, name)
                    };
                }
            }) / 2_000
        };
        let a = run(&mut small, &small_id);
        let b = run(&mut large, &large_id);
        eprintln!("{name}: {a:?} with 64 KiB, {b:?} with 2 GiB of heap");
        assert!(
            b < a * 4 + Duration::from_micros(20),
            "{name}: {a:?}, {b:?}"
        );
    }
}

#[test]
fn stable_memory_throughput() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
            (memory 40)
            (global $at (mut i64) (i64.const 0))
            (func (export "canister_init") (drop (call $grow (i64.const 200000))))
            (func (export "canister_update write")
                (call $write (global.get $at) (i64.const 0) (i64.const 1900000))
                (global.set $at (i64.add (global.get $at) (i64.const 1900000)))
                (call $reply))
            (func (export "canister_query small") (local i32)
                (loop
                    (call $read (i64.const 0)
                        (i64.extend_i32_u (i32.mul (local.get 0) (i32.const 1000))) (i64.const 8))
                    (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                    (br_if 0 (i32.lt_u (local.get 0) (i32.const 100000))))
                (call $reply)))"#,
    );
    let write = fastest(20, || {
        update(&mut core, &id, "write").expect("replied");
    });
    let read = fastest(5, || {
        query(&mut core, &id, "small").expect("replied");
    });
    eprintln!(
        "write of 1.9 MB: {write:?}; read of 8 bytes: {:?}",
        read / 100_000
    );
    assert!(write < Duration::from_millis(38), "50 MB/s: {write:?}");
}

/// Memory that this process has of its own, files excluded.
#[cfg(target_os = "linux")]
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find(|l| l.starts_with("RssAnon:"))
        .expect("RssAnon");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kib << 10
}

/// A large stable memory needs disk. Here half a GiB, and the program keeps 64 MiB at most.
#[cfg(target_os = "linux")]
#[test]
fn stable_memory_is_not_in_ram() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (memory 64)
            (global $at (mut i64) (i64.const 0))
            (func (export "canister_init")
                (memory.fill (i32.const 0) (i32.const 7) (i32.const 4194304))
                (drop (call $grow (i64.const 8192))))
            (func (export "canister_update write")
                (call $write (global.get $at) (i64.const 0) (i64.const 4194304))
                (global.set $at (i64.add (global.get $at) (i64.const 4194304)))
                (call $reply)))"#,
    );
    update(&mut core, &id, "write").expect("replied");
    let before = own_memory();
    for _ in 1..128 {
        update(&mut core, &id, "write").expect("replied");
    }
    let grown = own_memory().saturating_sub(before);
    let canister = core.canister(&id).expect("exists");
    let mut byte = [0];
    assert!(canister.stable_read((512 << 20) - 1, &mut byte));
    assert_eq!(byte, [7]);
    // Other tests of this process run beside this one, with heaps of up to 2 GiB of which they
    // touch little.
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
}

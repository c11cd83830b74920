//! Speed, as ratios within one run: metering against plain wasmtime, undoing against memory size.
//!
//! One of these tests after the other. Tests of other modules may run beside them, so both sides of
//! a comparison are measured in turns, and memory in a process of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use icwasi_replica::core::Core;

use crate::common::*;

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Integer arithmetic in a loop of one block.
const TIGHT: &str = r#"(local $x i64)
    (loop $l
        (local.set $x (i64.xor (i64.mul (local.get $x) (i64.const 0x9e3779b97f4a7c15))
            (i64.add (local.get $x) (i64.extend_i32_u (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 70000000))))
    (i32.wrap_i64 (local.get $x))"#;

/// Small blocks and branches that cannot be foreseen.
const BRANCHES: &str = r#"(local $x i32)
    (loop $l
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
        (if (i32.and (local.get $x) (i32.const 0x10000))
            (then (local.set $i (i32.xor (local.get $i) (local.get $x))))
            (else (if (i32.and (local.get $x) (i32.const 0x20000))
                (then (local.set $i (i32.rotl (local.get $i) (i32.const 3))))
                (else (local.set $i (i32.sub (local.get $i) (local.get $x)))))))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 40000000))))
    (local.get $i)"#;

/// Recursion: little but calls.
const CALLS: &str = "(call $fib (i32.const 37))";

/// A word is read and another one is written, all over 64 KiB.
const MEMORY: &str = r#"(local $x i32)
    (loop $l
        (local.set $x (i32.add (local.get $x)
            (i32.load (i32.and (i32.mul (local.get $i) (i32.const 52)) (i32.const 0xfffc)))))
        (i32.store (i32.and (i32.mul (local.get $i) (i32.const 20)) (i32.const 0xfffc)) (local.get $x))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 45000000))))
    (local.get $x)"#;

/// Loop, calls, memory and branches together.
const MIXED: &str = r#"(local $x i32)
    (loop $l
        (local.set $x (i32.add (local.get $x) (call $mix (local.get $i))))
        (i32.store (i32.and (local.get $x) (i32.const 0xfffc))
            (i32.add (i32.load (i32.and (local.get $i) (i32.const 0xfffc))) (local.get $x)))
        (if (i32.and (local.get $x) (i32.const 1))
            (then (local.set $x (i32.rotl (local.get $x) (i32.const 3)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 25000000))))
    (local.get $x)"#;

const HELPERS: &str = r#"
    (memory 2)
    (func $mix (param i32) (result i32)
        (i32.xor (i32.mul (local.get 0) (i32.const 0x9e3779b1)) (i32.shr_u (local.get 0) (i32.const 15))))
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))"#;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_billion_instructions_within_four_times_plain_wasmtime() {
    let _alone = alone();
    let mut slow = Vec::new();
    for (name, body) in [
        ("tight loop", TIGHT),
        ("branches", BRANCHES),
        ("calls", CALLS),
        ("memory", MEMORY),
        ("mixed", MIXED),
    ] {
        let work = format!("(func $work (result i32) (local $i i32) (local $n i32) {body})");
        let plain = wasm(&format!(
            r#"(module {HELPERS} {work} (export "work" (func $work)))"#
        ));
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, plain).expect("compiles");
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("instance");
        let plain = instance
            .get_typed_func::<(), i32>(&mut store, "work")
            .expect("exported");
        let (mut core, id) = with(&format!(
            r#"(module (import "ic0" "msg_reply" (func $reply)) {HELPERS} {work}
                (func (export "canister_update work") (drop (call $work)) (call $reply)))"#
        ));
        let mut count = 0;
        // In turns, so that both meet the same neighbours.
        let (mut theirs, mut ours) = (vec![], vec![]);
        for _ in 0..3 {
            let start = Instant::now();
            plain.call(&mut store, ()).expect("runs");
            theirs.push(start.elapsed());
            let start = Instant::now();
            let outcome = update(&mut core, &id, "work").expect("replied");
            ours.push(start.elapsed());
            count = outcome.stats.instructions;
        }
        let (theirs, ours) = (median(theirs), median(ours));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        eprintln!("{name}: {count} instructions, plain {theirs:?}, metered {ours:?}: {ratio:.2}");
        assert!((600_000_000..2_000_000_000).contains(&count), "{count}");
        if ratio > 4.0 {
            slow.push(format!("{name}: {ratio:.2}"));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// Shortest time of one of `n` calls, of several rounds.
fn per_call(n: u32, mut f: impl FnMut()) -> Duration {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..n {
                f();
            }
            start.elapsed() / n
        })
        .min()
        .expect("five rounds")
}

#[test]
fn small_messages_cost_little_whatever_the_size_of_memory() {
    let _alone = alone();
    let module = |pages: u32| {
        format!(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (memory {pages})
                (func (export "canister_update u")
                    (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
                    (call $append (i32.const 0) (i32.const 64)) (call $reply))
                (func (export "canister_update t")
                    (i32.store (i32.const 50000) (i32.const 1)) unreachable)
                (func (export "canister_query q")
                    (i32.store (i32.const 50000) (i32.const 1))
                    (call $append (i32.const 0) (i32.const 64)) (call $reply)))"#
        )
    };
    let (mut small, small_id) = with(&module(1));
    let (mut large, large_id) = with(&module(16_384));
    for name in ["u", "t", "q"] {
        let run = |core: &mut Core, id| {
            per_call(400, || {
                let _ = match name {
                    "q" => query(core, id, name),
                    _ => update(core, id, name),
                };
            })
        };
        let (mut a, mut b) = (Duration::MAX, Duration::MAX);
        for _ in 0..3 {
            a = a.min(run(&mut small, &small_id));
            b = b.min(run(&mut large, &large_id));
        }
        eprintln!("{name}: {a:?} with 64 KiB, {b:?} with 1 GiB of heap");
        assert!(
            b < a * 4 + Duration::from_micros(20),
            "{name}: {a:?}, {b:?}"
        );
        // The goal for a whole query over HTTP is 330 us. Trapping takes a backtrace, too.
        let bound = if name == "t" { 1_000 } else { 200 };
        assert!(a < Duration::from_micros(bound), "{name}: {a:?}");
    }
}

#[test]
fn stable_memory_throughput() {
    let _alone = alone();
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
    let write = per_call(4, || {
        update(&mut core, &id, "write").expect("replied");
    });
    let read = per_call(1, || {
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

/// A stable memory of 8 GiB needs disk for what was written, and little memory: 256 MiB of it are
/// written in a row, and a page in every 8 MiB.
#[cfg(target_os = "linux")]
#[test]
fn stable_memory_is_not_in_ram() {
    const IN_CHILD: &str = "ICWASI_TEST_MEMORY";
    if std::env::var_os(IN_CHILD).is_none() {
        let _alone = alone();
        let child = std::process::Command::new("/proc/self/exe")
            .args([
                "--exact",
                "speed::stable_memory_is_not_in_ram",
                "--nocapture",
            ])
            .env(IN_CHILD, "1")
            .output()
            .expect("this binary runs");
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}");
        assert!(said.contains("MiB more of RAM"), "it did run: {said}");
        return;
    }
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
            (memory 64)
            (global $at (mut i64) (i64.const 0))
            (func (export "canister_init")
                (memory.fill (i32.const 0) (i32.const 7) (i32.const 4194304))
                (drop (call $grow (i64.const 131072))))
            (func (export "canister_update write")
                (call $write (global.get $at) (i64.const 0) (i64.const 4194304))
                (global.set $at (i64.add (global.get $at) (i64.const 4194304)))
                (call $reply))
            (func (export "canister_update spread") (local $at i64)
                (loop $l
                    (call $write (local.get $at) (i64.const 0) (i64.const 8))
                    (local.set $at (i64.add (local.get $at) (i64.const 8388608)))
                    (br_if $l (i64.lt_u (local.get $at) (i64.const 8589934592))))
                (call $reply))
            (func (export "canister_query walk") (local $at i64)
                (loop $l
                    (call $read (i64.const 0) (local.get $at) (i64.const 8))
                    (local.set $at (i64.add (local.get $at) (i64.const 65536)))
                    (br_if $l (i64.lt_u (local.get $at) (i64.const 8589934592))))
                (call $reply)))"#,
    );
    update(&mut core, &id, "write").expect("replied");
    let before = own_memory();
    for _ in 1..64 {
        update(&mut core, &id, "write").expect("replied");
    }
    update(&mut core, &id, "spread").expect("replied");
    query(&mut core, &id, "walk").expect("replied");
    let grown = own_memory().saturating_sub(before);
    let canister = core.canister(&id).expect("exists");
    assert_eq!(canister.stable_bytes(), 8 << 30);
    let mut bytes = [0; 9];
    assert!(canister.stable_read((8 << 30) - (8 << 20), &mut bytes));
    assert_eq!(bytes, [7, 7, 7, 7, 7, 7, 7, 7, 0]);
    eprintln!("8 GiB of stable memory: {} MiB more of RAM", grown >> 20);
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
}

//! What undoing a message costs, and what a large stable memory takes.

use std::time::{Duration, Instant};

use candid::Principal;
use icwasi_replica::core::Core;

use super::Row;
use super::engine::install;

/// `heap` and `stable` write to as many pages as their argument says, spread over the memory, and
/// trap; `fill` writes the next 4 MiB of stable memory.
fn module(heap_pages: u32, stable_pages: u64, touched: u64) -> Vec<u8> {
    let heap_step = u64::from(heap_pages) * 65_536 / touched / 4_096 * 4_096;
    let stable_step = stable_pages * 65_536 / touched / 4_096 * 4_096;
    let text = format!(
        r#"(module
          (import "ic0" "msg_reply" (func $reply))
          (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
          (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
          (memory {heap_pages})
          (global $at (mut i64) (i64.const 0))
          (func (export "canister_init")
            (drop (call $grow (i64.const {stable_pages})))
            (memory.fill (i32.const 0) (i32.const 7) (i32.const {})))
          (func (export "canister_update heap") (local $i i32)
            (loop $next
              (i32.store (i32.mul (local.get $i) (i32.const {heap_step})) (i32.const 1))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.const {touched}))))
            unreachable)
          (func (export "canister_update stable") (local $i i64)
            (loop $next
              (call $write (i64.mul (local.get $i) (i64.const {stable_step}))
                (i64.const 0) (i64.const 8))
              (local.set $i (i64.add (local.get $i) (i64.const 1)))
              (br_if $next (i64.lt_u (local.get $i) (i64.const {touched}))))
            unreachable)
          (func (export "canister_update fill")
            (call $write (global.get $at) (i64.const 0) (i64.const {FILL}))
            (global.set $at (i64.add (global.get $at) (i64.const {FILL})))
            (call $reply)))"#,
        u64::from(heap_pages) * 65_536,
    );
    wat::parse_str(text).expect("the text is valid wat")
}

const FILL: u64 = 4 << 20;
/// 512 MiB of heap, all of it in use, and 8 GiB of stable memory.
const LARGE: (u32, u64) = (8_192, 131_072);

/// Measures undoing, then fills stable memory.
pub fn run() -> Vec<Row> {
    let mut worst = (String::new(), 0.0f64);
    for touched in [4u64, 64, 1_024] {
        // In the small memory every other of the units of 16 KiB is touched in which the heap is
        // tracked: as many units as in the large one, and none beside another one.
        let pages = u32::try_from(touched.div_ceil(2)).expect("a few").max(1);
        let (mut small, small_id) = install(&module(pages, u64::from(pages), touched));
        let (mut large, large_id) = install(&module(LARGE.0, LARGE.1, touched));
        for name in ["heap", "stable"] {
            // In turns, so that both see the same machine.
            let mut best = [Duration::MAX; 2];
            for _ in 0..20 {
                best[0] = best[0].min(undo(&mut large, &large_id, name));
                best[1] = best[1].min(undo(&mut small, &small_id, name));
            }
            let ratio = best[0].as_secs_f64() / best[1].as_secs_f64();
            println!(
                "        a trap after {touched} pages of {name}: {:?} in a large memory, {:?} in a \
                 small one",
                best[0], best[1]
            );
            if ratio > worst.1 {
                worst = (format!("{touched} pages of {name}"), ratio);
            }
        }
    }
    let workload = format!("undoing, large / small memory ({})", worst.0);
    let mut rows = vec![Row::at_most(workload, worst.1, 4.0)];
    rows.extend(large_stable_memory());
    rows
}

fn undo(core: &mut Core, id: &Principal, name: &str) -> Duration {
    let start = Instant::now();
    let result = core.update(id, Principal::anonymous(), name, vec![]);
    let time = start.elapsed();
    assert!(result.is_err(), "it traps");
    time
}

/// Bytes that this process has for itself, pages of files excluded; `None` where the system does
/// not tell.
fn own_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

fn large_stable_memory() -> Option<Row> {
    let (mut core, id) = install(&module(64, LARGE.1, 4));
    let mut fill = || {
        core.update(&id, Principal::anonymous(), "fill", vec![])
            .expect("it replies");
    };
    fill();
    let before = own_memory()?;
    for _ in 1..LARGE.1 * 65_536 / FILL {
        fill();
    }
    let grown = own_memory()?.saturating_sub(before);
    Some(Row::at_most(
        "memory for 8 GiB of stable memory, MiB",
        grown as f64 / f64::from(1 << 20),
        256.0,
    ))
}

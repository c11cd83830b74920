//! Counts of whole programs against [`super::tracer`].

use crate::common::*;
use crate::generate::{Random, program};
use crate::tracer::{End, Module};
use icwasi_replica::core::{CallOutcome, Core, CoreConfig, ErrorCode, UserError};

const TIME: u64 = 1_700_000_000_000_000_000;

fn ended(result: &Result<CallOutcome, UserError>) -> End {
    match result {
        Ok(outcome) => End::Replied(outcome.reply.clone()),
        Err(e) => match e.code {
            ErrorCode::CanisterDidNotReply => End::NoReply,
            ErrorCode::CanisterTrapped => End::Trapped,
            ErrorCode::CanisterInstructionLimitExceeded => End::OutOfInstructions,
            other => panic!("{other}: {e}"),
        },
    }
}

/// Runs a program in both ways, with this limit; how it ended.
fn compare(text: &str, limit: u64) -> End {
    let module = wasm(text);
    let (expected, count) = Module::parse(&module).run("canister_query m", limit, TIME);
    let mut config = CoreConfig::default();
    config.limits.query_instructions = limit;
    // In slices of all sizes: nobody can tell.
    config.limits.slice_instructions = 1 + limit % 97;
    let mut core = Core::new(config).expect("a core");
    core.set_time(TIME);
    let id = create(&mut core);
    install(&mut core, &id, text).expect("installed");
    let result = query(&mut core, &id, "m");
    let got = ended(&result);
    let counted = instructions(result);
    assert_eq!(
        (&got, counted),
        (&expected, count),
        "limit {limit} of {text}"
    );
    got
}

#[test]
fn generated_programs_count_the_same_on_both_ways() {
    let mut ends = [0; 4];
    for seed in 0..160 {
        let text = program(seed);
        let mut random = Random(seed);
        // Now and then so few that it ends somewhere in the middle.
        let limit = match seed % 4 {
            0 => 300 + random.below(20_000),
            _ => 2_000_000,
        };
        let end = compare(&text, limit);
        ends[match end {
            End::Replied(_) => 0,
            End::NoReply => 1,
            End::Trapped => 2,
            End::OutOfInstructions => 3,
        }] += 1;
    }
    eprintln!("replied, silent, trapped, exhausted: {ends:?}");
    assert!(
        ends[0] >= 20 && ends[2] >= 10 && ends[3] >= 10,
        "the programs should end in different ways: {ends:?}"
    );
}

/// A module with `body` as its method, and what it may need.
fn hand_written(body: &str, limit: u64) -> End {
    let text = format!(
        r#"(module
            (type $t (func (param i32) (result i32)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (memory 1 4)
            (table 4 funcref)
            (elem (i32.const 0) $inc $other)
            (global $g (mut i32) (i32.const 0))
            (data $d "12345")
            (func $inc (type $t) (i32.add (local.get 0) (i32.const 1)))
            (func $other)
            (func (export "canister_query m") (local $a i32) {body}))"#
    );
    compare(&text, limit)
}

/// Every way to trap, behind a branch so that blocks before it count and those after do not.
#[test]
fn traps() {
    for code in [
        "unreachable",
        "(drop (i32.div_u (i32.const 1) (local.get $a)))",
        "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
        "(drop (i32.rem_u (i32.const 1) (local.get $a)))",
        "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_u (local.get $a))))",
        "(drop (i32.trunc_f64_s (f64.mul (f64.convert_i32_s (i32.const 2000000000))
            (f64.convert_i32_s (i32.const 2)))))",
        "(drop (i32.load (i32.const 65533)))",
        "(drop (i32.load offset=65536 (local.get $a)))",
        "(i64.store (i32.const -1) (i64.const 1))",
        "(memory.fill (i32.const 1) (i32.const 1) (i32.const 65536))",
        "(memory.copy (i32.const 1) (i32.const 0) (i32.const 65536))",
        "(memory.init $d (i32.const 0) (i32.const 3) (i32.const 3))",
        "(drop (call_indirect (type $t) (i32.const 1) (i32.const 1)))",
        "(drop (call_indirect (type $t) (i32.const 1) (i32.const 2)))",
        "(drop (call_indirect (type $t) (i32.const 1) (i32.const 4)))",
        "(call $write (i64.const 65530) (i64.const 0) (i64.const 20))",
        "(call $write (i64.const 0) (i64.const 65530) (i64.const 20))",
    ] {
        let body = format!(
            "(drop (call $grow (i64.const 1)))
             (loop $l
                (local.set $a (i32.add (local.get $a) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $a) (i32.const 3))))
             (local.set $a (i32.const 0))
             (if (i32.eqz (global.get $g))
                (then nop nop (block {code}) nop nop)
                (else nop))
             nop (call $reply)"
        );
        assert_eq!(hand_written(&body, 1_000_000), End::Trapped, "{code}");
    }
}

/// The limit is noticed at function entries, loop heads, bulk operators and System API calls, and
/// nowhere else: every limit around the whole cost of programs with and without those.
#[test]
fn limits_are_noticed_where_they_are_on_the_platform() {
    for body in [
        "(loop $l (local.set $a (i32.add (local.get $a) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $a) (i32.const 4))))",
        "(block (br_if 0 (local.get $a)) nop nop nop) nop nop (if (local.get $a) (then nop))",
        "(block (br_if 0 (local.get $a)) nop nop nop) (drop (call $inc (i32.const 1))) nop",
        "(block (br 0)) nop nop (memory.fill (i32.const 0) (i32.const 0) (i32.const 5)) nop",
        "(i32.const 0) (i32.const 0) (i32.const 9) (block (br_if 0 (local.get $a)))
            memory.fill nop (block nop) nop",
        "(block (br 0)) nop unreachable",
        "(block (br 0)) nop (drop (i32.div_u (i32.const 1) (local.get $a)))",
        "(block (br 0)) (drop (call_indirect (type $t) (i32.const 1) (i32.const 0)))",
    ] {
        let mut exhausted = 0;
        // The second range is for the one that fills memory.
        for limit in (0..40).chain(95..125) {
            exhausted += u32::from(hand_written(body, limit) == End::OutOfInstructions);
        }
        assert!(exhausted < 70, "{body}");
    }
}

/// As many locals as a function may have: there the counter has no local of its own.
#[test]
fn functions_full_of_locals() {
    let many = "i32 ".repeat(49_999);
    let body = format!(
        "(local {many}) (loop $l
            (local.set $a (i32.add (local.get $a) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $a) (i32.const 3))))
         (drop (call $inc (i32.const 1)))
         (memory.fill (i32.const 0) (i32.const 0) (i32.const 5))
         (if (local.get $a) (then (drop (i32.load (i32.const -4)))))"
    );
    assert_eq!(hand_written(&body, 100_000), End::Trapped);
}

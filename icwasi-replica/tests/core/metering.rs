//! Instruction counts of hand-written modules against sums made by hand from the IC's table.
//!
//! Nothing here uses the crate's own table or algorithm: each expectation is written out block by
//! block, `a + b + ...`, in the order of the code.

use crate::common::*;
use icwasi_replica::core::ErrorCode;

/// System API call: `call` 5, overhead 500.
const API: u64 = 505;
/// Function entry.
const ENTRY: u64 = 1;

/// Runs `body` (after the imports below) as an update that does not reply and gives its count.
fn count_with(prelude: &str, body: &str) -> u64 {
    let text = format!(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_size" (func $size (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
            (import "ic0" "debug_print" (func $print (param i32 i32)))
            (import "ic0" "trap" (func $trap (param i32 i32)))
            (import "ic0" "time" (func $time (result i64)))
            (memory 4 20)
            (table $t 4 funcref)
            (global $g (mut i32) (i32.const 0))
            (elem (i32.const 0) $leaf)
            (data $d "0123456789")
            (func $leaf)
            {prelude}
            (func (export "canister_update m") {body}))"#
    );
    let (mut core, id) = with(&text);
    instructions(update(&mut core, &id, "m"))
}

fn count(body: &str) -> u64 {
    count_with("", body)
}

#[test]
fn loops_and_branches() {
    // Entry, const, local.set | per round: get const sub set, get br_if | end, call, end.
    let loops = "(local i32) (local.set 0 (i32.const 10))
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))
        (call $reply)";
    assert_eq!(count(loops), (ENTRY + 1 + 1) + 10 * (4 + 1 + 2) + API);
    // if: condition and if | then part with else | after.
    let branch = |c: u32| format!("(if (i32.const {c}) (then nop nop nop) (else nop)) nop");
    assert_eq!(count(&branch(1)), (ENTRY + 1 + 2) + 3 + 1);
    assert_eq!(count(&branch(0)), (ENTRY + 1 + 2) + 1 + 1);
    // A taken branch skips what follows it in the block; what is before `end` is charged at the
    // start of its own block only.
    let skip = |c: u32| format!("(block (br_if 0 (i32.const {c})) nop nop) nop");
    assert_eq!(count(&skip(1)), (ENTRY + 1 + 2) + 1);
    assert_eq!(count(&skip(0)), (ENTRY + 1 + 2) + 2 + 1);
    // `block` is no boundary: the nop in it belongs to the entry block.
    assert_eq!(count("(block nop) nop"), (ENTRY + 1) + 1);
    // br_table
    let table = |c: u32| {
        format!("(block (block (block (br_table 0 1 2 (i32.const {c}))) nop nop (br 1)) nop) nop")
    };
    assert_eq!(count(&table(0)), (ENTRY + 1 + 2) + (2 + 2) + 1);
    assert_eq!(count(&table(1)), (ENTRY + 1 + 2) + 1 + 1);
    assert_eq!(count(&table(7)), (ENTRY + 1 + 2) + 1);
    // return
    assert_eq!(count("(return) nop nop"), ENTRY + 1);
}

#[test]
fn calls() {
    assert_eq!(count("(call $leaf) nop"), (ENTRY + 5 + 1) + ENTRY);
    assert_eq!(
        count("(call_indirect (i32.const 0)) nop"),
        (ENTRY + 1 + 10 + 1) + ENTRY
    );
    let tail = "(func $tail (return_call $leaf) nop)";
    assert_eq!(
        count_with(tail, "(call $tail)"),
        (ENTRY + 5) + (ENTRY + 3) + ENTRY
    );
    let tail = "(func $tail (return_call_indirect (i32.const 0)))";
    assert_eq!(
        count_with(tail, "(call $tail)"),
        (ENTRY + 5) + (ENTRY + 1 + 60) + ENTRY
    );
    // Recursion: get, eqz, if | return, end | get const sub call
    let fac = "(func $r (param i32) (if (i32.eqz (local.get 0)) (then return))
        (call $r (i32.sub (local.get 0) (i32.const 1))))";
    let level = (ENTRY + 1 + 1 + 2) + (1 + 1 + 1 + 5);
    assert_eq!(
        count_with(fac, "(call $r (i32.const 5))"),
        (ENTRY + 1 + 5) + 5 * level + (ENTRY + 1 + 1 + 2) + 1
    );
}

#[test]
fn bulk_memory() {
    let three = 3;
    assert_eq!(
        count("(memory.fill (i32.const 0) (i32.const 7) (i32.const 1000))"),
        ENTRY + three + 100 + 1000
    );
    assert_eq!(
        count("(memory.copy (i32.const 0) (i32.const 7) (i32.const 4096))"),
        ENTRY + three + 100 + 4096
    );
    assert_eq!(
        count("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 10))"),
        ENTRY + three + 100 + 10
    );
    assert_eq!(
        count("(memory.fill (i32.const 0) (i32.const 7) (i32.const 0)) nop"),
        ENTRY + three + 100 + 1
    );
    // Out of bounds: the bytes are charged before the trap, and so is the block's rest.
    assert_eq!(
        count("(memory.fill (i32.const 0) (i32.const 7) (i32.const 300000)) nop nop"),
        ENTRY + three + 100 + 2 + 300_000
    );
    // 2^32 - 1 is a size, not -1.
    assert_eq!(
        count("(memory.copy (i32.const 0) (i32.const 7) (i32.const -1))"),
        ENTRY + three + 100 + u64::from(u32::MAX)
    );
}

#[test]
fn traps_are_charged_to_the_block() {
    // The whole block is charged when it is entered, wherever in it the trap is.
    assert_eq!(
        count("(drop (i32.load (i32.const -8))) nop nop"),
        ENTRY + 1 + 1 + 1 + 2
    );
    assert_eq!(count("nop unreachable nop nop"), ENTRY + 1 + 1);
    let div = "(drop (i32.div_u (i32.const 1) (i32.const 0))) (block nop) nop";
    assert_eq!(
        count(div),
        (ENTRY + 1 + 1 + 10 + 1 + 1),
        "not what follows the end"
    );
    let inner = "(func $bad (drop (i32.load (i32.const -8))) nop)";
    assert_eq!(
        count_with(inner, "(call $bad) nop"),
        (ENTRY + 5 + 1) + (ENTRY + 1 + 1 + 1 + 1)
    );
}

#[test]
fn system_api() {
    assert_eq!(count("(drop (call $time))"), ENTRY + API + 1);
    assert_eq!(
        count("(call $append (i32.const 0) (i32.const 100)) (call $reply)"),
        ENTRY + 2 + API + 100 * 50 + API
    );
    // debug_print of 10 bytes: 100 fixed, 2 and 50 per byte.
    assert_eq!(
        count("(call $print (i32.const 0) (i32.const 10))"),
        ENTRY + 2 + 5 + 100 + 520
    );
    // trap: 500 fixed, the same, and 1 per byte.
    assert_eq!(
        count("(call $trap (i32.const 0) (i32.const 10))"),
        ENTRY + 2 + 5 + 500 + 520 + 10
    );
    // A log of 4,096 bytes: format cost stops there, and so does the cost of storing.
    assert_eq!(
        count("(call $print (i32.const 0) (i32.const 5000))"),
        ENTRY + 2 + 5 + 100 + (2 + 50) * 4096
    );
}

#[test]
fn stable_memory() {
    let grow = "(drop (call $grow (i64.const 40)))";
    let grown = 1 + 5 + 100 + 1;
    assert_eq!(count(grow), ENTRY + grown);
    assert_eq!(count("(drop (call $size))"), ENTRY + 5 + 1);
    let write = |offset: u64, len: u64| {
        format!("(call $write (i64.const {offset}) (i64.const 0) (i64.const {len}))")
    };
    let read = |offset: u64, len: u64| {
        format!("(call $read (i64.const 0) (i64.const {offset}) (i64.const {len}))")
    };
    let call = 3 + 5 + 20;
    // The figures of the published table: 4,096 bytes are 5,121 with the call.
    assert_eq!(
        count(&format!("{grow} {}", write(0, 4096))),
        ENTRY + grown + 3 + 5_121
    );
    assert_eq!(
        count(&format!("{grow} {}", read(0, 4))),
        ENTRY + grown + 3 + 29
    );
    // Across a page's edge: two pages. Again: none.
    assert_eq!(
        count(&format!("{grow} {} {}", write(4090, 10), write(4090, 12))),
        ENTRY + grown + call + 10 + 2_000 + call + 12
    );
    // Reading dirties nothing; writing what was read does.
    assert_eq!(
        count(&format!("{grow} {} {}", read(0, 100), write(0, 100))),
        ENTRY + grown + call + 100 + call + 100 + 1_000
    );
    // No bytes: only the fixed charge, even beyond the end.
    assert_eq!(count(&write(1 << 40, 0)), ENTRY + call);
    // Out of bounds: the bytes are charged, the pages are not.
    assert_eq!(
        count(&format!("{grow} {}", write(1 << 40, 50))),
        ENTRY + grown + call + 50
    );
    // Out of the heap's bounds, which is seen when pages were paid for.
    assert_eq!(
        count(&format!(
            "{grow} (call $write (i64.const 0) (i64.const 262140) (i64.const 50))"
        )),
        ENTRY + grown + call + 50 + 1_000
    );
    // An address that no heap can have is seen at once.
    assert_eq!(
        count(&format!(
            "{grow} (call $write (i64.const 0) (i64.const 0x100000000) (i64.const 50))"
        )),
        ENTRY + grown + call + 50
    );
    // The sum of length and overhead wraps around: -20 bytes cost nothing, and are too many.
    assert_eq!(
        count(&format!(
            "{grow} (call $read (i64.const 0) (i64.const 0) (i64.const -20))"
        )),
        ENTRY + grown + 3 + 5
    );
    // The next message pays again for the same page.
    let text = format!(
        r#"(module
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (memory 1)
            (func (export "canister_init") {grow})
            (func (export "canister_update m") {}))"#,
        write(0, 8)
    );
    let (mut core, id) = with(&text);
    for _ in 0..2 {
        assert_eq!(
            instructions(update(&mut core, &id, "m")),
            ENTRY + call + 8 + 1_000
        );
    }
}

#[test]
fn upload_sized_write() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (memory 40)
            (func (export "canister_init") (drop (call $grow (i64.const 40))))
            (func (export "canister_update m")
                (call $write (i64.const 0) (i64.const 0) (i64.const 1900000))))"#,
    );
    // 5 + 20 + 1,900,000 + 464 pages.
    assert_eq!(
        instructions(update(&mut core, &id, "m")),
        ENTRY + 3 + 2_364_025
    );
}

#[test]
fn performance_counter_in_mid_block() {
    let read = |before: &str, after: &str| {
        let text = format!(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
                (memory 1)
                (func (export "canister_update m")
                    {before}
                    (i64.store (i32.const 0) (call $counter (i32.const 0)))
                    {after}
                    (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#
        );
        let (mut core, id) = with(&text);
        let outcome = update(&mut core, &id, "m").expect("replied");
        number(&outcome)
    };
    // const; const call store; consts call call: all one block, then 200 for the call itself.
    let block = ENTRY + 1 + 1 + 5 + 1 + 2 + 5 + 5;
    assert_eq!(read("", ""), block + 200);
    assert_eq!(
        read("nop", "nop nop"),
        block + 3 + 200,
        "what comes after counts already"
    );
    // Beyond the next boundary it does not.
    assert_eq!(
        read("", "(block nop) nop nop"),
        ENTRY + 1 + 1 + 5 + 1 + 1 + 200
    );
}

#[test]
fn instruction_limit() {
    let (mut core, id) = with(
        r#"(module (func (export "canister_query q") (loop (br 0)))
            (func (export "canister_query tail") (loop (br 0))))"#,
    );
    let e = query(&mut core, &id, "q").expect_err("it never ends");
    assert_eq!(e.code, ErrorCode::CanisterInstructionLimitExceeded);
    assert_eq!(
        e.stats.as_ref().map(|s| s.instructions),
        Some(5_000_000_000)
    );
    assert!(
        e.message.contains("5000000000 instructions"),
        "{}",
        e.message
    );
}

/// A real `unreachable` after the counter went below zero in a block that is not checked is not
/// an exhausted limit.
#[test]
fn overdrawn_is_not_exhausted() {
    // The last block may overdraw without a check: the message still ends well.
    let mut config = icwasi_replica::core::CoreConfig::default();
    config.limits.query_instructions = 3;
    let mut core = icwasi_replica::core::Core::new(config).expect("a core");
    let id = create(&mut core);
    let module = r#"(module
        (func (export "canister_query ok") (block nop) nop nop nop nop)
        (func (export "canister_query bad") (block nop) nop nop nop nop unreachable)
        (func (export "canister_query out") (block nop) nop nop nop nop (loop)))"#;
    install(&mut core, &id, module).expect("installed");
    assert_eq!(
        code(query(&mut core, &id, "ok")),
        ErrorCode::CanisterDidNotReply
    );
    assert_eq!(
        code(query(&mut core, &id, "bad")),
        ErrorCode::CanisterTrapped
    );
    assert_eq!(
        code(query(&mut core, &id, "out")),
        ErrorCode::CanisterInstructionLimitExceeded
    );
}

/// Operators of the module as the platform compiles it: 72 that are in every module.
#[test]
fn compiling_is_charged() {
    const ADDED: u64 = 72;
    let (mut core, id) = empty();
    let module = r#"(module (global i32 (i32.const 1)) (func (export "canister_update m") nop))"#;
    // nop end, one reentrant charge of ten operators, a global that counts two.
    let operators = ADDED + 2 + 10 + 2;
    let stats = install(&mut core, &id, module).expect("installed");
    assert_eq!(stats.compile_instructions, 6_000 * operators);
    assert_eq!(stats.instructions, stats.compile_instructions);
    let second = create(&mut core);
    let stats = install(&mut core, &second, module).expect("installed");
    assert_eq!(
        stats.compile_instructions,
        60 * operators,
        "the module was compiled before"
    );
    let module = r#"(module
        (import "ic0" "stable64_read" (func (param i64 i64 i64)))
        (import "ic0" "time" (func (result i64)))
        (memory 1)
        (func (param i32)
            (if (local.get 0)
                (then (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))
                (else (drop (memory.grow (i32.const 1)))))
            (loop nop)))"#;
    // Entry: get, if | then: three consts, the size in three operators, fill, else | else: const,
    // grow in four, drop, end | loop | nop, end | end.
    let operators =
        ADDED + 119 + (10 + 2) + (4 + 3 + 3 + 1 + 1) + (4 + 1 + 4 + 1 + 1) + 1 + (10 + 2) + 1;
    let third = create(&mut core);
    let stats = install(&mut core, &third, module).expect("installed");
    assert_eq!(stats.compile_instructions, 6_000 * operators);
}

/// Each hook of an upgrade pays for the pages it dirties, also when one before it did.
#[test]
fn hooks_pay_for_their_own_pages() {
    let module = |hook: &str| {
        format!(
            r#"(module
                (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
                (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
                (memory 1)
                (func (export "canister_init") (drop (call $grow (i64.const 1))))
                (func (export "canister_{hook}")
                    (call $write (i64.const 0) (i64.const 0) (i64.const 8))))"#
        )
    };
    let (mut core, id) = with(&module("pre_upgrade"));
    let stats = upgrade(&mut core, &id, &module("post_upgrade")).expect("upgraded");
    let one = ENTRY + 3 + 5 + 20 + 8 + 1_000;
    assert_eq!(stats.instructions - stats.compile_instructions, 2 * one);
}

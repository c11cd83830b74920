//! Instruction counts of hand-written modules against sums made by hand from the IC's table.
//!
//! Nothing here uses the crate's own table or algorithm: each expectation is written out block by
//! block, `a + b + ...`, in the order of the code.

mod core_common;
use core_common::*;
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
fn straight_line_operators() {
    assert_eq!(count(""), ENTRY, "an empty function costs its entry");
    assert_eq!(count("nop nop"), ENTRY + 1 + 1);
    assert_eq!(count("(drop (i32.add (i32.const 1) (i32.const 2)))"), ENTRY + 1 + 1 + 1 + 1);
    assert_eq!(count("(drop (i64.div_u (i64.const 8) (i64.const 2)))"), ENTRY + 1 + 1 + 10 + 1);
    assert_eq!(count("(drop (i32.rem_s (i32.const 8) (i32.const 3)))"), ENTRY + 1 + 1 + 10 + 1);
    assert_eq!(count("(drop (f64.add (f64.const 1) (f64.const 2)))"), ENTRY + 1 + 1 + 2 + 1);
    assert_eq!(count("(drop (f64.div (f64.const 1) (f64.const 2)))"), ENTRY + 1 + 1 + 5 + 1);
    assert_eq!(count("(drop (f32.div (f32.const 1) (f32.const 2)))"), ENTRY + 1 + 1 + 3 + 1);
    assert_eq!(count("(drop (f64.min (f64.const 1) (f64.const 2)))"), ENTRY + 1 + 1 + 18 + 1);
    assert_eq!(count("(drop (f32.copysign (f32.const 1) (f32.const 2)))"), ENTRY + 2 + 2 + 1);
    assert_eq!(count("(drop (f64.copysign (f64.const 1) (f64.const 2)))"), ENTRY + 2 + 3 + 1);
    assert_eq!(count("(drop (f64.sqrt (f64.const 4)))"), ENTRY + 1 + 8 + 1);
    assert_eq!(count("(drop (f32.sqrt (f32.const 4)))"), ENTRY + 1 + 5 + 1);
    assert_eq!(count("(drop (f64.lt (f64.const 4) (f64.const 4)))"), ENTRY + 2 + 3 + 1);
    assert_eq!(count("(drop (f64.neg (f64.const 4)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(drop (f64.convert_i32_s (i32.const 4)))"), ENTRY + 1 + 3 + 1);
    assert_eq!(count("(drop (f32.convert_i64_u (i64.const 4)))"), ENTRY + 1 + 16 + 1);
    assert_eq!(count("(drop (i32.trunc_f64_s (f64.const 4)))"), ENTRY + 1 + 20 + 1);
    assert_eq!(count("(drop (i64.trunc_sat_f32_u (f32.const 4)))"), ENTRY + 1 + 20 + 1);
    assert_eq!(count("(drop (f64.promote_f32 (f32.const 4)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(drop (i32.wrap_i64 (i64.const 4)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(drop (i64.extend_i32_u (i32.const 4)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(drop (i32.extend8_s (i32.const 4)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(drop (i32.load (i32.const 4)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(i64.store8 (i32.const 4) (i64.const 1))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count("(drop (memory.size))"), ENTRY + 20 + 1);
    assert_eq!(count("(drop (memory.grow (i32.const 1)))"), ENTRY + 1 + 300 + 1);
    assert_eq!(count("(drop (memory.grow (i32.const 9999)))"), ENTRY + 1 + 300 + 1);
    assert_eq!(count("(drop (table.size $t))"), ENTRY + 100 + 1);
    assert_eq!(count("(drop (table.get $t (i32.const 0)))"), ENTRY + 1 + 5 + 1);
    assert_eq!(count("(drop (ref.is_null (ref.func $leaf)))"), ENTRY + 130 + 5 + 1);
    assert_eq!(count("(drop (ref.null func))"), ENTRY + 1 + 1);
    assert_eq!(count("(global.set $g (global.get $g))"), ENTRY + 2 + 2);
    assert_eq!(
        count("(drop (select (i32.const 1) (i32.const 2) (i32.const 0)))"),
        ENTRY + 3 + 1 + 1
    );
    assert_eq!(
        count("(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 0)))"),
        ENTRY + 3 + 1 + 1
    );
    assert_eq!(count("data.drop $d"), ENTRY + 300);
    assert_eq!(
        count("(local i32) (local.set 0 (local.tee 0 (i32.const 3)))"),
        ENTRY + 1 + 1 + 1
    );
}

#[test]
fn vector_operators() {
    let v = "(v128.const i32x4 1 2 3 4)";
    let one = |op: &str| count(&format!("(drop ({op} {v}))")) - ENTRY - 1 - 1;
    let two = |op: &str| count(&format!("(drop ({op} {v} {v}))")) - ENTRY - 2 - 1;
    let shift = |op: &str| count(&format!("(drop ({op} {v} (i32.const 1)))")) - ENTRY - 2 - 1;
    assert_eq!(two("i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"), 3);
    assert_eq!(two("i32x4.add"), 1);
    assert_eq!(two("i32x4.mul"), 2);
    assert_eq!(two("i64x2.mul"), 4);
    assert_eq!(two("i16x8.mul"), 1);
    assert_eq!(two("i8x16.lt_u"), 2);
    assert_eq!(two("i8x16.lt_s"), 1);
    assert_eq!(one("i8x16.popcnt"), 3);
    assert_eq!(shift("i8x16.shl"), 3);
    assert_eq!(shift("i8x16.shr_u"), 2);
    assert_eq!(shift("i64x2.shr_s"), 3);
    assert_eq!(shift("i32x4.shr_s"), 2);
    assert_eq!(one("i16x8.extadd_pairwise_i8x16_u"), 2);
    assert_eq!(one("i32x4.extadd_pairwise_i16x8_u"), 3);
    assert_eq!(two("i16x8.extmul_high_i8x16_s"), 2);
    assert_eq!(two("i16x8.extmul_low_i8x16_s"), 1);
    assert_eq!(two("i32x4.extmul_low_i16x8_u"), 2);
    assert_eq!(two("i64x2.extmul_low_i32x4_u"), 1);
    assert_eq!(two("f32x4.add"), 2);
    assert_eq!(two("f32x4.div"), 10);
    assert_eq!(one("f32x4.sqrt"), 5);
    assert_eq!(one("f64x2.sqrt"), 14);
    assert_eq!(two("f64x2.div"), 12);
    assert_eq!(two("f64x2.min"), 4);
    assert_eq!(two("f64x2.max"), 5);
    assert_eq!(two("f32x4.max"), 4);
    assert_eq!(two("f32x4.pmin"), 1);
    assert_eq!(one("i32x4.trunc_sat_f32x4_s"), 2);
    assert_eq!(one("i32x4.trunc_sat_f32x4_u"), 4);
    assert_eq!(one("i32x4.trunc_sat_f64x2_u_zero"), 3);
    assert_eq!(one("f32x4.convert_i32x4_u"), 4);
    assert_eq!(one("f32x4.convert_i32x4_s"), 1);
    assert_eq!(count("(drop (v128.load (i32.const 0)))"), ENTRY + 1 + 1 + 1);
    assert_eq!(count(&format!("(v128.store8_lane 3 (i32.const 0) {v})")), ENTRY + 1 + 1 + 1);
}

#[test]
fn loops_and_branches() {
    // Entry, const, local.set | per round: get const sub set, get br_if | end, call, end.
    let loops = "(local i32) (local.set 0 (i32.const 10))
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))
        (call $reply)";
    assert_eq!(count(loops), (ENTRY + 1 + 1) + 10 * (4 + 1 + 2) + API);
    // if: condition and if | then part with else | after.
    let branch = |c: u32| {
        format!(
            "(if (i32.const {c}) (then nop nop nop) (else nop)) nop"
        )
    };
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
        format!(
            "(block (block (block (br_table 0 1 2 (i32.const {c}))) nop nop (br 1)) nop) nop"
        )
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
    assert_eq!(count("(call_indirect (i32.const 0)) nop"), (ENTRY + 1 + 10 + 1) + ENTRY);
    let tail = "(func $tail (return_call $leaf) nop)";
    assert_eq!(count_with(tail, "(call $tail)"), (ENTRY + 5) + (ENTRY + 3) + ENTRY);
    let tail = "(func $tail (return_call_indirect (i32.const 0)))";
    assert_eq!(count_with(tail, "(call $tail)"), (ENTRY + 5) + (ENTRY + 1 + 60) + ENTRY);
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
    assert_eq!(count("(drop (i32.load (i32.const -8))) nop nop"), ENTRY + 1 + 1 + 1 + 2);
    assert_eq!(count("nop unreachable nop nop"), ENTRY + 1 + 1);
    let div = "(drop (i32.div_u (i32.const 1) (i32.const 0))) (block nop) nop";
    assert_eq!(count(div), (ENTRY + 1 + 1 + 10 + 1 + 1), "not what follows the end");
    let inner = "(func $bad (drop (i32.load (i32.const -8))) nop)";
    assert_eq!(count_with(inner, "(call $bad) nop"), (ENTRY + 5 + 1) + (ENTRY + 1 + 1 + 1 + 1));
}

#[test]
fn system_api() {
    assert_eq!(count("(drop (call $time))"), ENTRY + API + 1);
    assert_eq!(
        count("(call $append (i32.const 0) (i32.const 100)) (call $reply)"),
        ENTRY + 2 + API + 100 * 50 + API
    );
    // debug_print of 10 bytes: 100 fixed, 2 and 50 per byte.
    assert_eq!(count("(call $print (i32.const 0) (i32.const 10))"), ENTRY + 2 + 5 + 100 + 520);
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
    assert_eq!(count(&format!("{grow} {}", read(0, 4))), ENTRY + grown + 3 + 29);
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
    assert_eq!(count(&format!("{grow} {}", write(1 << 40, 50))), ENTRY + grown + call + 50);
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
        assert_eq!(instructions(update(&mut core, &id, "m")), ENTRY + call + 8 + 1_000);
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
    assert_eq!(instructions(update(&mut core, &id, "m")), ENTRY + 3 + 2_364_025);
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
    assert_eq!(read("nop", "nop nop"), block + 3 + 200, "what comes after counts already");
    // Beyond the next boundary it does not.
    assert_eq!(read("", "(block nop) nop nop"), ENTRY + 1 + 1 + 5 + 1 + 1 + 200);
}

#[test]
fn instruction_limit() {
    let (mut core, id) = with(
        r#"(module (func (export "canister_query q") (loop (br 0)))
            (func (export "canister_query tail") (loop (br 0))))"#,
    );
    let e = query(&mut core, &id, "q").expect_err("it never ends");
    assert_eq!(e.code, ErrorCode::CanisterInstructionLimitExceeded);
    assert_eq!(e.stats.as_ref().map(|s| s.instructions), Some(5_000_000_000));
    assert!(e.message.contains("5000000000 instructions"), "{}", e.message);
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
    assert_eq!(code(query(&mut core, &id, "ok")), ErrorCode::CanisterDidNotReply);
    assert_eq!(code(query(&mut core, &id, "bad")), ErrorCode::CanisterTrapped);
    assert_eq!(code(query(&mut core, &id, "out")), ErrorCode::CanisterInstructionLimitExceeded);
}

#[test]
fn compiling_is_charged() {
    let (mut core, id) = empty();
    let module = r#"(module (global i32 (i32.const 1)) (func (export "canister_update m") nop))"#;
    // nop end, one reentrant charge of ten operators, a global that counts two.
    let stats = install(&mut core, &id, module).expect("installed");
    assert_eq!(stats.compile_instructions, 6_000 * (2 + 10 + 2));
    assert_eq!(stats.instructions, stats.compile_instructions);
    let second = create(&mut core);
    let stats = install(&mut core, &second, module).expect("installed");
    assert_eq!(stats.compile_instructions, 60 * (2 + 10 + 2), "the module was compiled before");
}

/// NaN bits are the same everywhere.
#[test]
fn nans_are_canonical() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_query q")
                (f64.store (i32.const 0) (f64.sqrt (f64.const -1)))
                (f64.store (i32.const 8) (f64.add (f64.const nan:0x4000000000001) (f64.const 1)))
                (call $append (i32.const 0) (i32.const 16)) (call $reply)))"#,
    );
    let reply = query(&mut core, &id, "q").expect("replied").reply;
    let nan = 0x7ff8_0000_0000_0000u64.to_le_bytes();
    assert_eq!(reply, [nan, nan].concat());
}

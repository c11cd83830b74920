//! Composite queries: limits of the tree, and what a callback that traps undoes.

use std::sync::Arc;

use crate::common::*;
use candid::Principal;
use icwasi_replica::core::{Core, CoreConfig, ErrorCode};

/// `hop` calls the canister whose id its argument begins with, and passes the rest on.
/// `fan` calls `hop` of a canister as often as its first byte says.
/// `two` calls it twice; the first callback (chosen by the argument) spoils the state and traps.
const MODULE: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $args (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_reject_msg_size" (func $rsize (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $rcopy (param i32 i32 i32)))
    (import "ic0" "data_certificate_present" (func $present (result i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $ssize (result i64)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 1)
    (table funcref (elem $pass $rejected $count $spoil $clean $show))
    (global $g (mut i32) (i32.const 0))
    (data (i32.const 900) "end") (data (i32.const 910) "hop")
    (func $pass (param i32)
        (call $arg (i32.const 1000) (i32.const 0) (call $args))
        (call $append (i32.const 1000) (call $args)) (call $reply))
    (func $rejected (param i32)
        (call $rcopy (i32.const 1000) (i32.const 0) (call $rsize))
        (call $append (i32.const 1000) (call $rsize)) (call $reply))
    (func $count (param i32)
        (global.set $g (i32.sub (global.get $g) (i32.const 1)))
        (if (i32.eqz (global.get $g)) (then (call $append (i32.const 900) (i32.const 3)) (call $reply))))
    (func $spoil (param i32)
        (i32.store (i32.const 2000) (i32.const 77))
        (i32.store (i32.const 2008) (i32.const 78))
        (global.set $g (i32.const 79))
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.const 70000) (i32.const 80))
        (drop (call $grow (i64.const 3)))
        unreachable)
    (func $clean (param i32)
        (i32.store (i32.const 2004) (i32.add (i32.load (i32.const 2004)) (local.get 0)))
        (if (i32.eq (local.get 0) (i32.const 9)) (then unreachable)))
    (func $show (param i32)
        (i32.store (i32.const 2012) (global.get $g))
        (i32.store (i32.const 2016) (memory.size))
        (i32.store (i32.const 2020) (i32.wrap_i64 (call $ssize)))
        (call $append (i32.const 2000) (i32.const 24)) (call $reply))
    (func $call (param $id i32) (param $reply i32)
        (call $new (local.get $id) (i32.const 10) (i32.const 910) (i32.const 3)
            (local.get $reply) (i32.const 0) (i32.const 1) (i32.const 0)))
    (func (export "canister_composite_query hop")
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (if (i32.eqz (call $args))
            (then (call $append (i32.const 900) (i32.const 3)) (call $reply) (return)))
        (call $call (i32.const 0) (i32.const 0))
        (call $data (i32.const 10) (i32.sub (call $args) (i32.const 10)))
        (drop (call $perform)))
    (func (export "canister_composite_query fan") (local $n i32)
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (local.set $n (i32.load8_u (i32.const 0)))
        (global.set $g (local.get $n))
        (loop $l
            (call $call (i32.const 1) (i32.const 2)) (drop (call $perform))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "canister_composite_query two")
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (i32.store (i32.const 2008) (i32.const 1))
        (global.set $g (i32.const 2))
        (drop (call $grow (i64.const 1)))
        (call $call (i32.const 1) (i32.const 3))
        (call $on_cleanup (i32.const 4) (i32.load8_u (i32.const 0)))
        (drop (call $perform))
        (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 1))
            (then (call $call (i32.const 1) (i32.const 5)) (drop (call $perform)))))
    (func (export "canister_composite_query answer_first")
        (call $append (i32.const 900) (i32.const 3)) (call $reply)
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (call $call (i32.const 0) (i32.const 3)) (drop (call $perform)))
    (func (export "canister_composite_query certificate")
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (i32.store (i32.const 1000) (call $present))
        (call $append (i32.const 1000) (i32.const 1)) (call $reply)))"#;

fn canisters(n: usize, config: CoreConfig) -> (Core, Vec<Principal>) {
    let mut core = Core::new(config).expect("a core");
    core.set_time(1);
    let ids = (0..n)
        .map(|_| {
            let id = create(&mut core);
            install(&mut core, &id, MODULE).expect("installed");
            id
        })
        .collect();
    (core, ids)
}

fn path(ids: &[Principal]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.as_slice().to_vec()).collect()
}

#[test]
fn depth_and_loops_end_the_whole_query() {
    let (mut core, ids) = canisters(8, CoreConfig::default());
    let reply = core
        .query(&ids[0], user(), "hop", path(&ids[1..7]))
        .expect("six calls deep");
    assert_eq!(reply.reply, b"end");
    let e = core
        .query(&ids[0], user(), "hop", path(&ids[1..8]))
        .expect_err("seven calls deep");
    assert_eq!(e.code, ErrorCode::QueryCallGraphTooDeep);
    let around = [ids[1], ids[2], ids[0]];
    let e = core
        .query(&ids[0], user(), "hop", path(&around))
        .expect_err("back to the first");
    assert_eq!(e.code, ErrorCode::QueryCallGraphLoopDetected);
    let e = core
        .query(&ids[0], user(), "hop", path(&[ids[0]]))
        .expect_err("to itself");
    assert_eq!(e.code, ErrorCode::QueryCallGraphLoopDetected);
    // What a node cannot do is an answer to its caller.
    let nobody = Principal::from_slice(&[7; 10]);
    let reply = core
        .query(&ids[0], user(), "hop", path(&[ids[1], nobody]))
        .expect("a reject is passed on")
        .reply;
    assert!(String::from_utf8_lossy(&reply).contains("not found"));
}

#[test]
fn all_nodes_share_the_instructions() {
    let mut config = CoreConfig::default();
    config.limits.composite_query_instructions = 500_000_000;
    let (mut core, ids) = canisters(2, config);
    let fan = |core: &mut Core, n: u8| {
        let arg = [&[n], ids[1].as_slice()].concat();
        core.query(&ids[0], user(), "fan", arg)
    };
    // 50 million a call, and a little for executing.
    assert_eq!(fan(&mut core, 9).expect("450 million").reply, b"end");
    let e = fan(&mut core, 11).expect_err("550 million");
    assert_eq!(
        e.code,
        ErrorCode::QueryCallGraphTotalInstructionLimitExceeded
    );
}

#[test]
fn a_callback_that_traps_is_undone_alone() {
    let (mut core, ids) = canisters(2, CoreConfig::default());
    let two = |core: &mut Core, cleanup: u8| {
        let arg = [&[cleanup], ids[1].as_slice()].concat();
        core.query(&ids[0], user(), "two", arg)
    };
    let words = |reply: &[u8]| -> Vec<u32> {
        reply
            .chunks(4)
            .map(|c| u32::from_le_bytes(c.try_into().expect("4 bytes")))
            .collect()
    };
    // Spoilt word, cleanup's word, word and global of the first message, heap, stable memory.
    let reply = two(&mut core, 5).expect("the second call answers").reply;
    assert_eq!(words(&reply), [0, 5, 1, 2, 1, 1]);
    let reply = two(&mut core, 9).expect("the cleanup trapped").reply;
    assert_eq!(words(&reply), [0, 0, 1, 2, 1, 1]);
    // With no other call to wait for, the trap is the answer.
    let e = two(&mut core, 1).expect_err("nobody else answers");
    assert_eq!(e.code, ErrorCode::CanisterTrapped);
    let canister = core.canister(&ids[0]).expect("exists");
    assert_eq!(
        (canister.heap_bytes(), canister.stable_bytes()),
        (65_536, 0)
    );
}

#[test]
fn who_has_answered_is_not_followed() {
    let (mut core, ids) = canisters(2, CoreConfig::default());
    let outcome = core
        .query(&ids[0], user(), "answer_first", path(&ids[1..]))
        .expect("answered");
    assert_eq!(outcome.reply, b"end");
    assert_eq!(outcome.stats.messages, 1, "the call was not made");
}

/// A certificate proves the data of the canister that was asked from outside, not of others.
#[test]
fn only_the_root_has_a_certificate() {
    let (mut core, ids) = canisters(2, CoreConfig::default());
    core.set_data_certificate(Arc::new(|_, _| Some(vec![1])));
    let direct = core.query(&ids[0], user(), "certificate", vec![]);
    assert_eq!(direct.expect("replied").reply, [1]);
    let asker = create(&mut core);
    let text = MODULE.replace(
        r#"(data (i32.const 910) "hop")"#,
        r#"(data (i32.const 910) "certificate")"#,
    );
    // The names of methods are three letters long there.
    let text = text.replace(
        "(i32.const 910) (i32.const 3)",
        "(i32.const 910) (i32.const 11)",
    );
    install(&mut core, &asker, &text).expect("installed");
    let nested = core.query(&asker, user(), "hop", path(&ids[..1]));
    assert_eq!(nested.expect("replied").reply, [0]);
}

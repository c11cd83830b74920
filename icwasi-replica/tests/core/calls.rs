//! Calls between canisters, cycles, timers, composite queries, certified data.

use std::sync::{Arc, Mutex};

use crate::common::*;
use candid::Principal;
use icwasi_replica::core::{Core, ErrorCode, ManagementHandler, ManagementReply, UserError};

/// Calls the canister whose id is the argument after a first byte that is the method's letter.
/// Word 100 counts messages; the reply is what came back, with a mark in front.
const CALLER: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $args (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_reject_code" (func $code (result i32)))
    (import "ic0" "msg_reject_msg_size" (func $rsize (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $rcopy (param i32 i32 i32)))
    (import "ic0" "msg_cycles_refunded128" (func $refunded (param i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_on_cleanup" (func $cleanup (param i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_cycles_add128" (func $cycles (param i64 i64)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
    (memory 1)
    (table funcref (elem $on_reply $on_reject $on_cleanup $trap_reply))
    (data (i32.const 500) "ping")
    (func $bump (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1))))
    (func $on_reply (param i32)
        (call $bump)
        (i32.store8 (i32.const 200) (i32.const 82))
        (i32.store8 (i32.const 201) (local.get 0))
        (call $arg (i32.const 202) (i32.const 0) (call $args))
        (call $refunded (i32.const 300))
        (call $append (i32.const 200) (i32.add (call $args) (i32.const 2)))
        (call $append (i32.const 300) (i32.const 8))
        (i64.store (i32.const 320) (call $counter (i32.const 1)))
        (call $append (i32.const 320) (i32.const 8))
        (call $reply))
    (func $on_reject (param i32)
        (call $bump)
        (i32.store8 (i32.const 200) (i32.const 88))
        (i32.store8 (i32.const 201) (call $code))
        (call $rcopy (i32.const 202) (i32.const 0) (call $rsize))
        (call $append (i32.const 200) (i32.add (call $rsize) (i32.const 2)))
        (call $reply))
    (func $on_cleanup (param i32) (i32.store (i32.const 104) (local.get 0)))
    (func $trap_reply (param i32) (i32.store (i32.const 100) (i32.const 9999)) unreachable)
    (func $call (param $reply i32)
        (call $bump)
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (call $new (i32.const 1) (i32.sub (call $args) (i32.const 1)) (i32.const 0) (i32.const 1)
            (local.get $reply) (i32.const 7) (i32.const 1) (i32.const 8))
        (call $cleanup (i32.const 2) (i32.const 55))
        (call $data (i32.const 500) (i32.const 4)))
    (func (export "canister_update call")
        (call $call (i32.const 0))
        (call $cycles (i64.const 0) (i64.const 1000))
        (drop (call $perform)))
    (func (export "canister_update call_and_trap")
        (call $call (i32.const 0)) (drop (call $perform)) unreachable)
    (func (export "canister_update trap_in_reply")
        (call $call (i32.const 3)) (drop (call $perform)))
    (func (export "canister_composite_query ask")
        (call $call (i32.const 0)) (drop (call $perform)))
    (func (export "canister_query counts")
        (call $append (i32.const 100) (i32.const 8)) (call $reply)))"#;

/// Methods `e` (echo, keeps 400 cycles), `r` (rejects), `t` (traps), `n` (no answer).
const CALLEE: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reject" (func $reject (param i32 i32)))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $args (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_cycles_accept128" (func $accept (param i64 i64 i32)))
    (memory 1)
    (data (i32.const 100) "no thanks")
    (func (export "canister_update e")
        (call $accept (i64.const 0) (i64.const 400) (i32.const 64))
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (call $append (i32.const 0) (call $args)) (call $reply))
    (func (export "canister_query q")
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (call $append (i32.const 0) (call $args)) (call $reply))
    (func (export "canister_update r") (call $reject (i32.const 100) (i32.const 9)))
    (func (export "canister_update t") (i32.store (i32.const 0) (i32.const 1)) unreachable)
    (func (export "canister_update n")))"#;

fn pair() -> (Core, Principal, Principal) {
    let (mut core, caller) = with(CALLER);
    let callee = create(&mut core);
    install(&mut core, &callee, CALLEE).expect("installed");
    (core, caller, callee)
}

fn call(
    core: &mut Core,
    caller: &Principal,
    method: &str,
    letter: u8,
    to: &Principal,
) -> Result<Vec<u8>, UserError> {
    let arg = [&[letter], to.as_slice()].concat();
    core.update(caller, user(), method, arg).map(|o| o.reply)
}

fn counts(core: &mut Core, caller: &Principal) -> (u32, u32) {
    let reply = query(core, caller, "counts").expect("replied").reply;
    let word = |i: usize| u32::from_le_bytes(reply[i..i + 4].try_into().expect("4 bytes"));
    (word(0), word(4))
}

#[test]
fn a_reply_comes_back_with_cycles() {
    let (mut core, caller, callee) = pair();
    let before = core.canister(&caller).expect("exists").cycles;
    let reply = call(&mut core, &caller, "call", b'e', &callee).expect("replied");
    assert_eq!(
        &reply[..6],
        b"R\x07ping",
        "the callback, its environment, the echo"
    );
    assert_eq!(reply[6..14], 600u64.to_le_bytes(), "1000 sent, 400 kept");
    let context = u64::from_le_bytes(reply[14..22].try_into().expect("8 bytes"));
    assert_eq!(core.canister(&caller).expect("exists").cycles, before - 400);
    assert_eq!(
        core.canister(&callee).expect("exists").cycles,
        1_000_000_000_400
    );
    assert_eq!(counts(&mut core, &caller).0, 2);
    // performance_counter(1) counts the caller's two messages, not the callee's.
    let arg = [b"e", callee.as_slice()].concat();
    let stats = core
        .update(&caller, user(), "call", arg)
        .expect("replied")
        .stats;
    assert_eq!(stats.messages, 3);
    assert!(
        context > 10_000 && context < stats.instructions,
        "{context} {stats:?}"
    );
}

#[test]
fn rejections_have_codes_and_texts() {
    let (mut core, caller, callee) = pair();
    let reply = call(&mut core, &caller, "call", b'r', &callee).expect("replied");
    assert_eq!(reply, b"X\x04no thanks");
    let reply = call(&mut core, &caller, "call", b't', &callee).expect("replied");
    assert_eq!(reply[..2], *b"X\x05");
    assert!(String::from_utf8_lossy(&reply).contains("unreachable"));
    let reply = call(&mut core, &caller, "call", b'n', &callee).expect("replied");
    assert_eq!(reply[..2], *b"X\x05");
    let reply = call(&mut core, &caller, "call", b'z', &callee).expect("replied");
    assert!(String::from_utf8_lossy(&reply).contains("no update method 'z'"));
    let nobody = Principal::from_slice(&[9; 10]);
    let reply = call(&mut core, &caller, "call", b'e', &nobody).expect("replied");
    assert_eq!(reply[..2], *b"X\x03");
    core.stop_canister(&callee).expect("stopped");
    let reply = call(&mut core, &caller, "call", b'e', &callee).expect("replied");
    assert_eq!(reply[..2], *b"X\x05");
    let balance = core.canister(&caller).expect("exists").cycles;
    assert_eq!(balance, 1_000_000_000_000, "all cycles came back");
}

#[test]
fn a_trap_sends_nothing_and_cleanup_runs() {
    let (mut core, caller, callee) = pair();
    let e = call(&mut core, &caller, "call_and_trap", b'e', &callee).expect_err("it traps");
    assert_eq!(e.code, ErrorCode::CanisterTrapped);
    assert_eq!(counts(&mut core, &caller), (0, 0));
    assert_eq!(
        core.canister(&callee).expect("exists").version,
        2,
        "was never called"
    );
    let e = call(&mut core, &caller, "trap_in_reply", b'e', &callee).expect_err("it traps");
    assert_eq!(e.code, ErrorCode::CanisterTrapped);
    // The first message stays, the callback is undone, the cleanup stays.
    assert_eq!(counts(&mut core, &caller), (1, 55));
}

#[test]
fn composite_queries_ask_others() {
    let (mut core, caller, callee) = pair();
    let arg = [b"q", callee.as_slice()].concat();
    // The refund is not readable in a composite query's callback: that is a violation.
    let e = core
        .query(&caller, user(), "ask", arg.clone())
        .expect_err("no cycles in queries");
    assert_eq!(e.code, ErrorCode::CanisterContractViolation);
    assert_eq!(counts(&mut core, &caller), (0, 0), "nothing is kept");
    let update = core
        .update(&caller, user(), "ask", arg)
        .expect_err("not as an update");
    assert_eq!(update.code, ErrorCode::CompositeQueryCalledInReplicatedMode);
    let arg = [b"z", callee.as_slice()].concat();
    let reply = core
        .query(&caller, user(), "ask", arg)
        .expect("replied")
        .reply;
    assert!(String::from_utf8_lossy(&reply).contains("no query method 'z'"));
}

struct Echo(Arc<Mutex<Vec<(Principal, String, u128)>>>);

impl ManagementHandler for Echo {
    fn call(
        &mut self,
        core: &mut Core,
        sender: Principal,
        method: &str,
        arg: &[u8],
        cycles: u128,
    ) -> ManagementReply {
        assert!(core.canister(&sender).is_some());
        self.0
            .lock()
            .expect("not poisoned")
            .push((sender, method.into(), cycles));
        ManagementReply {
            result: Ok(arg.to_vec()),
            refund: cycles - 1,
        }
    }
}

#[test]
fn the_management_canister_is_a_hook() {
    let (mut core, caller) = with(CALLER);
    let seen = Arc::new(Mutex::new(Vec::new()));
    core.set_management(Box::new(Echo(seen.clone())));
    let to = Principal::management_canister();
    let reply = call(&mut core, &caller, "call", b'm', &to).expect("replied");
    assert_eq!(&reply[..6], b"R\x07ping");
    assert_eq!(
        *seen.lock().expect("not poisoned"),
        [(caller, "m".to_owned(), 1000)]
    );
    assert_eq!(
        core.canister(&caller).expect("exists").cycles,
        1_000_000_000_000 - 1
    );
}

#[test]
fn timers_fire_once_and_heartbeats_always() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
            (import "ic0" "time" (func $time (result i64)))
            (memory 1)
            (func $bump (param i32)
                (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1))))
            (func (export "canister_init")
                (drop (call $set (i64.add (call $time) (i64.const 1000)))))
            (func (export "canister_global_timer") (call $bump (i32.const 0)))
            (func (export "canister_heartbeat") (call $bump (i32.const 4)))
            (func (export "canister_query q")
                (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#,
    );
    let state = |core: &mut Core| number(&query(core, &id, "q").expect("replied"));
    assert_eq!(core.run_timers(), 1);
    assert_eq!(state(&mut core), 1 << 32);
    core.set_time(core.time() + 1000);
    assert_eq!(core.run_timers(), 2);
    assert_eq!(core.run_timers(), 1);
    assert_eq!(state(&mut core), 3 << 32 | 1);
}

#[test]
fn certified_data_environment_and_log() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "certified_data_set" (func $set (param i32 i32)))
            (import "ic0" "data_certificate_present" (func $present (result i32)))
            (import "ic0" "data_certificate_size" (func $size (result i32)))
            (import "ic0" "data_certificate_copy" (func $copy (param i32 i32 i32)))
            (import "ic0" "env_var_value_size" (func $vsize (param i32 i32) (result i32)))
            (import "ic0" "env_var_value_copy" (func $vcopy (param i32 i32 i32 i32 i32)))
            (import "ic0" "env_var_name_exists" (func $exists (param i32 i32) (result i32)))
            (import "ic0" "debug_print" (func $print (param i32 i32)))
            (memory 1) (data (i32.const 0) "certified") (data (i32.const 50) "HOME")
            (func (export "canister_update set")
                (call $set (i32.const 0) (i32.const 9))
                (call $print (i32.const 0) (i32.const 9)) (call $reply))
            (func (export "canister_update long") (call $set (i32.const 0) (i32.const 33)))
            (func (export "canister_query get")
                (if (i32.eqz (call $present)) (then unreachable))
                (call $copy (i32.const 100) (i32.const 0) (call $size))
                (call $append (i32.const 100) (call $size)) (call $reply))
            (func (export "canister_query home")
                (if (call $exists (i32.const 50) (i32.const 3)) (then unreachable))
                (call $vcopy (i32.const 50) (i32.const 4) (i32.const 200) (i32.const 0)
                    (call $vsize (i32.const 50) (i32.const 4)))
                (call $append (i32.const 200) (call $vsize (i32.const 50) (i32.const 4)))
                (call $reply)))"#,
    );
    core.set_data_certificate(Arc::new(|_, data| Some([b"signed ", data].concat())));
    update(&mut core, &id, "set").expect("replied");
    assert_eq!(
        query(&mut core, &id, "get").expect("replied").reply,
        b"signed certified"
    );
    assert_eq!(
        code(update(&mut core, &id, "get")),
        ErrorCode::CanisterTrapped
    );
    assert_eq!(
        code(update(&mut core, &id, "long")),
        ErrorCode::CanisterContractViolation
    );
    assert_eq!(
        code(query(&mut core, &id, "home")),
        ErrorCode::CanisterContractViolation
    );
    let canister = core.canister_mut(&id).expect("exists");
    canister
        .settings
        .environment_variables
        .insert("HOME".into(), "/data".into());
    assert_eq!(
        query(&mut core, &id, "home").expect("replied").reply,
        b"/data"
    );
    let canister = core.canister(&id).expect("exists");
    let log: Vec<_> = canister.log.records().map(|r| r.content.clone()).collect();
    assert_eq!(log[0], b"certified");
    assert!(
        log.len() == 3,
        "two traps are logged, queries are not: {log:?}"
    );
    assert!(log[1].starts_with(b"[TRAP]"));
}

/// `call_and_wait` calls method `s` of itself, which calls `e` and answers after that; both wait.
const PATIENT: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_reject_code" (func $code (result i32)))
    (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
    (import "ic0" "call_cycles_add128" (func $cycles (param i64 i64)))
    (import "ic0" "msg_deadline" (func $deadline (result i64)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 1)
    (table funcref (elem $on_reply $on_reject $answer))
    (data (i32.const 100) "se")
    (func $on_reply (param i32)
        (i32.store (i32.const 0) (i32.const 0))
        (call $append (i32.const 0) (i32.const 4)) (call $reply))
    (func $on_reject (param i32)
        (i32.store (i32.const 0) (call $code))
        (i64.store (i32.const 4) (call $deadline))
        (call $append (i32.const 0) (i32.const 4)) (call $reply))
    (func $answer (param i32)
        (i32.store (i32.const 40) (i32.add (i32.load (i32.const 40)) (i32.const 1)))
        (call $append (i32.const 0) (i32.const 4)) (call $reply))
    (func $call (param $method i32) (param $reply i32)
        (call $self (i32.const 16) (i32.const 0) (i32.const 10))
        (call $new (i32.const 16) (i32.const 10) (local.get $method) (i32.const 1)
            (local.get $reply) (i32.const 0) (i32.const 1) (i32.const 0)))
    (func (export "canister_update wait5")
        (call $call (i32.const 100) (i32.const 0))
        (call $cycles (i64.const 0) (i64.const 1000))
        (call $best_effort (i32.const 5)) (drop (call $perform)))
    (func (export "canister_update wait_for_ever")
        (call $call (i32.const 100) (i32.const 0)) (drop (call $perform)))
    (func (export "canister_update s")
        (call $call (i32.const 101) (i32.const 2)) (drop (call $perform)))
    (func (export "canister_update e") (call $reply))
    (func (export "canister_query answers")
        (call $append (i32.const 40) (i32.const 4)) (call $reply)))"#;

#[test]
fn a_call_that_waits_for_a_bounded_time_ends() {
    let (mut core, id) = with(PATIENT);
    let cycles = |core: &Core| core.canister(&id).expect("exists").cycles;
    let before = cycles(&core);
    let ask = |core: &mut Core, method: &str| number(&update(core, &id, method).expect("replied"));
    // Time stands still, so nothing is ever late.
    assert_eq!(ask(&mut core, "wait5"), 0);
    let seconds = |step: u64| {
        let mut now = 1_700_000_000_000_000_000u64;
        move || {
            now += step * 1_000_000_000;
            now
        }
    };
    core.set_clock(Box::new(seconds(1)));
    assert_eq!(ask(&mut core, "wait5"), 0, "four seconds are enough");
    core.set_clock(Box::new({
        let mut clock = seconds(2);
        move || clock() + 1_000_000_000_000
    }));
    assert_eq!(ask(&mut core, "wait5"), 6, "SYS_UNKNOWN");
    assert_eq!(ask(&mut core, "wait_for_ever"), 0);
    // The callee ran to its end all the same, and cycles that it did not take are back.
    let answers = query(&mut core, &id, "answers").expect("replied");
    assert_eq!(number(&answers), 4);
    assert_eq!(cycles(&core), before);
    // What had not begun yet when its time was up does not begin.
    core.set_clock(Box::new({
        let mut clock = seconds(10);
        move || clock() + 2_000_000_000_000
    }));
    assert_eq!(ask(&mut core, "wait5"), 6);
    let answers = query(&mut core, &id, "answers").expect("replied");
    assert_eq!(number(&answers), 4);
    assert_eq!(cycles(&core), before);
}

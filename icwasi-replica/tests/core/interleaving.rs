//! Calls that wait let others go on.

use crate::common::*;
use candid::Principal;
use icwasi_replica::core::{CanisterStatus, Core, ErrorCode, UserError};

/// `add` reads a number, calls `e` of itself, and in the callback writes what it read plus one:
/// the usual mistake. `now` adds one without waiting. `ping` calls `e` again and again.
const CARELESS: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
    (memory 1)
    (table funcref (elem $write $nothing $again))
    (data (i32.const 100) "e")
    (func $write (param i32)
        (i32.store (i32.const 0) (i32.add (local.get 0) (i32.const 1)))
        (i64.store (i32.const 8) (call $counter (i32.const 1)))
        (call $append (i32.const 8) (i32.const 8)) (call $reply))
    (func $nothing (param i32))
    (func $again (param i32) (call $call (i32.const 2) (i32.const 0)))
    (func $call (param $then i32) (param $env i32)
        (call $self (i32.const 16) (i32.const 0) (i32.const 10))
        (call $new (i32.const 16) (i32.const 10) (i32.const 100) (i32.const 1)
            (local.get $then) (local.get $env) (i32.const 1) (i32.const 0))
        (drop (call $perform)))
    (func (export "canister_update add")
        (call $call (i32.const 0) (i32.load (i32.const 0))))
    (func (export "canister_update now")
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (call $append (i32.const 0) (i32.const 4)) (call $reply))
    (func (export "canister_update ping")
        (call $call (i32.const 2) (i32.const 0)))
    (func (export "canister_update e") (call $reply))
    (func (export "canister_query get")
        (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#;

type Outcome = (u64, Result<Vec<u8>, UserError>);

fn submit(core: &mut Core, id: &Principal, method: &str) -> u64 {
    let call = core.open_call();
    core.submit(call, id, user(), method, vec![]);
    call
}

/// Runs until nothing is left; outcomes in the order in which they came.
fn run(core: &mut Core) -> Vec<Outcome> {
    let mut all = Vec::new();
    while !core.is_idle() {
        core.advance();
        all.extend(core.outcomes());
    }
    all.into_iter()
        .map(|(call, outcome)| (call, outcome.map(|o| o.reply)))
        .collect()
}

fn get(core: &mut Core, id: &Principal) -> u64 {
    number(&query(core, id, "get").expect("replied"))
}

#[test]
fn an_update_is_lost_as_on_the_ic() {
    let (mut core, id) = with(CARELESS);
    update(&mut core, &id, "add").expect("replied");
    update(&mut core, &id, "add").expect("replied");
    assert_eq!(get(&mut core, &id), 2, "one after the other");

    let calls = [submit(&mut core, &id, "add"), submit(&mut core, &id, "add")];
    let outcomes = run(&mut core);
    assert_eq!(outcomes.iter().map(|o| o.0).collect::<Vec<_>>(), calls);
    assert_eq!(get(&mut core, &id), 3, "both had read 2");
    // Each context counts its own two messages.
    let counted: Vec<&Vec<u8>> = outcomes
        .iter()
        .map(|(_, o)| o.as_ref().expect("replied"))
        .collect();
    assert_eq!(counted[0], counted[1]);
}

#[test]
fn a_call_that_waits_is_overtaken() {
    let (mut core, id) = with(CARELESS);
    let waits = submit(&mut core, &id, "add");
    core.advance();
    assert!(core.outcomes().is_empty());
    let quick = submit(&mut core, &id, "now");
    let outcomes = run(&mut core);
    let order: Vec<u64> = outcomes.iter().map(|o| o.0).collect();
    assert_eq!(order, [quick, waits]);
    assert_eq!(outcomes[0].1.as_deref().expect("replied"), [1, 0, 0, 0]);

    // What goes on for ever keeps nobody else from being answered.
    let endless = submit(&mut core, &id, "ping");
    for expected in 2..5u8 {
        let call = submit(&mut core, &id, "now");
        core.advance();
        let outcomes = core.outcomes();
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].0, call);
        let reply = &outcomes[0].1.as_ref().expect("replied").reply;
        assert_eq!(reply[0], expected);
        assert_eq!(outcomes[0].1.as_ref().expect("replied").stats.messages, 1);
    }
    assert!(!core.is_idle());
    core.uninstall_code(user(), &id).expect("uninstalled");
    let outcomes = run(&mut core);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].0, endless);
    assert!(outcomes[0].1.is_err(), "its code is gone");
}

#[test]
fn a_canister_stops_when_its_calls_have_ended() {
    let (mut core, id) = with(CARELESS);
    let status = |core: &Core| core.canister(&id).expect("exists").status;
    let stop = |core: &mut Core| {
        let call = core.open_call();
        core.enter_call(call);
        let stopped = core.stop_canister(&id).map(|()| vec![7]);
        core.leave_call(stopped);
        call
    };
    let waits = submit(&mut core, &id, "add");
    core.advance();
    let stops = stop(&mut core);
    assert_eq!(status(&core), CanisterStatus::Stopping);
    let late = submit(&mut core, &id, "now");
    let outcomes = run(&mut core);
    let order: Vec<u64> = outcomes.iter().map(|o| o.0).collect();
    assert_eq!(order, [late, waits, stops], "in the order of their ends");
    let refused = outcomes[0].1.as_ref().expect_err("it stops");
    assert_eq!(refused.code, ErrorCode::CanisterStopping);
    // Its own call, `e`, is refused as well; so it did not answer.
    assert_eq!(
        outcomes[1].1.as_ref().expect_err("no answer").code,
        ErrorCode::CanisterDidNotReply
    );
    assert_eq!(outcomes[2].1.as_deref().expect("stopped"), [7]);
    assert_eq!(status(&core), CanisterStatus::Stopped);

    // Without open calls it stops at once.
    core.start_canister(&id).expect("started");
    let stops = stop(&mut core);
    let outcomes = core.outcomes();
    assert_eq!((outcomes[0].0, outcomes[0].1.is_ok()), (stops, true));

    // Calls of itself are new as well, so this loop ends.
    core.start_canister(&id).expect("started");
    submit(&mut core, &id, "ping");
    core.advance();
    core.advance();
    let first = stop(&mut core);
    core.advance();
    assert_eq!(status(&core), CanisterStatus::Stopping);
    assert_eq!(run(&mut core).last().expect("an outcome").0, first);
    assert_eq!(status(&core), CanisterStatus::Stopped);
}

#[test]
fn who_waits_for_a_stop_is_told_when_it_does_not_come() {
    let (mut core, id) = with(CARELESS);
    let other = create(&mut core);
    install(&mut core, &other, WAITS).expect("installed");
    let stop = |core: &mut Core| {
        let call = core.open_call();
        core.enter_call(call);
        let stopped = core.stop_canister(&other).map(|()| vec![]);
        core.leave_call(stopped);
        call
    };
    // `other` calls the endless `ping`, so its context stays open.
    let call = core.open_call();
    core.submit(call, &other, user(), "wait", id.as_slice().to_vec());
    for _ in 0..4 {
        core.advance();
    }
    let cancelled = stop(&mut core);
    core.advance();
    assert!(core.outcomes().is_empty());
    core.start_canister(&other).expect("started");
    let outcomes = core.outcomes();
    assert_eq!(outcomes[0].0, cancelled);
    let error = outcomes[0].1.as_ref().expect_err("cancelled");
    assert_eq!(error.code, ErrorCode::CanisterStoppingCancelled);

    let late = stop(&mut core);
    core.set_time(core.time() + 299_000_000_000);
    core.advance();
    assert!(core.outcomes().is_empty());
    core.set_time(core.time() + 1_000_000_000);
    core.advance();
    let outcomes = core.outcomes();
    assert_eq!(outcomes[0].0, late);
    let error = outcomes[0].1.as_ref().expect_err("too late");
    assert_eq!(error.code, ErrorCode::StopCanisterRequestTimeout);
    let status = core.canister(&other).expect("exists").status;
    assert_eq!(status, CanisterStatus::Stopping, "it goes on stopping");
}

/// Calls `ping` of the canister whose id is the argument.
const WAITS: &str = r#"(module
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 1)
    (table funcref (elem $nothing))
    (data (i32.const 110) "ping")
    (func $nothing (param i32))
    (func (export "canister_update wait")
        (call $arg (i32.const 0) (i32.const 0) (i32.const 10))
        (call $new (i32.const 0) (i32.const 10) (i32.const 110) (i32.const 4)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (drop (call $perform))))"#;

//! Queries while a message runs: they see the state before it, and it does not notice them.

use std::sync::{Arc, Mutex};

use candid::Principal;
use icwasi_replica::core::{Core, CoreConfig, ErrorCode, InstallMode};

use crate::common::*;

/// `work` changes a global, the heap (which it makes larger), and stable memory (also larger), all
/// before, while and after it runs for some million instructions; it traps if it finds something
/// else than what it wrote. `see` replies what is there. `ask` asks `see` of the canister whose
/// id is the argument.
const WORKER: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $args (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $size (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 2 8)
    (table funcref (elem $answered $refused))
    (data (i32.const 900) "see")
    (global $g (mut i32) (i32.const 10))
    (func $put (param $n i32)
        (global.set $g (local.get $n))
        (i32.store (i32.const 16) (local.get $n))
        (i32.store (i32.const 70000) (local.get $n))
        (call $write (i64.const 0) (i64.const 16) (i64.const 4)))
    (func $check (param $n i32)
        (call $read (i64.const 32) (i64.const 0) (i64.const 4))
        (if (i32.or (i32.or
                (i32.xor (global.get $g) (local.get $n))
                (i32.xor (i32.load (i32.const 70000)) (local.get $n)))
                (i32.xor (i32.load (i32.const 32)) (local.get $n)))
            (then unreachable)))
    (func $spin (local $i i32)
        (loop $l
            (i32.store (i32.add (i32.const 1024) (i32.and (local.get $i) (i32.const 0xfffc)))
                (local.get $i))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (i32.const 100000)))))
    (func $work
        (call $put (i32.const 11)) (call $spin) (call $check (i32.const 11))
        (if (i32.ne (memory.grow (i32.const 3)) (i32.const 2)) (then unreachable))
        (i32.store (i32.const 300000) (i32.const 77))
        (drop (call $grow (i64.const 2)))
        (call $put (i32.const 12)) (call $spin) (call $check (i32.const 12))
        (if (i32.ne (i32.load (i32.const 300000)) (i32.const 77)) (then unreachable))
        (call $spin) (call $check (i32.const 12)))
    (func (export "canister_init")
        (drop (call $grow (i64.const 1))) (call $put (i32.const 10)) (call $spin))
    (func (export "canister_post_upgrade") (call $spin))
    (func (export "canister_update work") (call $work) (call $reply))
    (func (export "canister_update fail") (call $work) unreachable)
    (func $see
        (i32.store (i32.const 48) (global.get $g))
        (i32.store (i32.const 52) (i32.load (i32.const 70000)))
        (call $read (i64.const 56) (i64.const 0) (i64.const 4))
        (i32.store (i32.const 60) (memory.size))
        (i64.store (i32.const 64) (call $size))
        ;; What a query changes is gone with it.
        (i32.store (i32.const 70000) (i32.const 99))
        (global.set $g (i32.const 99))
        (drop (memory.grow (i32.const 1)))
        (call $append (i32.const 48) (i32.const 24)) (call $reply))
    (func (export "canister_query see") (call $see))
    (func $answered (param i32)
        (call $arg (i32.const 48) (i32.const 0) (i32.const 24))
        (call $append (i32.const 48) (i32.const 24)) (call $reply))
    (func $refused (param i32) unreachable)
    (func (export "canister_composite_query ask")
        (call $arg (i32.const 0) (i32.const 0) (call $args))
        (call $new (i32.const 0) (call $args) (i32.const 900) (i32.const 3)
            (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
        (drop (call $perform))))"#;

/// Global, heap, stable memory, and their sizes in pages.
fn seen(reply: &[u8]) -> [u32; 5] {
    let word = |i: usize| u32::from_le_bytes(reply[i..i + 4].try_into().expect("four bytes"));
    [word(0), word(4), word(8), word(12), word(16)]
}

const BEFORE: [u32; 5] = [10, 10, 10, 2, 1];
const AFTER: [u32; 5] = [12, 12, 12, 5, 3];

fn two() -> (Core, Principal, Principal) {
    let mut config = CoreConfig::default();
    config.limits.slice_instructions = 50_000;
    let mut core = Core::new(config).expect("a core");
    core.set_time(1_700_000_000_000_000_000);
    let worker = create(&mut core);
    install(&mut core, &worker, WORKER).expect("installed");
    let other = create(&mut core);
    install(&mut core, &other, WORKER).expect("installed");
    (core, worker, other)
}

/// Lets `during` run in the pauses; what it returns is collected.
fn in_pauses<T: Send + 'static>(
    core: &mut Core,
    mut during: impl FnMut(&mut Core) -> T + Send + 'static,
) -> Arc<Mutex<Vec<T>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let collect = all.clone();
    core.set_pause(Box::new(move |core| {
        let one = during(core);
        collect.lock().expect("no panic").push(one);
    }));
    all
}

#[test]
fn queries_see_the_state_before_the_message_that_runs() {
    let (mut plain, id, _) = two();
    let undisturbed = instructions(update(&mut plain, &id, "work"));
    for (method, ends_with) in [("work", AFTER), ("fail", BEFORE)] {
        let (mut core, worker, other) = two();
        assert_eq!(
            seen(&query(&mut core, &worker, "see").expect("replied").reply),
            BEFORE
        );
        let answers = in_pauses(&mut core, move |core| {
            let asked = core.query(&other, user(), "ask", worker.as_slice().to_vec());
            [
                query(core, &worker, "see").expect("replied").reply,
                asked.expect("replied").reply,
                query(core, &other, "see").expect("replied").reply,
            ]
        });
        let result = update(&mut core, &worker, method);
        if method == "work" {
            assert_eq!(instructions(result), undisturbed);
        } else {
            assert_eq!(code(result), ErrorCode::CanisterTrapped);
        }
        let mut answers = answers.lock().expect("no panic");
        // The last one is from after the message.
        let last = answers
            .pop()
            .expect("it was called between messages as well");
        assert!(answers.len() > 20, "{} pauses", answers.len());
        for answer in answers.iter().flatten() {
            assert_eq!(seen(answer), BEFORE);
        }
        assert_eq!(seen(&last[0]), ends_with);
        drop(answers);
        core.set_pause(Box::new(|_| {}));
        assert_eq!(
            seen(&query(&mut core, &worker, "see").expect("replied").reply),
            ends_with
        );
        update(&mut core, &other, "work").expect("it is as it was");
    }
}

#[test]
fn what_is_being_installed_cannot_be_asked() {
    let (mut core, worker, other) = two();
    update(&mut core, &worker, "work").expect("replied");
    let answers = in_pauses(&mut core, move |core| {
        let asked = core.query(&other, user(), "ask", worker.as_slice().to_vec());
        (
            core.takes_queries(&worker),
            core.takes_queries(&other),
            asked.is_ok(),
        )
    });
    let mode = InstallMode::Upgrade(Default::default());
    let module = wasm(WORKER);
    core.install_code(user(), &worker, mode, &module, &[])
        .expect("upgraded");
    let answers = answers.lock().expect("no panic");
    assert!(answers.contains(&(false, true, false)), "{answers:?}");
    drop(answers);
    core.set_pause(Box::new(|_| {}));
    // Stable memory is as it was, the heap is new.
    let reply = query(&mut core, &worker, "see").expect("replied").reply;
    assert_eq!(seen(&reply), [10, 0, 12, 2, 3]);
}

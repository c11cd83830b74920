//! Limits of messages, and cycles.

use crate::common::*;
use icwasi_replica::core::limits::Limits;
use icwasi_replica::core::{Core, CoreConfig, ErrorCode, InstallMode, UserError};

fn limited(change: impl FnOnce(&mut Limits)) -> Core {
    let mut config = CoreConfig::default();
    change(&mut config.limits);
    let mut core = Core::new(config).expect("a core");
    core.set_time(1_700_000_000_000_000_000);
    core
}

/// Each kind of execution stops at its own limit, exactly.
#[test]
fn instructions_of_each_kind_of_execution() {
    let mut core = limited(|l| {
        l.update_instructions = 10_001;
        l.query_instructions = 10_002;
        l.inspect_instructions = 10_003;
        // Compiling takes 1.2 million of it.
        l.install_instructions = 2_000_000;
    });
    let module = |more: &str| {
        format!(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "accept_message" (func $accept))
                (import "ic0" "msg_method_name_size" (func $name (result i32)))
                (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
                (import "ic0" "call_perform" (func $perform (result i32)))
                (memory 1)
                (table funcref (elem $closure))
                (func $spin (loop (br 0)))
                (func $closure (param i32) (call $spin))
                (func (export "canister_update ok") (call $reply))
                (func (export "canister_update u") (call $spin))
                (func (export "canister_query q") (call $spin))
                (func (export "canister_composite_query c") (call $spin))
                (func (export "canister_inspect_message") (call $spin))
                (func (export "canister_update callback")
                    (call $new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                    (drop (call $perform)))
                {more})"#
        )
    };
    let id = create(&mut core);
    install(&mut core, &id, &module("")).expect("installed");
    let stopped = |result: Result<(), UserError>, limit: u64| {
        let e = result.expect_err("it never ends");
        assert_eq!(e.code, ErrorCode::CanisterInstructionLimitExceeded, "{e}");
        let text = format!("limit of {limit} instructions");
        assert!(e.message.contains(&text), "{e}");
        e.stats.expect("it ran").instructions
    };
    for (method, limit) in [("u", 10_001), ("q", 10_001)] {
        let result = update(&mut core, &id, method).map(|_| ());
        assert_eq!(stopped(result, limit), limit, "{method} as an update");
    }
    for method in ["q", "c"] {
        let result = query(&mut core, &id, method).map(|_| ());
        assert_eq!(stopped(result, 10_002), 10_002, "{method} as a query");
    }
    let result = core.inspect_message(&id, user(), "u", &[]);
    assert_eq!(stopped(result, 10_003), 10_003);
    // A reject callback, after a call to the management canister that nobody serves.
    let result = update(&mut core, &id, "callback").map(|_| ());
    assert!(stopped(result, 10_001) > 10_001 + 6_500);
    for hook in [
        "canister_init",
        "canister_pre_upgrade",
        "canister_post_upgrade",
    ] {
        let endless = module(&format!("(func (export \"{hook}\") (call $spin))"));
        let id = create(&mut core);
        let result = match hook {
            "canister_init" => install(&mut core, &id, &endless),
            _ => {
                let (old, new) = match hook {
                    "canister_pre_upgrade" => (endless.clone(), module("")),
                    _ => (module(""), endless.clone()),
                };
                install(&mut core, &id, &old).expect("installed");
                upgrade(&mut core, &id, &new)
            }
        };
        let e = result.expect_err("it never ends");
        assert_eq!(e.code, ErrorCode::CanisterInstructionLimitExceeded, "{e}");
        let stats = e.stats.expect("it ran");
        assert_eq!(
            stats.instructions, 2_000_000,
            "{hook}: compiling is in the limit"
        );
    }
    let timer = module("(func (export \"canister_heartbeat\") (call $spin))");
    let id = create(&mut core);
    install(&mut core, &id, &timer).expect("installed");
    assert_eq!(core.run_timers(), 1);
    let log = core
        .canister(&id)
        .expect("exists")
        .log
        .records()
        .last()
        .cloned();
    let text = String::from_utf8(log.expect("a line").content).expect("text");
    assert!(text.contains("limit of 10001 instructions"), "{text}");
}

/// Pages of stable memory that one message may touch, and one more.
#[test]
fn stable_memory_access() {
    let mut core = limited(|l| {
        l.stable_access_update_bytes = 8 * 4096;
        l.stable_access_install_bytes = 16 * 4096;
        l.stable_access_query_bytes = 4 * 4096;
    });
    let module = |pages: u32| {
        format!(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
                (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
                (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
                (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
                (memory 4)
                (func $pages (result i64)
                    (call $arg (i32.const 0) (i32.const 0) (i32.const 1))
                    (i64.mul (i64.load8_u (i32.const 0)) (i64.const 4096)))
                (func (export "canister_init")
                    (drop (call $grow (i64.const 4)))
                    (call $write (i64.const 0) (i64.const 0) (i64.mul (i64.const {pages}) (i64.const 4096))))
                (func (export "canister_update write")
                    (call $write (i64.const 0) (i64.const 0) (call $pages)) (call $reply))
                (func (export "canister_update read")
                    (call $read (i64.const 0) (i64.const 0) (call $pages)) (call $reply))
                (func (export "canister_update both")
                    (call $read (i64.const 0) (i64.const 0) (i64.const 20480))
                    (call $write (i64.const 20480) (i64.const 0) (call $pages)) (call $reply))
                (func (export "canister_query qread")
                    (call $read (i64.const 0) (i64.const 0) (call $pages)) (call $reply))
                (func (export "canister_query qwrite")
                    (call $write (i64.const 0) (i64.const 0) (call $pages)) (call $reply)))"#
        )
    };
    let id = create(&mut core);
    let e = install(&mut core, &id, &module(17)).expect_err("17 pages");
    assert_eq!(e.code, ErrorCode::CanisterMemoryAccessLimitExceeded);
    install(&mut core, &id, &module(16)).expect("16 pages");
    for (method, most, is_query) in [
        ("write", 8, false),
        ("read", 8, false),
        ("both", 3, false),
        ("qread", 4, true),
        ("qwrite", 4, true),
    ] {
        let run = |core: &mut Core, pages: u8| match is_query {
            true => core.query(&id, user(), method, vec![pages]),
            false => core.update(&id, user(), method, vec![pages]),
        };
        for _ in 0..2 {
            run(&mut core, most).unwrap_or_else(|e| panic!("{method}: {e}"));
        }
        let e = run(&mut core, most + 1).expect_err("one more");
        assert_eq!(
            e.code,
            ErrorCode::CanisterMemoryAccessLimitExceeded,
            "{method}"
        );
    }
}

#[test]
fn requests_and_queues() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_data_append" (func $data (param i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 200)
            (table funcref (elem $nothing))
            (data (i32.const 0) "\00\01\02\03\04\05\06\07\01\01x")
            (func $nothing (param i32))
            (func $begin (param $id i32) (param $size i32)
                (call $new (local.get $id) (local.get $size) (i32.const 10) (i32.const 1)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
            (func (export "canister_update most")
                (call $begin (i32.const 0) (i32.const 10))
                (call $data (i32.const 0) (i32.const 10485760))
                (drop (call $perform)) (call $reply))
            (func (export "canister_update more")
                (call $begin (i32.const 0) (i32.const 10))
                (call $data (i32.const 0) (i32.const 10485760))
                (call $data (i32.const 0) (i32.const 1))
                (drop (call $perform)) (call $reply))
            (func (export "canister_update many") (local $n i32) (local $failed i32)
                (loop $l
                    (call $begin (i32.const 0) (i32.const 10))
                    (local.set $failed (i32.add (local.get $failed) (call $perform)))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                        (i32.const 501))))
                ;; Another callee has a queue of its own.
                (call $begin (i32.const 0) (i32.const 0))
                (i32.store (i32.const 104) (call $perform))
                (i32.store (i32.const 100) (local.get $failed))
                (call $append (i32.const 100) (i32.const 8)) (call $reply)))"#,
    );
    update(&mut core, &id, "most").expect("10 MiB");
    assert_eq!(
        code(update(&mut core, &id, "more")),
        ErrorCode::CanisterContractViolation
    );
    for _ in 0..2 {
        let reply = update(&mut core, &id, "many").expect("replied").reply;
        assert_eq!(
            reply,
            [2, 0, 0, 0, 0, 0, 0, 0],
            "one of 501 with SYS_TRANSIENT"
        );
    }
}

const GROWING: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 3)
    (table funcref (elem $grow))
    (func $grow (param i32) (drop (memory.grow (i32.const 10))) (call $reply))
    (func (export "canister_update ok") (call $reply))
    (func (export "canister_query q") (drop (memory.grow (i32.const 10))) (call $reply))
    (func (export "canister_update in_callback")
        (call $new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (drop (call $perform)))
    (func (export "canister_heartbeat") (drop (memory.grow (i32.const 10)))))"#;

#[test]
fn wasm_memory_limit() {
    let page = 65_536;
    let (mut core, id) = with(GROWING);
    let limit = |core: &mut Core, pages: u64| {
        core.canister_mut(&id)
            .expect("exists")
            .settings
            .wasm_memory_limit = pages * page;
    };
    let pages = |core: &Core| core.canister(&id).expect("exists").heap_bytes() / page;
    limit(&mut core, 5);
    core.run_timers();
    assert_eq!(pages(&core), 3, "a heartbeat is bound by it");
    query(&mut core, &id, "q").expect("queries are not");
    update(&mut core, &id, "in_callback").expect("neither are callbacks");
    assert_eq!(pages(&core), 13);
    // Now updates are refused at once, queries and callbacks are not.
    let e = update(&mut core, &id, "ok").expect_err("13 pages are in use");
    assert_eq!(e.code, ErrorCode::CanisterWasmMemoryLimitExceeded);
    query(&mut core, &id, "q").expect("still");
    limit(&mut core, 13);
    update(&mut core, &id, "ok").expect("as much as the limit");
    limit(&mut core, 2);
    let mode = InstallMode::Reinstall;
    let e = core
        .install_code(user(), &id, mode, &wasm(GROWING), &[])
        .expect_err("the module begins with more");
    assert_eq!(e.code, ErrorCode::CanisterWasmMemoryLimitExceeded);
    assert_eq!(pages(&core), 13, "nothing was installed");
    limit(&mut core, 0);
    update(&mut core, &id, "ok").expect("0 is no limit");
}

/// Everything that a message sets goes with it when it traps.
#[test]
fn a_trap_undoes_what_is_not_memory() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
            (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
            (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (memory 1) (data (i32.const 0) "first")
            (func $all
                (call $certify (i32.const 0) (i32.const 5))
                (drop (call $timer (i64.const 77)))
                (call $burn (i64.const 0) (i64.const 1000) (i32.const 100))
                (drop (call $grow (i64.const 1))))
            (func (export "canister_update keep") (call $all) (call $reply))
            (func (export "canister_update drop") (call $all) (call $reply) unreachable)
            (func (export "canister_query query") (call $reply)))"#,
    );
    let state = |core: &Core| {
        let c = core.canister(&id).expect("exists");
        let memory = (c.heap_bytes(), c.stable_bytes());
        (
            c.certified_data.clone(),
            c.global_timer,
            c.cycles,
            c.version,
            memory,
        )
    };
    let before = state(&core);
    assert_eq!(
        code(update(&mut core, &id, "drop")),
        ErrorCode::CanisterTrapped
    );
    assert_eq!(state(&core), before);
    query(&mut core, &id, "query").expect("replied");
    assert_eq!(state(&core), before);
    update(&mut core, &id, "keep").expect("replied");
    let cycles = before.2 - 1000;
    let after = (
        b"first".to_vec(),
        77,
        cycles,
        before.3 + 1,
        (65_536, 65_536),
    );
    assert_eq!(state(&core), after);
}

const SPENDER: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "canister_liquid_cycle_balance128" (func $liquid (param i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (memory 1)
    (func (export "canister_update u") (call $reply))
    (func (export "canister_query liquid")
        (call $liquid (i32.const 0)) (call $append (i32.const 0) (i32.const 16)) (call $reply))
    (func (export "canister_update stable") (drop (call $grow (i64.const 160000))) (call $reply))
    (func (export "canister_update heap") (drop (memory.grow (i32.const 60000))) (call $reply)))"#;

fn paying() -> (Core, candid::Principal) {
    let mut core = limited(|l| l.fees.charge = true);
    let id = create(&mut core);
    install(&mut core, &id, SPENDER).expect("installed");
    (core, id)
}

#[test]
fn messages_are_paid_for() {
    let (mut core, id) = paying();
    let cycles = |core: &Core| core.canister(&id).expect("exists").cycles;
    let before = cycles(&core);
    let used = instructions(update(&mut core, &id, "u"));
    // The message and its method's name, then its execution; what was paid ahead came back.
    let fee = 1_200_000 + 2_000 + 5_000_000 + u128::from(used);
    assert_eq!(before - cycles(&core), fee);
    let before = cycles(&core);
    query(&mut core, &id, "liquid").expect("replied");
    assert_eq!(cycles(&core), before, "queries are free");
}

#[test]
fn the_freezing_threshold() {
    let (mut core, id) = paying();
    // 1,000 seconds of a canister's bytes at 127,000 cycles a GiB.
    let canister = core.canister_mut(&id).expect("exists");
    canister.settings.freezing_threshold = 1_000_000;
    let bytes = u128::from(canister.billed_bytes());
    assert!(bytes > 65_536);
    let threshold = (bytes * 127_000 * 1_000_000) >> 30;
    canister.cycles = threshold + 50_000_000_000;
    let reply = query(&mut core, &id, "liquid").expect("replied").reply;
    let liquid = u128::from_le_bytes(reply.try_into().expect("16 bytes"));
    assert_eq!(liquid, 50_000_000_000);
    // A message pays for all that it may use ahead: 40 billion and 5 million, and the ingress fee.
    update(&mut core, &id, "u").expect("enough");
    let canister = core.canister_mut(&id).expect("exists");
    canister.cycles = threshold + 40_000_000_000;
    assert_eq!(
        code(update(&mut core, &id, "u")),
        ErrorCode::CanisterOutOfCycles
    );
    query(&mut core, &id, "liquid").expect("queries are only refused below the threshold");
    core.canister_mut(&id).expect("exists").cycles = threshold - 1;
    assert_eq!(
        code(query(&mut core, &id, "liquid")),
        ErrorCode::CanisterOutOfCycles
    );
    let e = update(&mut core, &id, "u").expect_err("frozen");
    assert_eq!(e.code, ErrorCode::CanisterOutOfCycles);
    assert!(e.message.contains("is out of cycles"), "{e}");
}

#[test]
fn memory_that_cannot_be_kept() {
    let (mut core, id) = paying();
    let canister = core.canister_mut(&id).expect("exists");
    canister.settings.freezing_threshold = 10_000_000;
    canister.settings.wasm_memory_limit = 0;
    // 10 GiB for 10 million seconds are 12.7 trillion cycles.
    canister.cycles = 1_000_000_000_000;
    for method in ["stable", "heap"] {
        let e = update(&mut core, &id, method).expect_err("too dear");
        assert_eq!(
            e.code,
            ErrorCode::InsufficientCyclesInMemoryGrow,
            "{method}: {e}"
        );
    }
    core.canister_mut(&id).expect("exists").cycles = 20_000_000_000_000;
    for method in ["stable", "heap"] {
        update(&mut core, &id, method).expect("affordable");
    }
}

#[test]
fn storage_is_paid_by_the_second() {
    let (mut core, id) = paying();
    core.run_timers();
    let canister = core.canister(&id).expect("exists");
    let (before, bytes) = (canister.cycles, u128::from(canister.billed_bytes()));
    core.set_time(core.time() + 1_000_000_000_000);
    core.run_timers();
    let fee = (bytes * 127_000 * 1_000) >> 30;
    assert!(fee > 0);
    assert_eq!(before - core.canister(&id).expect("exists").cycles, fee);
    // Who cannot pay loses code and memory.
    core.canister_mut(&id).expect("exists").cycles = fee - 1;
    core.set_time(core.time() + 1_000_000_000_000);
    core.run_timers();
    let canister = core.canister(&id).expect("exists");
    assert_eq!((canister.cycles, canister.module_hash()), (0, None));
}

/// The values of the published limits.
#[test]
fn defaults() {
    let l = Limits::default();
    assert_eq!(l.update_instructions, 40_000_000_000);
    assert_eq!(l.query_instructions, 5_000_000_000);
    assert_eq!(l.composite_query_instructions, 5_000_000_000);
    assert_eq!(l.install_instructions, 300_000_000_000);
    assert_eq!(l.inspect_instructions, 200_000_000);
    assert_eq!(l.stable_access_update_bytes, 2 << 30);
    assert_eq!(l.stable_access_install_bytes, 8 << 30);
    assert_eq!(l.stable_access_query_bytes, 1 << 30);
    assert_eq!(l.stable_pages, 8_192_000);
    assert_eq!((l.reply_bytes, l.query_reply_bytes), (2 << 20, 3 << 20));
    assert_eq!((l.xnet_request_bytes, l.ingress_bytes), (10 << 20, 2 << 20));
}

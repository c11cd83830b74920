//! State across messages: what is kept, what a trap or a query undoes, upgrades, contexts.

use crate::common::*;
use icwasi_replica::core::{Core, ErrorCode, InstallMode, MainMemory, UpgradeOptions};

/// Heap word 0, a mutable global and stable word 0, each raised by one; then what `END` does.
const COUNTERS: &str = r#"
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $size (result i64)))
    (import "ic0" "stable64_write" (func $swrite (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $sread (param i64 i64 i64)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (memory $m 2 300)
    (global $g (mut i64) (i64.const 0))
    (global $v (mut v128) (v128.const i64x2 0 0))
    (func $bump
        (if (i64.eqz (call $size)) (then (drop (call $grow (i64.const 1)))))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (i64.store (i32.const 70000) (i64.add (i64.load (i32.const 70000)) (i64.const 1)))
        (global.set $g (i64.add (global.get $g) (i64.const 1)))
        (global.set $v (i64x2.add (global.get $v) (v128.const i64x2 1 1)))
        (call $sread (i64.const 16) (i64.const 0) (i64.const 8))
        (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
        (call $swrite (i64.const 0) (i64.const 16) (i64.const 8)))
    (func $show
        (i64.store (i32.const 8) (global.get $g))
        (call $append (i32.const 0) (i32.const 16))
        (call $sread (i64.const 16) (i64.const 0) (i64.const 8))
        (call $append (i32.const 16) (i32.const 8))
        (call $append (i32.const 70000) (i32.const 8))
        (i64.store (i32.const 8) (i64x2.extract_lane 1 (global.get $v)))
        (call $append (i32.const 8) (i32.const 8))
        (i32.store (i32.const 8) (memory.size))
        (call $append (i32.const 8) (i32.const 4))
        (call $reply))
    (func (export "canister_update bump") (call $bump) (call $show))
    (func (export "canister_query peek") (call $bump) (call $show))
    (func (export "canister_update trap") (call $bump) unreachable)
    (func (export "canister_update silent") (call $bump))
    (func (export "canister_update grow") (drop (memory.grow (i32.const 9))) (call $bump)
        (i32.store (i32.const 700000) (i32.const 77)) (call $show))
    (func (export "canister_update grow_trap") (drop (memory.grow (i32.const 9))) (call $bump)
        (i32.store (i32.const 700000) (i32.const 77)) unreachable)
    (func (export "canister_query far")
        (drop (memory.grow (i32.const 9)))
        (call $append (i32.const 700000) (i32.const 4)) (call $reply))
    (func (export "canister_update copy_trap")
        (call $arg (i32.const 100) (i32.const 0) (i32.const 4)) unreachable)
    (func (export "canister_query hundred")
        (call $append (i32.const 100) (i32.const 4)) (call $reply))
"#;

pub fn counters() -> String {
    format!("(module {COUNTERS})")
}

/// Heap, global, stable, second heap page, vector global, pages.
pub fn shown(reply: &[u8]) -> (u64, u64, u64, u64, u64, u32) {
    let word = |i: usize| u64::from_le_bytes(reply[i..i + 8].try_into().expect("8 bytes"));
    let pages = u32::from_le_bytes(reply[40..44].try_into().expect("4 bytes"));
    (word(0), word(8), word(16), word(24), word(32), pages)
}

#[test]
fn updates_last_and_queries_do_not() {
    let (mut core, id) = with(&counters());
    for n in 1..4 {
        let reply = update(&mut core, &id, "bump").expect("replied").reply;
        assert_eq!(shown(&reply), (n, n, n, n, n, 2));
        for _ in 0..2 {
            let reply = query(&mut core, &id, "peek").expect("replied").reply;
            assert_eq!(shown(&reply), (n + 1, n + 1, n + 1, n + 1, n + 1, 2));
        }
    }
    // A query called as an update is undone too.
    let reply = update(&mut core, &id, "peek").expect("replied").reply;
    assert_eq!(shown(&reply).0, 4);
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    assert_eq!(shown(&reply), (4, 4, 4, 4, 4, 2));
}

#[test]
fn a_trap_undoes_heap_globals_and_stable_memory() {
    let (mut core, id) = with(&counters());
    update(&mut core, &id, "bump").expect("replied");
    let version = core.canister(&id).expect("exists").version;
    assert_eq!(
        code(update(&mut core, &id, "trap")),
        ErrorCode::CanisterTrapped
    );
    assert_eq!(core.canister(&id).expect("exists").version, version);
    assert_eq!(core.canister(&id).expect("exists").stable_bytes(), 65_536);
    assert_eq!(
        code(update(&mut core, &id, "grow_trap")),
        ErrorCode::CanisterTrapped
    );
    assert_eq!(core.canister(&id).expect("exists").heap_bytes(), 2 * 65_536);
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    assert_eq!(shown(&reply), (2, 2, 2, 2, 2, 2));
    // Memory that was grown, written and given back reads as zero when it is grown again.
    assert_eq!(number(&query(&mut core, &id, "far").expect("replied")), 0);
    // What host functions write is undone as well.
    let result = core.update(&id, user(), "copy_trap", vec![1, 2, 3, 4]);
    assert_eq!(code(result), ErrorCode::CanisterTrapped);
    assert_eq!(
        number(&query(&mut core, &id, "hundred").expect("replied")),
        0
    );
    // Growth that is kept is kept.
    let reply = update(&mut core, &id, "grow").expect("replied").reply;
    assert_eq!(shown(&reply), (3, 3, 3, 3, 3, 11));
    assert_eq!(
        code(update(&mut core, &id, "grow_trap")),
        ErrorCode::CanisterTrapped
    );
    assert_eq!(number(&query(&mut core, &id, "far").expect("replied")), 77);
    assert_eq!(
        core.canister(&id).expect("exists").heap_bytes(),
        11 * 65_536
    );
}

#[test]
fn no_reply_keeps_the_state() {
    let (mut core, id) = with(&counters());
    assert_eq!(
        code(update(&mut core, &id, "silent")),
        ErrorCode::CanisterDidNotReply
    );
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    assert_eq!(shown(&reply).0, 2, "not replying is no trap");
}

#[test]
fn upgrade_keeps_stable_memory_only() {
    let (mut core, id) = with(&counters());
    update(&mut core, &id, "bump").expect("replied");
    update(&mut core, &id, "bump").expect("replied");
    upgrade(&mut core, &id, &counters()).expect("upgraded");
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    assert_eq!(shown(&reply), (1, 1, 3, 1, 1, 2));
    core.install_code(user(), &id, InstallMode::Reinstall, &wasm(&counters()), &[])
        .expect("reinstalled");
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    assert_eq!(shown(&reply), (1, 1, 1, 1, 1, 2));
    let again = core.install_code(user(), &id, InstallMode::Install, &wasm(&counters()), &[]);
    assert_eq!(
        again.expect_err("not empty").code,
        ErrorCode::CanisterNonEmpty
    );
}

#[test]
fn a_failed_upgrade_changes_nothing() {
    // pre_upgrade changes everything; it must be undone when post_upgrade fails.
    let old = format!(
        r#"(module {COUNTERS} (func (export "canister_pre_upgrade") (call $bump)
            (drop (memory.grow (i32.const 1)))))"#
    );
    let (mut core, id) = with(&old);
    update(&mut core, &id, "bump").expect("replied");
    let before = core.canister(&id).expect("exists");
    let (hash, version, history) = (before.module_hash(), before.version, before.history.len());
    let bad = r#"(module
        (import "ic0" "stable64_write" (func $swrite (param i64 i64 i64)))
        (import "ic0" "trap" (func $trap (param i32 i32)))
        (memory 1) (data (i32.const 0) "no way\ff\ff")
        (func (export "canister_post_upgrade")
            (call $swrite (i64.const 0) (i64.const 0) (i64.const 8))
            (call $trap (i32.const 0) (i32.const 6))))"#;
    let e = upgrade(&mut core, &id, bad).expect_err("it traps");
    assert_eq!(e.code, ErrorCode::CanisterCalledTrap);
    assert!(e.message.contains("no way"), "{}", e.message);
    let after = core.canister(&id).expect("exists");
    assert_eq!(after.module_hash(), hash);
    assert_eq!((after.version, after.history.len()), (version, history));
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    assert_eq!(shown(&reply), (2, 2, 2, 2, 2, 2));
    // A pre_upgrade that traps stops the upgrade, unless it is skipped.
    let stuck = r#"(module (func (export "canister_pre_upgrade") unreachable))"#;
    upgrade(&mut core, &id, stuck).expect("upgraded");
    assert_eq!(
        upgrade(&mut core, &id, &counters())
            .expect_err("it traps")
            .code,
        ErrorCode::CanisterTrapped
    );
    let mode = InstallMode::Upgrade(icwasi_replica::core::UpgradeOptions {
        skip_pre_upgrade: true,
        main_memory: None,
    });
    core.install_code(user(), &id, mode, &wasm(&counters()), &[])
        .expect("upgraded");
    let reply = update(&mut core, &id, "bump").expect("replied").reply;
    // Stable: bumped twice by updates, by one pre_upgrade that succeeded, and now.
    assert_eq!(shown(&reply), (1, 1, 4, 1, 1, 2));
}

#[test]
fn start_runs_before_init() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
            (import "ic0" "msg_arg_data_size" (func $args (result i32)))
            (memory 1)
            (func $start (i32.store8 (i32.const 0) (i32.const 65)))
            (start $start)
            (func (export "canister_init")
                (i32.store8 (i32.const 1) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
                (call $arg (i32.const 2) (i32.const 0) (call $args)))
            (func (export "canister_query q")
                (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
    );
    assert_eq!(
        query(&mut core, &id, "q").expect("replied").reply,
        b"AB\0\0"
    );
}

#[test]
fn functions_are_refused_in_the_wrong_context() {
    let module = |import: &str, entry: &str, call: &str| {
        format!(
            r#"(module {import} (import "ic0" "msg_reply" (func $reply)) (memory 1)
                (func (export "{entry}") {call}))"#
        )
    };
    let time = r#"(import "ic0" "time" (func $f (result i64)))"#;
    let (mut core, id) = empty();
    let text = format!(r#"(module {time} (func $s (drop (call $f))) (start $s))"#);
    let e = install(&mut core, &id, &text).expect_err("no time in start");
    assert_eq!(e.code, ErrorCode::CanisterContractViolation);
    assert!(
        e.message
            .contains("\"ic0_time\" cannot be executed in start mode"),
        "{}",
        e.message
    );

    let call = r#"(import "ic0" "call_perform" (func $f (result i32)))"#;
    let text = module(call, "canister_init", "(drop (call $f))");
    let e = install(&mut core, &id, &text).expect_err("no calls in init");
    assert_eq!(e.code, ErrorCode::CanisterContractViolation);

    let certified = r#"(import "ic0" "certified_data_set" (func $f (param i32 i32)))"#;
    let text = module(
        certified,
        "canister_query q",
        "(call $f (i32.const 0) (i32.const 1)) (call $reply)",
    );
    install(&mut core, &id, &text).expect("installed");
    let e = query(&mut core, &id, "q").expect_err("not in a query");
    assert_eq!(e.code, ErrorCode::CanisterContractViolation);
    assert!(e.message.contains("certified_data_set"), "{}", e.message);
    assert!(e.message.contains("non replicated query"), "{}", e.message);

    let accept = r#"(import "ic0" "accept_message" (func $f))"#;
    let (mut core, id) = with(&module(
        accept,
        "canister_update u",
        "(call $f) (call $reply)",
    ));
    assert_eq!(
        code(update(&mut core, &id, "u")),
        ErrorCode::CanisterContractViolation
    );

    let reply = r#"(import "ic0" "time" (func $f (result i64)))"#;
    let (mut core, id) = with(&module(
        reply,
        "canister_update twice",
        "(call $reply) (call $reply)",
    ));
    let e = update(&mut core, &id, "twice").expect_err("one reply only");
    assert_eq!(e.code, ErrorCode::CanisterContractViolation);

    let counter = r#"(import "ic0" "performance_counter" (func $f (param i32) (result i64)))"#;
    let (mut core, id) = with(&module(
        counter,
        "canister_update u",
        "(drop (call $f (i32.const 2))) (call $reply)",
    ));
    assert_eq!(
        code(update(&mut core, &id, "u")),
        ErrorCode::CanisterContractViolation
    );
}

#[test]
fn inspect_message_accepts_or_refuses() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "accept_message" (func $accept))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_method_name_size" (func $name (result i32)))
            (memory 1)
            (func (export "canister_inspect_message")
                (if (i32.eq (call $name) (i32.const 3)) (then (call $accept)))
                (i32.store (i32.const 0) (i32.const 1))
                (if (i32.eq (call $name) (i32.const 4)) (then unreachable))
                (if (i32.eq (call $name) (i32.const 5)) (then (loop (br 0)))))
            (func (export "canister_update abc") (call $reply))
            (func (export "canister_update xy") (call $reply)))"#,
    );
    core.inspect_message(&id, user(), "abc", &[])
        .expect("accepted");
    let e = core
        .inspect_message(&id, user(), "xy", &[])
        .expect_err("refused");
    assert_eq!(e.code, ErrorCode::CanisterRejectedMessage);
    let e = core
        .inspect_message(&id, user(), "trap", &[])
        .expect_err("it trapped");
    assert_eq!(e.code, ErrorCode::CanisterTrapped);
    let e = core
        .inspect_message(&id, user(), "loops", &[])
        .expect_err("it never ends");
    assert_eq!(e.code, ErrorCode::CanisterInstructionLimitExceeded);
    assert_eq!(e.stats.expect("it ran").instructions, 200_000_000);
}

#[test]
fn large_replies() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 60)
            (func (export "canister_query three")
                (call $append (i32.const 0) (i32.const 3145728)) (call $reply))
            (func (export "canister_query more")
                (call $append (i32.const 0) (i32.const 3145729)) (call $reply))
            (func (export "canister_update two")
                (call $append (i32.const 0) (i32.const 2097152)) (call $reply))
            (func (export "canister_update more_than_two")
                (call $append (i32.const 0) (i32.const 2097153)) (call $reply)))"#,
    );
    assert_eq!(
        query(&mut core, &id, "three").expect("replied").reply.len(),
        3 << 20
    );
    assert_eq!(
        code(query(&mut core, &id, "more")),
        ErrorCode::CanisterContractViolation
    );
    assert_eq!(
        update(&mut core, &id, "two").expect("replied").reply.len(),
        2 << 20
    );
    assert_eq!(
        code(update(&mut core, &id, "more_than_two")),
        ErrorCode::CanisterContractViolation
    );
}

#[test]
fn memory_limits() {
    let text = r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1)
        (func (export "canister_update grow")
            (drop (memory.grow (i32.const 100))) (call $reply))
        (func (export "canister_query grow_q")
            (drop (memory.grow (i32.const 100))) (call $reply))
        (func (export "canister_update stable")
            (i64.store (i32.const 0) (call $grow (i64.const 8192000)))
            (i64.store (i32.const 8) (call $grow (i64.const 1)))
            (call $append (i32.const 0) (i32.const 16)) (call $reply)))"#;
    let (mut core, id) = with(text);
    let settings = &mut core.canister_mut(&id).expect("exists").settings;
    settings.wasm_memory_limit = 20 * 65_536;
    assert_eq!(
        code(update(&mut core, &id, "grow")),
        ErrorCode::CanisterWasmMemoryLimitExceeded
    );
    query(&mut core, &id, "grow_q").expect("queries are not limited");
    let reply = update(&mut core, &id, "stable").expect("replied").reply;
    assert_eq!(reply[..8], 0u64.to_le_bytes(), "500 GiB can be had, sparse");
    assert_eq!(reply[8..], u64::MAX.to_le_bytes(), "and no more");
}

/// Dropped data segments come back with the next message, as on the IC.
#[test]
fn data_drop_lasts_one_message() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1) (data $d "hello")
            (global $n (mut i32) (i32.const 0))
            (func (export "canister_update u")
                (global.set $n (i32.add (global.get $n) (i32.const 1)))
                (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5))
                (data.drop $d)
                (i32.store8 (i32.const 5) (global.get $n))
                (call $append (i32.const 0) (i32.const 6)) (call $reply)))"#,
    );
    assert_eq!(
        update(&mut core, &id, "u").expect("replied").reply,
        b"hello\x01"
    );
    assert_eq!(
        update(&mut core, &id, "u").expect("replied").reply,
        b"hello\x02"
    );
}

/// The cost of undoing is what was touched, not the size of memory.
#[test]
fn rollback_is_by_pages_touched() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (memory 16384)
            (func (export "canister_update one")
                (i32.store (i32.const 500000000) (i32.const 1)) (call $reply))
            (func (export "canister_update all") (local i32)
                (loop (i32.store (local.get 0) (i32.const 7))
                    (local.set 0 (i32.add (local.get 0) (i32.const 4096)))
                    (br_if 0 (i32.lt_u (local.get 0) (i32.const 1073741824))))
                unreachable))"#,
    );
    let stats = update(&mut core, &id, "one").expect("replied").stats;
    assert!(stats.heap_dirty_bytes <= 65_536, "{stats:?}");
    let e = update(&mut core, &id, "all").expect_err("it traps");
    assert_eq!(e.stats.expect("it ran").heap_dirty_bytes, 1 << 30);
    let mut word = [0; 4];
    let canister = core.canister(&id).expect("exists");
    assert!(canister.heap_read(500_000_000, &mut word));
    assert_eq!(word, [1, 0, 0, 0]);
    assert!(canister.heap_read(4096, &mut word));
    assert_eq!(word, [0; 4]);
}

#[test]
fn same_messages_same_counts() {
    let run = || {
        let (mut core, id) = with(&counters());
        ["bump", "trap", "grow", "bump"].map(|m| instructions(update(&mut core, &id, m)))
    };
    assert_eq!(run(), run());
}

/// A module that expects its heap to be kept says so in its metadata.
#[test]
fn a_heap_that_is_to_be_kept_is_not_lost_by_mistake() {
    let module = |expects: bool| {
        let mut bytes = wasm(
            r#"(module (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (memory 1)
                (func (export "canister_update bump")
                    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                    (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
        );
        if expects {
            let name = b"icp:private enhanced-orthogonal-persistence";
            bytes.extend([0, name.len() as u8 + 1, name.len() as u8]);
            bytes.extend(name);
        }
        bytes
    };
    let (classical, keeping) = (module(false), module(true));
    let (mut core, id) = empty();
    core.install_code(user(), &id, InstallMode::Install, &classical, &[])
        .expect("installed");
    let upgrade = |core: &mut Core, module: &[u8], main_memory| {
        let options = UpgradeOptions {
            main_memory,
            ..UpgradeOptions::default()
        };
        core.install_code(user(), &id, InstallMode::Upgrade(options), module, &[])
    };
    let bump = |core: &mut Core| number(&update(core, &id, "bump").expect("replied"));
    assert_eq!(bump(&mut core), 1);
    let refused = upgrade(&mut core, &classical, Some(MainMemory::Keep));
    let refused = refused.expect_err("the new module does not expect it");
    assert_eq!(refused.code, ErrorCode::CanisterContractViolation);
    assert!(
        refused.message.starts_with("Invalid upgrade option"),
        "{refused}"
    );
    upgrade(&mut core, &keeping, None).expect("the old module does not expect it");
    assert_eq!(bump(&mut core), 1);
    let refused = upgrade(&mut core, &keeping, None).expect_err("the heap would be lost");
    assert_eq!(refused.code, ErrorCode::CanisterContractViolation);
    assert!(
        refused.message.starts_with("Missing upgrade option"),
        "{refused}"
    );
    assert_eq!(bump(&mut core), 2);
    upgrade(&mut core, &keeping, Some(MainMemory::Keep)).expect("kept");
    assert_eq!(bump(&mut core), 3);
    upgrade(&mut core, &classical, Some(MainMemory::Replace)).expect("replaced on purpose");
    assert_eq!(bump(&mut core), 1);
}

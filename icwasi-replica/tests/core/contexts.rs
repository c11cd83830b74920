//! Every System API function in every kind of execution: refused with IC0504 and its name where
//! the interface specification does not allow it, and nowhere else.

use crate::common::*;
use icwasi_replica::core::{Core, ErrorCode, UserError};

/// Kinds of execution, as in the specification's table.
const ALL: &[&str] = &[
    "I",
    "U",
    "RQ",
    "NRQ",
    "CQ",
    "Ry",
    "Rt",
    "CRy",
    "CRt",
    "C",
    "s",
    "F",
    "T",
    // The specification has one letter for these two and the timer, and one for both cleanups.
    "heartbeat",
    "low memory",
    "composite cleanup",
    // Last, since it puts another module in.
    "G",
];

/// Functions that trap for another reason when they are called with zeros.
const TRAPPING: &[&str] = &[
    "trap",
    "env_var_name_size",
    "env_var_name_copy",
    "env_var_value_size",
    "env_var_value_copy",
];

/// Name, parameters, result: `i` i32, `l` i64.
type Function = (&'static str, &'static str, &'static str);

/// Where functions are allowed.
const TABLE: &[(&str, &[Function])] = &[
    (
        "I U RQ NRQ CQ Ry CRy F",
        &[
            ("msg_arg_data_size", "", "i"),
            ("msg_arg_data_copy", "iii", ""),
        ],
    ),
    (
        "I G U RQ NRQ CQ Ry Rt CRy CRt C F T",
        &[
            ("msg_caller_size", "", "i"),
            ("msg_caller_copy", "iii", ""),
            ("canister_self_size", "", "i"),
            ("canister_self_copy", "iii", ""),
            ("canister_cycle_balance128", "i", ""),
            ("canister_cycle_balance", "", "l"),
            ("canister_liquid_cycle_balance128", "i", ""),
            ("canister_status", "", "i"),
            ("canister_version", "", "l"),
            ("subnet_self_size", "", "i"),
            ("subnet_self_copy", "iii", ""),
            ("time", "", "l"),
            ("data_certificate_present", "", "i"),
            ("env_var_count", "", "i"),
            ("env_var_name_exists", "ii", "i"),
            ("env_var_name_size", "i", "i"),
            ("env_var_name_copy", "iiii", ""),
            ("env_var_value_size", "ii", "i"),
            ("env_var_value_copy", "iiiii", ""),
            ("subnet_self_node_count", "", "i"),
            ("msg_caller_info_data_size", "", "i"),
            ("msg_caller_info_data_copy", "iii", ""),
            ("msg_caller_info_signer_size", "", "i"),
            ("msg_caller_info_signer_copy", "iii", ""),
        ],
    ),
    ("Ry Rt CRy CRt C", &[("msg_reject_code", "", "i")]),
    (
        "Rt CRt",
        &[
            ("msg_reject_msg_size", "", "i"),
            ("msg_reject_msg_copy", "iii", ""),
        ],
    ),
    ("U RQ NRQ CQ Ry Rt CRy CRt", &[("msg_deadline", "", "l")]),
    (
        "U RQ NRQ CQ Ry Rt CRy CRt",
        &[
            ("msg_reply_data_append", "ii", ""),
            ("msg_reply", "", ""),
            ("msg_reject", "ii", ""),
        ],
    ),
    (
        "U RQ Ry Rt",
        &[
            ("msg_cycles_available128", "i", ""),
            ("msg_cycles_available", "", "l"),
            ("msg_cycles_accept128", "lli", ""),
            ("msg_cycles_accept", "l", "l"),
        ],
    ),
    (
        "Ry Rt",
        &[
            ("msg_cycles_refunded128", "i", ""),
            ("msg_cycles_refunded", "", "l"),
        ],
    ),
    ("I G U RQ Ry Rt C T", &[("cycles_burn128", "lli", "")]),
    (
        "F",
        &[
            ("msg_method_name_size", "", "i"),
            ("msg_method_name_copy", "iii", ""),
            ("accept_message", "", ""),
        ],
    ),
    (
        "U CQ Ry Rt CRy CRt T",
        &[
            ("call_new", "iiiiiiii", ""),
            ("call_on_cleanup", "ii", ""),
            ("call_data_append", "ii", ""),
            ("call_with_best_effort_response", "i", ""),
            ("call_perform", "", "i"),
        ],
    ),
    (
        "U Ry Rt T",
        &[
            ("call_cycles_add128", "ll", ""),
            ("call_cycles_add", "l", ""),
        ],
    ),
    (
        "I G U RQ NRQ CQ Ry Rt CRy CRt C F T s",
        &[
            ("stable64_size", "", "l"),
            ("stable64_grow", "l", "l"),
            ("stable64_read", "lll", ""),
            ("stable64_write", "lll", ""),
            ("stable_size", "", "i"),
            ("stable_grow", "i", "i"),
            ("stable_read", "iii", ""),
            ("stable_write", "iii", ""),
            ("performance_counter", "i", "l"),
            ("is_controller", "ii", "i"),
            ("in_replicated_execution", "", "i"),
            ("cost_call", "lli", ""),
            ("cost_create_canister", "i", ""),
            ("cost_http_request", "lli", ""),
            ("cost_http_request_v2", "iii", ""),
            ("cost_sign_with_ecdsa", "iiii", "i"),
            ("cost_sign_with_schnorr", "iiii", "i"),
            ("cost_vetkd_derive_key", "iiii", "i"),
            ("debug_print", "ii", ""),
            ("trap", "ii", ""),
        ],
    ),
    ("I G U Ry Rt T", &[("certified_data_set", "ii", "")]),
    (
        "NRQ CQ",
        &[
            ("data_certificate_size", "", "i"),
            ("data_certificate_copy", "iii", ""),
        ],
    ),
    ("I G U Ry Rt C T", &[("global_timer_set", "l", "l")]),
    (
        "I G U RQ Ry Rt C T",
        &[("root_key_size", "", "i"), ("root_key_copy", "iii", "")],
    ),
];

fn text(name: &str, params: &str, result: &str, extra: &str) -> String {
    let types = |letters: &str| {
        letters
            .chars()
            .map(|c| if c == 'l' { "i64 " } else { "i32 " })
            .collect::<String>()
    };
    let zeros: String = params
        .chars()
        .map(|c| {
            if c == 'l' {
                "(i64.const 0) "
            } else {
                "(i32.const 0) "
            }
        })
        .collect();
    let call = format!("(call $f {zeros})");
    let call = if result.is_empty() {
        call
    } else {
        format!("(drop {call})")
    };
    // Method `ok` of the canister itself gives a reply, `no` does not exist. The argument of
    // `go` is the canister's id after that of the callee's method's length.
    format!(
        r#"(module
            (import "ic0" "{name}" (func $f (param {}) (result {})))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_arg_data_size" (func $args (result i32)))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (import "ic0" "debug_print" (func $print (param i32 i32)))
            (memory 1)
            (table funcref (elem $test1 $bad))
            (func $t {call})
            (func $test1 (param i32) (call $t) (call $print (i32.const 0) (i32.const 0)))
            (func $bad (param i32) unreachable)
            (func $go (param $callback i32)
                (call $arg (i32.const 100) (i32.const 0) (call $args))
                (call $new (i32.const 102) (i32.sub (call $args) (i32.const 2))
                    (i32.const 100) (i32.const 2)
                    (local.get $callback) (i32.const 0) (local.get $callback) (i32.const 0))
                (call $on_cleanup (i32.const 0) (i32.const 0))
                (drop (call $perform)))
            (func (export "canister_pre_upgrade") (call $t))
            (func (export "canister_update u") (call $t))
            (func (export "canister_query q") (call $t))
            (func (export "canister_composite_query cq") (call $t))
            (func (export "canister_query ok") (call $reply))
            (func (export "canister_update go_on") (call $reply))
            (func (export "canister_update call") (call $go (i32.const 0)))
            (func (export "canister_update clean") (call $go (i32.const 1)))
            (func (export "canister_composite_query ccall") (call $go (i32.const 0)))
            (func (export "canister_composite_query cclean") (call $go (i32.const 1)))
            (func (export "canister_inspect_message") (call $t))
            (func (export "canister_global_timer") (call $t))
            {extra})"#,
        types(params),
        types(result),
    )
    .replace("(param )", "")
    .replace("(result )", "")
}

/// Whether it was refused for its context, with its name.
fn refused(name: &str, result: Result<(), UserError>) -> bool {
    match result {
        Ok(()) => false,
        Err(e) => {
            let told = e
                .message
                .contains(&format!("\"ic0_{name}\" cannot be executed in"));
            assert!(
                !told || e.code == ErrorCode::CanisterContractViolation,
                "{e}"
            );
            told
        }
    }
}

/// Whether the canister's log tells of the refusal.
fn logged(core: &Core, id: &candid::Principal, name: &str) -> bool {
    let told = format!("\"ic0_{name}\" cannot be executed in");
    let canister = core.canister(id).expect("exists");
    canister
        .log
        .records()
        .any(|r| String::from_utf8_lossy(&r.content).contains(&told))
}

/// Canisters that call one function in all kinds of execution.
struct Stage<'a> {
    core: Core,
    name: &'a str,
    id: candid::Principal,
    /// With a heartbeat and a hook for low memory.
    hooked: candid::Principal,
    /// What the calls go to.
    other: candid::Principal,
    /// How installations ended where `canister_init` or `start` call the function.
    init: Result<(), UserError>,
    start: Result<(), UserError>,
}

impl<'a> Stage<'a> {
    fn new(name: &'a str, params: &str, result: &str) -> Self {
        let (mut core, id) = empty();
        core.set_data_certificate(std::sync::Arc::new(|_, _| Some(vec![1])));
        let module = |extra: &str| text(name, params, result, extra);
        install(&mut core, &id, &module("")).expect("installed");
        let hooked = create(&mut core);
        let hooks = r#"(func (export "canister_heartbeat") (call $t))
            (func (export "canister_on_low_wasm_memory") (call $t))"#;
        install(&mut core, &hooked, &module(hooks)).expect("installed");
        let other = create(&mut core);
        let callee = r#"(module (import "ic0" "msg_reply" (func $r))
            (func (export "canister_query ok") (call $r)))"#;
        install(&mut core, &other, callee).expect("installed");
        let mut again = |extra: &str| {
            let id = create(&mut core);
            install(&mut core, &id, &module(extra)).map(|_| ())
        };
        let init = again(r#"(func (export "canister_init") (call $t))"#);
        let start = again("(start $t)");
        Stage {
            core,
            name,
            id,
            hooked,
            other,
            init,
            start,
        }
    }

    fn update(&mut self, method: &str, arg: Vec<u8>) -> bool {
        let result = self.core.update(&self.id, user(), method, arg);
        refused(self.name, result.map(|_| ()))
    }

    fn query(&mut self, method: &str, arg: Vec<u8>) -> bool {
        let result = self.core.query(&self.id, user(), method, arg);
        refused(self.name, result.map(|_| ()))
    }

    /// Runs what nobody is told the end of, and looks into the log.
    fn logged(&mut self, id: candid::Principal, run: impl FnOnce(&mut Core)) -> bool {
        self.core.canister_mut(&id).expect("exists").log.clear();
        run(&mut self.core);
        logged(&self.core, &id, self.name)
    }

    /// Whether the function is refused in this kind of execution.
    fn refused_in(&mut self, kind: &str) -> bool {
        let arg =
            |method: &[u8; 2], other: &candid::Principal| [&method[..], other.as_slice()].concat();
        let (ok, no) = (arg(b"ok", &self.other), arg(b"no", &self.other));
        let (id, hooked) = (self.id, self.hooked);
        match kind {
            "I" => refused(self.name, self.init.clone()),
            "s" => refused(self.name, self.start.clone()),
            "U" => self.update("u", vec![]),
            "RQ" => self.update("q", vec![]),
            "Ry" => self.update("call", ok),
            "Rt" => self.update("call", no),
            "NRQ" => self.query("q", vec![]),
            "CQ" => self.query("cq", vec![]),
            "CRy" => self.query("ccall", ok),
            "CRt" => self.query("ccall", no),
            "F" => refused(self.name, self.core.inspect_message(&id, user(), "u", &[])),
            "C" => self.logged(id, |core| {
                let _ = core.update(&id, user(), "clean", ok);
            }),
            "T" => self.logged(id, |core| {
                core.canister_mut(&id).expect("exists").global_timer = 1;
                // This one, and the heartbeat of the other canister.
                assert_eq!(core.run_timers(), 2);
            }),
            "heartbeat" => self.logged(hooked, |core| {
                core.run_timers();
            }),
            "low memory" => self.logged(hooked, |core| {
                let settings = &mut core.canister_mut(&hooked).expect("exists").settings;
                settings.wasm_memory_threshold = settings.wasm_memory_limit;
                core.update(&hooked, user(), "go_on", vec![])
                    .expect("replied");
            }),
            "composite cleanup" => {
                // It prints if it went on.
                let printed = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
                let count = printed.clone();
                self.core.set_print(std::sync::Arc::new(move |_, _, text| {
                    if text.is_empty() {
                        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }));
                let result = self.core.query(&id, user(), "cclean", ok);
                assert_eq!(code(result), ErrorCode::CanisterTrapped);
                printed.load(std::sync::atomic::Ordering::Relaxed) == 0
            }
            "G" => {
                let result = upgrade(&mut self.core, &id, "(module)");
                refused(self.name, result.map(|_| ()))
            }
            other => unreachable!("{other}"),
        }
    }
}

#[test]
fn every_function_in_every_context() {
    let total: usize = TABLE.iter().map(|(_, functions)| functions.len()).sum();
    assert_eq!(
        total, 76,
        "ic0 1.2.0 has 67 functions, and there are 9 deprecated ones"
    );
    let mut wrong = Vec::new();
    for (allowed, functions) in TABLE {
        let allowed: Vec<&str> = allowed.split(' ').collect();
        for (name, params, result) in *functions {
            let mut stage = Stage::new(name, params, result);
            for kind in ALL {
                let expected = !match *kind {
                    "heartbeat" | "low memory" => allowed.contains(&"T"),
                    "composite cleanup" if TRAPPING.contains(name) => continue,
                    "composite cleanup" => allowed.contains(&"C") && allowed.contains(&"CRy"),
                    kind => allowed.contains(&kind),
                };
                if stage.refused_in(kind) != expected {
                    wrong.push(format!("{name} in {kind}: refused should be {expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn canisters_with_64_bit_memory() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i64 i64)))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i64 i64 i64)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (memory i64 1)
            (func (export "canister_init") (drop (call $grow (i64.const 1))))
            (func (export "canister_update copy")
                (call $arg (i64.const 8) (i64.const 0) (i64.const 5))
                (drop (memory.grow (i64.const 70000)))
                (i64.store (i64.const 4500000000) (i64.load (i64.const 8)))
                (call $append (i64.const 4500000000) (i64.const 5)) (call $reply))
            (func (export "canister_update load") (drop (i64.load (i64.const 0))))
            (func (export "canister_update fill")
                (memory.fill (i64.const 0) (i32.const 1) (i64.const 1000)))
            (func (export "canister_update out")
                (memory.fill (i64.const 0) (i32.const 1) (i64.const -1)))
            (func (export "canister_update write")
                (call $write (i64.const 0) (i64.const 0) (i64.const 8))))"#,
    );
    core.canister_mut(&id)
        .expect("exists")
        .settings
        .wasm_memory_limit = 0;
    let reply = core
        .update(&id, user(), "copy", b"hello".to_vec())
        .expect("replied")
        .reply;
    assert_eq!(reply, b"hello");
    // Entry, const, load of 2, drop.
    assert_eq!(instructions(update(&mut core, &id, "load")), 1 + 1 + 2 + 1);
    assert_eq!(
        instructions(update(&mut core, &id, "fill")),
        1 + 3 + 100 + 1000
    );
    // A dirty page costs four times as much.
    assert_eq!(
        instructions(update(&mut core, &id, "write")),
        1 + 3 + 5 + 20 + 8 + 4000
    );
    // 2^64 - 1 bytes are more than any limit.
    let e = update(&mut core, &id, "out").expect_err("too much");
    assert_eq!(e.code, ErrorCode::CanisterInstructionLimitExceeded);
    assert_eq!(e.stats.expect("it ran").instructions, 40_000_000_000);
}

#[test]
fn low_memory_hook() {
    let (mut core, id) = with(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_update grow") (drop (memory.grow (i32.const 1))) (call $reply))
            (func (export "canister_on_low_wasm_memory")
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
            (func (export "canister_query q")
                (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
    );
    let settings = &mut core.canister_mut(&id).expect("exists").settings;
    settings.wasm_memory_limit = 10 * 65_536;
    settings.wasm_memory_threshold = 8 * 65_536;
    let ran = |core: &mut Core| number(&query(core, &id, "q").expect("replied"));
    for expected in [0, 1, 1] {
        update(&mut core, &id, "grow").expect("replied");
        assert_eq!(ran(&mut core), expected);
    }
}

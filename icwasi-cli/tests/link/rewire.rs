//! Small modules, compared as text, and a module that holds the library itself.

use crate::support::{Canister, options};
use icwasi_cli::link::{LinkError, LinkOptions, Mode, ModeChoice, link as link_module};

/// A module that holds its own library, as a Rust canister with the crate does.
const OWN_LIBRARY: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_close" (func $imported (param i32) (result i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "icwasi_link" "config_size" (func $size (result i32)))
  (import "icwasi_link" "config_copy" (func $copy (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "enterleavestartupclose")
  (func (export "icwasi.p1.fd_close") (param i32) (result i32)
    (call $print (i32.const 17) (i32.const 5)) (i32.const 0))
  (func (export "icwasi.enter") (call $print (i32.const 0) (i32.const 5)))
  (func (export "icwasi.leave") (call $print (i32.const 5) (i32.const 5)))
  (func (export "icwasi.start") (param i32)
    (call $copy (i32.const 1024))
    (call $print (i32.const 1024) (i32.const 4)))
  (func (export "icwasi.started") (param i32) (call $print (i32.const 10) (i32.const 5)))
  (func (export "icwasi.inspect") (result i32) (i32.const 1))
  (func (export "canister_update go") (drop (call $imported (call $size))))
  (func (export "canister_query icwasi_info") (call $print (i32.const 15) (i32.const 2)))
)"#;

fn own_library() -> Vec<u8> {
    wat::parse_str(OWN_LIBRARY).expect("is valid")
}

#[test]
fn imports_are_bound_to_the_modules_own_exports() {
    let linked = link_module(&own_library(), &LinkOptions::default()).expect("links");
    assert_eq!(linked.mode, Mode::Rewire);
    assert_eq!(linked.bound, ["wasi_snapshot_preview1.fd_close"]);
    assert_eq!(linked.methods, ["go"]);
    let mut canister = Canister::new(&linked.module);
    assert_eq!(
        canister.call("canister_init").expect("runs"),
        "enter\nDIDL\nstart\nleave"
    );
    assert_eq!(
        canister.call("canister_update go").expect("runs"),
        "enter\nclose\nleave"
    );
    assert!(
        canister.call("canister_query icwasi_info").is_err(),
        "needs --admin"
    );
    assert!(canister.call("icwasi.enter").is_err(), "is removed");

    let admin = LinkOptions {
        admin: true,
        ..LinkOptions::default()
    };
    let linked = link_module(&own_library(), &admin).expect("links");
    assert_eq!(linked.methods, ["go", "icwasi_info"]);
    let mut canister = Canister::new(&linked.module);
    assert_eq!(
        canister.call("canister_query icwasi_info").expect("runs"),
        "enter\nup\nleave"
    );
    assert_eq!(
        canister.call("canister_inspect_message").expect("runs"),
        "enter\nleave"
    );
}

#[test]
fn modes_can_be_asked_for() {
    let rewire = LinkOptions {
        mode: ModeChoice::Rewire,
        ..options()
    };
    let inject = LinkOptions {
        mode: ModeChoice::Inject,
        ..options()
    };
    let plain = wat::parse_str("(module)").expect("is valid");
    let result = link_module(&plain, &rewire);
    assert!(matches!(result, Err(LinkError::NotRewirable)));
    assert!(matches!(
        link_module(&own_library(), &inject),
        Err(LinkError::NotInjectable)
    ));
    assert_eq!(
        link_module(&plain, &inject).expect("links").mode,
        Mode::Inject
    );
}

#[test]
fn admin_needs_the_crates_feature() {
    let without = OWN_LIBRARY.replace("canister_query icwasi_info", "other");
    let module = wat::parse_str(without).expect("is valid");
    let admin = LinkOptions {
        admin: true,
        ..LinkOptions::default()
    };
    assert!(matches!(
        link_module(&module, &admin),
        Err(LinkError::NoAdminFeature)
    ));
}

/// The linker's own code, as text. Set `ICWASI_BLESS=1` to accept what it writes now.
#[test]
fn golden() {
    let linked = link_module(&own_library(), &LinkOptions::default()).expect("links");
    let text = wasmprinter::print_bytes(&linked.module).expect("prints");
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/link/rewire.wat");
    if std::env::var_os("ICWASI_BLESS").is_some() {
        std::fs::write(&path, &text).expect("is written");
    }
    let golden = std::fs::read_to_string(&path).expect("is there");
    assert_eq!(text, golden, "ICWASI_BLESS=1 accepts the new text");
}

/// Methods that exit, from a function through a table that returns a value.
fn exiting() -> String {
    OWN_LIBRARY
        .replace(
            "  (memory",
            r#"  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (global $stack (mut i32) (i32.const 4096))
  (table funcref (elem $deep))
  (type $value (func (param i32) (result i32)))
  (memory"#,
        )
        .replace(
            "  (func (export \"canister_update go\")",
            r#"  (func (export "icwasi.p1.proc_exit") (param i32) (unreachable))
  (func (export "icwasi.exit") (param i32)
    (if (local.get 0) (then (unreachable)))
    (call $print (i32.const 12) (i32.const 4)))
  (func $deep (type $value)
    (global.set $stack (i32.sub (global.get $stack) (i32.const 2048)))
    (call $exit (local.get 0))
    (call $print (i32.const 17) (i32.const 5))
    (i32.const 1))
  (func (export "canister_update leave")
    (if (i32.ne (global.get $stack) (i32.const 4096)) (then (unreachable)))
    (drop (call_indirect (type $value) (i32.const 0) (i32.const 0)))
    (call $print (i32.const 17) (i32.const 5)))
  (func (export "canister_update fail")
    (drop (call_indirect (type $value) (i32.const 7) (i32.const 0))))
  (func (export "callback") (drop (call $deep (i32.const 0))))
  (func (export "canister_update go")"#,
        )
}

fn canister(text: &str) -> Canister {
    let module = wat::parse_str(text).expect("is valid");
    let linked = link_module(&module, &LinkOptions::default()).expect("links");
    Canister::new(&linked.module)
}

#[test]
fn an_exit_unwinds_to_the_entry_point() {
    let mut leaving = canister(&exiting());
    for _ in 0..3 {
        let log = leaving.call("canister_update leave").expect("ends");
        assert_eq!(log, "enter\nartu\nleave");
    }
    leaving.call("canister_update fail").expect_err("traps");
    // Nothing would end the unwinding.
    canister(&exiting()).call("callback").expect_err("traps");

    // A library that does not know of it: as before.
    let mut old = canister(&exiting().replace("icwasi.exit", "other"));
    old.call("canister_update leave").expect_err("traps");

    // The executor of ic-cdk would take itself to be in a method for ever.
    let executor =
        r#"(data (i32.const 100) "in_*_context called within an existing async context")"#;
    let text = exiting().replacen("(data ", &format!("{executor} (data "), 1);
    let mut with_executor = canister(&text);
    with_executor
        .call("canister_update leave")
        .expect_err("traps");
}

/// The same, with callbacks of calls to other canisters in slots 1 (exits), 2 (does not) and 3
/// (`proc_exit` itself). As far as the linker can tell, the library may exit too.
fn calling() -> String {
    exiting()
        .replace(
            "(func (export \"icwasi.enter\")",
            r#"(func (export "icwasi.enter")
    (if (i32.eqz (memory.size)) (then (call $exit (i32.const 1))))"#,
        )
        .replace(
            "  (import \"icwasi_link\" \"config_size\"",
            r#"  (import "ic0" "call_new"
    (func $call (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "icwasi_link" "config_size""#,
        )
        .replace(
            "(table funcref (elem $deep))",
            "(table (export \"table\") funcref (elem $deep $back $calm $exit))
  (type $back (func (param i32)))",
        )
        .replace(
            "  (func (export \"callback\")",
            r#"  (func $back (param i32)
    (drop (call $deep (local.get 0)))
    (drop (ref.func $back))
    (call $print (i32.const 17) (i32.const 5)))
  (func $calm (param i32) (call $print (i32.const 17) (i32.const 5)))
  (func (export "canister_update within")
    (call_indirect (type $back) (i32.const 0) (i32.const 2))
    (call_indirect (type $back) (i32.const 0) (i32.const 1))
    (call $print (i32.const 17) (i32.const 5)))
  (func (export "callback")"#,
        )
}

#[test]
fn an_exit_in_a_callback_unwinds_to_it() {
    let mut calling = canister(&calling());
    for _ in 0..3 {
        let log = calling.call("canister_update leave").expect("ends");
        assert_eq!(log, "enter\nartu\nleave");
        for slot in [1, 3] {
            let log = calling.call_back(slot, 0).expect("ends");
            assert_eq!(log, "enter\nartu\nleave");
        }
        // The program calls it: one message, of which the rest is left.
        let log = calling.call("canister_update within").expect("ends");
        assert_eq!(log, "enter\nclose\nartu\nleave");
        // A callback that cannot exit is what it was.
        assert_eq!(calling.call_back(2, 0).expect("ends"), "close");
    }
    calling.call_back(1, 7).expect_err("traps");

    // Without calls there are no callbacks, and nothing lies in between.
    let silent = self::calling().replace("\"call_new\"", "\"msg_arg_data_copy\"");
    let silent = silent.replace(
        "(param i32 i32 i32 i32 i32 i32 i32 i32)",
        "(param i32 i32 i32)",
    );
    canister(&silent).call_back(1, 0).expect_err("traps");
}

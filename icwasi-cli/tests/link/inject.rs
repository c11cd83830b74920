//! Real guests with the stand-in library merged in, run under wasmtime.

use crate::support::{Canister, c_guest, options, rust_guest};
use icwasi_cli::link::{GrowthChoice, LinkError, LinkOptions, Mode, link as link_module};

#[test]
fn rust_reactor_runs() {
    let linked = link_module(&rust_guest(), &options()).expect("links");
    assert_eq!(linked.mode, Mode::Inject);
    assert_eq!(linked.methods, ["fill", "frames", "greet", "overflow"]);
    let mut canister = Canister::new(&linked.module);
    let log = canister.call("canister_init").expect("runs");
    assert!(log.contains("start 0 config DIDL"), "{log}");
    // fd 1 is doubled by the stand-in, chosen through a table in relocated data.
    assert!(
        log.contains("started 0 {\"enter\": 1, \"fd_write\": 1}"),
        "{log}"
    );
    assert!(log.contains("guest init\nguest init\n"), "{log}");
    assert_eq!(
        canister.call("canister_update greet").expect("runs"),
        "hello 4711\nhello 4711\n"
    );
    assert_eq!(
        canister.call("canister_query frames").expect("runs"),
        "frames doneframes done"
    );
    canister.call("canister_heartbeat").expect("is wrapped");
    let log = canister.call("canister_post_upgrade").expect("runs");
    assert!(
        log.contains("start 1") && log.contains("started 1"),
        "{log}"
    );
}

#[test]
fn c_reactor_runs() {
    let linked = link_module(&c_guest(), &options()).expect("links");
    let mut canister = Canister::new(&linked.module);
    canister.call("canister_init").expect("runs");
    // wasi-libc writes text and newline as two vectors; each is doubled.
    assert_eq!(
        canister.call("canister_update sort").expect("runs"),
        "42 1234542 12345\n\n"
    );
    let log = canister.call("canister_update fill").expect("runs");
    assert!(log.ends_with("filled\nfilled\n"), "{log}");
}

/// The guest fills and checks whatever memory it is handed, while the library works in its own.
#[test]
fn memory_of_guest_and_library_never_overlap() {
    for headroom in [0, 1 << 20] {
        let options = LinkOptions {
            headroom: Some(headroom),
            arena: 1 << 20,
            ..options()
        };
        let linked = link_module(&rust_guest(), &options).expect("links");
        let mut canister = Canister::new(&linked.module);
        canister.call("canister_init").expect("runs");
        let before = canister.pages();
        let log = canister.call("canister_update fill").expect("runs");
        assert!(log.ends_with("filled\nfilled\n"), "{log}");
        assert!(
            canister.pages() > before,
            "it has to grow, or the test tests nothing"
        );
    }
}

#[test]
fn overflow_of_the_library_stack_traps() {
    let linked = link_module(&rust_guest(), &options()).expect("links");
    let mut canister = Canister::new(&linked.module);
    canister.call("canister_init").expect("runs");
    let error = canister
        .call("canister_update overflow")
        .expect_err("traps");
    let trap = error.downcast_ref::<wasmtime::Trap>();
    assert_eq!(
        trap,
        Some(&wasmtime::Trap::UnreachableCodeReached),
        "{error:?}"
    );
}

#[test]
fn admin_endpoints_are_there_on_request_only() {
    let find = |module: &[u8]| {
        let text = b"admin-only text";
        let exported = wasmprinter::print_bytes(module)
            .expect("prints")
            .contains("icwasi_info\"");
        (exported, module.windows(text.len()).any(|w| w == text))
    };
    let plain = link_module(&rust_guest(), &options()).expect("links");
    assert!(!find(&plain.module).0);
    assert_eq!(plain.candid, None);
    let admin = link_module(
        &rust_guest(),
        &LinkOptions {
            admin: true,
            ..options()
        },
    );
    let admin = admin.expect("links");
    assert_eq!(find(&admin.module), (true, true));
    assert!(
        admin
            .candid
            .expect("is known")
            .contains("icwasi_upload_begin")
    );
    // What only the endpoints reach is dropped.
    assert!(admin.figures.functions > plain.figures.functions);
}

#[test]
fn linking_is_deterministic_and_marks_its_output() {
    let first = link_module(&rust_guest(), &options())
        .expect("links")
        .module;
    assert_eq!(
        first,
        link_module(&rust_guest(), &options())
            .expect("links")
            .module
    );
    assert!(matches!(
        link_module(&first, &options()),
        Err(LinkError::AlreadyLinked { .. })
    ));
}

/// Takes for granted that its memory grows contiguously: fills all of it, calls the library,
/// checks it, and grows, as long as it can.
const CONTIGUOUS: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") MEMORY)
  (data (i32.const 0) "\20\00\00\00\03\00\00\00")
  (data (i32.const 32) "ok\n")
  (func (export "canister_update fill") (local $p i32) (local $end i32) (local $round i32)
    (loop $again
      (local.set $end (i32.shl (memory.size) (i32.const 16)))
      (local.set $p (i32.const 4096))
      (loop $fill
        (i32.store (local.get $p) (i32.xor (local.get $p) (local.get $round)))
        (local.set $p (i32.add (local.get $p) (i32.const 4)))
        (br_if $fill (i32.lt_u (local.get $p) (local.get $end))))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (local.set $p (i32.const 4096))
      (loop $check
        (if (i32.ne (i32.load (local.get $p)) (i32.xor (local.get $p) (local.get $round)))
          (then (unreachable)))
        (local.set $p (i32.add (local.get $p) (i32.const 4)))
        (br_if $check (i32.lt_u (local.get $p) (local.get $end))))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $again (i32.ge_s (memory.grow (i32.const 5)) (i32.const 0))))))
"#;

#[test]
fn allocators_that_take_growth_for_contiguous_get_headroom_and_no_more() {
    let guest =
        |memory: &str| wat::parse_str(CONTIGUOUS.replace("MEMORY", memory)).expect("is valid");
    // Rounds: the first, and one for each time that five pages were given.
    for (memory, headroom, rounds) in [
        ("1", Some(0), 1),
        ("1", Some(20 << 16), 5),
        ("1 13", None, 3),
        ("3", None, 1 + 1024 / 5),
    ] {
        let options = LinkOptions {
            headroom,
            arena: 1 << 20,
            ..options()
        };
        let linked = link_module(&guest(memory), &options).expect("links");
        let mut canister = Canister::new(&linked.module);
        canister.call("canister_init").expect("runs");
        let log = canister.call("canister_update fill").expect("runs");
        // The stand-in doubles what is printed.
        assert_eq!(
            log.matches("ok").count(),
            2 * rounds,
            "{memory} {headroom:?}"
        );
    }
    // Taken for another kind of allocator, it overwrites the library.
    let options = LinkOptions {
        growth: GrowthChoice::Anywhere,
        ..options()
    };
    let linked = link_module(&guest("1 13"), &options).expect("links");
    let mut canister = Canister::new(&linked.module);
    canister.call("canister_init").expect("runs");
    canister
        .call("canister_update fill")
        .expect_err("does not go unnoticed");
}

#[test]
fn a_write_over_the_guard_traps() {
    let guest = "(module (memory (export \"memory\") 1) (func (export \"canister_update poke\")
        (i64.store (i32.const 65536) (i64.const 1))))";
    let guest = wat::parse_str(guest).expect("is valid");
    let linked = link_module(&guest, &options()).expect("links");
    let mut canister = Canister::new(&linked.module);
    canister.call("canister_init").expect("runs");
    let error = canister.call("canister_update poke").expect_err("traps");
    assert!(format!("{error:?}").contains("check_guard"), "{error:?}");
}

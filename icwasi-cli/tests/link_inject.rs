//! Real guests with the stand-in library merged in, run under wasmtime.

mod link;

use icwasi_cli::link::{LinkError, LinkOptions, Mode, link as link_module};
use link::{Canister, c_guest, options, rust_guest};

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
            headroom,
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

//! What a trap says about where it happened, and to whom.

use candid::Principal;
use icwasi_replica::core::{Core, ErrorCode, UserError, Visibility};

use crate::common::*;

const NAMED: &str = r#"(module
    (func $_ZN3app5inner17h0123456789abcdefE unreachable)
    (func $_RNvCs4fqI2P2rA04_3app5outer (call $_ZN3app5inner17h0123456789abcdefE))
    (func $main (export "canister_update trap") (call $_RNvCs4fqI2P2rA04_3app5outer))
    (func (export "canister_query trap_too") (call $_RNvCs4fqI2P2rA04_3app5outer)))"#;
const FRAMES: &str = "unreachable\nCanister Backtrace:\napp::inner\napp::outer\nmain\n";

fn called(core: &mut Core, id: &Principal, who: Principal) -> UserError {
    let outcome = core.update(id, who, "trap", Vec::new());
    outcome.expect_err("traps")
}

/// As on the IC: names as in Rust's source, for those who may read the log, where they always are.
#[test]
fn a_backtrace_is_for_those_who_may_read_the_log() {
    let (mut core, id) = with(NAMED);
    let friend = Principal::self_authenticating(b"friend");
    let stranger = Principal::self_authenticating(b"stranger");
    let shown = |error: &UserError| {
        assert_eq!(error.code, ErrorCode::CanisterTrapped, "{error}");
        assert!(error.message.contains("Canister trapped: unreachable"));
        let shown = error.message.ends_with(FRAMES);
        assert!(shown || error.message.ends_with("unreachable"), "{error}");
        shown
    };
    let visibilities = [
        (Visibility::Controllers, [true, false, false]),
        (
            Visibility::AllowedViewers(vec![friend]),
            [true, true, false],
        ),
        (Visibility::Public, [true, true, true]),
    ];
    for (visibility, expected) in visibilities {
        let canister = core.canister_mut(&id).expect("exists");
        canister.settings.log_visibility = visibility.clone();
        for (who, expected) in [user(), friend, stranger].into_iter().zip(expected) {
            let error = called(&mut core, &id, who);
            assert_eq!(shown(&error), expected, "{visibility:?}");
            let canister = core.canister(&id).expect("exists");
            let last = canister.log.records().last().expect("it is logged");
            let text = String::from_utf8_lossy(&last.content);
            assert_eq!(text, format!("[TRAP]: Canister trapped: {FRAMES}"));
            let error = core.query(&id, who, "trap_too", Vec::new());
            let error = error.expect_err("traps");
            assert_eq!(error.message.contains("app::inner\napp::outer\n"), expected);
        }
    }
}

#[test]
fn without_names_there_is_no_backtrace() {
    let (mut core, id) =
        with(r#"(module (func unreachable) (func (export "canister_update trap") (call 0)))"#);
    let error = called(&mut core, &id, user());
    assert!(
        error.message.ends_with("Canister trapped: unreachable"),
        "{error}"
    );
}

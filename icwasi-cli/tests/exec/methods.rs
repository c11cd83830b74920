//! `proc_exit` in the methods of a canister that is no command.

use super::*;

/// An exit with 0 ends the call and keeps what it did, any other rolls it back; neither leaves
/// frames on the stack.
#[test]
fn an_exit_ends_a_method() {
    with_stack(|| {
        let mut canister = Canister::new(&reactor("methods.c"), &LinkOptions::default());
        let mut call = |method: &str| {
            let outcome = canister
                .core
                .update(&canister.id, operator(), method, Vec::new());
            outcome.map(|outcome| String::from_utf8(outcome.reply).expect("is text"))
        };
        assert_eq!(call("leave").expect("replies"), "replied");
        assert_eq!(call("plain").expect("replies"), "x 1 right");
        let error = call("fail").expect_err("traps");
        assert!(error.message.contains("exit code 3"), "{error}");
        assert_eq!(call("plain").expect("replies"), "x 1 right");
        let error = call("silent").expect_err("does not reply");
        assert!(error.message.contains("did not"), "{error}");
        // The stack of a C program has 64 KiB: each exit leaves half of it behind.
        for _ in 0..20 {
            call("leave").expect("replies");
        }
        let kept = format!("xz{} 21 right", "x".repeat(20));
        assert_eq!(call("plain").expect("replies"), kept);
    });
}

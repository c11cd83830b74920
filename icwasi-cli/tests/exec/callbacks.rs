//! `proc_exit` in the callbacks of calls to other canisters.

use std::sync::{Arc, Mutex};

use super::*;

/// As in a method: an exit with 0 ends the callback and keeps what it did, any other rolls it back.
#[test]
fn an_exit_ends_a_callback() {
    with_stack(|| {
        let Canister { mut core, id } =
            Canister::new(&reactor("callbacks.c"), &LinkOptions::default());
        let printed = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&printed);
        core.set_print(Arc::new(move |_, _, line| {
            sink.lock()
                .expect("one thread")
                .push_str(&String::from_utf8_lossy(line));
        }));
        let mut call = |method: &str| {
            let outcome = core.update(&id, operator(), method, Vec::new());
            outcome.map(|outcome| String::from_utf8(outcome.reply).expect("is text"))
        };
        assert_eq!(call("leave").expect("replies"), "by the callback");
        // What was printed is not left for the next message.
        let line = std::mem::take(&mut *printed.lock().expect("one thread"));
        assert!(line.ends_with("an incomplete line"), "{line}");
        assert_eq!(call("plain").expect("replies"), "r 1 right");
        // The cleanup callback exits too, and what it did is kept.
        let error = call("fail").expect_err("traps");
        assert!(error.message.contains("exit code 3"), "{error}");
        assert_eq!(call("plain").expect("replies"), "rc 1 right");
        assert_eq!(call("rejected").expect("replies"), "rejected");
        assert_eq!(call("direct").expect("replies"), "replied");
        assert_eq!(call("plain").expect("replies"), "rcjd 1 right");
        assert_eq!(call("within").expect("replies"), "by the callback");
        assert_eq!(call("plain").expect("replies"), "rcjdr.wr 3 right");
        // The stack of a C program has 64 KiB: each exit leaves half of it behind.
        for _ in 0..20 {
            call("leave").expect("replies");
        }
        let kept = format!("rcjdr.wr{} 23 right", "r".repeat(20));
        assert_eq!(call("plain").expect("replies"), kept);
    });
}

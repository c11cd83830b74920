//! A trap at every store of a message: the memory is rolled back, as the IC does, and what is then
//! mounted is sound and holds what was there before the message.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use crate::ops::Op;
use crate::run::Run;

/// Traps of a message beyond which only every third store is tried, and so on.
const DENSE: u64 = 60;

/// Keeps the injected panics from being printed.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<String>();
            if !text.is_some_and(|text| text.starts_with("injected fault")) {
                print(info);
            }
        }));
    });
}

/// Runs `message` after a mount; `false` if the injected fault ended it. Other panics go on.
fn attempt(run: &mut Run, message: &[Op]) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| {
        run.remount();
        message.iter().for_each(|op| run.step(op, false));
    }));
    match result {
        Ok(()) => true,
        Err(payload) => match payload.downcast_ref::<String>() {
            Some(text) if text.starts_with("injected fault") => false,
            _ => resume_unwind(payload),
        },
    }
}

/// Applies `message`, trapping at its stores one after the other before; returns how many.
pub fn trap_everywhere(run: &mut Run, message: &[Op]) -> u64 {
    quiet();
    let before = run.model.clone();
    run.journal.begin();
    let mut traps = 0;
    let mut at = 0;
    loop {
        let fault = run.faults.writes.get() + at;
        run.faults.panic_write_after.set(Some(fault));
        let done = attempt(run, message);
        run.faults.panic_write_after.set(None);
        if done {
            return traps;
        }
        traps += 1;
        // What was in the heap is gone with the message.
        run.journal.roll_back();
        run.model = before.clone();
        run.remount();
        run.compare();
        // Not the mount's stores either.
        run.journal.roll_back();
        run.model = before.clone();
        at += 1 + at / DENSE * 2;
    }
}

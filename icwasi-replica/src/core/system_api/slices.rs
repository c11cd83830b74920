//! The instruction counter. A message gets its instructions in slices: the counter holds what is
//! left of the current one, and between two the message may pause.

use wasmtime::{Func, Store, Val};

use super::super::pause::Lent;
use super::{Ctx, Host, HostTrap, R};

/// What a message has of instructions besides those that the counter holds.
#[derive(Default)]
pub struct Slices {
    /// Instructions that were not handed out yet.
    rest: i64,
    /// Instructions of a slice.
    slice: i64,
    /// What queries may be run on meanwhile.
    pub lent: Option<Box<Lent>>,
}

impl Slices {
    /// For a message with `limit` instructions; and what its counter begins with.
    pub fn new(limit: u64, slice: u64) -> (Self, i64) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let slice = i64::try_from(slice).unwrap_or(i64::MAX).max(1);
        let first = slice.min(limit);
        let slices = Slices {
            rest: limit - first,
            slice,
            lent: None,
        };
        (slices, first)
    }

    /// What is left altogether, where the counter holds `counter`; negative if more was used than
    /// there was.
    pub fn left(&self, counter: i64) -> i64 {
        counter.saturating_add(self.rest)
    }
}

fn counter(c: &mut Ctx<'_>) -> i64 {
    let counter = c.data().counter.expect("set when the instance was made");
    match counter.get(&mut *c) {
        Val::I64(left) => left,
        _ => unreachable!("the counter was declared as i64"),
    }
}

fn set_counter(c: &mut Ctx<'_>, value: i64) -> R<()> {
    let counter = c.data().counter.expect("set when the instance was made");
    counter.set(&mut *c, Val::I64(value))
}

/// Instructions left.
pub fn remaining(c: &mut Ctx<'_>) -> i64 {
    let counter = counter(c);
    c.data().slices.left(counter)
}

/// Subtracts from the counter; stops the message below zero.
pub fn charge(c: &mut Ctx<'_>, amount: u64) -> R<()> {
    let amount = i64::try_from(amount).unwrap_or(i64::MAX);
    let left = counter(c).saturating_sub(amount);
    if left >= 0 {
        return set_counter(c, left);
    }
    // The next check in the canister's code finds that it has to pause.
    let slices = &mut c.data_mut().slices;
    let missing = left.saturating_neg().min(slices.rest);
    slices.rest -= missing;
    let left = left.saturating_add(missing);
    set_counter(c, left)?;
    if left < 0 {
        return Err(HostTrap::OutOfInstructions.into());
    }
    Ok(())
}

/// The function that the canister's code calls when its counter is below zero.
pub fn pause_function(store: &mut Store<Host>) -> Func {
    Func::wrap(store, |mut c: Ctx<'_>| -> R<()> {
        let left = remaining(&mut c);
        if left >= 0
            && let Some(mut lent) = c.data_mut().slices.lent.take()
        {
            let served = lent.serve();
            c.data_mut().slices.lent = Some(lent);
            served.map_err(wasmtime::Error::msg)?;
        }
        let slices = &mut c.data_mut().slices;
        let now = left.min(slices.slice);
        slices.rest = left - now;
        set_counter(&mut c, now)
    })
}

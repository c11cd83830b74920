//! `call_*`: calls to other canisters. They are made when the message has ended well.

use candid::Principal;
use wasmtime::Linker;

use super::context::*;
use super::{
    Callback, Ctx, Host, OutgoingCall, R, WasmClosure, Word, charge, contract, enter, high_low,
    load, split,
};
use crate::core::costs::{API_CALL_NEW, API_CALL_PERFORM, API_DEFAULT, TRANSMISSION_PER_BYTE};

const CALLING: Contexts = UPDATE | COMPOSITE_QUERY | CALLBACK | COMPOSITE_CALLBACK | SYSTEM;
const PAYING: Contexts = UPDATE | CALLBACK | SYSTEM;
/// `call_perform` says that the queue is full or cycles are short.
const SYS_TRANSIENT: i32 = 2;

struct NewCall {
    callee: (u64, u64),
    name: (u64, u64),
    reply: WasmClosure,
    reject: WasmClosure,
}

fn call_new(c: &mut Ctx<'_>, new: NewCall) -> R<()> {
    const NAME: &str = "call_new";
    enter(c, NAME, CALLING, API_CALL_NEW)?;
    charge(c, new.callee.1.saturating_add(new.name.1))?;
    // A call that was begun and not performed is dropped, its cycles given back.
    let message = c.data_mut().message();
    if let Some(old) = message.pending.take() {
        message.balance = message.balance.saturating_add(old.cycles);
    }
    let callee = load(c, NAME, new.callee.0, new.callee.1)?;
    let Ok(callee) = Principal::try_from_slice(&callee) else {
        return contract("ic0.call_new: the callee is not a valid principal");
    };
    let method = load(c, NAME, new.name.0, new.name.1)?;
    let Ok(method) = String::from_utf8(method) else {
        return contract("ic0.call_new: the method name is not valid UTF-8");
    };
    c.data_mut().message().pending = Some(OutgoingCall {
        callee,
        method,
        arg: Vec::new(),
        cycles: 0,
        callback: Callback {
            reply: new.reply,
            reject: new.reject,
            cleanup: None,
            paid_execution: 0,
            paid_response: 0,
        },
        timeout: None,
    });
    Ok(())
}

/// The call between `call_new` and `call_perform`.
fn pending<'a>(c: &'a mut Ctx<'_>, name: &str) -> R<&'a mut OutgoingCall> {
    match &mut c.data_mut().message().pending {
        Some(call) => Ok(call),
        None => contract(format!(
            "ic0.{name} called when no call is under construction."
        )),
    }
}

fn on_cleanup(c: &mut Ctx<'_>, function: u64, env: u64) -> R<()> {
    enter(c, "call_on_cleanup", CALLING, API_DEFAULT)?;
    let call = pending(c, "call_on_cleanup")?;
    if call.callback.cleanup.is_some() {
        return contract(
            "ic0.call_on_cleanup can be called at most once between `call_new` and `call_perform`",
        );
    }
    call.callback.cleanup = Some(WasmClosure { function, env });
    Ok(())
}

fn data_append(c: &mut Ctx<'_>, src: u64, size: u64) -> R<()> {
    const NAME: &str = "call_data_append";
    enter(c, NAME, CALLING, API_DEFAULT)?;
    charge(c, size.saturating_mul(TRANSMISSION_PER_BYTE))?;
    let held = pending(c, NAME)?.arg.len() as u64;
    let limit = c.data_mut().message().limits.xnet_request_bytes as u64;
    if held + size > limit {
        return contract(format!(
            "ic0.{NAME}: request size ({}) cannot be larger than {limit}",
            held + size
        ));
    }
    let (heap, message) = split(c, NAME)?;
    let range = super::range(NAME, "heap", src, size, heap.len())?;
    if let Some(call) = &mut message.pending {
        call.arg.extend_from_slice(&heap[range]);
    }
    Ok(())
}

fn best_effort(c: &mut Ctx<'_>, seconds: i32) -> R<()> {
    const NAME: &str = "call_with_best_effort_response";
    enter(c, NAME, CALLING, API_DEFAULT)?;
    let max = c.data_mut().message().limits.best_effort_timeout_max;
    let call = pending(c, NAME)?;
    if call.timeout.is_some() {
        return contract(format!(
            "ic0.{NAME}: a timeout is already set for this call"
        ));
    }
    call.timeout = Some((seconds as u32).min(max));
    Ok(())
}

fn cycles_add(c: &mut Ctx<'_>, name: &str, amount: u128) -> R<()> {
    enter(c, name, PAYING, API_DEFAULT)?;
    pending(c, name)?;
    let message = c.data_mut().message();
    let liquid = message.liquid();
    if amount > liquid {
        let canister = message.canister;
        return Err(super::HostTrap::OutOfCycles(format!(
            "Canister {canister} is out of cycles: please top up the canister with at least {} \
             additional cycles",
            amount - liquid
        ))
        .into());
    }
    message.balance -= amount;
    if let Some(call) = &mut message.pending {
        call.cycles = call.cycles.saturating_add(amount);
    }
    Ok(())
}

fn perform(c: &mut Ctx<'_>, wasm64: bool) -> R<i32> {
    enter(c, "call_perform", CALLING, API_CALL_PERFORM)?;
    pending(c, "call_perform")?;
    let message = c.data_mut().message();
    let Some(mut call) = message.pending.take() else {
        return Ok(SYS_TRANSIENT);
    };
    let limits = &message.limits;
    let fees = &limits.fees;
    let mut fee = 0;
    if fees.charge && message.replicated {
        // Paid ahead: the largest response that may come, and all that its callback may use.
        call.callback.paid_response = fees.xnet_byte * limits.reply_bytes as u128;
        call.callback.paid_execution = fees.execution(limits.update_instructions, wasm64);
        fee = fees.request(call.method.len() + call.arg.len())
            + call.callback.paid_response
            + call.callback.paid_execution;
    }
    let full = message.waiting.get(&call.callee).copied().unwrap_or(0) >= limits.queue_capacity;
    if full || message.liquid() < fee {
        message.balance = message.balance.saturating_add(call.cycles);
        return Ok(SYS_TRANSIENT);
    }
    message.balance -= fee;
    *message.waiting.entry(call.callee).or_default() += 1;
    message.calls.push(call);
    Ok(0)
}

pub(super) fn link<W: Word>(l: &mut Linker<Host>) -> R<()> {
    #[allow(clippy::too_many_arguments, reason = "the System API's own signature")]
    fn new<W: Word>(
        mut c: Ctx<'_>,
        callee: W,
        callee_size: W,
        name: W,
        name_size: W,
        reply_fun: W,
        reply_env: W,
        reject_fun: W,
        reject_env: W,
    ) -> R<()> {
        let new = NewCall {
            callee: (callee.get(), callee_size.get()),
            name: (name.get(), name_size.get()),
            reply: WasmClosure {
                function: reply_fun.get(),
                env: reply_env.get(),
            },
            reject: WasmClosure {
                function: reject_fun.get(),
                env: reject_env.get(),
            },
        };
        call_new(&mut c, new)
    }
    l.func_wrap("ic0", "call_new", new::<W>)?;
    l.func_wrap(
        "ic0",
        "call_on_cleanup",
        |mut c: Ctx<'_>, function: W, env: W| on_cleanup(&mut c, function.get(), env.get()),
    )?;
    l.func_wrap("ic0", "call_data_append", |mut c: Ctx<'_>, src: W, n: W| {
        data_append(&mut c, src.get(), n.get())
    })?;
    l.func_wrap(
        "ic0",
        "call_with_best_effort_response",
        |mut c: Ctx<'_>, seconds: i32| best_effort(&mut c, seconds),
    )?;
    l.func_wrap(
        "ic0",
        "call_cycles_add128",
        |mut c: Ctx<'_>, high: i64, low: i64| {
            cycles_add(&mut c, "call_cycles_add128", high_low(high, low))
        },
    )?;
    l.func_wrap("ic0", "call_perform", |mut c: Ctx<'_>| {
        perform(&mut c, W::WIDE)
    })?;
    if !W::WIDE {
        l.func_wrap("ic0", "call_cycles_add", |mut c: Ctx<'_>, amount: i64| {
            cycles_add(&mut c, "call_cycles_add", u128::from(amount as u64))
        })?;
    }
    Ok(())
}

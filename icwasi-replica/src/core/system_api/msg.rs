//! `msg_*`, `accept_message`, and cycles of the call.

use wasmtime::Linker;

use super::context::*;
use super::{
    Ctx, Host, R, Response, Word, charge, contract, copy_from, enter, high_low, load, store128,
};
use crate::core::costs::{API_DEFAULT, TRANSMISSION_PER_BYTE};

const ARG: Contexts = INIT | UPDATE | QUERIES | REPLY | COMPOSITE_REPLY | INSPECT;
const REJECTED: Contexts = REJECT | COMPOSITE_REJECT;

fn reject_code(c: &mut Ctx<'_>) -> R<i32> {
    enter(
        c,
        "msg_reject_code",
        CALLBACK | COMPOSITE_CALLBACK | CLEANUP | COMPOSITE_CLEANUP,
        API_DEFAULT,
    )?;
    Ok(c.data_mut()
        .message()
        .reject
        .as_ref()
        .map_or(0, |(code, _)| *code as i32))
}

fn reply_data_append(c: &mut Ctx<'_>, src: u64, size: u64) -> R<()> {
    const NAME: &str = "msg_reply_data_append";
    enter(c, NAME, ANSWERING, API_DEFAULT)?;
    charge(c, size.saturating_mul(TRANSMISSION_PER_BYTE))?;
    check_open(c, NAME)?;
    let (heap, message) = super::split(c, NAME)?;
    let range = super::range(NAME, "heap", src, size, heap.len())?;
    if message.reply.len() as u64 + size > message.reply_limit as u64 {
        return contract(format!(
            "ic0.{NAME}: application payload size ({}) cannot be larger than {}",
            message.reply.len() as u64 + size,
            message.reply_limit
        ));
    }
    message.reply.extend_from_slice(&heap[range]);
    Ok(())
}

/// Traps if the call has been answered.
fn check_open(c: &mut Ctx<'_>, name: &str) -> R<()> {
    let message = c.data_mut().message();
    if message.answered || message.response.is_some() {
        return contract(format!("ic0.{name}: the call is already replied"));
    }
    Ok(())
}

fn reply(c: &mut Ctx<'_>) -> R<()> {
    enter(c, "msg_reply", ANSWERING, API_DEFAULT)?;
    check_open(c, "msg_reply")?;
    let message = c.data_mut().message();
    message.response = Some(Response::Reply(std::mem::take(&mut message.reply)));
    Ok(())
}

fn reject(c: &mut Ctx<'_>, src: u64, size: u64) -> R<()> {
    const NAME: &str = "msg_reject";
    enter(c, NAME, ANSWERING, API_DEFAULT)?;
    charge(c, size.saturating_mul(TRANSMISSION_PER_BYTE))?;
    check_open(c, NAME)?;
    let limit = c.data_mut().message().reply_limit as u64;
    if size > limit {
        return contract(format!(
            "ic0.{NAME}: application payload size ({size}) cannot be larger than {limit}"
        ));
    }
    let text = load(c, NAME, src, size)?;
    let Ok(text) = String::from_utf8(text) else {
        return contract(format!("ic0.{NAME}: invalid UTF-8 string provided"));
    };
    c.data_mut().message().response = Some(Response::Reject(text));
    Ok(())
}

/// Moves up to `max` cycles of the call to the canister.
fn accept(c: &mut Ctx<'_>, max: u128) -> u128 {
    let message = c.data_mut().message();
    let amount = max.min(message.available);
    message.available -= amount;
    message.balance = message.balance.saturating_add(amount);
    amount
}

fn narrow(name: &str, cycles: u128) -> R<i64> {
    match u64::try_from(cycles) {
        Ok(cycles) => Ok(cycles as i64),
        Err(_) => contract(format!(
            "ic0.{name}: {cycles} cycles do not fit into 64 bits"
        )),
    }
}

const AVAILABLE: Contexts = UPDATE | REPLICATED_QUERY | CALLBACK;

pub(super) fn link<W: Word>(l: &mut Linker<Host>) -> R<()> {
    l.func_wrap("ic0", "msg_arg_data_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "msg_arg_data_size", ARG, API_DEFAULT)?;
        Ok(W::put(c.data_mut().message().arg.len() as u64))
    })?;
    l.func_wrap(
        "ic0",
        "msg_arg_data_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "msg_arg_data_copy";
            enter(&mut c, NAME, ARG, API_DEFAULT)?;
            copy_from(&mut c, NAME, |m| &m.arg, dst.get(), off.get(), n.get())
        },
    )?;
    l.func_wrap("ic0", "msg_caller_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "msg_caller_size", NOT_START, API_DEFAULT)?;
        Ok(W::put(c.data_mut().message().caller.as_slice().len() as u64))
    })?;
    l.func_wrap(
        "ic0",
        "msg_caller_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "msg_caller_copy";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            copy_from(
                &mut c,
                NAME,
                |m| m.caller.as_slice(),
                dst.get(),
                off.get(),
                n.get(),
            )
        },
    )?;
    // Nothing here carries attested information about the sender: both are empty.
    for name in ["msg_caller_info_data", "msg_caller_info_signer"] {
        let size = format!("{name}_size");
        l.func_wrap("ic0", &size.clone(), move |mut c: Ctx<'_>| -> R<W> {
            enter(&mut c, &size, NOT_START, API_DEFAULT)?;
            Ok(W::put(0))
        })?;
        let copy = format!("{name}_copy");
        l.func_wrap(
            "ic0",
            &copy.clone(),
            move |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
                enter(&mut c, &copy, NOT_START, API_DEFAULT)?;
                copy_from(&mut c, &copy, |_| &[], dst.get(), off.get(), n.get())
            },
        )?;
    }
    l.func_wrap("ic0", "msg_reject_code", |mut c: Ctx<'_>| {
        reject_code(&mut c)
    })?;
    l.func_wrap("ic0", "msg_reject_msg_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "msg_reject_msg_size", REJECTED, API_DEFAULT)?;
        Ok(W::put(
            c.data_mut()
                .message()
                .reject
                .as_ref()
                .map_or(0, |(_, m)| m.len() as u64),
        ))
    })?;
    l.func_wrap(
        "ic0",
        "msg_reject_msg_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "msg_reject_msg_copy";
            enter(&mut c, NAME, REJECTED, API_DEFAULT)?;
            let source = |m: &'_ super::Message| m.reject.clone().map_or(String::new(), |r| r.1);
            let text = source(c.data_mut().message());
            charge(&mut c, n.get())?;
            let range = super::range(NAME, "payload", off.get(), n.get(), text.len())?;
            super::store(&mut c, NAME, dst.get(), &text.as_bytes()[range])
        },
    )?;
    l.func_wrap("ic0", "msg_deadline", |mut c: Ctx<'_>| -> R<i64> {
        let allowed = UPDATE | QUERIES | CALLBACK | COMPOSITE_CALLBACK;
        enter(&mut c, "msg_deadline", allowed, API_DEFAULT)?;
        Ok(c.data_mut().message().deadline as i64)
    })?;
    l.func_wrap(
        "ic0",
        "msg_reply_data_append",
        |mut c: Ctx<'_>, src: W, n: W| reply_data_append(&mut c, src.get(), n.get()),
    )?;
    l.func_wrap("ic0", "msg_reply", |mut c: Ctx<'_>| reply(&mut c))?;
    l.func_wrap("ic0", "msg_reject", |mut c: Ctx<'_>, src: W, n: W| {
        reject(&mut c, src.get(), n.get())
    })?;
    l.func_wrap(
        "ic0",
        "msg_cycles_available128",
        |mut c: Ctx<'_>, dst: W| -> R<()> {
            enter(&mut c, "msg_cycles_available128", AVAILABLE, API_DEFAULT)?;
            let value = c.data_mut().message().available;
            store128(&mut c, "msg_cycles_available128", dst.get(), value)
        },
    )?;
    l.func_wrap(
        "ic0",
        "msg_cycles_refunded128",
        |mut c: Ctx<'_>, dst: W| -> R<()> {
            enter(&mut c, "msg_cycles_refunded128", CALLBACK, API_DEFAULT)?;
            let value = c.data_mut().message().refunded;
            store128(&mut c, "msg_cycles_refunded128", dst.get(), value)
        },
    )?;
    l.func_wrap(
        "ic0",
        "msg_cycles_accept128",
        |mut c: Ctx<'_>, high: i64, low: i64, dst: W| -> R<()> {
            enter(&mut c, "msg_cycles_accept128", AVAILABLE, API_DEFAULT)?;
            let value = accept(&mut c, high_low(high, low));
            store128(&mut c, "msg_cycles_accept128", dst.get(), value)
        },
    )?;
    l.func_wrap("ic0", "msg_method_name_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "msg_method_name_size", INSPECT, API_DEFAULT)?;
        Ok(W::put(c.data_mut().message().method.len() as u64))
    })?;
    l.func_wrap(
        "ic0",
        "msg_method_name_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "msg_method_name_copy";
            enter(&mut c, NAME, INSPECT, API_DEFAULT)?;
            copy_from(
                &mut c,
                NAME,
                |m| m.method.as_bytes(),
                dst.get(),
                off.get(),
                n.get(),
            )
        },
    )?;
    l.func_wrap("ic0", "accept_message", |mut c: Ctx<'_>| -> R<()> {
        enter(&mut c, "accept_message", INSPECT, API_DEFAULT)?;
        let message = c.data_mut().message();
        if message.accepted {
            return contract("ic0.accept_message: the function was already called");
        }
        message.accepted = true;
        Ok(())
    })?;
    if W::WIDE {
        return Ok(());
    }
    l.func_wrap("ic0", "msg_cycles_available", |mut c: Ctx<'_>| -> R<i64> {
        enter(&mut c, "msg_cycles_available", AVAILABLE, API_DEFAULT)?;
        narrow("msg_cycles_available", c.data_mut().message().available)
    })?;
    l.func_wrap("ic0", "msg_cycles_refunded", |mut c: Ctx<'_>| -> R<i64> {
        enter(&mut c, "msg_cycles_refunded", CALLBACK, API_DEFAULT)?;
        narrow("msg_cycles_refunded", c.data_mut().message().refunded)
    })?;
    l.func_wrap(
        "ic0",
        "msg_cycles_accept",
        |mut c: Ctx<'_>, max: i64| -> R<i64> {
            enter(&mut c, "msg_cycles_accept", AVAILABLE, API_DEFAULT)?;
            let amount = accept(&mut c, u128::from(max as u64));
            narrow("msg_cycles_accept", amount)
        },
    )?;
    Ok(())
}

//! Everything about the canister and its platform: identity, cycles, time, certified data,
//! environment variables, costs, printing, trapping.

use candid::Principal;
use wasmtime::Linker;

use super::context::*;
use super::{
    Ctx, Host, HostTrap, Message, R, Word, charge, contract, copy_from, enter, high_low, load,
    remaining, split, store128,
};
use crate::core::canister::CanisterStatus;
use crate::core::costs::*;

/// What may set the timer.
const CHANGING: Contexts = REPLICATED & !REPLICATED_QUERY;

fn narrow(name: &str, cycles: u128) -> R<i64> {
    match u64::try_from(cycles) {
        Ok(cycles) => Ok(cycles as i64),
        Err(_) => contract(format!(
            "ic0.{name}: {cycles} cycles do not fit into 64 bits"
        )),
    }
}

fn identity<W: Word>(l: &mut Linker<Host>) -> R<()> {
    l.func_wrap("ic0", "canister_self_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "canister_self_size", NOT_START, API_DEFAULT)?;
        Ok(W::put(
            c.data_mut().message().canister.as_slice().len() as u64
        ))
    })?;
    l.func_wrap(
        "ic0",
        "canister_self_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "canister_self_copy";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            copy_from(
                &mut c,
                NAME,
                |m| m.canister.as_slice(),
                dst.get(),
                off.get(),
                n.get(),
            )
        },
    )?;
    l.func_wrap("ic0", "subnet_self_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "subnet_self_size", NOT_START, API_DEFAULT)?;
        Ok(W::put(
            c.data_mut().message().subnet.id.as_slice().len() as u64
        ))
    })?;
    l.func_wrap(
        "ic0",
        "subnet_self_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "subnet_self_copy";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            copy_from(
                &mut c,
                NAME,
                |m| m.subnet.id.as_slice(),
                dst.get(),
                off.get(),
                n.get(),
            )
        },
    )?;
    l.func_wrap(
        "ic0",
        "subnet_self_node_count",
        |mut c: Ctx<'_>| -> R<i32> {
            enter(&mut c, "subnet_self_node_count", NOT_START, API_DEFAULT)?;
            Ok(c.data_mut().message().limits.fees.nodes as i32)
        },
    )?;
    l.func_wrap("ic0", "root_key_size", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "root_key_size", REPLICATED, API_DEFAULT)?;
        Ok(W::put(c.data_mut().message().subnet.root_key.len() as u64))
    })?;
    l.func_wrap(
        "ic0",
        "root_key_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "root_key_copy";
            enter(&mut c, NAME, REPLICATED, API_DEFAULT)?;
            copy_from(
                &mut c,
                NAME,
                |m| &m.subnet.root_key,
                dst.get(),
                off.get(),
                n.get(),
            )
        },
    )?;
    l.func_wrap("ic0", "canister_status", |mut c: Ctx<'_>| -> R<i32> {
        enter(&mut c, "canister_status", NOT_START, API_DEFAULT)?;
        Ok(match c.data_mut().message().status {
            CanisterStatus::Running => 1,
            CanisterStatus::Stopping => 2,
            CanisterStatus::Stopped => 3,
        })
    })?;
    l.func_wrap("ic0", "canister_version", |mut c: Ctx<'_>| -> R<i64> {
        enter(&mut c, "canister_version", NOT_START, API_DEFAULT)?;
        Ok(c.data_mut().message().version as i64)
    })?;
    l.func_wrap(
        "ic0",
        "is_controller",
        |mut c: Ctx<'_>, src: W, n: W| -> R<i32> {
            const NAME: &str = "is_controller";
            enter(&mut c, NAME, ALWAYS, API_IS_CONTROLLER)?;
            charge(&mut c, n.get())?;
            let bytes = load(&mut c, NAME, src.get(), n.get())?;
            let Ok(principal) = Principal::try_from_slice(&bytes) else {
                return contract("ic0.is_controller: not a valid principal");
            };
            Ok(i32::from(
                c.data_mut().message().controllers.contains(&principal),
            ))
        },
    )?;
    l.func_wrap(
        "ic0",
        "in_replicated_execution",
        |mut c: Ctx<'_>| -> R<i32> {
            enter(&mut c, "in_replicated_execution", ALWAYS, API_DEFAULT)?;
            Ok(i32::from(c.data_mut().message().replicated))
        },
    )?;
    Ok(())
}

fn cycles<W: Word>(l: &mut Linker<Host>) -> R<()> {
    for (name, liquid) in [
        ("canister_cycle_balance128", false),
        ("canister_liquid_cycle_balance128", true),
    ] {
        l.func_wrap("ic0", name, move |mut c: Ctx<'_>, dst: W| -> R<()> {
            enter(&mut c, name, NOT_START, API_DEFAULT)?;
            let message = c.data_mut().message();
            let value = if liquid {
                message.liquid()
            } else {
                message.balance
            };
            store128(&mut c, name, dst.get(), value)
        })?;
    }
    l.func_wrap(
        "ic0",
        "cycles_burn128",
        |mut c: Ctx<'_>, high: i64, low: i64, dst: W| -> R<()> {
            enter(&mut c, "cycles_burn128", REPLICATED, API_DEFAULT)?;
            let message = c.data_mut().message();
            let amount = high_low(high, low).min(message.liquid());
            message.balance -= amount;
            store128(&mut c, "cycles_burn128", dst.get(), amount)
        },
    )?;
    if !W::WIDE {
        l.func_wrap(
            "ic0",
            "canister_cycle_balance",
            |mut c: Ctx<'_>| -> R<i64> {
                enter(&mut c, "canister_cycle_balance", NOT_START, API_DEFAULT)?;
                narrow("canister_cycle_balance", c.data_mut().message().balance)
            },
        )?;
    }
    Ok(())
}

fn time_and_certificate<W: Word>(l: &mut Linker<Host>) -> R<()> {
    l.func_wrap("ic0", "time", |mut c: Ctx<'_>| -> R<i64> {
        enter(&mut c, "time", NOT_START, API_DEFAULT)?;
        Ok(c.data_mut().message().time as i64)
    })?;
    l.func_wrap(
        "ic0",
        "global_timer_set",
        |mut c: Ctx<'_>, at: i64| -> R<i64> {
            enter(&mut c, "global_timer_set", CHANGING, API_DEFAULT)?;
            let message = c.data_mut().message();
            let before = message.timer.unwrap_or(message.timer_before);
            message.timer = Some(at as u64);
            Ok(before as i64)
        },
    )?;
    l.func_wrap(
        "ic0",
        "performance_counter",
        |mut c: Ctx<'_>, kind: i32| -> R<i64> {
            enter(
                &mut c,
                "performance_counter",
                ALWAYS,
                API_PERFORMANCE_COUNTER,
            )?;
            let left = remaining(&mut c);
            let message = c.data_mut().message();
            let here = (message.limit as i64).saturating_sub(left);
            match kind {
                0 => Ok(here),
                1 => Ok(here.saturating_add_unsigned(message.context_instructions)),
                _ => contract(format!(
                    "ic0.performance_counter: unknown counter type {kind}"
                )),
            }
        },
    )?;
    l.func_wrap(
        "ic0",
        "certified_data_set",
        |mut c: Ctx<'_>, src: W, n: W| -> R<()> {
            const NAME: &str = "certified_data_set";
            let allowed = INIT | PRE_UPGRADE | UPDATE | CALLBACK | SYSTEM;
            enter(&mut c, NAME, allowed, API_DEFAULT)?;
            charge(&mut c, n.get())?;
            let limit = c.data_mut().message().limits.certified_data_bytes as u64;
            if n.get() > limit {
                return contract(format!(
                    "ic0_certified_data_set failed because the passed data must be no larger than \
                 {limit} bytes. Found {} bytes",
                    n.get()
                ));
            }
            let bytes = load(&mut c, NAME, src.get(), n.get())?;
            c.data_mut().message().certified_data = Some(bytes);
            Ok(())
        },
    )?;
    l.func_wrap(
        "ic0",
        "data_certificate_present",
        |mut c: Ctx<'_>| -> R<i32> {
            enter(&mut c, "data_certificate_present", NOT_START, API_DEFAULT)?;
            let message = c.data_mut().message();
            let can = message.context & (QUERY | COMPOSITE_QUERY) != 0;
            Ok(i32::from(can && message.certificate.is_some()))
        },
    )?;
    l.func_wrap("ic0", "data_certificate_size", |mut c: Ctx<'_>| -> R<W> {
        enter(
            &mut c,
            "data_certificate_size",
            QUERY | COMPOSITE_QUERY,
            API_DEFAULT,
        )?;
        Ok(W::put(certificate(c.data_mut().message())?.len() as u64))
    })?;
    l.func_wrap(
        "ic0",
        "data_certificate_copy",
        |mut c: Ctx<'_>, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "data_certificate_copy";
            enter(&mut c, NAME, QUERY | COMPOSITE_QUERY, API_DEFAULT)?;
            certificate(c.data_mut().message())?;
            copy_from(
                &mut c,
                NAME,
                |m| m.certificate_bytes.as_deref().unwrap_or(&[]),
                dst.get(),
                off.get(),
                n.get(),
            )
        },
    )?;
    Ok(())
}

/// The certificate, made when it is first asked for.
fn certificate(message: &mut Message) -> R<&[u8]> {
    if message.certificate_bytes.is_none() {
        let provider = message.certificate.as_ref();
        message.certificate_bytes =
            provider.and_then(|p| p(&message.canister, &message.certified_before));
    }
    match &message.certificate_bytes {
        Some(bytes) => Ok(bytes),
        None => contract("ic0.data_certificate: no certificate is available"),
    }
}

/// The name of an environment variable: checked as the reference does.
fn variable_name(c: &mut Ctx<'_>, name: &str, src: u64, size: u64) -> R<String> {
    charge(c, size)?;
    let limit = c.data_mut().message().limits.env_var_bytes as u64;
    if size > limit {
        return contract(format!(
            "ic0.{name}: name of {size} bytes exceeds the limit of {limit}"
        ));
    }
    match String::from_utf8(load(c, name, src, size)?) {
        Ok(variable) => Ok(variable),
        Err(_) => contract(format!("ic0.{name}: the name is not valid UTF-8")),
    }
}

fn nth_name(c: &mut Ctx<'_>, name: &str, index: u64) -> R<String> {
    let names = &c.data_mut().message().environment;
    match usize::try_from(index)
        .ok()
        .and_then(|i| names.keys().nth(i))
    {
        Some(variable) => Ok(variable.clone()),
        None => contract(format!("ic0.{name}: index {index} is out of bounds")),
    }
}

fn value(c: &mut Ctx<'_>, name: &str, variable: &str) -> R<String> {
    match c.data_mut().message().environment.get(variable) {
        Some(value) => Ok(value.clone()),
        None => contract(format!(
            "ic0.{name}: environment variable '{variable}' not found"
        )),
    }
}

fn copy_text(c: &mut Ctx<'_>, name: &str, text: &str, dst: u64, off: u64, n: u64) -> R<()> {
    charge(c, n)?;
    let range = super::range(name, "payload", off, n, text.len())?;
    super::store(c, name, dst, &text.as_bytes()[range])
}

fn environment<W: Word>(l: &mut Linker<Host>) -> R<()> {
    l.func_wrap("ic0", "env_var_count", |mut c: Ctx<'_>| -> R<W> {
        enter(&mut c, "env_var_count", NOT_START, API_DEFAULT)?;
        Ok(W::put(c.data_mut().message().environment.len() as u64))
    })?;
    l.func_wrap(
        "ic0",
        "env_var_name_size",
        |mut c: Ctx<'_>, index: W| -> R<W> {
            const NAME: &str = "env_var_name_size";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            Ok(W::put(nth_name(&mut c, NAME, index.get())?.len() as u64))
        },
    )?;
    l.func_wrap(
        "ic0",
        "env_var_name_copy",
        |mut c: Ctx<'_>, index: W, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "env_var_name_copy";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            let text = nth_name(&mut c, NAME, index.get())?;
            copy_text(&mut c, NAME, &text, dst.get(), off.get(), n.get())
        },
    )?;
    l.func_wrap(
        "ic0",
        "env_var_name_exists",
        |mut c: Ctx<'_>, src: W, n: W| -> R<i32> {
            const NAME: &str = "env_var_name_exists";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            let variable = variable_name(&mut c, NAME, src.get(), n.get())?;
            Ok(i32::from(
                c.data_mut().message().environment.contains_key(&variable),
            ))
        },
    )?;
    l.func_wrap(
        "ic0",
        "env_var_value_size",
        |mut c: Ctx<'_>, src: W, n: W| -> R<W> {
            const NAME: &str = "env_var_value_size";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            let variable = variable_name(&mut c, NAME, src.get(), n.get())?;
            Ok(W::put(value(&mut c, NAME, &variable)?.len() as u64))
        },
    )?;
    l.func_wrap(
        "ic0",
        "env_var_value_copy",
        |mut c: Ctx<'_>, src: W, size: W, dst: W, off: W, n: W| -> R<()> {
            const NAME: &str = "env_var_value_copy";
            enter(&mut c, NAME, NOT_START, API_DEFAULT)?;
            let variable = variable_name(&mut c, NAME, src.get(), size.get())?;
            let text = value(&mut c, NAME, &variable)?;
            copy_text(&mut c, NAME, &text, dst.get(), off.get(), n.get())
        },
    )?;
    Ok(())
}

fn print(c: &mut Ctx<'_>, src: u64, size: u64) -> R<()> {
    const NAME: &str = "debug_print";
    enter(c, NAME, ALWAYS, API_DEBUG_PRINT)?;
    let cost = c.data_mut().message().print_cost(size);
    charge(c, cost)?;
    // Out of range prints nothing: debugging must not change what a program does.
    let (heap, message) = split(c, NAME)?;
    let text = match super::range(NAME, "heap", src, size, heap.len()) {
        Ok(range) => heap[range].to_vec(),
        Err(_) => b"(debug_print message out of memory bounds)".to_vec(),
    };
    message.print_line(&text);
    Ok(())
}

fn trap(c: &mut Ctx<'_>, src: u64, size: u64) -> R<()> {
    const NAME: &str = "trap";
    enter(c, NAME, ALWAYS, API_DEFAULT)?;
    let cost = c.data_mut().message().print_cost(size);
    charge(c, cost.saturating_add(size))?;
    let text = match load(c, NAME, src, size) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => "(trap message out of memory bounds)".to_owned(),
    };
    Err(HostTrap::CalledTrap(text).into())
}

pub(super) fn link<W: Word>(l: &mut Linker<Host>) -> R<()> {
    identity::<W>(l)?;
    cycles::<W>(l)?;
    time_and_certificate::<W>(l)?;
    environment::<W>(l)?;
    l.func_wrap("ic0", "debug_print", |mut c: Ctx<'_>, src: W, n: W| {
        print(&mut c, src.get(), n.get())
    })?;
    l.func_wrap("ic0", "trap", |mut c: Ctx<'_>, src: W, n: W| {
        trap(&mut c, src.get(), n.get())
    })?;
    Ok(())
}

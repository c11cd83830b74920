//! `cost_*`: what calls and services cost in cycles.

use wasmtime::Linker;

use super::context::ALWAYS;
use super::{Ctx, Host, R, Word, charge, contract, enter, load, store128};
use crate::core::costs::{API_COST_HTTP_REQUEST_V2, API_DEFAULT};
use crate::core::limits::Fees;

/// Cycles of an HTTP outcall.
fn http_request_cost(fees: &Fees, request: u64, response: u64) -> u128 {
    let n = u128::from(fees.nodes);
    let per_node = fees.http_base
        + fees.http_per_node * n
        + fees.http_request_byte * u128::from(request)
        + fees.http_response_byte * u128::from(response);
    per_node * n
}

/// Cycles of a threshold operation with this key: production keys cost more, unknown ones are an
/// error (2), as is an unknown curve or algorithm (1).
fn key_cost(key: &str, kind: i32, kinds: i32, prod: u128, test: u128) -> Result<u128, i32> {
    if !(0..kinds).contains(&kind) {
        return Err(1);
    }
    match key {
        "key_1" => Ok(prod),
        "test_key_1" | "dfx_test_key" => Ok(test),
        _ => Err(2),
    }
}

pub(super) fn link<W: Word>(l: &mut Linker<Host>) -> R<()> {
    l.func_wrap(
        "ic0",
        "cost_call",
        |mut c: Ctx<'_>, name: i64, arg: i64, dst: W| -> R<()> {
            enter(&mut c, "cost_call", ALWAYS, API_DEFAULT)?;
            let message = c.data_mut().message();
            let fees = &message.limits.fees;
            let bytes = u128::from(name as u64)
                + u128::from(arg as u64)
                + message.limits.reply_bytes as u128;
            // Request, response, and the instructions that a callback may use.
            let callback =
                u128::from(message.limits.update_instructions) / 10 * fees.ten_instructions;
            let value = fees.xnet_call + fees.xnet_byte * bytes + fees.update + callback;
            store128(&mut c, "cost_call", dst.get(), value)
        },
    )?;
    l.func_wrap(
        "ic0",
        "cost_create_canister",
        |mut c: Ctx<'_>, dst: W| -> R<()> {
            enter(&mut c, "cost_create_canister", ALWAYS, API_DEFAULT)?;
            let value = c.data_mut().message().limits.fees.create_canister;
            store128(&mut c, "cost_create_canister", dst.get(), value)
        },
    )?;
    l.func_wrap(
        "ic0",
        "cost_http_request",
        |mut c: Ctx<'_>, q: i64, r: i64, dst: W| -> R<()> {
            enter(&mut c, "cost_http_request", ALWAYS, API_DEFAULT)?;
            let fees = &c.data_mut().message().limits.fees;
            let value = http_request_cost(fees, q as u64, r as u64);
            store128(&mut c, "cost_http_request", dst.get(), value)
        },
    )?;
    l.func_wrap(
        "ic0",
        "cost_http_request_v2",
        |mut c: Ctx<'_>, src: W, n: W, dst: W| -> R<()> {
            const NAME: &str = "cost_http_request_v2";
            enter(&mut c, NAME, ALWAYS, API_COST_HTTP_REQUEST_V2)?;
            charge(&mut c, n.get())?;
            let params = load(&mut c, NAME, src.get(), n.get())?;
            let fees = &c.data_mut().message().limits.fees;
            // The parameters are not taken apart: the price is that of a request of their size
            // with the largest response.
            let value = http_request_cost(fees, params.len() as u64, 2 << 20);
            store128(&mut c, NAME, dst.get(), value)
        },
    )?;
    for (name, kinds) in [
        ("cost_sign_with_ecdsa", 1),
        ("cost_sign_with_schnorr", 2),
        ("cost_vetkd_derive_key", 1),
    ] {
        l.func_wrap(
            "ic0",
            name,
            move |mut c: Ctx<'_>, src: W, n: W, kind: i32, dst: W| -> R<i32> {
                enter(&mut c, name, ALWAYS, API_DEFAULT)?;
                charge(&mut c, n.get())?;
                let Ok(key) = String::from_utf8(load(&mut c, name, src.get(), n.get())?) else {
                    return contract(format!("ic0.{name}: the key name is not valid UTF-8"));
                };
                let fees = &c.data_mut().message().limits.fees;
                let (prod, test) = if name == "cost_vetkd_derive_key" {
                    (fees.vetkd_prod, fees.vetkd_test)
                } else {
                    (fees.sign_prod, fees.sign_test)
                };
                match key_cost(&key, kind, kinds, prod, test) {
                    Ok(value) => {
                        store128(&mut c, name, dst.get(), value)?;
                        Ok(0)
                    }
                    Err(code) => Ok(code),
                }
            },
        )?;
    }
    Ok(())
}

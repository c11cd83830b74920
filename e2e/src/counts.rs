//! The same work on two networks: do both count the same instructions?
//!
//! What is compared is what canisters read from `ic0.performance_counter`, since that every
//! network has.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use ic_utils::interfaces::ManagementCanister;

use crate::canisters::{Mode, bench, linked};
use crate::network::Network;

/// File and SQLite work depends a little on the time and on random numbers; in thousandths.
const TOLERANCE: u64 = 2;

/// Work of one kind each: a method does it and replies the counter, eight bytes.
const KINDS: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
    (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (memory 4)
    (table 1 funcref)
    (elem (i32.const 0) $leaf)
    (type $unary (func (param i64) (result i64)))
    (func $leaf (type $unary) (i64.add (local.get 0) (i64.const 1)))
    (func $answer
        (i64.store (i32.const 0) (call $counter (i32.const 0)))
        (call $append (i32.const 0) (i32.const 8))
        (call $reply))
    (func (export "canister_update nothing") (call $answer))
    (func (export "canister_update integers") (local $i i64) (local $x i64)
        (loop $again
            (local.set $x (i64.rotl (i64.xor (local.get $x)
                (i64.div_u (i64.mul (local.get $i) (i64.const 77)) (i64.const 5))) (i64.const 3)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $again (i64.lt_u (local.get $i) (i64.const 10000))))
        (call $answer))
    (func (export "canister_update floats") (local $i i32) (local $x f64)
        (loop $again
            (local.set $x (f64.sqrt (f64.max (local.get $x)
                (f64.div (f64.convert_i32_u (local.get $i)) (f64.const 3.5)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (i32.trunc_sat_f64_u (f64.convert_i32_s (local.get $i)))
                (i32.const 5000))))
        (call $answer))
    (func (export "canister_update calls") (local $i i64)
        (loop $again
            (local.set $i (call $leaf (local.get $i)))
            (local.set $i (call_indirect (type $unary) (local.get $i) (i32.const 0)))
            (if (i64.lt_u (local.get $i) (i64.const 10000)) (then (br $again))))
        (call $answer))
    (func (export "canister_update memory") (local $i i32)
        (memory.fill (i32.const 64) (i32.const 7) (i32.const 100000))
        (memory.copy (i32.const 70000) (i32.const 64) (i32.const 50000))
        (drop (memory.grow (i32.const 1)))
        (drop (memory.size))
        (loop $again
            (i32.store (local.get $i) (i32.load8_u offset=100 (local.get $i)))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 60000))))
        (call $answer))
    (func (export "canister_update stable") (local $at i64)
        (drop (call $grow (i64.const 20)))
        (loop $again
            (call $write (local.get $at) (i64.const 0) (i64.const 5000))
            (call $write (local.get $at) (i64.const 0) (i64.const 10))
            (call $read (i64.const 0) (local.get $at) (i64.const 3000))
            (local.set $at (i64.add (local.get $at) (i64.const 9000)))
            (br_if $again (i64.lt_u (local.get $at) (i64.const 900000))))
        (call $answer))
    (func (export "canister_update system") (local $i i32)
        (loop $again
            (drop (call $caller_size))
            (call $append (i32.const 0) (i32.const 0))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))
        (call $answer)))"#;

/// Methods of [`KINDS`].
const METHODS: [&str; 7] = [
    "nothing", "integers", "floats", "calls", "memory", "stable", "system",
];

/// Instructions of one piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// What was done.
    pub work: String,
    /// Instructions.
    pub instructions: u64,
    /// Whether every network has to count exactly so much.
    pub exact: bool,
}

#[derive(CandidType)]
enum Access {
    Create,
}

/// Does all the work on `network`.
///
/// # Errors
/// If a canister cannot be built, installed or called.
pub async fn measure(network: &Network) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    let id = network.create().await?;
    let module = wat::parse_str(KINDS).context("the text of the module")?;
    ManagementCanister::create(&network.owner.agent)
        .install(&id, &module)
        .call_and_wait()
        .await
        .context("install the canister that counts")?;
    for method in METHODS {
        let reply = call(network, id, method, Vec::new()).await?;
        // Some methods append more before the counter.
        let tail = reply.last_chunk::<8>().context("eight bytes")?;
        counts.push(Count {
            work: method.to_owned(),
            instructions: u64::from_le_bytes(*tail),
            exact: true,
        });
    }

    let files = network.deploy(&linked(bench(Mode::Inject), &[])?).await?;
    let write = ("/file", 1_000_000_u64, 4_096_u32, Access::Create);
    counts.push(file_work(network, files, "write", write).await?);
    let read = ("/file", 1_000_000_u64, 4_096_u32);
    counts.push(file_work(network, files, "read", read).await?);
    let insert = ("/test.db", 1_000_u32, "memory");
    counts.push(file_work(network, files, "sqlite_insert", insert).await?);
    Ok(counts)
}

async fn file_work(
    network: &Network,
    id: Principal,
    method: &str,
    args: impl ArgumentEncoder,
) -> Result<Count> {
    let reply = call(network, id, method, candid::encode_args(args)?).await?;
    Ok(Count {
        work: method.to_owned(),
        instructions: candid::decode_one(&reply)?,
        exact: false,
    })
}

async fn call(network: &Network, id: Principal, method: &str, arg: Vec<u8>) -> Result<Vec<u8>> {
    network
        .owner
        .agent
        .update(&id, method)
        .with_arg(arg)
        .call_and_wait()
        .await
        .with_context(|| method.to_owned())
}

/// Compares; a line for each piece of work.
///
/// # Errors
/// If a count differs, with all of them.
pub fn compare(ours: &[Count], theirs: &[Count]) -> Result<String> {
    ensure!(ours.len() == theirs.len(), "not the same work");
    let mut table = String::new();
    let mut different = 0;
    for (our, their) in ours.iter().zip(theirs) {
        ensure!(our.work == their.work, "not the same work");
        let (a, b) = (our.instructions, their.instructions);
        let allowed = if our.exact { 0 } else { a / 1_000 * TOLERANCE };
        let verdict = if a.abs_diff(b) <= allowed {
            ""
        } else {
            different += 1;
            "  DIFFERENT"
        };
        writeln!(table, "{:<14} {a:>12} {b:>12}{verdict}", our.work)?;
    }
    ensure!(different == 0, "{different} counts differ:\n{table}");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found() {
        let count = |instructions, exact| Count {
            work: "w".into(),
            instructions,
            exact,
        };
        assert!(compare(&[count(100_000, true)], &[count(100_000, true)]).is_ok());
        assert!(compare(&[count(100_000, true)], &[count(100_001, true)]).is_err());
        assert!(compare(&[count(100_000, false)], &[count(100_200, false)]).is_ok());
        assert!(compare(&[count(100_000, false)], &[count(100_201, false)]).is_err());
        assert!(compare(&[count(1, true)], &[]).is_err());
    }
}

//! The System API: what canisters import from `ic0`.
//!
//! Each function first charges its overhead, then checks that it may be called in this kind of
//! execution (IC0504 otherwise), then charges per byte, then checks ranges.

mod call;
pub mod context;
mod fees;
mod message;
mod msg;
mod platform;
mod signatures;
mod slices;
mod stable;

use wasmtime::{Caller, Engine, Extern, Global, Linker, Memory};

pub use message::{Callback, Message, OutgoingCall, Response, Subnet, WasmClosure};
pub use signatures::signature;
pub use slices::{Slices, pause_function};

use context::Contexts;
use slices::{charge, remaining};

/// Why the platform stopped a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostTrap {
    /// IC0522
    #[error("out of instructions")]
    OutOfInstructions,
    /// IC0504
    #[error("{0}")]
    Contract(String),
    /// IC0503
    #[error("{0}")]
    CalledTrap(String),
    /// IC0502
    #[error("{0}")]
    Trapped(&'static str),
    /// IC0524
    #[error("{0}")]
    AccessLimit(String),
    /// IC0539
    #[error("wasm memory limit of {limit} bytes exceeded: {bytes}")]
    WasmMemoryLimit {
        /// What was asked for.
        bytes: u64,
        /// The setting.
        limit: u64,
    },
    /// IC0207
    #[error("{0}")]
    OutOfCycles(String),
    /// IC0532
    #[error("{missing} cycles are missing for {bytes} bytes of memory")]
    CannotPayMemory {
        /// Growth.
        bytes: u64,
        /// Cycles.
        missing: u128,
    },
}

type Ctx<'a> = Caller<'a, Host>;
type R<T> = wasmtime::Result<T>;

/// Data of a store: the instance's handles and the message that it executes.
#[derive(Default)]
pub struct Host {
    /// Instruction counter.
    pub counter: Option<Global>,
    /// Memory, if there is one.
    pub memory: Option<Memory>,
    /// Set while a message runs.
    pub message: Option<Box<Message>>,
    /// Its instructions.
    pub slices: Slices,
}

impl Host {
    /// The message that runs.
    fn message(&mut self) -> &mut Message {
        self.message
            .as_mut()
            .expect("host functions only run while a message does")
    }
}

impl wasmtime::ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // While an instance is made nothing is limited: sizes were checked or come from saved
        // states.
        let Some(message) = &mut self.message else {
            return Ok(true);
        };
        let (current, desired) = (current as u64, desired as u64);
        if desired > message.heap_maximum || maximum.is_some_and(|m| desired > m as u64) {
            return Ok(false);
        }
        if let Some(limit) = message.wasm_memory_limit
            && desired > limit
        {
            return Err(HostTrap::WasmMemoryLimit {
                bytes: desired,
                limit,
            }
            .into());
        }
        pay_memory(message, desired.saturating_sub(current))?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|m| desired <= m))
    }
}

/// Integers of the memory's width.
pub trait Word: wasmtime::WasmTy + Copy + 'static {
    /// Whether memory has 64-bit addresses.
    const WIDE: bool;
    /// As unsigned.
    fn get(self) -> u64;
    /// From a value that fits; larger ones are cut, which only happens for sizes that a 32-bit
    /// canister cannot have anyway.
    fn put(value: u64) -> Self;
}

impl Word for i32 {
    const WIDE: bool = false;
    fn get(self) -> u64 {
        u64::from(self as u32)
    }
    fn put(value: u64) -> Self {
        value as u32 as i32
    }
}

impl Word for i64 {
    const WIDE: bool = true;
    fn get(self) -> u64 {
        self as u64
    }
    fn put(value: u64) -> Self {
        value as i64
    }
}

/// What every function begins with.
fn enter(c: &mut Ctx<'_>, name: &str, allowed: Contexts, amount: u64) -> R<()> {
    charge(c, amount)?;
    let message = c.data_mut().message();
    message.api_calls += 1;
    if message.context & allowed == 0 {
        return Err(HostTrap::Contract(format!(
            "\"ic0_{name}\" cannot be executed in {} mode",
            context::name(message.context)
        ))
        .into());
    }
    Ok(())
}

/// Traps if the canister cannot keep more memory.
fn pay_memory(message: &mut Message, bytes: u64) -> Result<(), HostTrap> {
    message
        .afford_bytes(bytes)
        .map_err(|missing| HostTrap::CannotPayMemory { bytes, missing })
}

fn contract<T>(why: impl Into<String>) -> R<T> {
    Err(HostTrap::Contract(why.into()).into())
}

fn memory(c: &Ctx<'_>, name: &str) -> R<Memory> {
    match c.data().memory {
        Some(memory) => Ok(memory),
        None => contract(format!("ic0.{name}: WebAssembly module must define memory")),
    }
}

/// The heap and the message, both to be changed.
fn split<'a>(c: &'a mut Ctx<'_>, name: &str) -> R<(&'a mut [u8], &'a mut Message)> {
    let memory = memory(c, name)?;
    let (heap, host) = memory.data_and_store_mut(&mut *c);
    Ok((heap, host.message()))
}

fn range(name: &str, what: &str, ptr: u64, len: u64, size: usize) -> R<std::ops::Range<usize>> {
    match ptr.checked_add(len) {
        Some(end) if end <= size as u64 => Ok(ptr as usize..end as usize),
        _ => contract(format!(
            "ic0_{name} {what}: src={ptr} + length={len} exceeds the slice size={size}"
        )),
    }
}

/// Copies bytes of the canister's heap.
fn load(c: &mut Ctx<'_>, name: &str, ptr: u64, len: u64) -> R<Vec<u8>> {
    let (heap, _) = split(c, name)?;
    let range = range(name, "heap", ptr, len, heap.len())?;
    Ok(heap[range].to_vec())
}

/// Writes to the canister's heap.
fn store(c: &mut Ctx<'_>, name: &str, ptr: u64, bytes: &[u8]) -> R<()> {
    let (heap, _) = split(c, name)?;
    let range = range(name, "heap", ptr, bytes.len() as u64, heap.len())?;
    heap[range].copy_from_slice(bytes);
    Ok(())
}

/// Writes a number of cycles.
fn store128(c: &mut Ctx<'_>, name: &str, ptr: u64, value: u128) -> R<()> {
    store(c, name, ptr, &value.to_le_bytes())
}

/// The body of every `*_copy`: charges for the bytes, then copies from what `source` gives.
fn copy_from(
    c: &mut Ctx<'_>,
    name: &str,
    source: impl FnOnce(&Message) -> &[u8],
    dst: u64,
    offset: u64,
    size: u64,
) -> R<()> {
    charge(c, size)?;
    let (heap, message) = split(c, name)?;
    let source = source(message);
    let from = range(name, "payload", offset, size, source.len())?;
    let to = range(name, "heap", dst, size, heap.len())?;
    heap[to].copy_from_slice(&source[from]);
    Ok(())
}

fn high_low(high: i64, low: i64) -> u128 {
    u128::from(high as u64) << 64 | u128::from(low as u64)
}

/// All of `ic0` for memories of width `W`.
pub fn linker<W: Word>(engine: &Engine) -> R<Linker<Host>> {
    let mut linker = Linker::new(engine);
    msg::link::<W>(&mut linker)?;
    call::link::<W>(&mut linker)?;
    stable::link::<W>(&mut linker)?;
    platform::link::<W>(&mut linker)?;
    fees::link::<W>(&mut linker)?;
    Ok(linker)
}

/// Finds an export that instrumentation made.
pub fn global_export(e: Option<Extern>) -> Option<Global> {
    e.and_then(Extern::into_global)
}

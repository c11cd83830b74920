//! Runs one message in one canister, and keeps or undoes what it did.

use std::io;

use candid::Principal;
use ic_error_types::ErrorCode;
use wasmtime::{Global, Instance, Ref, Store, Table, Trap, Val};

use super::canister::{Canister, Code, GlobalValue};
use super::engine::WasmEngine;
use super::heap::{Heap, with_heap};
use super::instrument::{COUNTER, EXHAUSTED, GLOBAL, MEMORY, PAUSE, TABLE};
use super::limits::WASM_PAGE;
use super::pause::Lent;
use super::system_api::{
    Host, HostTrap, Message, Slices, WasmClosure, global_export, pause_function,
};
use super::types::{ExecutionStats, UserError};

/// An instance on a canister's heap.
pub struct Live {
    store: Store<Host>,
    instance: Instance,
    counter: Global,
    exhausted: Global,
    globals: Vec<Global>,
    table: Option<Table>,
}

/// What a message begins with.
pub enum Entry<'a> {
    /// An exported function.
    Export(&'a str),
    /// A function of the table.
    Closure(WasmClosure),
}

/// A message that has run; nothing is kept or undone yet.
pub struct Ran {
    /// What it did.
    pub message: Box<Message>,
    /// How it ended.
    pub result: Result<(), UserError>,
    /// What it consumed.
    pub stats: ExecutionStats,
}

fn engine_error(id: &Principal, why: impl std::fmt::Display) -> UserError {
    UserError::new(
        ErrorCode::CanisterWasmEngineError,
        format!("Error from Canister {id}: Canister encountered a Wasm engine error: {why}"),
    )
}

impl Live {
    /// Makes an instance on `heap`. `globals`: values to be set, none for initial ones.
    pub fn new(
        engine: &WasmEngine,
        code: &Code,
        heap: Option<&Heap>,
        globals: &[GlobalValue],
    ) -> wasmtime::Result<Live> {
        let mut store = Store::new(engine.engine(), Host::default());
        store.limiter(|host| host);
        let pre = &code.compiled.pre;
        let instance = match heap {
            Some(heap) => {
                let fault = heap.fault_handler();
                // SAFETY: the handler is async-signal-safe: it touches atomics, copies memory and
                // calls mprotect. `info` is the kernel's and valid during the call.
                unsafe {
                    use wasmtime::unix::StoreExt;
                    store.set_signal_handler(move |_, info, _| fault((*info).si_addr() as usize));
                }
                with_heap(heap, || pre.instantiate(&mut store))?
            }
            None => pre.instantiate(&mut store)?,
        };
        let missing = || wasmtime::Error::msg("an export of the instrumentation is missing");
        let counter =
            global_export(instance.get_export(&mut store, COUNTER)).ok_or_else(missing)?;
        let exhausted =
            global_export(instance.get_export(&mut store, EXHAUSTED)).ok_or_else(missing)?;
        let mut handles = Vec::new();
        for index in &code.compiled.mutable_globals {
            let name = format!("{GLOBAL}{index}");
            handles
                .push(global_export(instance.get_export(&mut store, &name)).ok_or_else(missing)?);
        }
        let pause = pause_function(&mut store);
        instance
            .get_table(&mut store, PAUSE)
            .ok_or_else(missing)?
            .set(&mut store, 0, Ref::Func(Some(pause)))?;
        let memory = instance.get_memory(&mut store, MEMORY);
        let table = instance.get_table(&mut store, TABLE);
        store.data_mut().counter = Some(counter);
        store.data_mut().memory = memory;
        let mut live = Live {
            store,
            instance,
            counter,
            exhausted,
            globals: handles,
            table,
        };
        if !globals.is_empty() {
            live.set_globals(globals)?;
        }
        Ok(live)
    }

    /// Values of mutable globals.
    pub fn globals(&mut self) -> Vec<GlobalValue> {
        let store = &mut self.store;
        self.globals
            .iter()
            .map(|g| match g.get(&mut *store) {
                Val::I32(v) => GlobalValue::I32(v),
                Val::I64(v) => GlobalValue::I64(v),
                Val::F32(v) => GlobalValue::F32(v),
                Val::F64(v) => GlobalValue::F64(v),
                Val::V128(v) => GlobalValue::V128(v.as_u128()),
                _ => unreachable!("validation refuses globals of other types"),
            })
            .collect()
    }

    fn set_globals(&mut self, values: &[GlobalValue]) -> wasmtime::Result<()> {
        if values.len() != self.globals.len() {
            return Err(wasmtime::Error::msg(
                "the number of globals differs from the module's",
            ));
        }
        for (global, value) in self.globals.iter().zip(values) {
            let value = match *value {
                GlobalValue::I32(v) => Val::I32(v),
                GlobalValue::I64(v) => Val::I64(v),
                GlobalValue::F32(v) => Val::F32(v),
                GlobalValue::F64(v) => Val::F64(v),
                GlobalValue::V128(v) => Val::V128(v.into()),
            };
            global.set(&mut self.store, value)?;
        }
        Ok(())
    }

    fn call(&mut self, entry: &Entry<'_>, wasm64: bool) -> wasmtime::Result<()> {
        match entry {
            Entry::Export(name) => {
                let f = self
                    .instance
                    .get_typed_func::<(), ()>(&mut self.store, name)?;
                f.call(&mut self.store, ())
            }
            Entry::Closure(closure) => {
                let table = self.table.ok_or(HostTrap::Trapped("table out of bounds"))?;
                let f = match table.get(&mut self.store, closure.function) {
                    Some(Ref::Func(Some(f))) => f,
                    Some(_) => {
                        return Err(HostTrap::Trapped("calling null function").into());
                    }
                    None => return Err(HostTrap::Trapped("table out of bounds").into()),
                };
                if wasm64 {
                    let f = f
                        .typed::<i64, ()>(&self.store)
                        .map_err(|_| bad_signature())?;
                    f.call(&mut self.store, closure.env as i64)
                } else {
                    let f = f
                        .typed::<i32, ()>(&self.store)
                        .map_err(|_| bad_signature())?;
                    f.call(&mut self.store, closure.env as u32 as i32)
                }
            }
        }
    }
}

fn bad_signature() -> HostTrap {
    HostTrap::Contract("function invoked with a wrong signature".into())
}

/// A message that is about to run: what it needs of its canister.
pub struct Ready {
    live: Live,
    /// The message.
    pub message: Box<Message>,
    wasm64: bool,
}

/// Takes out of `canister` what `message` runs on. Its stable memory can be read meanwhile, as it
/// is without the message.
pub fn prepare(
    engine: &WasmEngine,
    canister: &mut Canister,
    mut message: Box<Message>,
) -> Result<Ready, Box<Ran>> {
    let failed = |message, error| {
        Box::new(Ran {
            message,
            result: Err(error),
            stats: ExecutionStats {
                messages: 1,
                ..ExecutionStats::default()
            },
        })
    };
    let Some(code) = canister.code.as_ref() else {
        let error = UserError::new(
            ErrorCode::CanisterWasmModuleNotFound,
            format!(
                "Error from Canister {}: Attempted to execute a message, but the canister \
                 contains no Wasm module",
                canister.id
            ),
        );
        return Err(failed(message, error));
    };
    let live = match canister.live.take() {
        Some(live) => live,
        None => match Live::new(engine, code, canister.heap.as_ref(), &canister.globals) {
            Ok(live) => live,
            Err(e) => {
                let error = engine_error(&canister.id, format!("{e:#}"));
                return Err(failed(message, error));
            }
        },
    };
    let committed = canister.stable.committed();
    message.stable = std::mem::replace(&mut canister.stable, committed);
    message.stable.begin_execution();
    Ok(Ready {
        live,
        message,
        wasm64: code.compiled.info.wasm64,
    })
}

/// A message that has run, and what belongs to others.
pub struct Ended {
    live: Live,
    message: Box<Message>,
    outcome: wasmtime::Result<()>,
    instructions: u64,
    exhausted: bool,
    limit: u64,
    /// What the message was lent.
    pub lent: Option<Box<Lent>>,
}

/// Runs a message from `entry`. `lent`: what queries run on meanwhile.
pub fn run(ready: Ready, entry: &Entry<'_>, lent: Option<Box<Lent>>) -> Ended {
    let Ready {
        mut live,
        message,
        wasm64,
    } = ready;
    let limit = message.limit;
    let (mut slices, first) = Slices::new(limit, message.limits.slice_instructions);
    slices.lent = lent;
    let host = live.store.data_mut();
    host.message = Some(message);
    host.slices = slices;
    let set = live
        .counter
        .set(&mut live.store, Val::I64(first))
        .and_then(|()| live.exhausted.set(&mut live.store, Val::I32(0)));
    let outcome = set.and_then(|()| live.call(entry, wasm64));
    let counter = match live.counter.get(&mut live.store) {
        Val::I64(left) => left,
        _ => 0,
    };
    let exhausted = matches!(live.exhausted.get(&mut live.store), Val::I32(1));
    let host = live.store.data_mut();
    let left = host.slices.left(counter).max(0) as u64;
    let message = host.message.take().expect("put there above");
    let lent = host.slices.lent.take();
    Ended {
        live,
        message,
        outcome,
        instructions: limit.saturating_sub(left),
        exhausted,
        limit,
        lent,
    }
}

/// Gives `canister` back what [`prepare`] took. Neither commits nor rolls back.
pub fn settle(canister: &mut Canister, ended: Ended) -> Ran {
    let Ended {
        live,
        mut message,
        outcome,
        instructions,
        exhausted,
        limit,
        ..
    } = ended;
    canister.live = Some(live);
    canister.stable = std::mem::take(&mut message.stable);
    let backtrace = outcome.as_ref().err().and_then(backtrace);
    let mut result = outcome.map_err(|e| explain(&canister.id, &e, exhausted, limit));
    let stats = ExecutionStats {
        messages: 1,
        instructions,
        heap_pages: canister.heap_bytes() / WASM_PAGE,
        stable_pages: canister.stable.pages(),
        stable_dirty_os_pages: canister.stable.dirty(),
        stable_accessed_os_pages: canister.stable.accessed(),
        heap_dirty_bytes: canister.heap.as_ref().map_or(0, Heap::touched_bytes),
        system_api_calls: message.api_calls,
        ..ExecutionStats::default()
    };
    if let Err(e) = &mut result {
        let mut text = format!("[TRAP]: {}", trap_text(e));
        if let Some(backtrace) = backtrace {
            text.push_str(&backtrace);
            // Names of functions are for those who may read the log.
            let visibility = &canister.settings.log_visibility;
            if visibility.shows_to(canister, &message.caller) {
                e.message.push_str(&backtrace);
            }
        }
        message.log.push(text.into_bytes());
    }
    Ran {
        message,
        result,
        stats,
    }
}

/// The part of an error's text that goes into the canister's log.
fn trap_text(e: &UserError) -> &str {
    e.message
        .split_once(": ")
        .map_or(&e.message, |(_, rest)| rest)
}

/// Turns what wasmtime reports into the IC's error.
fn explain(id: &Principal, e: &wasmtime::Error, exhausted: bool, limit: u64) -> UserError {
    let (code, text) = if let Some(trap) = e.downcast_ref::<HostTrap>() {
        match trap {
            HostTrap::OutOfInstructions => out_of_instructions(limit),
            HostTrap::Contract(why) => (
                ErrorCode::CanisterContractViolation,
                format!("Canister violated contract: {why}"),
            ),
            HostTrap::CalledTrap(text) => (
                ErrorCode::CanisterCalledTrap,
                format!("Canister called `ic0.trap` with message: '{text}'"),
            ),
            HostTrap::Trapped(why) => (
                ErrorCode::CanisterTrapped,
                format!("Canister trapped: {why}"),
            ),
            HostTrap::AccessLimit(why) => (
                ErrorCode::CanisterMemoryAccessLimitExceeded,
                format!("Canister exceeded memory access limits: {why}"),
            ),
            HostTrap::WasmMemoryLimit { bytes, limit } => wasm_memory_limit(*bytes, *limit),
            HostTrap::OutOfCycles(why) => (ErrorCode::CanisterOutOfCycles, why.clone()),
            HostTrap::CannotPayMemory { bytes, missing } => (
                ErrorCode::InsufficientCyclesInMemoryGrow,
                format!(
                    "Canister cannot grow memory by {bytes} bytes due to insufficient cycles. At \
                     least {missing} additional cycles are required."
                ),
            ),
        }
    } else if let Some(trap) = e.downcast_ref::<Trap>() {
        match trap {
            Trap::UnreachableCodeReached if exhausted => out_of_instructions(limit),
            trap => (
                ErrorCode::CanisterTrapped,
                format!("Canister trapped: {}", trap_name(trap)),
            ),
        }
    } else {
        return engine_error(id, format!("{e:#}"));
    };
    UserError::new(code, format!("Error from Canister {id}: {text}"))
}

/// The functions that were on the stack, the innermost first, with names as in Rust's source.
fn backtrace(e: &wasmtime::Error) -> Option<String> {
    let frames = e.downcast_ref::<wasmtime::WasmBacktrace>()?.frames();
    let mut text = String::from("\nCanister Backtrace:\n");
    let start = text.len();
    for name in frames.iter().filter_map(|frame| frame.func_name()) {
        // The second form leaves out the hash.
        text.push_str(&format!("{:#}\n", rustc_demangle::demangle(name)));
    }
    (text.len() > start).then_some(text)
}

fn wasm_memory_limit(bytes: u64, limit: u64) -> (ErrorCode, String) {
    (
        ErrorCode::CanisterWasmMemoryLimitExceeded,
        format!(
            "Canister exceeded its current Wasm memory limit of {limit} bytes. The peak Wasm \
             memory usage was {bytes} bytes. If the canister reaches 4GiB, then it may stop \
             functioning and may become unrecoverable."
        ),
    )
}

/// Whether a canister's heap is within the limit that its settings give it.
pub fn check_wasm_memory_limit(canister: &Canister) -> Result<(), UserError> {
    let limit = canister.settings.wasm_memory_limit;
    let bytes = canister.heap_bytes();
    if limit == 0 || bytes <= limit {
        return Ok(());
    }
    let (code, text) = wasm_memory_limit(bytes, limit);
    Err(UserError::new(
        code,
        format!("Error from Canister {}: {text}", canister.id),
    ))
}

fn out_of_instructions(limit: u64) -> (ErrorCode, String) {
    (
        ErrorCode::CanisterInstructionLimitExceeded,
        format!(
            "Canister exceeded the limit of {limit} instructions for single message execution."
        ),
    )
}

fn trap_name(trap: &Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "stack overflow",
        Trap::MemoryOutOfBounds => "heap out of bounds",
        Trap::HeapMisaligned => "heap misaligned",
        Trap::TableOutOfBounds => "table out of bounds",
        Trap::IndirectCallToNull => "indirect call to a null table entry",
        Trap::BadSignature => "indirect call signature mismatch",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "integer divide by 0",
        Trap::BadConversionToInteger => "bad conversion to integer",
        Trap::UnreachableCodeReached => "unreachable",
        _ => "trap",
    }
}

/// Undoes everything since the last commit.
pub fn rollback(canister: &mut Canister) {
    canister.stable.rollback();
    let shrunk = canister.heap.as_ref().is_some_and(Heap::rollback);
    let single_use = canister
        .code
        .as_ref()
        .is_some_and(|c| c.compiled.single_use);
    if shrunk || single_use {
        canister.live = None;
    } else if let Some(live) = &mut canister.live
        && live.set_globals(&canister.globals).is_err()
    {
        canister.live = None;
    }
}

/// The state between two messages of one query: what is undone when the second one traps.
pub struct Savepoint {
    heap_bytes: u64,
    heap: Vec<(u64, Box<[u8]>)>,
    globals: Vec<GlobalValue>,
    stable_pages: u64,
    stable: Vec<(u64, Box<[u8]>)>,
}

/// Notes the state of a canister. Costs by pages that the query touched so far.
pub fn save_point(engine: &WasmEngine, canister: &mut Canister) -> Option<Savepoint> {
    let own = |ranges: Vec<(u64, &[u8])>| ranges.iter().map(|(o, b)| (*o, (*b).into())).collect();
    let code = canister.code.clone()?;
    let live = canister.live.as_mut()?;
    let saved = Savepoint {
        heap_bytes: canister.heap.as_ref().map_or(0, Heap::len),
        heap: canister
            .heap
            .as_ref()
            .map(|h| own(h.changes()))
            .unwrap_or_default(),
        globals: live.globals(),
        stable_pages: canister.stable.pages(),
        stable: own(canister.stable.changes()),
    };
    if code.compiled.single_use {
        canister.live = Live::new(engine, &code, canister.heap.as_ref(), &saved.globals).ok();
    }
    Some(saved)
}

/// Goes back to a state within the same query.
pub fn restore_point(engine: &WasmEngine, canister: &mut Canister, saved: &Savepoint) {
    rollback(canister);
    if let Some(heap) = &canister.heap {
        heap.grow_to(saved.heap_bytes);
        for (offset, bytes) in &saved.heap {
            heap.write(*offset, bytes);
        }
    }
    let more = saved.stable_pages - canister.stable.pages();
    canister.stable.grow(more);
    for (offset, bytes) in &saved.stable {
        let _ = canister.stable.write(*offset, bytes);
    }
    let kept = canister
        .live
        .as_mut()
        .is_some_and(|live| live.set_globals(&saved.globals).is_ok());
    if !kept && let Some(code) = canister.code.clone() {
        canister.live = Live::new(engine, &code, canister.heap.as_ref(), &saved.globals).ok();
    }
}

/// Keeps everything, in memory. Stable memory must have been given a file.
pub fn commit(canister: &mut Canister) -> io::Result<()> {
    canister.stable.commit()?;
    if let Some(heap) = &canister.heap {
        heap.commit();
    }
    if let Some(live) = &mut canister.live {
        canister.globals = live.globals();
    }
    if canister
        .code
        .as_ref()
        .is_some_and(|c| c.compiled.single_use)
    {
        canister.live = None;
    }
    Ok(())
}

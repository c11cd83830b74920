//! `clock_*`.
//!
//! Realtime is the IC's time, constant within a message. The monotonic clock adds half a
//! nanosecond for each instruction of the message, about the speed of a node, and all time that
//! the program slept (`poll_oneoff` returns at once and moves this clock instead). It never goes
//! back, neither from message to message nor over an upgrade: the slept time is kept in a file of
//! the system directory. CPU clocks count the instructions of all messages since the last upgrade
//! that looked at them.

use super::errno::{Errno, Result};
use super::guest::Guest;
use super::types::clockid;
use crate::env::Env;
use crate::fs::FsError;
use crate::runtime::Runtime;

const FILE: &[u8] = b"clock";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Nanoseconds slept; `None` before it was read from the file system.
    slept: Option<u64>,
    /// The monotonic clock never shows less than this.
    last: u64,
    /// CPU time of earlier messages.
    cpu_before: u64,
    cpu_now: u64,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self {
            slept: None,
            last: 0,
            cpu_before: 0,
            cpu_now: 0,
        }
    }

    #[inline]
    pub(crate) fn new_message(&mut self) {
        self.cpu_before += self.cpu_now;
        self.cpu_now = 0;
    }
}

/// `clock_res_get`: a second for realtime, which moves from block to block; a nanosecond for the
/// others. `EINVAL`: no such clock.
pub fn clock_res_get(g: &mut Guest<'_>, id: u32, out: u32) -> Result<()> {
    let resolution = match id {
        clockid::REALTIME => 1_000_000_000,
        clockid::MONOTONIC | clockid::PROCESS_CPUTIME | clockid::THREAD_CPUTIME => 1,
        _ => return Err(Errno::INVAL),
    };
    g.write_u64(out, resolution)
}

/// `clock_time_get`, in nanoseconds. `EINVAL`: no such clock.
pub fn clock_time_get(rt: &mut Runtime, g: &mut Guest<'_>, id: u32, out: u32) -> Result<()> {
    let time = match id {
        clockid::REALTIME => rt.now(),
        clockid::MONOTONIC => monotonic(rt),
        clockid::PROCESS_CPUTIME | clockid::THREAD_CPUTIME => cpu(rt),
        _ => return Err(Errno::INVAL),
    };
    g.write_u64(out, time)
}

fn cpu(rt: &mut Runtime) -> u64 {
    let now = rt.env().instructions() / 2;
    let clock = &mut rt.wasi.clock;
    clock.cpu_now = clock.cpu_now.max(now);
    clock.cpu_before + clock.cpu_now
}

/// The monotonic clock.
pub(crate) fn monotonic(rt: &mut Runtime) -> u64 {
    let slept = slept(rt);
    let within = rt.env().instructions() / 2;
    let time = rt.now().saturating_add(slept).saturating_add(within);
    let clock = &mut rt.wasi.clock;
    clock.last = clock.last.max(time);
    clock.last
}

/// Moves the monotonic clock forward.
pub(crate) fn sleep(rt: &mut Runtime, nanos: u64) {
    if nanos == 0 {
        return;
    }
    let slept = slept(rt).saturating_add(nanos);
    rt.wasi.clock.slept = Some(slept);
    // If there is no space for it, the clock is right until the next upgrade at least.
    let _ = store(rt, slept);
}

fn slept(rt: &mut Runtime) -> u64 {
    if let Some(slept) = rt.wasi.clock.slept {
        return slept;
    }
    if !rt.is_mounted() {
        return 0;
    }
    let slept = load(rt).unwrap_or(0);
    rt.wasi.clock.slept = Some(slept);
    slept
}

fn load(rt: &mut Runtime) -> Result<u64> {
    let fs = rt.fs()?;
    let ino = fs.lookup(fs.system_dir(), FILE)?;
    let mut bytes = [0; 8];
    let len = fs.read(ino, 0, &mut bytes)?;
    if len == bytes.len() {
        Ok(u64::from_le_bytes(bytes))
    } else {
        Err(Errno::IO)
    }
}

fn store(rt: &mut Runtime, slept: u64) -> Result<()> {
    if !rt.is_mounted() {
        return Ok(());
    }
    let fs = rt.fs()?;
    let dir = fs.system_dir();
    let ino = match fs.lookup(dir, FILE) {
        Ok(ino) => ino,
        Err(FsError::NotFound) => fs.create(dir, FILE)?,
        Err(error) => return Err(error.into()),
    };
    fs.write(ino, 0, &slept.to_le_bytes())?;
    Ok(())
}

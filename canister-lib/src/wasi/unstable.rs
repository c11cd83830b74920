//! `wasi_unstable` (snapshot 0), where its ABI is not that of preview1: the order of `whence`,
//! `filestat` with a 32-bit link count, and subscriptions with an identifier in the clock.

use super::errno::Result;
use super::guest::Guest;
use super::types::{Filestat, Whence};
use super::{fd_io, fd_meta, path, poll};
use crate::runtime::Runtime;

/// `fd_seek`: whence 0 is the cursor, 1 the end, 2 the start.
pub fn fd_seek(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    delta: i64,
    whence: u32,
    out: u32,
) -> Result<()> {
    fd_io::fd_seek(rt, g, fd, delta, Whence::from_unstable(whence), out)
}

/// `fd_filestat_get`
pub fn fd_filestat_get(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, out: u32) -> Result<()> {
    g.check(out, Filestat::UNSTABLE_SIZE)?;
    let stat = fd_meta::filestat(rt, fd)?;
    g.write(out, stat.encode_unstable())
}

/// `path_filestat_get`
pub fn path_filestat_get(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    len: u32,
    out: u32,
) -> Result<()> {
    g.check(out, Filestat::UNSTABLE_SIZE)?;
    let stat = path::filestat(rt, g, fd, flags, path, len)?;
    g.write(out, stat.encode_unstable())
}

/// `poll_oneoff`
pub fn poll_oneoff(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    poll::poll(rt, g, &poll::UNSTABLE, subscriptions, events, count, out)
}

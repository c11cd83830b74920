//! `poll_oneoff`.
//!
//! Nothing can happen while a message waits, so nothing waits: files and stdio are always ready,
//! and if there are only clocks, the monotonic clock jumps to the nearest deadline.

use super::clock;
use super::errno::{Errno, Result};
use super::fdtable::Descriptor;
use super::guest::Guest;
use super::types::{EVENT_HANGUP, clockid, encode_event, eventtype};
use crate::runtime::Runtime;

/// Most subscriptions in one call.
pub const MAX_SUBSCRIPTIONS: u32 = 4096;

const EVENT_SIZE: u32 = 32;

/// Where a subscription has its fields; the two ABIs differ.
pub(super) struct Layout {
    size: u32,
    clock_id: u32,
    timeout: u32,
    clock_flags: u32,
}

/// ```text
///  0 userdata u64   8 tag u8
/// 16 clock u32  24 timeout u64  32 precision u64  40 flags u16      (tag 0)
/// 16 fd u32                                                         (tags 1 and 2)
/// ```
pub(super) const PREVIEW1: Layout = Layout {
    size: 48,
    clock_id: 16,
    timeout: 24,
    clock_flags: 40,
};

/// ```text
///  0 userdata u64   8 tag u8
/// 16 identifier u64  24 clock u32  32 timeout u64  40 precision u64  48 flags u16
/// 16 fd u32
/// ```
pub(super) const UNSTABLE: Layout = Layout {
    size: 56,
    clock_id: 24,
    timeout: 32,
    clock_flags: 48,
};

const TAG: u32 = 8;
const FD: u32 = 16;

enum Subscription {
    /// Nanoseconds from now to the deadline.
    Clock { wait: u64 },
    /// Ready at once.
    Fd { kind: u8, bytes: u64, flags: u16 },
}

/// `poll_oneoff`: one event for each descriptor; for each clock whose deadline has come, if there
/// are descriptors; else for the clocks with the nearest deadline.
///
/// Errno: `INVAL` no subscriptions, more than 4,096, an unknown kind or clock; `BADF`; `FAULT`.
pub fn poll_oneoff(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    poll(rt, g, &PREVIEW1, subscriptions, events, count, out)
}

pub(super) fn poll(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    layout: &Layout,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::INVAL);
    }
    g.check(out, 4)?;
    g.check(subscriptions, layout.size * count)?;
    g.check(events, EVENT_SIZE * count)?;

    // The clock must not move between the two passes.
    let now = clock::monotonic(rt);
    let mut nearest = u64::MAX;
    for index in 0..count {
        match decode(rt, g, layout, subscriptions + index * layout.size, now)? {
            Subscription::Clock { wait } => nearest = nearest.min(wait),
            Subscription::Fd { .. } => nearest = 0,
        }
    }

    let mut ready = 0;
    for index in 0..count {
        let at = subscriptions + index * layout.size;
        let userdata = u64::from_le_bytes(g.read(at)?);
        let event = match decode(rt, g, layout, at, now)? {
            Subscription::Clock { wait } if wait > nearest => continue,
            Subscription::Clock { .. } => encode_event(userdata, 0, eventtype::CLOCK, 0, 0),
            Subscription::Fd { kind, bytes, flags } => {
                encode_event(userdata, 0, kind, bytes, flags)
            }
        };
        g.write(events + ready * EVENT_SIZE, event)?;
        ready += 1;
    }
    clock::sleep(rt, nearest);
    g.write_u32(out, ready)
}

fn decode(
    rt: &mut Runtime,
    g: &Guest<'_>,
    layout: &Layout,
    at: u32,
    now: u64,
) -> Result<Subscription> {
    let [tag] = g.read(at + TAG)?;
    match tag {
        eventtype::CLOCK => {
            let timeout = u64::from_le_bytes(g.read(at + layout.timeout)?);
            let flags = u16::from_le_bytes(g.read(at + layout.clock_flags)?);
            let base = match g.read_u32(at + layout.clock_id)? {
                clockid::REALTIME => rt.now(),
                clockid::MONOTONIC => now,
                _ => return Err(Errno::INVAL),
            };
            match flags {
                0 => Ok(Subscription::Clock { wait: timeout }),
                1 => Ok(Subscription::Clock {
                    wait: timeout.saturating_sub(base),
                }),
                _ => Err(Errno::INVAL),
            }
        }
        eventtype::FD_READ => {
            let fd = g.read_u32(at + FD)?;
            let bytes = match rt.wasi.fds.get(fd)? {
                Descriptor::Stdin => rt.wasi.stdio.input().len() as u64,
                _ => {
                    let (mount, file) = rt.wasi.fds.file(fd)?;
                    let (ino, cursor) = (file.ino, file.cursor);
                    rt.fs_of(mount)?.stat(ino)?.size.saturating_sub(cursor)
                }
            };
            let flags = if bytes == 0 { EVENT_HANGUP } else { 0 };
            Ok(Subscription::Fd {
                kind: tag,
                bytes,
                flags,
            })
        }
        eventtype::FD_WRITE => {
            let fd = g.read_u32(at + FD)?;
            match rt.wasi.fds.get(fd)? {
                Descriptor::Stdout | Descriptor::Stderr => {}
                _ => {
                    rt.wasi.fds.file(fd)?;
                }
            }
            Ok(Subscription::Fd {
                kind: tag,
                bytes: 1,
                flags: 0,
            })
        }
        _ => Err(Errno::INVAL),
    }
}

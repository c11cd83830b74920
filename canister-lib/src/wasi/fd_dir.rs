//! `fd_readdir`.

use core::ops::ControlFlow;

use super::errno::Result;
use super::guest::Guest;
use super::path::directory;
use super::types::{encode_dirent, filetype_of};
use crate::runtime::Runtime;

/// `fd_readdir`: entries after `cookie`, `.` and `..` first. The last entry may be cut off at the
/// end of the buffer; a full buffer says that there may be more. Cookies stay valid while entries
/// are created and removed.
///
/// Errno: `BADF`; `NOTDIR`; `FAULT`.
pub fn fd_readdir(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    buf: u32,
    len: u32,
    cookie: u64,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    let (dir, _) = directory(rt, fd)?;
    let parent = rt.parent_of_mount(dir)?;
    let fs = rt.fs_of(dir.mount)?;
    let buffer = g.bytes_mut(buf, len)?;
    let mut used = 0;
    fs.read_dir(dir.ino, from_guest(cookie), &mut |entry| {
        let ino = match parent {
            Some(parent) if entry.name == b".." => parent,
            _ => entry.ino,
        };
        let head = encode_dirent(
            to_guest(entry.cookie),
            ino.0,
            // At most 255.
            entry.name.len() as u32,
            filetype_of(entry.file_type),
        );
        for part in [&head[..], entry.name] {
            let room = &mut buffer[used..];
            let len = part.len().min(room.len());
            room[..len].copy_from_slice(&part[..len]);
            used += len;
        }
        if used == buffer.len() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    g.write_u32(out, used as u32)
}

/// Below are the cookies of `.` and `..`.
const FIRST_ENTRY: u64 = 256;

/// The guest's form of a cookie: bit 63 set, the upper 32 of its 63 bits last.
///
/// C's `telldir` keeps the last 32 bits of a cookie, so these have to say where an entry is.
fn to_guest(cookie: u64) -> u64 {
    if cookie < FIRST_ENTRY {
        cookie
    } else {
        1 << 63 | (cookie & 0x7fff_ffff) << 32 | cookie >> 31
    }
}

/// Back from [`to_guest`]. If only the last 32 bits are left, extended with zeros or with their
/// sign: the last cookie that has these, which in practice is the only one.
fn from_guest(cookie: u64) -> u64 {
    let (high, low) = (cookie >> 32, cookie & 0xffff_ffff);
    match high {
        0 if cookie < FIRST_ENTRY => cookie,
        0 | 0xffff_ffff => low << 31 | 0x7fff_ffff,
        _ if high >> 31 == 0 => u64::MAX,
        _ => low << 31 | (high & 0x7fff_ffff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_survive_and_their_last_half_says_where() {
        for cookie in [
            0,
            1,
            2,
            256,
            0x7fff_ffff,
            1 << 62,
            (1 << 63) - 2,
            0x1234_5678_9abc_de00,
        ] {
            let given = to_guest(cookie);
            assert_eq!(from_guest(given), cookie);
            if cookie >> 31 >= FIRST_ENTRY {
                for half in [given & 0xffff_ffff, i64::from(given as i32) as u64] {
                    let found = from_guest(half);
                    assert!(found >= cookie && found >> 31 == cookie >> 31);
                }
            }
        }
        assert_eq!(from_guest(1 << 40), u64::MAX, "none of ours: the end");
    }
}

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
    fs.read_dir(dir.ino, cookie, &mut |entry| {
        let ino = match parent {
            Some(parent) if entry.name == b".." => parent,
            _ => entry.ino,
        };
        let head = encode_dirent(
            entry.cookie,
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

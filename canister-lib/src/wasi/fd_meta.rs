//! What a descriptor is: status, rights, attributes, numbers.

use super::errno::{Errno, Result};
use super::fdtable::Descriptor;
use super::guest::Guest;
use super::mounts::{Mount, Object};
use super::path::directory;
use super::types::{Filestat, encode_fdstat, fdflags, filetype, fstflags, rights};
use crate::runtime::Runtime;

const SYNC_FLAGS: u16 = fdflags::DSYNC | fdflags::RSYNC | fdflags::SYNC;

/// `fd_close`: the number becomes free. Data of a file without a name is freed with its last
/// descriptor.
pub fn fd_close(rt: &mut Runtime, fd: u32) -> Result<()> {
    // Most often it is a file, and nothing has to be moved.
    if let Some(ino) = rt.wasi.fds.remove_file(fd) {
        return Ok(rt.fs()?.release(ino)?);
    }
    let descriptor = rt.wasi.fds.remove(fd)?;
    release(rt, &descriptor)
}

pub(crate) fn release(rt: &mut Runtime, descriptor: &Descriptor) -> Result<()> {
    match descriptor {
        Descriptor::File(file) => Ok(rt.fs()?.release(file.ino)?),
        Descriptor::TmpFile(file) => Ok(rt.fs_of(Mount::Tmp)?.release(file.ino)?),
        Descriptor::Dir(dir) => match dir.at {
            Some(at) => Ok(rt.fs_of(at.mount)?.release(at.ino)?),
            None => Ok(()),
        },
        Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Ok(()),
    }
}

/// `fd_renumber`: closes `to` and moves `from` there. Both must be open.
pub fn fd_renumber(rt: &mut Runtime, from: u32, to: u32) -> Result<()> {
    rt.wasi.fds.get(to)?;
    rt.wasi.fds.get(from)?;
    if from == to {
        return Ok(());
    }
    let closed = rt.wasi.fds.renumber(from, to)?;
    release(rt, &closed)
}

/// `fd_fdstat_get`: kind, flags and rights. Stdio is a character device without the rights to
/// seek and tell, which is what wasi-libc's `isatty` looks for.
pub fn fd_fdstat_get(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, out: u32) -> Result<()> {
    let (kind, flags, base, inheriting) = match rt.wasi.fds.get(fd)? {
        Descriptor::Stdin => (
            filetype::CHARACTER_DEVICE,
            0,
            rights::FD_READ,
            rights::FD_READ,
        ),
        Descriptor::Stdout | Descriptor::Stderr => (
            filetype::CHARACTER_DEVICE,
            0,
            rights::FD_WRITE,
            rights::FD_WRITE,
        ),
        Descriptor::File(file) | Descriptor::TmpFile(file) => {
            (filetype::REGULAR_FILE, file.flags, file.rights, file.rights)
        }
        Descriptor::Dir(dir) => (filetype::DIRECTORY, 0, dir.rights, dir.inheriting),
    };
    g.write(out, encode_fdstat(kind, flags, base, inheriting))
}

/// `fd_fdstat_set_flags`: `APPEND` and `NONBLOCK` can be changed (nothing ever blocks).
///
/// Errno: `BADF` not a file; `INVAL` unknown flags, or a change of the sync flags.
pub fn fd_fdstat_set_flags(rt: &mut Runtime, fd: u32, flags: u32) -> Result<()> {
    let (_, file) = rt.wasi.fds.file(fd)?;
    let flags = known(flags, fdflags::ALL)?;
    if (flags ^ file.flags) & SYNC_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    file.flags = flags;
    Ok(())
}

/// `fd_fdstat_set_rights`: rights can be given up, which changes what is reported and nothing
/// else. Errno: `BADF` stdio; `NOTCAPABLE` a right that the descriptor does not have.
pub fn fd_fdstat_set_rights(rt: &mut Runtime, fd: u32, base: u64, inheriting: u64) -> Result<()> {
    match rt.wasi.fds.get(fd)? {
        Descriptor::File(file) | Descriptor::TmpFile(file) => {
            if (base | inheriting) & !file.rights != 0 {
                return Err(Errno::NOTCAPABLE);
            }
            file.rights = base;
        }
        Descriptor::Dir(dir) => {
            if base & !dir.rights != 0 || inheriting & !dir.inheriting != 0 {
                return Err(Errno::NOTCAPABLE);
            }
            dir.rights = base;
            dir.inheriting = inheriting;
        }
        Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => return Err(Errno::BADF),
    }
    Ok(())
}

/// The attributes that `fd_filestat_get` reports.
pub(super) fn filestat(rt: &mut Runtime, fd: u32) -> Result<Filestat> {
    match node(rt, fd)? {
        Some((object, _)) => rt.filestat(object),
        None => Ok(Filestat {
            filetype: filetype::CHARACTER_DEVICE,
            ..Filestat::default()
        }),
    }
}

/// What is behind a descriptor, and whether it must not be changed; `None` for stdio.
fn node(rt: &mut Runtime, fd: u32) -> Result<Option<(Object, bool)>> {
    match rt.wasi.fds.get(fd)? {
        Descriptor::File(file) => Ok(Some((Object::stable(file.ino), file.read_only))),
        Descriptor::TmpFile(file) => Ok(Some((Object::tmp(file.ino), file.read_only))),
        Descriptor::Dir(_) => directory(rt, fd).map(Some),
        Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Ok(None),
    }
}

/// `fd_filestat_get`: device 1 for the file system, 2 for the one on the heap; stdio is a character device and else zero.
pub fn fd_filestat_get(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, out: u32) -> Result<()> {
    g.check(out, Filestat::SIZE)?;
    let stat = filestat(rt, fd)?;
    g.write(out, stat.encode())
}

/// `fd_filestat_set_size`: cuts the file, or extends it with zeros that take no space.
///
/// Errno: `BADF` not a file; `INVAL` not open for writing, or beyond 2^63 - 1; `FBIG`; `NOSPC`.
pub fn fd_filestat_set_size(rt: &mut Runtime, fd: u32, size: u64) -> Result<()> {
    let (mount, file) = rt.wasi.fds.file(fd)?;
    if !file.writable || size > i64::MAX as u64 {
        return Err(Errno::INVAL);
    }
    let ino = file.ino;
    Ok(rt.fs_of(mount)?.set_len(ino, size)?)
}

/// `fd_filestat_set_times`. Errno: `BADF` stdio; `INVAL` both a time and "now" for the same;
/// `ROFS` opened through a read-only directory.
pub fn fd_filestat_set_times(
    rt: &mut Runtime,
    fd: u32,
    atime: u64,
    mtime: u64,
    flags: u32,
) -> Result<()> {
    let (atime, mtime) = times(rt, atime, mtime, flags)?;
    let (object, read_only) = node(rt, fd)?.ok_or(Errno::BADF)?;
    if read_only {
        return Err(Errno::ROFS);
    }
    let fs = rt.fs_of(object.mount)?;
    Ok(fs.set_times(object.ino, atime, mtime)?)
}

/// What `fstflags` choose.
pub(super) fn times(
    rt: &mut Runtime,
    atime: u64,
    mtime: u64,
    flags: u32,
) -> Result<(Option<u64>, Option<u64>)> {
    let flags = known(flags, fstflags::ALL)?;
    let mut choose = |time: u64, set: u16, now: u16| match (flags & set != 0, flags & now != 0) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => Ok(Some(time)),
        (false, true) => Ok(Some(rt.now())),
        (false, false) => Ok(None),
    };
    Ok((
        choose(atime, fstflags::ATIM, fstflags::ATIM_NOW)?,
        choose(mtime, fstflags::MTIM, fstflags::MTIM_NOW)?,
    ))
}

/// The flags as 16 bits; `EINVAL` if one is unknown.
pub(super) fn known(flags: u32, all: u16) -> Result<u16> {
    match u16::try_from(flags) {
        Ok(flags) if flags & !all == 0 => Ok(flags),
        _ => Err(Errno::INVAL),
    }
}

/// `fd_prestat_get`: the length of the name under which a directory was given to the program,
/// from descriptor 3 on. Errno: `BADF` anything else.
pub fn fd_prestat_get(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, out: u32) -> Result<()> {
    match rt.wasi.fds.get(fd)? {
        Descriptor::Dir(dir) => {
            let preopen = dir.preopen.as_ref().ok_or(Errno::BADF)?;
            // Tag 0 is a directory; the length is 32 bits at 4.
            g.write_u64(out, (preopen.path.len() as u64) << 32)
        }
        _ => Err(Errno::BADF),
    }
}

/// `fd_prestat_dir_name`. Errno: `NAMETOOLONG` the buffer is too small; `NOTDIR` not preopened.
pub fn fd_prestat_dir_name(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    buf: u32,
    len: u32,
) -> Result<()> {
    match rt.wasi.fds.get(fd)? {
        Descriptor::Dir(dir) => {
            let preopen = dir.preopen.as_ref().ok_or(Errno::NOTDIR)?;
            let name = preopen.path.as_bytes();
            if name.len() > len as usize {
                return Err(Errno::NAMETOOLONG);
            }
            g.write_bytes(buf, name)
        }
        _ => Err(Errno::NOTDIR),
    }
}

//! Reading, writing and seeking: the hot path. No allocation for up to `INLINE_IOVECS`
//! buffers, no look-up but the index into the descriptor table, no time per call.
//!
//! One buffer that lies in the extent of the last access is served by `fast`, which is inlined into
//! the exports; everything else, errors included, by the functions after it.

use super::errno::{Errno, Result};
use super::fdtable::{Descriptor, File};
use super::guest::Guest;
use super::mounts::Mount;
use super::types::{Whence, fdflags};
use crate::fs::{Fs, Ino};
use crate::runtime::{AnyMemory, OpenFile, Runtime};

/// Buffers that a write gathers without allocating.
const INLINE_IOVECS: usize = 16;

/// Offsets are signed in POSIX.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// What needs no more than a few checks. `None`: nothing was done.
mod fast {
    use super::{Guest, MAX_OFFSET, Runtime, fdflags};

    /// Reads at the cursor.
    #[inline(always)]
    pub fn read(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, iovs: u32, out: u32) -> Option<()> {
        let (fs, file) = rt.ready_file(fd)?;
        if !file.readable {
            return None;
        }
        let (buffer, out) = g.single(iovs, out)?;
        if !fs.read_in_place(file.ino, file.cursor, buffer) {
            return None;
        }
        let len = buffer.len() as u32;
        file.cursor += u64::from(len);
        g.write_out(out, len);
        Some(())
    }

    /// Reads at `offset`.
    #[inline(always)]
    pub fn pread(
        rt: &mut Runtime,
        g: &mut Guest<'_>,
        (fd, offset): (u32, u64),
        iovs: u32,
        out: u32,
    ) -> Option<()> {
        let (fs, file) = rt.ready_file(fd)?;
        if !file.readable {
            return None;
        }
        let (buffer, out) = g.single(iovs, out)?;
        if !fs.read_in_place(file.ino, offset, buffer) {
            return None;
        }
        let len = buffer.len() as u32;
        g.write_out(out, len);
        Some(())
    }

    /// Writes at the cursor, or at the end.
    #[inline(always)]
    pub fn write(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, iovs: u32, out: u32) -> Option<()> {
        let (fs, file) = rt.ready_file(fd)?;
        if !file.writable {
            return None;
        }
        let (data, out) = g.single(iovs, out)?;
        let offset = if file.flags & fdflags::APPEND != 0 {
            if data.is_empty() {
                // The cursor stays.
                return None;
            }
            fs.append_in_place(file.ino, data)?
        } else if fs.write_in_place(file.ino, file.cursor, data) {
            file.cursor
        } else {
            return None;
        };
        let len = data.len() as u32;
        file.cursor = offset + u64::from(len);
        g.write_out(out, len);
        Some(())
    }

    /// Writes at `offset`.
    #[inline(always)]
    pub fn pwrite(
        rt: &mut Runtime,
        g: &mut Guest<'_>,
        (fd, offset): (u32, u64),
        iovs: u32,
        out: u32,
    ) -> Option<()> {
        let (fs, file) = rt.ready_file(fd)?;
        if !file.writable || file.flags & fdflags::APPEND != 0 || offset > MAX_OFFSET {
            return None;
        }
        let (data, out) = g.single(iovs, out)?;
        if !fs.write_in_place(file.ino, offset, data) {
            return None;
        }
        let len = data.len() as u32;
        g.write_out(out, len);
        Some(())
    }
}

/// `fd_read`: fills the buffers from the cursor on, which moves. Short only at the end of the file.
///
/// Errno: `BADF` not open for reading, a directory, or an output stream; `FAULT`; `INVAL` more
/// than 1,024 buffers or 4 GiB.
#[inline(always)]
pub fn fd_read(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    if count == 1 && fast::read(rt, g, fd, iovs, out).is_some() {
        return Ok(());
    }
    read_any(rt, g, fd, iovs, count, out)
}

#[inline(never)]
fn read_any(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    if let Some((fs, file)) = rt.open_file(fd)? {
        return read_file(fs, file, g, iovs, count, out);
    }
    match rt.wasi.fds.get(fd)? {
        Descriptor::TmpFile(_) => {
            let (fs, file) = tmp_file(rt, fd)?;
            read_file(fs, file, g, iovs, count, out)
        }
        Descriptor::Stdin => {
            g.check_iovecs(iovs, count)?;
            let mut total = 0;
            for index in 0..count {
                let (address, len) = g.iovec(iovs, index)?;
                total += rt.wasi.stdio.read(g.bytes_mut(address, len)?) as u32;
            }
            g.write_u32(out, total)
        }
        _ => Err(Errno::BADF),
    }
}

#[inline(always)]
fn read_file(
    fs: &mut Fs<AnyMemory>,
    file: &mut File,
    g: &mut Guest<'_>,
    iovs: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    if !file.readable {
        return Err(Errno::BADF);
    }
    let len = read_at(fs, g, file.ino, file.cursor, iovs, count)?;
    file.cursor = file.cursor.saturating_add(u64::from(len));
    g.write_u32(out, len)
}

/// The file system on the heap and an open file of it.
#[cold]
fn tmp_file(rt: &mut Runtime, fd: u32) -> Result<OpenFile<'_>> {
    rt.fs_of(Mount::Tmp)?;
    let wasi = &mut rt.wasi;
    match (&mut wasi.tmp, wasi.fds.get(fd)?) {
        (Some(tmp), Descriptor::TmpFile(file)) => Ok((tmp.fs(), file)),
        _ => Err(Errno::BADF),
    }
}

/// `fd_pread`: as [`fd_read`] from `offset` on; the cursor does not move.
///
/// Errno: also `SPIPE` stdin, `INVAL` an offset beyond 2^63 - 1.
#[inline(always)]
pub fn fd_pread(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Result<()> {
    if count == 1 && fast::pread(rt, g, (fd, offset), iovs, out).is_some() {
        return Ok(());
    }
    pread_any(rt, g, fd, iovs, count, offset, out)
}

#[inline(never)]
fn pread_any(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    if let Some((fs, file)) = rt.open_file(fd)? {
        return pread_file(fs, file, g, iovs, count, offset, out);
    }
    match rt.wasi.fds.get(fd)? {
        Descriptor::TmpFile(_) => {
            let (fs, file) = tmp_file(rt, fd)?;
            pread_file(fs, file, g, iovs, count, offset, out)
        }
        Descriptor::Stdin => Err(Errno::SPIPE),
        _ => Err(Errno::BADF),
    }
}

#[inline(always)]
fn pread_file(
    fs: &mut Fs<AnyMemory>,
    file: &File,
    g: &mut Guest<'_>,
    iovs: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Result<()> {
    if !file.readable {
        return Err(Errno::BADF);
    }
    if offset > MAX_OFFSET {
        return Err(Errno::INVAL);
    }
    let len = read_at(fs, g, file.ino, offset, iovs, count)?;
    g.write_u32(out, len)
}

#[inline(always)]
fn read_at(
    fs: &mut Fs<AnyMemory>,
    g: &mut Guest<'_>,
    ino: Ino,
    offset: u64,
    iovs: u32,
    count: u32,
) -> Result<u32> {
    if count == 1 {
        let (address, len) = g.iovec(iovs, 0)?;
        let buf = g.bytes_mut(address, len)?;
        return Ok(fs.read(ino, offset, buf)? as u32);
    }
    read_many(fs, g, ino, offset, iovs, count)
}

#[inline(never)]
fn read_many(
    fs: &mut Fs<AnyMemory>,
    g: &mut Guest<'_>,
    ino: Ino,
    offset: u64,
    iovs: u32,
    count: u32,
) -> Result<u32> {
    g.check_iovecs(iovs, count)?;
    let mut total = 0_u32;
    for index in 0..count {
        // Read anew each time: the buffer before may have covered the array itself.
        let (address, len) = g.iovec(iovs, index)?;
        let got = fs.read(
            ino,
            offset.saturating_add(u64::from(total)),
            g.bytes_mut(address, len)?,
        )? as u32;
        total = total.saturating_add(got);
        if got < len {
            break;
        }
    }
    Ok(total)
}

/// `fd_write`: writes all buffers at the cursor, which moves, or at the end with `APPEND`. A
/// file takes all of it or, with an error, nothing. Stdio is a canister log line per line.
///
/// Errno: `BADF` not open for writing, a directory, or stdin; `FAULT`; `INVAL` more than 1,024
/// buffers or 4 GiB; `NOSPC`; `FBIG`.
#[inline(always)]
pub fn fd_write(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    if count == 1 && fast::write(rt, g, fd, iovs, out).is_some() {
        return Ok(());
    }
    write_any(rt, g, fd, iovs, count, out)
}

#[inline(never)]
fn write_any(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    if let Some((fs, file)) = rt.open_file(fd)? {
        return write_file(fs, file, g, iovs, count, out);
    }
    match rt.wasi.fds.get(fd)? {
        Descriptor::TmpFile(_) => {
            let (fs, file) = tmp_file(rt, fd)?;
            write_file(fs, file, g, iovs, count, out)
        }
        Descriptor::Stdout => write_stdio(rt, g, iovs, count, out, false),
        Descriptor::Stderr => write_stdio(rt, g, iovs, count, out, true),
        _ => Err(Errno::BADF),
    }
}

#[inline(always)]
fn write_file(
    fs: &mut Fs<AnyMemory>,
    file: &mut File,
    g: &mut Guest<'_>,
    iovs: u32,
    count: u32,
    out: u32,
) -> Result<()> {
    if !file.writable {
        return Err(Errno::BADF);
    }
    let offset = write_offset(fs, file, file.cursor)?;
    let len = write_at(fs, g, file.ino, offset, iovs, count)?;
    if len > 0 {
        file.cursor = offset.saturating_add(u64::from(len));
    }
    g.write_u32(out, len)
}

/// `fd_pwrite`: as [`fd_write`] at `offset`; the cursor does not move. With `APPEND`, `offset` is
/// ignored (as Linux does, unlike POSIX).
///
/// Errno: also `SPIPE` stdio, `INVAL` an offset beyond 2^63 - 1.
#[inline(always)]
pub fn fd_pwrite(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Result<()> {
    if count == 1 && fast::pwrite(rt, g, (fd, offset), iovs, out).is_some() {
        return Ok(());
    }
    pwrite_any(rt, g, fd, iovs, count, offset, out)
}

#[inline(never)]
fn pwrite_any(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    if let Some((fs, file)) = rt.open_file(fd)? {
        return pwrite_file(fs, file, g, iovs, count, offset, out);
    }
    match rt.wasi.fds.get(fd)? {
        Descriptor::TmpFile(_) => {
            let (fs, file) = tmp_file(rt, fd)?;
            pwrite_file(fs, file, g, iovs, count, offset, out)
        }
        Descriptor::Stdout | Descriptor::Stderr => Err(Errno::SPIPE),
        _ => Err(Errno::BADF),
    }
}

#[inline(always)]
fn pwrite_file(
    fs: &mut Fs<AnyMemory>,
    file: &File,
    g: &mut Guest<'_>,
    iovs: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Result<()> {
    if !file.writable {
        return Err(Errno::BADF);
    }
    if offset > MAX_OFFSET {
        return Err(Errno::INVAL);
    }
    let offset = write_offset(fs, file, offset)?;
    let len = write_at(fs, g, file.ino, offset, iovs, count)?;
    g.write_u32(out, len)
}

/// Where a write goes: the end of the file with `APPEND`.
#[inline]
fn write_offset(fs: &mut Fs<AnyMemory>, file: &File, offset: u64) -> Result<u64> {
    if file.flags & fdflags::APPEND != 0 {
        Ok(fs.size(file.ino)?)
    } else {
        Ok(offset)
    }
}

#[inline(always)]
fn write_at(
    fs: &mut Fs<AnyMemory>,
    g: &Guest<'_>,
    ino: Ino,
    offset: u64,
    iovs: u32,
    count: u32,
) -> Result<u32> {
    if count == 1 {
        let (address, len) = g.iovec(iovs, 0)?;
        let data = g.bytes(address, len)?;
        if len != 0 {
            fs.write(ino, offset, data)?;
        }
        return Ok(len);
    }
    write_many(fs, g, ino, offset, iovs, count)
}

#[inline(never)]
fn write_many(
    fs: &mut Fs<AnyMemory>,
    g: &Guest<'_>,
    ino: Ino,
    offset: u64,
    iovs: u32,
    count: u32,
) -> Result<u32> {
    let total = g.check_iovecs(iovs, count)?;
    if total == 0 {
        return Ok(0);
    }
    let mut inline: [&[u8]; INLINE_IOVECS] = [&[]; INLINE_IOVECS];
    if let Some(buffers) = inline.get_mut(..count as usize) {
        for (index, buffer) in (0..).zip(&mut *buffers) {
            let (address, len) = g.iovec(iovs, index)?;
            *buffer = g.bytes(address, len)?;
        }
        fs.write_vectored(ino, offset, buffers)?;
    } else {
        let mut buffers = Vec::with_capacity(count as usize);
        for index in 0..count {
            let (address, len) = g.iovec(iovs, index)?;
            buffers.push(g.bytes(address, len)?);
        }
        fs.write_vectored(ino, offset, &buffers)?;
    }
    Ok(total)
}

fn write_stdio(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    iovs: u32,
    count: u32,
    out: u32,
    err: bool,
) -> Result<()> {
    let total = g.check_iovecs(iovs, count)?;
    for index in 0..count {
        let (address, len) = g.iovec(iovs, index)?;
        rt.write_stdio(err, g.bytes(address, len)?);
    }
    g.write_u32(out, total)
}

/// `fd_seek`: moves the cursor; beyond the end is allowed.
///
/// Errno: `BADF` a directory; `SPIPE` stdio; `INVAL` unknown whence, a position before the start
/// or beyond 2^63 - 1.
pub fn fd_seek(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    delta: i64,
    whence: Option<Whence>,
    out: u32,
) -> Result<()> {
    g.check(out, 8)?;
    if let Some((fs, file)) = rt.open_file(fd)? {
        return seek_file(fs, file, g, delta, whence, out);
    }
    match rt.wasi.fds.get(fd)? {
        Descriptor::TmpFile(_) => {
            let (fs, file) = tmp_file(rt, fd)?;
            seek_file(fs, file, g, delta, whence, out)
        }
        Descriptor::Dir(_) => Err(Errno::BADF),
        _ => Err(Errno::SPIPE),
    }
}

#[inline(always)]
fn seek_file(
    fs: &mut Fs<AnyMemory>,
    file: &mut File,
    g: &mut Guest<'_>,
    delta: i64,
    whence: Option<Whence>,
    out: u32,
) -> Result<()> {
    let base = match whence {
        Some(Whence::Set) => 0,
        Some(Whence::Cur) => file.cursor,
        Some(Whence::End) => fs.size(file.ino)?,
        None => return Err(Errno::INVAL),
    };
    let position = base
        .checked_add_signed(delta)
        .filter(|&position| position <= MAX_OFFSET)
        .ok_or(Errno::INVAL)?;
    file.cursor = position;
    g.write_u64(out, position)
}

/// `fd_tell`. Errno as [`fd_seek`].
pub fn fd_tell(rt: &mut Runtime, g: &mut Guest<'_>, fd: u32, out: u32) -> Result<()> {
    fd_seek(rt, g, fd, 0, Some(Whence::Cur), out)
}

/// `fd_sync` and `fd_datasync`: stable memory is complete after every call, so there is nothing
/// to do. Also on directories, as on Linux. Errno: `BADF` stdio.
pub fn fd_sync(rt: &mut Runtime, fd: u32) -> Result<()> {
    match rt.wasi.fds.get(fd)? {
        Descriptor::File(_) | Descriptor::Dir(_) => Ok(rt.fs()?.flush()?),
        Descriptor::TmpFile(_) => Ok(()),
        Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::BADF),
    }
}

/// `fd_advise`: accepted and ignored. Errno: `BADF` not a file; `INVAL` unknown advice, or a
/// range beyond 2^63 - 1.
pub fn fd_advise(rt: &mut Runtime, fd: u32, offset: u64, len: u64, advice: u32) -> Result<()> {
    if advice > 5 || offset > MAX_OFFSET || len > MAX_OFFSET {
        return Err(Errno::INVAL);
    }
    rt.wasi.fds.file(fd).map(drop)
}

/// `fd_allocate`: reserves the blocks of the range and extends the file over it, as
/// `posix_fallocate`. Errno: `BADF` not a file that is open for writing; `INVAL` an empty range;
/// `FBIG`; `NOSPC`.
pub fn fd_allocate(rt: &mut Runtime, fd: u32, offset: u64, len: u64) -> Result<()> {
    let (mount, file) = rt.wasi.fds.file(fd)?;
    if !file.writable {
        return Err(Errno::BADF);
    }
    if len == 0 || offset > MAX_OFFSET || len > MAX_OFFSET {
        return Err(Errno::INVAL);
    }
    if offset + len > MAX_OFFSET {
        return Err(Errno::FBIG);
    }
    let ino = file.ino;
    Ok(rt.fs_of(mount)?.allocate(ino, offset, len)?)
}

//! `path_*`, `path_open` apart.
//!
//! The file system resolves paths one component at a time and never leaves the directory that
//! the call starts from. Here, trailing slashes and special last components are dealt with, as
//! Linux does.

use std::borrow::Cow;

use super::errno::{Errno, Result};
use super::fd_meta::{known, times};
use super::guest::Guest;
use super::types::{Filestat, LOOKUP_SYMLINK_FOLLOW};
use crate::fs::{FileType, Ino, Resolved};
use crate::runtime::Runtime;

/// Longest path in bytes, as on Linux.
const MAX_PATH: u32 = 4095;

/// The directory behind a descriptor: `EBADF`, `ENOTDIR`.
pub(super) fn directory(rt: &mut Runtime, fd: u32) -> Result<Ino> {
    match rt.wasi.fds.dir(fd)?.ino {
        Some(ino) => Ok(ino),
        None => Ok(rt.fs()?.root()),
    }
}

/// A path of the guest, and what its end says.
#[derive(Clone, Copy)]
pub(super) struct GuestPath<'g> {
    bytes: &'g [u8],
    /// It ended in `/`: only a directory will do.
    pub(super) slash: bool,
}

impl<'g> GuestPath<'g> {
    pub(super) fn read(g: &'g Guest<'_>, address: u32, len: u32) -> Result<Self> {
        let bytes = g.bytes(address, len)?;
        if len > MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        let mut end = bytes.len();
        while end > 1 && bytes[end - 1] == b'/' {
            end -= 1;
        }
        Ok(Self {
            bytes: &bytes[..end],
            slash: end < bytes.len(),
        })
    }

    /// Looks the path up from an open directory.
    pub(super) fn resolve(self, rt: &mut Runtime, fd: u32, follow: bool) -> Result<Place<'g>> {
        let dir = directory(rt, fd)?;
        let Resolved {
            parent,
            name,
            target,
            ..
        } = rt.fs()?.resolve(dir, dir, self.bytes, follow)?;
        Ok(Place {
            parent,
            name,
            target,
            slash: self.slash,
        })
    }
}

/// Where a path leads.
pub(super) struct Place<'g> {
    pub(super) parent: Ino,
    pub(super) name: Option<Cow<'g, [u8]>>,
    pub(super) target: Option<Ino>,
    pub(super) slash: bool,
}

impl Place<'_> {
    /// What is there. `ENOENT`; `ENOTDIR` for anything but a directory with a slash behind.
    fn existing(&self, rt: &mut Runtime) -> Result<Ino> {
        let ino = self.target.ok_or(Errno::NOENT)?;
        if self.slash && !is_directory(rt, ino)? {
            return Err(Errno::NOTDIR);
        }
        Ok(ino)
    }

    /// The name under which something that is no directory can be made: `EEXIST`, `ENOTDIR` a
    /// file with a slash behind, `ENOENT` nothing with a slash behind.
    fn vacant(&self, rt: &mut Runtime) -> Result<&[u8]> {
        if self.target.is_some() {
            self.existing(rt)?;
            return Err(Errno::EXIST);
        }
        if self.slash {
            return Err(Errno::NOENT);
        }
        self.name.as_deref().ok_or(Errno::EXIST)
    }
}

fn is_directory(rt: &mut Runtime, ino: Ino) -> Result<bool> {
    Ok(rt.fs()?.stat(ino)?.file_type == FileType::Directory)
}

/// Whether `lookupflags` say to follow a symbolic link at the end: `EINVAL` for unknown flags.
pub(super) fn follows(flags: u32) -> Result<bool> {
    Ok(known(flags, LOOKUP_SYMLINK_FOLLOW as u16)? != 0)
}

/// `path_create_directory`. Parents must exist.
///
/// Errno: `EXIST`, `NOENT`, `NOTDIR`, `PERM` outside of the directory, `NAMETOOLONG`, `ILSEQ`,
/// `NOSPC`.
pub fn path_create_directory(
    rt: &mut Runtime,
    g: &Guest<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<()> {
    let place = GuestPath::read(g, path, len)?.resolve(rt, fd, false)?;
    match (&place.name, place.target) {
        (Some(name), None) => {
            rt.fs()?.mkdir(place.parent, name)?;
            Ok(())
        }
        _ => Err(Errno::EXIST),
    }
}

/// The attributes that `path_filestat_get` reports.
pub(super) fn filestat(
    rt: &mut Runtime,
    g: &Guest<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    len: u32,
) -> Result<Filestat> {
    let follow = follows(flags)?;
    let path = GuestPath::read(g, path, len)?;
    let ino = path.resolve(rt, fd, follow || path.slash)?.existing(rt)?;
    Ok(rt.fs()?.stat(ino)?.into())
}

/// `path_filestat_get`. Errno as [`path_create_directory`], without `EXIST`; `LOOP`.
pub fn path_filestat_get(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    len: u32,
    out: u32,
) -> Result<()> {
    g.check(out, Filestat::SIZE)?;
    let stat = filestat(rt, g, fd, flags, path, len)?;
    g.write(out, stat.encode())
}

/// `path_filestat_set_times`. Errno: also `INVAL` both a time and "now" for the same.
#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
pub fn path_filestat_set_times(
    rt: &mut Runtime,
    g: &Guest<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    len: u32,
    atime: u64,
    mtime: u64,
    fst_flags: u32,
) -> Result<()> {
    let (atime, mtime) = times(rt, atime, mtime, fst_flags)?;
    let follow = follows(flags)?;
    let path = GuestPath::read(g, path, len)?;
    let ino = path.resolve(rt, fd, follow || path.slash)?.existing(rt)?;
    Ok(rt.fs()?.set_times(ino, atime, mtime)?)
}

/// `path_link`: another name for a file. With `symlink_follow`, for what a symbolic link leads to.
///
/// Errno: also `EXIST`; `PERM` a directory; `MLINK`.
#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
pub fn path_link(
    rt: &mut Runtime,
    g: &Guest<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u32,
    old_len: u32,
    new_fd: u32,
    new_path: u32,
    new_len: u32,
) -> Result<()> {
    let follow = follows(old_flags)?;
    let old = GuestPath::read(g, old_path, old_len)?;
    let new = GuestPath::read(g, new_path, new_len)?;
    let ino = old.resolve(rt, old_fd, follow || old.slash)?.existing(rt)?;
    let place = new.resolve(rt, new_fd, false)?;
    let name = place.vacant(rt)?;
    Ok(rt.fs()?.link(ino, place.parent, name)?)
}

/// `path_readlink`: as many bytes of the target as fit into the buffer.
///
/// Errno: also `INVAL` not a symbolic link.
#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
pub fn path_readlink(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    path: u32,
    len: u32,
    buf: u32,
    buf_len: u32,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    g.check(buf, buf_len)?;
    let path = GuestPath::read(g, path, len)?;
    let ino = path.resolve(rt, fd, path.slash)?.existing(rt)?;
    let fs = rt.fs()?;
    if fs.stat(ino)?.file_type != FileType::Symlink {
        return Err(Errno::INVAL);
    }
    let mut target = fs.read_link(ino)?;
    target.truncate(buf_len as usize);
    g.write_bytes(buf, &target)?;
    g.write_u32(out, target.len() as u32)
}

/// `path_remove_directory`: it must be empty.
///
/// Errno: also `NOTEMPTY`; `INVAL` the last component is `.`.
pub fn path_remove_directory(
    rt: &mut Runtime,
    g: &Guest<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<()> {
    let path = GuestPath::read(g, path, len)?;
    let place = path.resolve(rt, fd, false)?;
    match &place.name {
        Some(name) => {
            place.existing(rt)?;
            Ok(rt.fs()?.rmdir(place.parent, name)?)
        }
        None if path.bytes.ends_with(b"..") => Err(Errno::NOTEMPTY),
        None => Err(Errno::INVAL),
    }
}

/// `path_unlink_file`: removes a name; symbolic links are removed themselves.
///
/// Errno: also `ISDIR`.
pub fn path_unlink_file(
    rt: &mut Runtime,
    g: &Guest<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<()> {
    let place = GuestPath::read(g, path, len)?.resolve(rt, fd, false)?;
    let name = place.name.as_deref().ok_or(Errno::ISDIR)?;
    place.existing(rt)?;
    Ok(rt.fs()?.unlink(place.parent, name)?)
}

/// `path_rename`: replaces what is there, as `renameat`.
///
/// Errno: also `NOTDIR`, `ISDIR`, `NOTEMPTY` what is there cannot be replaced; `INVAL` into
/// itself; `BUSY` the last component is `.` or `..`.
#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
pub fn path_rename(
    rt: &mut Runtime,
    g: &Guest<'_>,
    old_fd: u32,
    old_path: u32,
    old_len: u32,
    new_fd: u32,
    new_path: u32,
    new_len: u32,
) -> Result<()> {
    let old = GuestPath::read(g, old_path, old_len)?;
    let new = GuestPath::read(g, new_path, new_len)?;
    let from = old.resolve(rt, old_fd, false)?;
    let to = new.resolve(rt, new_fd, false)?;
    let from_name = from.name.as_deref().ok_or(Errno::BUSY)?;
    let to_name = to.name.as_deref().ok_or(Errno::BUSY)?;
    let moved = from.existing(rt)?;
    if to.slash && !is_directory(rt, moved)? {
        return Err(Errno::NOTDIR);
    }
    Ok(rt
        .fs()?
        .rename(from.parent, from_name, to.parent, to_name)?)
}

/// `path_symlink`: the target is kept as it is, and need not exist.
///
/// Errno: also `EXIST`; `PERM` an absolute target, which could lead nowhere; `NOENT` an empty one.
pub fn path_symlink(
    rt: &mut Runtime,
    g: &Guest<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<()> {
    let target = g.bytes(target, target_len)?;
    if target_len > MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    match target.first() {
        None => return Err(Errno::NOENT),
        Some(b'/') => return Err(Errno::PERM),
        Some(_) => {}
    }
    if target.contains(&0) || core::str::from_utf8(target).is_err() {
        return Err(Errno::ILSEQ);
    }
    let place = GuestPath::read(g, path, len)?.resolve(rt, fd, false)?;
    let name = place.vacant(rt)?;
    rt.fs()?.symlink(place.parent, name, target)?;
    Ok(())
}

//! `path_*`, `path_open` apart.
//!
//! The file system resolves paths one component at a time and never leaves the directory that
//! the call starts from. Here, trailing slashes and special last components are dealt with, as
//! Linux does.

use std::borrow::Cow;

use super::errno::{Errno, Result};
use super::fd_meta::{known, times};
use super::guest::Guest;
use super::mounts::{Object, Reached};
use super::types::{Filestat, LOOKUP_SYMLINK_FOLLOW};
use crate::fs::{FileType, Plain};
use crate::runtime::Runtime;

/// Longest path in bytes, as on Linux.
const MAX_PATH: u32 = 4095;

/// The directory behind a descriptor: `EBADF`, `ENOTDIR`; also whether it is read-only.
pub(super) fn directory(rt: &mut Runtime, fd: u32) -> Result<(Object, bool)> {
    let dir = rt.wasi.fds.dir(fd)?;
    match dir.at {
        Some(at) => Ok((at, dir.read_only)),
        None => open_preopened(rt, fd),
    }
}

/// Opens the directories that the program finds open, at the first use of one of them: they are
/// held then, whatever becomes of their names. One that cannot be opened fails at its own use.
#[cold]
fn open_preopened(rt: &mut Runtime, fd: u32) -> Result<(Object, bool)> {
    for other in rt.wasi.fds.unopened() {
        if other != fd {
            let _ = open_one(rt, other);
        }
    }
    open_one(rt, fd)
}

fn open_one(rt: &mut Runtime, fd: u32) -> Result<(Object, bool)> {
    let preopen = rt.wasi.fds.dir(fd)?.preopen.clone().ok_or(Errno::BADF)?;
    let at = rt.preopened(&preopen)?;
    rt.fs_of(at.mount)?.retain(at.ino)?;
    let dir = rt.wasi.fds.dir(fd)?;
    dir.at = Some(at);
    Ok((at, dir.read_only))
}

/// A path of the guest, and what its end says.
#[derive(Clone, Copy)]
pub(super) struct GuestPath<'g> {
    pub(super) bytes: &'g [u8],
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
        let (dir, read_only) = directory(rt, fd)?;
        let Reached {
            parent,
            name,
            target,
            slash,
        } = rt.resolve(dir, self.bytes, follow)?;
        Ok(Place {
            parent,
            name,
            target,
            slash: self.slash || slash,
            read_only,
        })
    }
}

/// Where a path leads.
pub(super) struct Place<'g> {
    pub(super) parent: Object,
    pub(super) name: Option<Cow<'g, [u8]>>,
    pub(super) target: Option<Object>,
    pub(super) slash: bool,
    /// It was reached through a directory through which nothing can be changed.
    pub(super) read_only: bool,
}

impl Place<'_> {
    /// What is there. `ENOENT`; `ENOTDIR` for anything but a directory with a slash behind.
    fn existing(&self, rt: &mut Runtime) -> Result<Object> {
        let object = self.target.ok_or(Errno::NOENT)?;
        if self.slash && !is_directory(rt, object)? {
            return Err(Errno::NOTDIR);
        }
        Ok(object)
    }

    /// `EROFS` where nothing can be changed.
    pub(super) fn writable(&self) -> Result<()> {
        if self.read_only {
            Err(Errno::ROFS)
        } else {
            Ok(())
        }
    }

    /// Whether the name can be removed or renamed: `EROFS`, `EBUSY` for the root of a mount.
    fn movable(&self) -> Result<()> {
        match self.target {
            Some(target) if target.mount != self.parent.mount => Err(Errno::BUSY),
            _ => self.writable(),
        }
    }

    /// The name under which something that is no directory can be made: `EEXIST`, `ENOENT` nothing
    /// with a slash behind, `EROFS`.
    fn vacant(&self) -> Result<&[u8]> {
        if self.target.is_some() {
            return Err(Errno::EXIST);
        }
        if self.slash {
            return Err(Errno::NOENT);
        }
        let name = self.name.as_deref().ok_or(Errno::EXIST)?;
        self.writable().map(|()| name)
    }
}

fn is_directory(rt: &mut Runtime, object: Object) -> Result<bool> {
    Ok(rt.fs_of(object.mount)?.stat(object.ino)?.file_type == FileType::Directory)
}

/// Whether `lookupflags` say to follow a symbolic link at the end: `EINVAL` for unknown flags.
pub(super) fn follows(flags: u32) -> Result<bool> {
    Ok(known(flags, LOOKUP_SYMLINK_FOLLOW as u16)? != 0)
}

/// `path_create_directory`. Parents must exist.
///
/// Errno: `EXIST`, `NOENT`, `NOTDIR`, `PERM` outside of the directory, `NAMETOOLONG`, `ILSEQ`,
/// `NOSPC`, `ROFS`.
pub fn path_create_directory(
    rt: &mut Runtime,
    g: &Guest<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<()> {
    let path = GuestPath::read(g, path, len)?;
    let (dir, read_only) = directory(rt, fd)?;
    if !read_only {
        match rt.fs_of(dir.mount)?.mkdir_plain(dir.ino, path.bytes)? {
            Plain::Made(_) => return Ok(()),
            Plain::Found(_) => return Err(Errno::EXIST),
            Plain::Unknown => {}
        }
    }
    let place = path.resolve(rt, fd, false)?;
    match (&place.name, place.target) {
        (Some(name), None) => {
            place.writable()?;
            let Object { mount, ino } = place.parent;
            rt.fs_of(mount)?.mkdir(ino, name)?;
            Ok(())
        }
        _ => Err(Errno::EXIST),
    }
}

/// The attributes that `path_filestat_get` reports.
#[inline(always)]
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
    let (dir, _) = directory(rt, fd)?;
    let object = match rt.fs_of(dir.mount)?.find_plain(dir.ino, path.bytes)? {
        Plain::Found(ino) if !path.slash => Object { ino, ..dir },
        _ => path.resolve(rt, fd, follow || path.slash)?.existing(rt)?,
    };
    rt.filestat(object)
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
    let place = path.resolve(rt, fd, follow || path.slash)?;
    let Object { mount, ino } = place.existing(rt)?;
    place.writable()?;
    Ok(rt.fs_of(mount)?.set_times(ino, atime, mtime)?)
}

/// `path_link`: another name for a file. With `symlink_follow`, for what a symbolic link leads to.
///
/// Errno: also `EXIST`; `PERM` a directory; `MLINK`; `XDEV`; `ROFS` also if the file was reached
/// through a read-only directory.
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
    let source = old.resolve(rt, old_fd, follow || old.slash)?;
    let Object { mount, ino } = source.existing(rt)?;
    let place = new.resolve(rt, new_fd, false)?;
    let name = place.vacant()?;
    if place.parent.mount != mount {
        return Err(Errno::XDEV);
    }
    // Else it could be changed through its new name.
    source.writable()?;
    Ok(rt.fs_of(mount)?.link(ino, place.parent.ino, name)?)
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
    let Object { mount, ino } = path.resolve(rt, fd, path.slash)?.existing(rt)?;
    let fs = rt.fs_of(mount)?;
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
/// Errno: also `NOTEMPTY`; `INVAL` the last component is `.`; `BUSY` a file system is there.
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
            place.movable()?;
            let Object { mount, ino } = place.parent;
            Ok(rt.fs_of(mount)?.rmdir(ino, name)?)
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
    let Object { mount, ino } = place.parent;
    if place.target.is_some_and(|target| target.mount != mount) {
        return Err(Errno::ISDIR);
    }
    place.writable()?;
    Ok(rt.fs_of(mount)?.unlink(ino, name)?)
}

/// `path_rename`: replaces what is there, as `renameat`.
///
/// Errno: also `NOTDIR`, `ISDIR`, `NOTEMPTY` what is there cannot be replaced; `INVAL` into
/// itself; `BUSY` the last component is `.` or `..`, or a file system is there; `XDEV` to another
/// file system.
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
    let Object { mount, ino } = from.parent;
    if to.parent.mount != mount {
        return Err(Errno::XDEV);
    }
    let moved = from.existing(rt)?;
    if to.slash && !is_directory(rt, moved)? {
        return Err(Errno::NOTDIR);
    }
    from.movable()?;
    to.movable()?;
    Ok(rt
        .fs_of(mount)?
        .rename(ino, from_name, to.parent.ino, to_name)?)
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
    let name = place.vacant()?;
    let Object { mount, ino } = place.parent;
    rt.fs_of(mount)?.symlink(ino, name, target)?;
    Ok(())
}

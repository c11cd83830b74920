//! `path_open`.

use super::errno::{Errno, Result};
use super::fd_meta::known;
use super::fdtable::{Descriptor, Dir, File};
use super::guest::Guest;
use super::mounts::{Mount, Object};
use super::path::{GuestPath, Place, directory, follows};
use super::types::{fdflags, oflags, rights};
use crate::fs::{FileType, Plain};
use crate::runtime::Runtime;

/// What a call asks for.
struct Request {
    create: bool,
    exclusive: bool,
    truncate: bool,
    directory: bool,
    readable: bool,
    writable: bool,
    /// It was asked for writing itself, not just by `CREAT`.
    changes: bool,
    flags: u16,
}

/// `path_open`: opens what is at a path, or creates a file with `CREAT`.
///
/// Rights say whether the file is opened for reading and writing, and nothing else: no other
/// right is needed to open something. Without `FD_WRITE` it is opened for reading; `CREAT` and
/// `TRUNC` open it for writing.
///
/// Errno: `BADF`, `NOTDIR` the descriptor is no directory; `INVAL` unknown flags, or `DIRECTORY`
/// together with `CREAT`, `EXCL` or `TRUNC`; `NOENT`; `EXIST` with `CREAT` and `EXCL`; `NOTDIR`
/// `DIRECTORY` or a slash behind something else; `ISDIR` a directory for writing; `LOOP` a
/// symbolic link that is not to be followed; `PERM` outside of the directory; `NAMETOOLONG`;
/// `ILSEQ`; `NOSPC`; `MFILE`; `ROFS` to write or create through a read-only directory. On any error, nothing was created or cut.
#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
pub fn path_open(
    rt: &mut Runtime,
    g: &mut Guest<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    len: u32,
    open_flags: u32,
    base: u64,
    _inheriting: u64,
    fd_flags: u32,
    out: u32,
) -> Result<()> {
    g.check(out, 4)?;
    let follow = follows(lookup_flags)?;
    let open_flags = known(open_flags, oflags::ALL)?;
    let write = base & rights::FD_WRITE != 0;
    let create = open_flags & oflags::CREAT != 0;
    let truncate = open_flags & oflags::TRUNC != 0;
    let request = Request {
        create,
        exclusive: create && open_flags & oflags::EXCL != 0,
        truncate,
        directory: open_flags & oflags::DIRECTORY != 0,
        readable: !write || base & rights::FD_READ != 0,
        writable: write || create || truncate,
        changes: write || truncate,
        flags: known(fd_flags, fdflags::ALL)?,
    };
    if request.directory && open_flags != oflags::DIRECTORY {
        return Err(Errno::INVAL);
    }
    rt.wasi.fds.reserve()?;

    let path = GuestPath::read(g, path, len)?;
    let (dir, read_only) = directory(rt, fd)?;
    let fs = rt.fs_of(dir.mount)?;
    let plain = match create {
        false => fs.find_plain(dir.ino, path.bytes)?,
        true if read_only || path.slash => Plain::Unknown,
        true => fs.create_plain(dir.ino, path.bytes)?,
    };
    let (object, file_type) = match plain {
        Plain::Made(ino) => (Object { ino, ..dir }, FileType::Regular),
        Plain::Found(ino) => {
            let object = Object { ino, ..dir };
            let place = Place {
                parent: dir,
                name: None,
                target: Some(object),
                slash: path.slash,
                read_only,
            };
            (object, open_existing(rt, &place, object, &request)?)
        }
        Plain::Unknown => {
            let place = path.resolve(rt, fd, (follow || path.slash) && !request.exclusive)?;
            match place.target {
                Some(object) => (object, open_existing(rt, &place, object, &request)?),
                None => (create_file(rt, &place, &request)?, FileType::Regular),
            }
        }
    };
    let descriptor = describe(object, file_type, &request, read_only);
    let opened = rt.wasi.fds.insert(descriptor)?;
    g.write_u32(out, opened)
}

/// Opens what is there; a descriptor is open on it then.
fn open_existing(
    rt: &mut Runtime,
    place: &Place<'_>,
    Object { mount, ino }: Object,
    request: &Request,
) -> Result<FileType> {
    if request.exclusive {
        return Err(Errno::EXIST);
    }
    let file_type = rt.fs_of(mount)?.file_type(ino)?;
    match file_type {
        FileType::Directory if request.writable => return Err(Errno::ISDIR),
        FileType::Directory => {}
        FileType::Symlink if !request.directory => return Err(Errno::LOOP),
        FileType::Symlink => return Err(Errno::NOTDIR),
        FileType::Regular if request.directory || place.slash => return Err(Errno::NOTDIR),
        FileType::Regular => {
            if request.changes {
                place.writable()?;
                if rt.fs_of(mount)?.is_read_only() {
                    return Err(Errno::ROFS);
                }
            }
            if request.truncate {
                rt.fs_of(mount)?.set_len(ino, 0)?;
            }
        }
    }
    rt.fs_of(mount)?.retain(ino)?;
    Ok(file_type)
}

/// Makes a file; a descriptor is open on it then.
fn create_file(rt: &mut Runtime, place: &Place<'_>, request: &Request) -> Result<Object> {
    if !request.create {
        return Err(Errno::NOENT);
    }
    match &place.name {
        Some(name) if !place.slash => {
            place.writable()?;
            let Object { mount, ino } = place.parent;
            let fs = rt.fs_of(mount)?;
            let ino = fs.create(ino, name)?;
            fs.retain(ino)?;
            Ok(Object { mount, ino })
        }
        _ => Err(Errno::ISDIR),
    }
}

fn describe(object: Object, file_type: FileType, request: &Request, read_only: bool) -> Descriptor {
    if file_type == FileType::Directory {
        return Descriptor::Dir(Dir {
            at: Some(object),
            preopen: None,
            read_only,
            rights: rights::DIRECTORY,
            inheriting: rights::DIRECTORY | rights::FILE,
        });
    }
    let mut reported = rights::FILE;
    if !request.readable {
        reported &= !rights::FD_READ;
    }
    // Through a read-only directory, `CREAT` opened what was there.
    let writable = request.writable && !read_only;
    if !writable {
        reported &= !rights::FD_WRITE;
    }
    let file = File {
        ino: object.ino,
        cursor: 0,
        flags: request.flags,
        readable: request.readable,
        writable,
        read_only,
        rights: reported,
    };
    match object.mount {
        Mount::Stable => Descriptor::File(file),
        Mount::Tmp => Descriptor::TmpFile(file),
    }
}

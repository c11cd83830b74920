//! What a run left in its directories, back to this computer.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use icwasi::fs::{FileType, Fs, Ino, Stat};
use rustix::fs::{self as host, AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::copy_in::{kind, kind_at};
use super::plain;
use super::{FilesError, MAX_DEPTH, Mapping, PIECE, Places, Scratch, Seen, State, below, filled};

/// Copies the directories that are not read-only back: what the program made or changed, with its
/// times. Each file appears at once and complete, with the mode of the one that it replaces.
/// What the program removed stays here, and so does what is of another kind than what the
/// program made.
///
/// `memory` is the canister's stable memory, and may be changed. One error does not keep the rest
/// from being copied.
pub(crate) fn copy_out(memory: File, mappings: &[Mapping], seen: &Seen) -> Vec<FilesError> {
    let memory = Scratch::over(memory);
    let mut errors = Vec::new();
    match Fs::mount(memory.clone()) {
        Ok(fs) => {
            let mut copy = Copy {
                fs,
                places: Places::of(mappings),
                seen,
                errors: &mut errors,
                count: 0,
            };
            for mapping in mappings.iter().filter(|mapping| !mapping.read_only) {
                copy.mapping(mapping);
            }
        }
        Err(error) => errors.push(error.into()),
    }
    if let Err(error) = memory.finish() {
        errors.push(FilesError::io("read", &std::env::temp_dir(), error));
    }
    errors
}

struct Copy<'a> {
    fs: Fs<Scratch>,
    places: Places,
    seen: &'a Seen,
    errors: &'a mut Vec<FilesError>,
    /// Temporary names so far.
    count: u64,
}

/// A directory here, and its place in the canister.
struct Place<'a> {
    dir: &'a OwnedFd,
    path: &'a Path,
    guest: &'a str,
}

impl Copy<'_> {
    fn mapping(&mut self, mapping: &Mapping) {
        let guest = plain(&mapping.guest);
        match self.find(&guest) {
            // The program removed it.
            Ok(None) => {}
            Ok(Some(ino)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match host::open(&mapping.host, flags, Mode::empty()) {
                    Ok(dir) => {
                        let place = Place {
                            dir: &dir,
                            path: &mapping.host,
                            guest: &guest,
                        };
                        self.directory(&place, ino, 0);
                    }
                    Err(e) => self.errors.push(FilesError::io("write", &mapping.host, e)),
                }
            }
            Err(e) => self.errors.push(e),
        }
    }

    /// The directory at `guest`, which was one when the run began.
    fn find(&mut self, guest: &str) -> Result<Option<Ino>, FilesError> {
        let refused = |e| FilesError::canister(guest, e);
        let mut ino = self.fs.root();
        for name in guest.split('/').filter(|name| !name.is_empty()) {
            if self.fs.stat(ino).map_err(refused)?.file_type != FileType::Directory {
                return Ok(None);
            }
            ino = match self.fs.lookup(ino, name.as_bytes()) {
                Err(icwasi::FsError::NotFound) => return Ok(None),
                found => found.map_err(refused)?,
            };
        }
        let stat = self.fs.stat(ino).map_err(refused)?;
        Ok((stat.file_type == FileType::Directory).then_some(ino))
    }

    fn directory(&mut self, place: &Place<'_>, ino: Ino, depth: usize) {
        if depth > MAX_DEPTH {
            return self.errors.push(FilesError::TooDeep {
                path: place.path.to_owned(),
                limit: MAX_DEPTH,
            });
        }
        let mut entries: Vec<(Vec<u8>, Ino)> = Vec::new();
        let listed = self.fs.read_dir(ino, 0, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                entries.push((entry.name.to_vec(), entry.ino));
            }
            ControlFlow::Continue(())
        });
        if let Err(e) = listed {
            return self.errors.push(FilesError::canister(place.guest, e));
        }
        for (name, child) in entries {
            if let Err(e) = self.entry(place, &name, child, depth) {
                self.errors.push(e);
            }
        }
    }

    fn entry(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
        ino: Ino,
        depth: usize,
    ) -> Result<(), FilesError> {
        let (name, guest) = checked(name, place.guest)?;
        if self.places.covers(&guest) {
            return Ok(());
        }
        let refused = |e| FilesError::canister(&guest, e);
        let path = place.path.join(name);
        let stat = self.fs.stat(ino).map_err(refused)?;
        let changed = self.seen.get(&guest) != Some(&State::of(&stat));
        if !changed && stat.file_type != FileType::Directory {
            return Ok(());
        }
        let write = |e: Errno| FilesError::io("write", &path, e);
        let here = kind_at(place.dir, name).map_err(write)?;
        let here_kind = here.map(|h| host::FileType::from_raw_mode(h.st_mode));
        let conflict = |there| {
            Err(FilesError::Conflict {
                path: path.clone(),
                here: here_kind.map_or("nothing", kind),
                there,
            })
        };
        match stat.file_type {
            FileType::Directory => {
                match here_kind {
                    None => host::mkdirat(place.dir, name, Mode::from_raw_mode(0o777)),
                    Some(host::FileType::Directory) => Ok(()),
                    Some(_) => return conflict("directory"),
                }
                .map_err(write)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = host::openat(place.dir, name, flags, Mode::empty()).map_err(write)?;
                let below = Place {
                    dir: &child,
                    path: &path,
                    guest: &guest,
                };
                self.directory(&below, ino, depth + 1);
                if changed {
                    host::futimens(&child, &times(&stat)).map_err(write)?;
                }
                Ok(())
            }
            _ if here_kind == Some(host::FileType::Directory) => conflict("file"),
            FileType::Regular => {
                let mode = match here_kind {
                    Some(host::FileType::RegularFile) => here.map(|h| h.st_mode),
                    _ => None,
                };
                self.file(place, name, &path, ino, &stat, mode)
            }
            FileType::Symlink => {
                let target = self.fs.read_link(ino).map_err(refused)?;
                let target = OsString::from_vec(target);
                let temporary =
                    self.temporary(|temporary| host::symlinkat(&target, place.dir, temporary));
                let (temporary, ()) = temporary.map_err(write)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let done = host::utimensat(place.dir, &temporary, &times(&stat), flags)
                    .and_then(|()| host::renameat(place.dir, &temporary, place.dir, name));
                undo(place.dir, &temporary, done).map_err(write)
            }
        }
    }

    /// A file, under a temporary name first. `mode`: of the one that it replaces.
    fn file(
        &mut self,
        place: &Place<'_>,
        name: &OsStr,
        path: &Path,
        ino: Ino,
        stat: &Stat,
        mode: Option<host::RawMode>,
    ) -> Result<(), FilesError> {
        let write = |e: Errno| FilesError::io("write", path, e);
        let opened = self.temporary(|temporary| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            host::openat(place.dir, temporary, flags, Mode::from_raw_mode(0o666))
        });
        let (temporary, file) = opened.map_err(write)?;
        let file = File::from(file);
        let result = self.content(&file, path, place.guest, ino, stat.size);
        let result = result.and_then(|()| {
            if let Some(mode) = mode {
                host::fchmod(&file, Mode::from_raw_mode(mode)).map_err(write)?;
            }
            host::futimens(&file, &times(stat)).map_err(write)?;
            host::renameat(place.dir, &temporary, place.dir, name).map_err(write)
        });
        undo(place.dir, &temporary, result)
    }

    fn content(
        &mut self,
        file: &File,
        path: &Path,
        guest: &str,
        ino: Ino,
        size: u64,
    ) -> Result<(), FilesError> {
        let write = |e: std::io::Error| FilesError::io("write", path, e);
        let mut piece = vec![0; PIECE];
        let refused = |e| FilesError::canister(guest, e);
        let mut at = 0;
        // A program can make holes of terabytes.
        while let Some(start) = self.fs.next_data(ino, at).map_err(refused)? {
            let n = self.fs.read(ino, start, &mut piece).map_err(refused)?;
            if n == 0 {
                break;
            }
            for (offset, data) in filled(&piece[..n], start) {
                file.write_all_at(data, offset).map_err(write)?;
            }
            at = start + n as u64;
        }
        file.set_len(size).map_err(write)
    }

    /// Makes something under a name that is not taken yet.
    fn temporary<T>(
        &mut self,
        mut make: impl FnMut(&Path) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<(PathBuf, T)> {
        loop {
            self.count += 1;
            let name = format!(".icwasi-run-{}-{}.tmp", std::process::id(), self.count);
            let name = PathBuf::from(name);
            match make(&name) {
                Err(Errno::EXIST) => {}
                made => return Ok((name, made?)),
            }
        }
    }
}

/// Removes the temporary file if it did not become what it should.
fn undo<E>(dir: &OwnedFd, temporary: &Path, result: Result<(), E>) -> Result<(), E> {
    if result.is_err() {
        // Nothing better can be done with an error here.
        let _ = host::unlinkat(dir, temporary, AtFlags::empty());
    }
    result
}

/// The name as one of this computer, and the path in the canister: what a program has made of its
/// stable memory may be anything.
pub(super) fn checked<'n>(
    name: &'n [u8],
    directory: &str,
) -> Result<(&'n OsStr, String), FilesError> {
    let plain = !name.is_empty() && !name.contains(&b'/') && !name.contains(&0);
    match std::str::from_utf8(name) {
        Ok(text) if plain && text != "." && text != ".." => {
            Ok((OsStr::from_bytes(name), below(directory, text)))
        }
        _ => Err(FilesError::HostileName {
            directory: directory.to_owned(),
            name: String::from_utf8_lossy(name).into_owned(),
        }),
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |nanos: u64| Timespec {
        // 2554 at most.
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as _,
    };
    Timestamps {
        last_access: time(stat.atime),
        last_modification: time(stat.mtime),
    }
}

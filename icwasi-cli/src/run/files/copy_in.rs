//! Directories of this computer into a new file system.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use icwasi::FsError;
use icwasi::fs::{FileType, FormatOptions, Fs, Ino};
use rustix::fs::{self as host, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{FilesError, MAX_DEPTH, Mapping, PIECE, Places, Scratch, Seen, State, below, filled};
use super::{plain, text};

/// Makes a file system with what the directories hold. Times are kept; symbolic links and hard
/// links within a directory stay what they are. A directory covers what one further up has at its place.
///
/// Returns its memory and what is in it.
pub(crate) fn copy_in(mappings: &[Mapping], now: u64) -> Result<(File, Seen), FilesError> {
    let memory = Scratch::new().map_err(|e| FilesError::io("write", Path::new("a file"), e))?;
    // Always the same key, so that the same run costs the same.
    let options = FormatOptions::default();
    let mut copy = Copy {
        fs: Fs::open(memory.clone(), &options, now)?,
        places: Places::of(mappings),
        made: Vec::new(),
        linked: HashMap::new(),
    };
    // Those further up first.
    let mut order: Vec<&Mapping> = mappings.iter().collect();
    order.sort_by_key(|mapping| plain(&mapping.guest).len());
    for mapping in order {
        copy.mapping(mapping)?;
    }
    let mut seen = Seen::new();
    for (path, ino) in std::mem::take(&mut copy.made) {
        let stat = copy.fs.stat(ino);
        let stat = stat.map_err(|e| FilesError::canister(&path, e))?;
        seen.insert(path, State::of(&stat));
    }
    drop(copy);
    let file = memory.finish();
    let file = file.map_err(|e| FilesError::io("write", &std::env::temp_dir(), e))?;
    Ok((file, seen))
}

struct Copy {
    fs: Fs<Scratch>,
    places: Places,
    /// What was made, by path.
    made: Vec<(String, Ino)>,
    /// Files with several names, by device and inode here.
    linked: HashMap<(u64, u64), Ino>,
}

impl Copy {
    fn mapping(&mut self, mapping: &Mapping) -> Result<(), FilesError> {
        let guest = plain(&mapping.guest);
        let mut ino = self.fs.root();
        let mut path = String::new();
        for name in guest.split('/').filter(|name| !name.is_empty()) {
            path = below(&path, name);
            ino = match self.fs.lookup(ino, name.as_bytes()) {
                Err(FsError::NotFound) => self.fs.mkdir(ino, name.as_bytes()),
                found => found,
            }
            .map_err(|e| FilesError::canister(&path, e))?;
            let stat = self
                .fs
                .stat(ino)
                .map_err(|e| FilesError::canister(&path, e))?;
            if stat.file_type != FileType::Directory {
                return Err(FilesError::canister(&path, FsError::NotDir));
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = host::open(&mapping.host, flags, Mode::empty())
            .map_err(|e| FilesError::io("read", &mapping.host, e))?;
        self.directory(&dir, &mapping.host, ino, &guest, 0)?;
        let stat = host::fstat(&dir).map_err(|e| FilesError::io("read", &mapping.host, e))?;
        self.finish(ino, &guest, &stat)
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        path: &Path,
        into: Ino,
        guest: &str,
        depth: usize,
    ) -> Result<(), FilesError> {
        if depth > MAX_DEPTH {
            return Err(FilesError::TooDeep {
                path: path.to_owned(),
                limit: MAX_DEPTH,
            });
        }
        let read = |e: Errno| FilesError::io("read", path, e);
        let mut names = Vec::new();
        for entry in host::Dir::read_from(dir).map_err(read)? {
            let name = entry.map_err(read)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        // So that the same directory gives the same file system.
        names.sort_unstable();
        for name in names {
            let name = OsStr::from_bytes(&name);
            self.entry(dir, &path.join(name), name, into, guest, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        path: &Path,
        name: &OsStr,
        into: Ino,
        guest: &str,
        depth: usize,
    ) -> Result<(), FilesError> {
        let guest = below(guest, text(name, path)?);
        if self.places.covers(&guest) {
            return Ok(());
        }
        let read = |e: Errno| FilesError::io("read", path, e);
        let refused = |e: FsError| FilesError::canister(&guest, e);
        let seen = host::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(read)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let bytes = name.as_bytes();
        let (ino, stat) = match host::FileType::from_raw_mode(seen.st_mode) {
            host::FileType::Directory => {
                let flags = flags | OFlags::DIRECTORY;
                let child = host::openat(dir, name, flags, Mode::empty()).map_err(read)?;
                let ino = self.fs.mkdir(into, bytes).map_err(refused)?;
                self.directory(&child, path, ino, &guest, depth + 1)?;
                (ino, seen)
            }
            host::FileType::RegularFile => {
                let file = host::openat(dir, name, flags, Mode::empty()).map_err(read)?;
                // It may be another one by now.
                let stat = host::fstat(&file).map_err(read)?;
                let key = (stat.st_dev, stat.st_ino);
                let ino = match self.linked.get(&key) {
                    Some(ino) => {
                        self.fs.link(*ino, into, bytes).map_err(refused)?;
                        *ino
                    }
                    None => self.file(&File::from(file), path, into, name, &guest)?,
                };
                if stat.st_nlink > 1 {
                    self.linked.insert(key, ino);
                }
                (ino, stat)
            }
            host::FileType::Symlink => {
                let target = host::readlinkat(dir, name, Vec::new()).map_err(read)?;
                text(OsStr::from_bytes(target.as_bytes()), path)?;
                let made = self.fs.symlink(into, bytes, target.as_bytes());
                (made.map_err(refused)?, seen)
            }
            other => {
                return Err(FilesError::Special {
                    path: path.to_owned(),
                    kind: kind(other),
                });
            }
        };
        self.finish(ino, &guest, &stat)
    }

    fn file(
        &mut self,
        file: &File,
        path: &Path,
        into: Ino,
        name: &OsStr,
        guest: &str,
    ) -> Result<Ino, FilesError> {
        let refused = |e: FsError| FilesError::canister(guest, e);
        let ino = self.fs.create(into, name.as_bytes()).map_err(refused)?;
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while let Some(start) = next_data(file, at) {
            let n = match file.read_at(&mut piece, start) {
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(FilesError::io("read", path, e)),
            };
            if n == 0 {
                break;
            }
            for (offset, data) in filled(&piece[..n], start) {
                self.fs.write(ino, offset, data).map_err(refused)?;
            }
            at = start + n as u64;
        }
        let metadata = file.metadata();
        let size = metadata.map_err(|e| FilesError::io("read", path, e))?.len();
        // A hole may be at the end; and some systems do not know the size of all files.
        self.fs.set_len(ino, at.max(size)).map_err(refused)?;
        Ok(ino)
    }

    /// Sets the times, once nothing is added any more.
    fn finish(&mut self, ino: Ino, guest: &str, stat: &Stat) -> Result<(), FilesError> {
        let atime = nanos(stat.st_atime, stat.st_atime_nsec);
        let mtime = nanos(stat.st_mtime, stat.st_mtime_nsec);
        self.fs
            .set_times(ino, Some(atime), Some(mtime))
            .map_err(|e| FilesError::canister(guest, e))?;
        self.made.push((guest.to_owned(), ino));
        Ok(())
    }
}

/// Where the first byte from `at` on is that is not in a hole; `None`: none up to the end. Where that
/// cannot be known, nothing is a hole.
fn next_data(file: &File, at: u64) -> Option<u64> {
    match host::seek(file, host::SeekFrom::Data(at)) {
        Ok(start) => Some(start),
        Err(Errno::NXIO) => None,
        Err(_) => Some(at),
    }
}

/// Times before 1970 are those of its beginning.
#[allow(
    clippy::unnecessary_cast,
    reason = "the types are not the same on all systems"
)]
fn nanos(seconds: i64, nanos: impl TryInto<u64>) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos.try_into().unwrap_or(0))
}

pub(super) fn kind(kind: host::FileType) -> &'static str {
    match kind {
        host::FileType::RegularFile => "file",
        host::FileType::Directory => "directory",
        host::FileType::Symlink => "symbolic link",
        host::FileType::Fifo => "fifo",
        host::FileType::Socket => "socket",
        host::FileType::CharacterDevice | host::FileType::BlockDevice => "device",
        host::FileType::Unknown => "file of an unknown kind",
    }
}

/// What `name` in `dir` is, if there is such a thing.
pub(super) fn kind_at(dir: impl AsFd, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match host::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

//! Writing files that a canister names: never outside of the target directory.
//!
//! Directories are held open and entered one component at a time without following symbolic
//! links, so that neither a name nor a link, not even one that appears meanwhile, leads out.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::TransferError;

/// A directory that is held open.
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory that the user named: links are followed.
    pub(super) fn open(path: &Path) -> Result<Dir, TransferError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(|e| write_error(path, e))?;
        Ok(Dir {
            fd,
            path: path.to_owned(),
        })
    }

    /// Enters the directory `name`, created if it is missing. `name` has been checked.
    pub(super) fn enter(&self, name: &str) -> Result<Dir, TransferError> {
        let path = self.path.join(name);
        match fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(write_error(&path, e)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOTDIR | Errno::LOOP => TransferError::NotADirectory(path.display().to_string()),
            e => write_error(&path, e),
        })?;
        Ok(Dir { fd, path })
    }

    /// The path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of what is called `name`.
    pub(super) fn find(&self, name: &OsStr) -> Result<Option<(u64, u64)>, TransferError> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(write_error(&self.path.join(name), e)),
        }
    }

    /// Begins a new file under a temporary name. It disappears unless it is [`NewFile::publish`]ed.
    pub(super) fn create(&self) -> Result<NewFile<'_>, TransferError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".icwasi-pull-{}-{count}.tmp", std::process::id());
            let flags =
                OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&self.fd, &name, flags, Mode::from_raw_mode(0o666)) {
                Ok(fd) => {
                    return Ok(NewFile {
                        dir: self,
                        file: File::from(fd),
                        name,
                        kept: false,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(write_error(&self.path.join(&name), e)),
            }
        }
    }
}

/// A file that is being written under a temporary name.
pub(super) struct NewFile<'a> {
    dir: &'a Dir,
    file: File,
    name: String,
    kept: bool,
}

impl NewFile<'_> {
    pub(super) fn write_at(&self, data: &[u8], offset: u64) -> Result<(), TransferError> {
        self.file
            .write_all_at(data, offset)
            .map_err(|source| TransferError::WriteLocal {
                path: self.path(),
                source,
            })
    }

    /// Forgets what was written.
    pub(super) fn clear(&self) -> Result<(), TransferError> {
        self.file
            .set_len(0)
            .map_err(|source| TransferError::WriteLocal {
                path: self.path(),
                source,
            })
    }

    fn path(&self) -> PathBuf {
        self.dir.path.join(&self.name)
    }

    /// Flushes to the disk, sets the modification time (nanoseconds since 1970), and renames to
    /// `name`, which is replaced only if `overwrite`.
    pub(super) fn publish(
        mut self,
        name: &OsStr,
        modified: u64,
        overwrite: bool,
    ) -> Result<(), TransferError> {
        let target = self.dir.path.join(name);
        let fail = |e: Errno| write_error(&target, e);
        // Times beyond the year 2262 can't come from a clock; they are not worth a failure.
        let time = Timespec {
            tv_sec: i64::try_from(modified / 1_000_000_000).unwrap_or(0),
            tv_nsec: (modified % 1_000_000_000) as _,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        fs::futimens(&self.file, &times).map_err(fail)?;
        fs::fsync(&self.file).map_err(fail)?;
        let dir = &self.dir.fd;
        if overwrite {
            fs::renameat(dir, &self.name, dir, name).map_err(|e| match e {
                Errno::ISDIR => TransferError::IsDirectory(target.display().to_string()),
                e => fail(e),
            })?;
        } else {
            match rename_new(dir, &self.name, name) {
                Err(Errno::EXIST) => return Err(TransferError::Exists { path: target }),
                result => result.map_err(fail)?,
            }
        }
        self.kept = true;
        fs::fsync(dir).map_err(fail)
    }
}

/// Renames unless `to` exists; by a hard link where the file system has no such rename.
fn rename_new(dir: &OwnedFd, from: &str, to: &OsStr) -> rustix::io::Result<()> {
    match fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::linkat(dir, from, dir, to, AtFlags::empty())?;
            fs::unlinkat(dir, from, AtFlags::empty())
        }
        result => result,
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing better can be done with an error here.
            let _ = fs::unlinkat(&self.dir.fd, &self.name, AtFlags::empty());
        }
    }
}

fn write_error(path: &Path, error: Errno) -> TransferError {
    TransferError::WriteLocal {
        path: path.to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let (inside, outside) = (temp.path().join("in"), temp.path().join("out"));
        std::fs::create_dir(&inside).expect("mkdir");
        std::fs::create_dir(&outside).expect("mkdir");
        std::fs::write(outside.join("victim"), "old").expect("write");
        std::os::unix::fs::symlink(&outside, inside.join("d")).expect("symlink");
        std::os::unix::fs::symlink(outside.join("victim"), inside.join("f")).expect("symlink");
        let dir = Dir::open(&inside).expect("open");
        assert!(matches!(
            dir.enter("d"),
            Err(TransferError::NotADirectory(_))
        ));
        let put = |overwrite| {
            let file = dir.create().expect("create");
            file.write_at(b"new", 0).expect("write");
            file.publish(OsStr::new("f"), 5_000_000_000, overwrite)
        };
        assert!(matches!(put(false), Err(TransferError::Exists { .. })));
        put(true).expect("replaces the link");
        assert_eq!(
            std::fs::read_to_string(outside.join("victim")).expect("read"),
            "old"
        );
        assert_eq!(
            std::fs::read_to_string(inside.join("f")).expect("read"),
            "new"
        );
        let left = std::fs::read_dir(&inside).expect("list").count();
        assert_eq!(left, 2, "no temporary file is left");
    }
}

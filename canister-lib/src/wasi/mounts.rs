//! Where objects are: the file system on stable memory, and one on the heap, which lies over a
//! directory of the former if the linker was told so.
//!
//! Inside a call, a path may go from one into the other; a directory from which the call starts
//! is never left.

use std::borrow::Cow;
use std::rc::Rc;

use ic_stable_structures::Memory;
use icwasi_types::{Preopen, TMP_PATH};

use super::errno::{Errno, Result};
use super::types::Filestat;
use crate::fs::{FileType, FormatOptions, Fs, FsError, Ino, MountError, Nanos, Tree, Walk, walk};
use crate::memory::WASM_PAGE;
use crate::memory::heap::HeapMemory;
use crate::runtime::{AnyMemory, Runtime};

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// On stable memory.
    Stable,
    /// On the heap.
    Tmp,
}

impl Mount {
    /// The device number that programs see.
    #[must_use]
    pub fn device(self) -> u64 {
        match self {
            Self::Stable => 1,
            Self::Tmp => 2,
        }
    }
}

/// A file, directory or symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// The file system that it is in.
    pub mount: Mount,
    /// Which of it.
    pub ino: Ino,
}

impl Object {
    pub(crate) fn stable(ino: Ino) -> Self {
        let mount = Mount::Stable;
        Self { mount, ino }
    }

    pub(crate) fn tmp(ino: Ino) -> Self {
        let mount = Mount::Tmp;
        Self { mount, ino }
    }
}

/// The file system on the heap.
pub(crate) struct Tmp {
    fs: Fs<AnyMemory>,
    /// The directory of the other one that it lies over.
    point: Ino,
    /// It knows this message's time.
    current: bool,
}

impl Tmp {
    /// Makes an empty one of `bytes` over [`TMP_PATH`] of `stable`.
    pub(crate) fn mount(
        stable: &mut Fs<AnyMemory>,
        bytes: u64,
        hash_key: [u8; 16],
        now: Nanos,
    ) -> core::result::Result<Self, String> {
        let refused = |reason: &dyn core::fmt::Display| {
            format!("icwasi: no file system on the heap at {TMP_PATH}: {reason}")
        };
        let path = Preopen {
            path: TMP_PATH.to_owned(),
            read_only: false,
        };
        let point = directory_at(stable, None, &path).map_err(|error| refused(&error))?;
        let point = point.ino;
        stable.retain(point).map_err(|error| refused(&error))?;
        let options = FormatOptions {
            hash_key,
            quota_bytes: Some(bytes),
        };
        let memory = AnyMemory::Given(Rc::new(HeapMemory::new(bytes)));
        let fs = Fs::open(memory, &options, now).map_err(|error| refused(&error))?;
        stable.set_covered(point);
        Ok(Self {
            fs,
            point,
            current: true,
        })
    }

    /// A message begins.
    #[inline]
    pub(crate) fn new_message(&mut self) {
        self.current = false;
    }

    pub(super) fn fs(&mut self) -> &mut Fs<AnyMemory> {
        &mut self.fs
    }

    fn root(&self) -> Object {
        Object::tmp(self.fs.root())
    }
}

impl Runtime {
    /// The file system that `mount` means.
    pub(crate) fn fs_of(
        &mut self,
        mount: Mount,
    ) -> core::result::Result<&mut Fs<AnyMemory>, MountError> {
        if mount == Mount::Stable {
            return self.fs();
        }
        let now = self.now();
        let tmp = self.wasi.tmp.as_mut();
        let tmp = tmp.ok_or(MountError::Corrupt("no file system on the heap"))?;
        if !tmp.current {
            tmp.current = true;
            tmp.fs.set_now(now);
        }
        Ok(&mut tmp.fs)
    }

    /// Both of them; `None` if there is only the one on stable memory.
    fn both(&mut self) -> Result<Option<Both<'_>>> {
        if self.wasi.tmp.is_none() {
            return Ok(None);
        }
        self.fs()?;
        self.fs_of(Mount::Tmp)?;
        let (Some(stable), Some(tmp)) = self.both_mounted() else {
            return Err(Errno::IO);
        };
        Ok(Some(Both {
            stable,
            tmp,
            start: Object::stable(Ino(0)),
        }))
    }

    /// The directory that the linker was told of, which the program finds open. Created if it is
    /// not there.
    pub(crate) fn preopened(&mut self, preopen: &Preopen) -> core::result::Result<Object, FsError> {
        let mounted = |_| FsError::Corrupt("not mounted");
        self.fs().map_err(mounted)?;
        if self.wasi.tmp.is_some() {
            self.fs_of(Mount::Tmp).map_err(mounted)?;
        }
        match self.both_mounted() {
            (Some(stable), tmp) => directory_at(stable, tmp, preopen),
            (None, _) => Err(mounted(MountError::Foreign)),
        }
    }

    /// See [`crate::mount_memory`].
    pub(crate) fn mount_memory(
        &mut self,
        path: &Preopen,
        memory: Rc<dyn Memory>,
    ) -> core::result::Result<(), FsError> {
        let (dir, name) = path.path.rsplit_once('/').ok_or(FsError::Invalid)?;
        let dir = Preopen {
            path: format!("{dir}/"),
            read_only: false,
        };
        let _ = path.components().map_err(|_| FsError::Invalid)?;
        let Object { mount, ino } = self.preopened(&dir)?;
        let mounted = |_| FsError::Corrupt("not mounted");
        let fs = self.fs_of(mount).map_err(mounted)?;
        let file = match fs.lookup(ino, name.as_bytes()) {
            Err(FsError::NotFound) => {
                let file = fs.create(ino, name.as_bytes())?;
                fs.set_len(file, memory.size().saturating_mul(WASM_PAGE))?;
                file
            }
            found => found?,
        };
        fs.attach(file, memory)
    }

    /// The attributes of an object.
    pub(super) fn filestat(&mut self, object: Object) -> Result<Filestat> {
        let stat = self.fs_of(object.mount)?.stat(object.ino)?;
        Ok(Filestat::new(object.mount.device(), &stat))
    }

    /// The parent of a directory as programs see it, where that is not what its file system says.
    pub(super) fn parent_of_mount(&mut self, dir: Object) -> Result<Option<Ino>> {
        match self.both()? {
            Some(both) if dir == both.tmp.root() => {
                Ok(Some(both.stable.lookup(both.tmp.point, b"..")?))
            }
            _ => Ok(None),
        }
    }

    /// Finds out where `path` leads from directory `dir`, which it does not leave.
    #[inline(always)]
    pub(super) fn resolve<'p>(
        &mut self,
        dir: Object,
        path: &'p [u8],
        follow: bool,
    ) -> Result<Reached<'p>> {
        let Object { mount, ino } = dir;
        // Under a directory of the heap there is no way to the other.
        if mount == Mount::Stable && self.wasi.tmp.is_some() {
            return self.resolve_in_both(dir, path, follow);
        }
        let found = self.fs_of(mount)?.resolve(ino, ino, path, follow)?;
        Ok(Reached {
            parent: Object {
                mount,
                ino: found.parent,
            },
            name: found.name,
            target: found.target.map(|ino| Object { mount, ino }),
            slash: found.trailing_slash,
        })
    }

    /// [`Self::resolve`] where paths can lead from one file system to the other.
    fn resolve_in_both<'p>(
        &mut self,
        dir: Object,
        path: &'p [u8],
        follow: bool,
    ) -> Result<Reached<'p>> {
        let ino = dir.ino;
        let mut both = self.both()?.ok_or(Errno::IO)?;
        if let Some(found) = both.stable.resolve_plain(ino, ino, path, follow)? {
            return Ok(Reached {
                parent: Object::stable(found.parent),
                name: found.name,
                target: found.target.map(Object::stable),
                slash: found.trailing_slash,
            });
        }
        both.start = dir;
        let Walk {
            parent,
            name,
            target,
            slash,
        } = walk(&mut both, dir, path, follow)?;
        Ok(Reached {
            parent,
            name: name.map(Cow::Owned),
            target,
            slash,
        })
    }
}

/// Where a path leads.
pub(super) struct Reached<'p> {
    /// The directory of the last component.
    pub(super) parent: Object,
    /// The last component, unless it is `.` or `..`.
    pub(super) name: Option<Cow<'p, [u8]>>,
    /// What is there.
    pub(super) target: Option<Object>,
    /// It, or a link that was followed, ended in '/'.
    pub(super) slash: bool,
}

/// Both file systems, as one tree.
struct Both<'a> {
    stable: &'a mut Fs<AnyMemory>,
    tmp: &'a mut Tmp,
    /// Where the walk starts, and what it does not leave.
    start: Object,
}

impl Both<'_> {
    fn of(&mut self, mount: Mount) -> &mut Fs<AnyMemory> {
        match mount {
            Mount::Stable => self.stable,
            Mount::Tmp => &mut self.tmp.fs,
        }
    }
}

impl Tree for Both<'_> {
    type At = Object;

    fn file_type(&mut self, at: Object) -> core::result::Result<FileType, FsError> {
        Ok(self.of(at.mount).stat(at.ino)?.file_type)
    }

    fn child(&mut self, at: Object, name: &[u8]) -> core::result::Result<Object, FsError> {
        let ino = self.of(at.mount).lookup(at.ino, name)?;
        if at.mount == Mount::Stable && ino == self.tmp.point {
            return Ok(self.tmp.root());
        }
        Ok(Object { ino, ..at })
    }

    fn parent(&mut self, mut at: Object, _depth: i64) -> core::result::Result<Object, FsError> {
        if at == self.start {
            return Err(FsError::NotCapable);
        }
        if at == self.tmp.root() {
            at = Object::stable(self.tmp.point);
        }
        let ino = self.of(at.mount).lookup(at.ino, b"..")?;
        Ok(Object { ino, ..at })
    }

    fn read_link(&mut self, at: Object) -> core::result::Result<Vec<u8>, FsError> {
        self.of(at.mount).read_link(at.ino)
    }
}

/// The directory at an absolute path, without following links; what is missing is created.
fn directory_at(
    stable: &mut Fs<AnyMemory>,
    mut tmp: Option<&mut Tmp>,
    path: &Preopen,
) -> core::result::Result<Object, FsError> {
    let mut at = Object::stable(stable.root());
    for name in path.components().map_err(|_| FsError::Invalid)? {
        let name = name.as_bytes();
        let fs = match (at.mount, &mut tmp) {
            (Mount::Tmp, Some(tmp)) => &mut tmp.fs,
            _ => &mut *stable,
        };
        at.ino = match fs.lookup(at.ino, name) {
            Err(FsError::NotFound) => fs.mkdir(at.ino, name)?,
            found => found?,
        };
        if fs.stat(at.ino)?.file_type != FileType::Directory {
            return Err(FsError::NotDir);
        }
        if let Some(tmp) = &tmp
            && at == Object::stable(tmp.point)
        {
            at = tmp.root();
        }
    }
    Ok(at)
}

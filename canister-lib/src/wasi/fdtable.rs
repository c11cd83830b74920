//! Open descriptors.
//!
//! A vector indexed by number: a look-up is an index. 0, 1 and 2 are stdio, from 3 on come the
//! preopened directories; a new descriptor gets the lowest free number.

use std::rc::Rc;

use icwasi_types::Preopen;

use super::cwd::Cwd;
use super::errno::{Errno, Result};
use super::mounts::{Mount, Object};
use super::types::rights;
use crate::fs::Ino;

/// Most descriptors that can be open.
pub const MAX_OPEN: usize = 16_384;

/// What a descriptor stands for.
#[derive(Debug)]
pub enum Descriptor {
    /// The program's input.
    Stdin,
    /// Lines to the canister log.
    Stdout,
    /// Lines to the canister log.
    Stderr,
    /// A regular file of the file system on stable memory.
    File(File),
    /// A regular file of the file system on the heap. Apart, so that reading and writing the
    /// others asks nothing.
    TmpFile(File),
    /// A directory.
    Dir(Dir),
}

/// An open file.
#[derive(Debug)]
pub struct File {
    /// Which.
    pub ino: Ino,
    /// Where the next read or write begins.
    pub cursor: u64,
    /// `fdflags`
    pub flags: u16,
    /// Opened for reading.
    pub readable: bool,
    /// Opened for writing.
    pub writable: bool,
    /// Reached through a directory through which nothing can be changed.
    pub read_only: bool,
    /// Reported by `fd_fdstat_get`.
    pub rights: u64,
}

/// An open directory: no path that is resolved from it leaves it.
#[derive(Debug)]
pub struct Dir {
    /// Which; `None`: a preopened one that was not used yet.
    pub at: Option<Object>,
    /// What the linker was told, if the program found it open.
    pub preopen: Option<Rc<Preopen>>,
    /// Nothing can be changed through it.
    pub read_only: bool,
    /// Reported by `fd_fdstat_get`.
    pub rights: u64,
    /// Reported by `fd_fdstat_get`.
    pub inheriting: u64,
}

/// The table.
#[derive(Debug)]
pub struct FdTable {
    entries: Vec<Option<Descriptor>>,
    /// No number below is free.
    lowest_free: usize,
    ready: bool,
    /// What the program finds open. None: `/`.
    preopens: Vec<Rc<Preopen>>,
    /// What a run with a working directory finds open instead.
    cwd: Option<(Dir, Vec<Rc<Preopen>>)>,
}

impl FdTable {
    /// The table of a program that has opened nothing.
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            lowest_free: 0,
            ready: false,
            preopens: Vec::new(),
            cwd: None,
        }
    }

    /// Says what a program that has opened nothing finds open.
    pub(crate) fn set_preopens(&mut self, preopens: &[Preopen]) {
        self.preopens = preopens.iter().cloned().map(Rc::new).collect();
    }

    /// What a program finds open, unless it has a working directory.
    pub(crate) fn preopens(&mut self) -> Vec<Rc<Preopen>> {
        if self.preopens.is_empty() {
            self.set_preopens(&[Preopen {
                path: "/".to_owned(),
                read_only: false,
            }]);
        }
        self.preopens.clone()
    }

    /// A run begins, in a working directory.
    pub(crate) fn enter(&mut self, cwd: Cwd) {
        self.ready = false;
        self.cwd = cwd.open;
    }

    #[cold]
    fn prepare(&mut self) {
        self.ready = true;
        self.entries = vec![
            Some(Descriptor::Stdin),
            Some(Descriptor::Stdout),
            Some(Descriptor::Stderr),
        ];
        let preopens = match self.cwd.take() {
            Some((dot, others)) => {
                self.entries.push(Some(Descriptor::Dir(dot)));
                others
            }
            None => self.preopens(),
        };
        for preopen in preopens {
            self.entries.push(Some(Descriptor::Dir(Dir {
                at: None,
                read_only: preopen.read_only,
                preopen: Some(preopen),
                rights: rights::DIRECTORY,
                inheriting: rights::DIRECTORY | rights::FILE,
            })));
        }
        self.lowest_free = self.entries.len();
    }

    /// The descriptor, or `EBADF`.
    #[inline(always)]
    pub fn get(&mut self, fd: u32) -> Result<&mut Descriptor> {
        if !self.ready {
            self.prepare();
        }
        match self.entries.get_mut(fd as usize) {
            Some(Some(descriptor)) => Ok(descriptor),
            _ => Err(Errno::BADF),
        }
    }

    /// The open file, if there is one for sure.
    #[inline(always)]
    pub fn known_file(&mut self, fd: u32) -> Option<&mut File> {
        match self.entries.get_mut(fd as usize) {
            Some(Some(Descriptor::File(file))) => Some(file),
            _ => None,
        }
    }

    /// The open file and where it is, or `EBADF`.
    #[inline]
    pub fn file(&mut self, fd: u32) -> Result<(Mount, &mut File)> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok((Mount::Stable, file)),
            Descriptor::TmpFile(file) => Ok((Mount::Tmp, file)),
            _ => Err(Errno::BADF),
        }
    }

    /// The open directory, `ENOTDIR` for a file, or `EBADF`.
    pub fn dir(&mut self, fd: u32) -> Result<&mut Dir> {
        match self.get(fd)? {
            Descriptor::Dir(dir) => Ok(dir),
            Descriptor::File(_) | Descriptor::TmpFile(_) => Err(Errno::NOTDIR),
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::BADF),
        }
    }

    /// Directories that the program finds open and has not used.
    pub fn unopened(&self) -> Vec<u32> {
        let unused = |entry: &Option<Descriptor>| {
            matches!(entry, Some(Descriptor::Dir(Dir { at: None, .. })))
        };
        (0..self.entries.len())
            .filter(|&fd| unused(&self.entries[fd]))
            .map(|fd| fd as u32)
            .collect()
    }

    /// Checks that another descriptor can be opened: `EMFILE`. Then `insert` succeeds.
    pub fn reserve(&mut self) -> Result<()> {
        if !self.ready {
            self.prepare();
        }
        if self.lowest_free >= MAX_OPEN {
            Err(Errno::MFILE)
        } else {
            Ok(())
        }
    }

    /// Adds a descriptor at the lowest free number.
    pub fn insert(&mut self, descriptor: Descriptor) -> Result<u32> {
        self.reserve()?;
        let fd = self.lowest_free;
        if fd == self.entries.len() {
            self.entries.push(Some(descriptor));
        } else {
            self.entries[fd] = Some(descriptor);
        }
        let next = fd + 1;
        self.lowest_free = next;
        if next < self.entries.len() {
            self.find_free();
        }
        Ok(fd as u32)
    }

    /// Moves on to a number that is free.
    fn find_free(&mut self) {
        let from = self.lowest_free;
        self.lowest_free = self.entries[from..]
            .iter()
            .position(Option::is_none)
            .map_or(self.entries.len(), |gap| from + gap);
    }

    /// Closes the number of a file of the file system on stable memory: which file it was.
    #[inline(always)]
    pub fn remove_file(&mut self, fd: u32) -> Option<Ino> {
        let entry = self.entries.get_mut(fd as usize)?;
        let Some(Descriptor::File(file)) = entry else {
            return None;
        };
        let ino = file.ino;
        *entry = None;
        self.lowest_free = self.lowest_free.min(fd as usize);
        Some(ino)
    }

    /// Takes the descriptor out.
    pub fn remove(&mut self, fd: u32) -> Result<Descriptor> {
        self.get(fd)?;
        self.lowest_free = self.lowest_free.min(fd as usize);
        self.entries[fd as usize].take().ok_or(Errno::BADF)
    }

    /// Empties the table; the program starts with stdio and the preopened directories again.
    pub(crate) fn take_all(&mut self) -> Vec<Descriptor> {
        self.ready = false;
        let entries = std::mem::take(&mut self.entries);
        // One that no descriptor was ever asked of.
        let unused = self.cwd.take().map(|(dot, _)| Descriptor::Dir(dot));
        entries.into_iter().flatten().chain(unused).collect()
    }

    /// Moves `from` to `to`, which both exist, and returns what `to` was.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<Descriptor> {
        self.get(to)?;
        let moved = self.remove(from)?;
        self.entries[to as usize].replace(moved).ok_or(Errno::BADF)
    }
}

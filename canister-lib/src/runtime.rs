//! The one global: platform, link configuration, the mounted file system and the state of
//! the WASI functions.
//!
//! Everything is lazy. The link configuration is decoded and the file system mounted when
//! something asks for them, so that the guest can call [`crate::init_with_memory`] first, and
//! the time is read once per message, and only if something needs it.
//!
//! The heap and stable memory roll back together when a message traps, so what is kept here
//! never disagrees with stable memory.

use core::cell::RefCell;
use std::rc::Rc;

use ic_stable_structures::{DefaultMemoryImpl, Memory};
use icwasi_types::LinkConfig;

use crate::config;
use crate::env::{Env, Platform};
use crate::fs::{FormatOptions, Fs, MountError, Nanos};
use crate::wasi::errno;
use crate::wasi::fdtable::{Descriptor, File};
use crate::wasi::mounts::Tmp;
use crate::wasi::state::State;

/// What reading and writing needs.
pub(crate) type OpenFile<'a> = (&'a mut Fs<AnyMemory>, &'a mut File);

/// The memory of the file system: all of stable memory, or what the guest gave.
#[derive(Clone)]
pub enum AnyMemory {
    /// All of stable memory.
    Whole(DefaultMemoryImpl),
    /// A part of it, such as a virtual memory of a `MemoryManager`.
    Given(Rc<dyn Memory>),
}

impl Memory for AnyMemory {
    #[inline]
    fn size(&self) -> u64 {
        match self {
            Self::Whole(memory) => memory.size(),
            Self::Given(memory) => memory.size(),
        }
    }

    #[inline]
    fn grow(&self, pages: u64) -> i64 {
        match self {
            Self::Whole(memory) => memory.grow(pages),
            Self::Given(memory) => memory.grow(pages),
        }
    }

    #[inline]
    fn read(&self, offset: u64, dst: &mut [u8]) {
        match self {
            Self::Whole(memory) => memory.read(offset, dst),
            Self::Given(memory) => memory.read(offset, dst),
        }
    }

    #[inline]
    fn write(&self, offset: u64, src: &[u8]) {
        match self {
            Self::Whole(memory) => memory.write(offset, src),
            Self::Given(memory) => memory.write(offset, src),
        }
    }
}

/// See the module's documentation. Get it with [`with`].
pub struct Runtime {
    env: Platform,
    config: Option<LinkConfig>,
    memory: Option<AnyMemory>,
    fs: Option<Fs<AnyMemory>>,
    /// The file system is mounted and knows this message's time.
    fs_current: bool,
    /// Between `start` and `started`: the guest initialises.
    starting: bool,
    now: Option<Nanos>,
    pub(crate) wasi: State,
}

impl Runtime {
    /// A runtime that has touched nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            env: Platform::new(),
            config: None,
            memory: None,
            fs: None,
            fs_current: false,
            starting: false,
            now: None,
            wasi: State::new(),
        }
    }

    /// The platform.
    pub fn env(&self) -> &Platform {
        &self.env
    }

    /// Time of this message, in nanoseconds since 1970.
    pub fn now(&mut self) -> Nanos {
        match self.now {
            Some(now) => now,
            None => *self.now.insert(self.env.now()),
        }
    }

    /// What the linker was told. Traps if it cannot be read, which only a defect of the linker
    /// can cause.
    pub fn config(&mut self) -> &LinkConfig {
        if self.config.is_none() {
            self.config = Some(self.read_config());
        }
        self.config.get_or_insert_default()
    }

    #[cold]
    fn read_config(&self) -> LinkConfig {
        match config::decode(&self.env.link_config()) {
            Ok(config) => config,
            Err(error) => self.env.trap(
                format!("icwasi: the link configuration in this module is damaged: {error}")
                    .as_bytes(),
            ),
        }
    }

    /// The file system, mounted if it was not. The first call in a message gives it the time.
    ///
    /// # Errors
    /// As [`Fs::open`]; nothing was changed.
    #[inline]
    pub fn fs(&mut self) -> Result<&mut Fs<AnyMemory>, MountError> {
        if !self.fs_current {
            self.prepare_fs()?;
        }
        self.fs.as_mut().ok_or(MountError::Corrupt("not mounted"))
    }

    /// The file system and an open file, with one look-up; `None` if the descriptor is something
    /// else, which does not mount the file system.
    #[inline(always)]
    pub(crate) fn open_file(&mut self, fd: u32) -> errno::Result<Option<OpenFile<'_>>> {
        if !self.fs_current {
            self.prepare_for_file(fd)?;
        }
        match (&mut self.fs, self.wasi.fds.get(fd)?) {
            (Some(fs), Descriptor::File(file)) => Ok(Some((fs, file))),
            _ => Ok(None),
        }
    }

    #[cold]
    fn prepare_for_file(&mut self, fd: u32) -> errno::Result<()> {
        if matches!(self.wasi.fds.get(fd)?, Descriptor::File(_)) {
            self.prepare_fs()?;
        }
        Ok(())
    }

    /// Both file systems, as far as they are mounted.
    pub(crate) fn both_mounted(&mut self) -> (Option<&mut Fs<AnyMemory>>, Option<&mut Tmp>) {
        (self.fs.as_mut(), self.wasi.tmp.as_mut())
    }

    /// Whether [`Self::fs`] has mounted the file system since the last install or upgrade.
    pub fn is_mounted(&self) -> bool {
        self.fs.is_some()
    }

    #[cold]
    fn prepare_fs(&mut self) -> Result<(), MountError> {
        let now = self.now();
        match &mut self.fs {
            Some(fs) => fs.set_now(now),
            None => match self.mount(now) {
                // Not an I/O error to the guest, whose own message would hide the reason.
                Err(error) if self.starting => self.refuse(error),
                mounted => mounted?,
            },
        }
        self.fs_current = true;
        Ok(())
    }

    fn mount(&mut self, now: Nanos) -> Result<(), MountError> {
        let memory = self
            .memory
            .get_or_insert_with(|| AnyMemory::Whole(DefaultMemoryImpl::default()))
            .clone();
        let quota_bytes = self.config().quota_bytes;
        let hash_key = self.hash_key();
        let options = FormatOptions {
            hash_key,
            quota_bytes,
        };
        let mut fs = Fs::open(memory, &options, now)?;
        fs.set_now(now);
        if fs.usage().quota_bytes != quota_bytes && fs.set_quota(quota_bytes).is_err() {
            self.env.print(
                b"icwasi: the quota of the link configuration was not accepted; the old one stays",
            );
        }
        if let Some(bytes) = self.config().tmp_bytes {
            match Tmp::mount(&mut fs, bytes, hash_key, now) {
                Ok(tmp) => self.wasi.tmp = Some(tmp),
                Err(reason) => self.env.trap(reason.as_bytes()),
            }
        }
        self.fs = Some(fs);
        Ok(())
    }

    /// A key for the hash of directory entries, so that names cannot be chosen to collide.
    fn hash_key(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        crate::wasi::random::fill(self, &mut key);
        key
    }

    /// Puts the file system on `memory`, and mounts it.
    ///
    /// # Errors
    /// As [`Fs::open`]; also [`MountError::Corrupt`] if a file system is mounted already, since
    /// open files would silently move.
    pub fn init_with_memory(&mut self, memory: impl Memory + 'static) -> Result<(), MountError> {
        if self.fs.is_some() {
            return Err(MountError::Corrupt(
                "a file system is mounted already: call init_with_memory before the first use of files",
            ));
        }
        self.memory = Some(AnyMemory::Given(Rc::new(memory)));
        match self.fs() {
            Ok(_) => Ok(()),
            Err(error) => {
                self.memory = None;
                Err(error)
            }
        }
    }

    /// A message begins: forgets the time.
    #[inline]
    pub fn enter(&mut self) {
        self.now = None;
        self.fs_current = false;
        self.wasi.new_message();
    }

    /// Writes to stdout or stderr.
    pub(crate) fn write_stdio(&mut self, err: bool, bytes: &[u8]) {
        let Self { env, wasi, .. } = self;
        if let Some(run) = &mut wasi.run {
            let capture = if err { &mut run.err } else { &mut run.out };
            capture.write(bytes);
        }
        let stream = if err {
            &mut wasi.stdio.err
        } else {
            &mut wasi.stdio.out
        };
        stream.write(bytes, env);
    }

    /// See [`crate::reseed`].
    pub fn reseed(&mut self, secret: &[u8]) {
        crate::wasi::random::reseed(self, secret);
    }

    /// Replaces what the program reads from its standard input.
    pub fn set_stdin(&mut self, input: Vec<u8>) {
        self.wasi.stdio.set_input(input);
    }

    /// Prints incomplete lines.
    #[inline]
    pub(crate) fn flush_stdio(&mut self) {
        self.wasi.stdio.flush(&self.env);
    }

    /// A message ends: prints incomplete lines. Callbacks of inter-canister calls are not
    /// announced by `enter`, so this forgets the time as well.
    #[inline]
    pub fn leave(&mut self) {
        self.flush_stdio();
        self.enter();
    }

    /// The guest is about to initialise, after an install or upgrade.
    pub fn start(&mut self) {
        self.enter();
        self.starting = true;
        let preopens = self.config().preopens.clone();
        self.wasi.fds.set_preopens(&preopens);
    }

    /// Traps because the file system cannot be mounted: the install is rolled back.
    fn refuse(&self, error: MountError) -> ! {
        let message = format!(
            "icwasi: stable memory holds data that is not an icwasi file system: {error}; nothing was changed. \
             If the program keeps own data in stable memory, give icwasi a part of it with icwasi::init_with_memory or icwasi::init_with_memory_manager, \
             or install it as a new canister"
        );
        self.env.trap(message.as_bytes())
    }

    /// The guest has initialised: mounts the file system. Traps if that is impossible, so that
    /// the install or upgrade is rolled back.
    pub fn started(&mut self) {
        if let Err(error) = self.fs() {
            self.refuse(error);
        }
        self.starting = false;
        for preopen in self.config().preopens.clone() {
            if let Err(error) = self.preopened(&preopen) {
                let path = preopen.path;
                let message = format!(
                    "icwasi: {path} cannot be opened as a directory of the program: {error}"
                );
                self.env.trap(message.as_bytes());
            }
        }
        crate::wasi::random::attach(self);
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = const { RefCell::new(Runtime::new()) };
}

/// Calls `f` with the runtime.
///
/// # Panics
/// If it is called from within `f`.
pub fn with<R>(f: impl FnOnce(&mut Runtime) -> R) -> R {
    RUNTIME.with(|runtime| f(&mut runtime.borrow_mut()))
}

/// Calls `f` with the runtime, or returns `None` if it is in use further up the stack: a panic
/// inside the library prints through `fd_write`.
#[inline]
pub fn try_with<R>(f: impl FnOnce(&mut Runtime) -> R) -> Option<R> {
    RUNTIME.with(|runtime| {
        runtime
            .try_borrow_mut()
            .ok()
            .map(|mut runtime| f(&mut runtime))
    })
}

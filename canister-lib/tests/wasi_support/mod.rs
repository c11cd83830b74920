//! A program's view of the WASI functions, natively: a guest memory, a runtime, and calls that
//! take and return Rust values.

#![allow(dead_code, reason = "each test file uses a part")]

use candid::Encode;
use ic_stable_structures::VectorMemory;
use icwasi::fs::FsError;
use icwasi::runtime::{self, Runtime};
use icwasi::wasi::errno::{Errno, Result};
use icwasi::wasi::guest::Guest;
use icwasi::wasi::types::{Whence, oflags, rights};
use icwasi::wasi::{fd_dir, fd_io, fd_meta, path, path_open};
use icwasi_types::LinkConfig;

/// Descriptor of the preopened root.
pub const ROOT: u32 = 3;
pub const READ: u64 = rights::FD_READ;
pub const WRITE: u64 = rights::FD_WRITE;
pub const RW: u64 = READ | WRITE;
pub const CREAT: u32 = oflags::CREAT as u32;
pub const EXCL: u32 = oflags::EXCL as u32;
pub const TRUNC: u32 = oflags::TRUNC as u32;
pub const DIRECTORY: u32 = oflags::DIRECTORY as u32;
pub const FOLLOW: u32 = 1;

pub const OUT: u32 = 0x100;
pub const IOVS: u32 = 0x200;
pub const PATH: u32 = 0x4000;
pub const PATH2: u32 = 0x6000;
pub const DATA: u32 = 0x1_0000;
pub const MEMORY: usize = 0x4_0000;

pub struct Program {
    pub rt: Runtime,
    pub memory: Vec<u8>,
    /// What of the memory belongs to an injected library.
    pub library: Option<std::ops::Range<u32>>,
    pub stable: VectorMemory,
    /// The directory from which paths are resolved.
    pub dir: u32,
}

/// As `fd_filestat_get` wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub filetype: u8,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
    pub ctim: u64,
}

impl Program {
    pub fn new() -> Self {
        Self::linked(&LinkConfig::default())
    }

    /// Installed with a link configuration.
    pub fn linked(config: &LinkConfig) -> Self {
        let stable = VectorMemory::default();
        let mut rt = Runtime::new();
        rt.env()
            .link_config
            .replace(Encode!(config).expect("encodes"));
        rt.start();
        rt.init_with_memory(stable.clone())
            .expect("an empty or our memory");
        rt.started();
        Self {
            rt,
            memory: vec![0; MEMORY],
            library: None,
            stable,
            dir: ROOT,
        }
    }

    /// As a new version of the canister: the heap is gone.
    pub fn upgrade(self) -> Self {
        let config = LinkConfig::default();
        self.upgrade_to(&config)
    }

    /// As a new version with another link configuration.
    pub fn upgrade_to(self, config: &LinkConfig) -> Self {
        let now = self.rt.env().now.get();
        let next = Runtime::new();
        next.env().now.set(now);
        next.env()
            .link_config
            .replace(Encode!(config).expect("encodes"));
        let mut next = Self { rt: next, ..self };
        next.rt.start();
        next.rt
            .init_with_memory(next.stable.clone())
            .expect("our memory");
        next.rt.started();
        next
    }

    /// Ends the message and begins another, `nanos` later.
    pub fn next_message(&mut self, nanos: u64) {
        self.rt.leave();
        let now = &self.rt.env().now;
        now.set(now.get() + nanos);
        self.rt.env().instructions.set(0);
        self.rt.enter();
    }

    /// Calls a WASI function.
    pub fn call<R>(&mut self, f: impl FnOnce(&mut Runtime, &mut Guest<'_>) -> R) -> R {
        let library = self.library.clone();
        f(&mut self.rt, &mut Guest::around(&mut self.memory, library))
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub fn bytes(&self, at: u32, len: usize) -> &[u8] {
        &self.memory[at as usize..at as usize + len]
    }

    pub fn u32_at(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().expect("4 bytes"))
    }

    pub fn u64_at(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().expect("8 bytes"))
    }

    pub fn path(&mut self, path: &str) -> u32 {
        self.put(PATH, path.as_bytes());
        path.len() as u32
    }

    pub fn path2(&mut self, path: &str) -> u32 {
        self.put(PATH2, path.as_bytes());
        path.len() as u32
    }

    /// Writes an array of `iovec`s.
    pub fn iovs(&mut self, iovs: &[(u32, u32)]) {
        for (index, (address, len)) in iovs.iter().enumerate() {
            self.put(IOVS + 8 * index as u32, &address.to_le_bytes());
            self.put(IOVS + 8 * index as u32 + 4, &len.to_le_bytes());
        }
    }

    pub fn open_at(
        &mut self,
        dir: u32,
        path: &str,
        lookup: u32,
        open: u32,
        base: u64,
        flags: u32,
    ) -> Result<u32> {
        let len = self.path(path);
        self.call(|rt, g| {
            path_open::path_open(rt, g, dir, lookup, PATH, len, open, base, base, flags, OUT)
        })?;
        Ok(self.u32_at(OUT))
    }

    pub fn open(&mut self, path: &str, open: u32, base: u64) -> Result<u32> {
        self.open_at(self.dir, path, FOLLOW, open, base, 0)
    }

    /// Creates or replaces a file.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let fd = self
            .open(path, CREAT | TRUNC, WRITE)
            .expect("creates the file");
        assert_eq!(self.write(fd, content), Ok(content.len() as u32));
        self.close(fd).expect("closes");
    }

    pub fn content(&mut self, path: &str) -> Vec<u8> {
        let fd = self.open(path, 0, READ).expect("opens the file");
        let content = self.read(fd, 0x1_0000).expect("reads");
        self.close(fd).expect("closes");
        content
    }

    pub fn close(&mut self, fd: u32) -> Result<()> {
        fd_meta::fd_close(&mut self.rt, fd)
    }

    pub fn write(&mut self, fd: u32, data: &[u8]) -> Result<u32> {
        self.put(DATA, data);
        self.iovs(&[(DATA, data.len() as u32)]);
        self.call(|rt, g| fd_io::fd_write(rt, g, fd, IOVS, 1, OUT))?;
        Ok(self.u32_at(OUT))
    }

    pub fn pwrite(&mut self, fd: u32, data: &[u8], offset: u64) -> Result<u32> {
        self.put(DATA, data);
        self.iovs(&[(DATA, data.len() as u32)]);
        self.call(|rt, g| fd_io::fd_pwrite(rt, g, fd, IOVS, 1, offset, OUT))?;
        Ok(self.u32_at(OUT))
    }

    pub fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>> {
        self.iovs(&[(DATA, len)]);
        self.call(|rt, g| fd_io::fd_read(rt, g, fd, IOVS, 1, OUT))?;
        Ok(self.bytes(DATA, self.u32_at(OUT) as usize).to_vec())
    }

    pub fn pread(&mut self, fd: u32, len: u32, offset: u64) -> Result<Vec<u8>> {
        self.iovs(&[(DATA, len)]);
        self.call(|rt, g| fd_io::fd_pread(rt, g, fd, IOVS, 1, offset, OUT))?;
        Ok(self.bytes(DATA, self.u32_at(OUT) as usize).to_vec())
    }

    pub fn seek(&mut self, fd: u32, delta: i64, whence: Whence) -> Result<u64> {
        self.call(|rt, g| fd_io::fd_seek(rt, g, fd, delta, Some(whence), OUT))?;
        Ok(self.u64_at(OUT))
    }

    fn stat_at_out(&self) -> Stat {
        Stat {
            dev: self.u64_at(OUT),
            ino: self.u64_at(OUT + 8),
            filetype: self.memory[OUT as usize + 16],
            nlink: self.u64_at(OUT + 24),
            size: self.u64_at(OUT + 32),
            atim: self.u64_at(OUT + 40),
            mtim: self.u64_at(OUT + 48),
            ctim: self.u64_at(OUT + 56),
        }
    }

    pub fn fstat(&mut self, fd: u32) -> Result<Stat> {
        self.call(|rt, g| fd_meta::fd_filestat_get(rt, g, fd, OUT))?;
        Ok(self.stat_at_out())
    }

    pub fn stat(&mut self, path: &str, lookup: u32) -> Result<Stat> {
        let len = self.path(path);
        let dir = self.dir;
        self.call(|rt, g| path::path_filestat_get(rt, g, dir, lookup, PATH, len, OUT))?;
        Ok(self.stat_at_out())
    }

    pub fn mkdir(&mut self, path: &str) -> Result<()> {
        let len = self.path(path);
        let dir = self.dir;
        self.call(|rt, g| path::path_create_directory(rt, g, dir, PATH, len))
    }

    pub fn rmdir(&mut self, path: &str) -> Result<()> {
        let len = self.path(path);
        let dir = self.dir;
        self.call(|rt, g| path::path_remove_directory(rt, g, dir, PATH, len))
    }

    pub fn unlink(&mut self, path: &str) -> Result<()> {
        let len = self.path(path);
        let dir = self.dir;
        self.call(|rt, g| path::path_unlink_file(rt, g, dir, PATH, len))
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (old, new) = (self.path(from), self.path2(to));
        let dir = self.dir;
        self.call(|rt, g| path::path_rename(rt, g, dir, PATH, old, dir, PATH2, new))
    }

    pub fn link(&mut self, lookup: u32, from: &str, to: &str) -> Result<()> {
        let (old, new) = (self.path(from), self.path2(to));
        let dir = self.dir;
        self.call(|rt, g| path::path_link(rt, g, dir, lookup, PATH, old, dir, PATH2, new))
    }

    pub fn symlink(&mut self, target: &str, at: &str) -> Result<()> {
        let (target, at) = (self.path(target), self.path2(at));
        let dir = self.dir;
        self.call(|rt, g| path::path_symlink(rt, g, PATH, target, dir, PATH2, at))
    }

    pub fn readlink(&mut self, path: &str, len: u32) -> Result<Vec<u8>> {
        let path = self.path(path);
        let dir = self.dir;
        self.call(|rt, g| path::path_readlink(rt, g, dir, PATH, path, DATA, len, OUT))?;
        Ok(self.bytes(DATA, self.u32_at(OUT) as usize).to_vec())
    }

    /// The raw reply of `fd_readdir`.
    pub fn readdir(&mut self, fd: u32, len: u32, cookie: u64) -> Result<Vec<u8>> {
        self.call(|rt, g| fd_dir::fd_readdir(rt, g, fd, DATA, len, cookie, OUT))?;
        Ok(self.bytes(DATA, self.u32_at(OUT) as usize).to_vec())
    }

    /// All names of a directory, read with a small buffer as a C library does.
    pub fn names(&mut self, fd: u32) -> Vec<String> {
        let entries = self.entries(fd).expect("readdir");
        entries.into_iter().map(|(name, ..)| name).collect()
    }

    /// [`Self::names`], each with inode number and type.
    pub fn entries(&mut self, fd: u32) -> Result<Vec<(String, u64, u8)>> {
        const BUFFER: u32 = 300;
        let (mut entries, mut cookie) = (Vec::new(), 0);
        loop {
            let page = self.readdir(fd, BUFFER, cookie)?;
            let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
            let mut at = 0;
            while at + 24 <= page.len() {
                let len = u64_at(at + 16) as u32 as usize;
                let Some(name) = page.get(at + 24..at + 24 + len) else {
                    break;
                };
                let name = String::from_utf8(name.to_vec()).expect("UTF-8");
                entries.push((name, u64_at(at + 8), page[at + 20]));
                cookie = u64_at(at);
                at += 24 + len;
            }
            if page.len() < BUFFER as usize {
                return Ok(entries);
            }
        }
    }

    /// As [`icwasi::mount_memory`], which knows only the runtime of its thread.
    pub fn mount_memory(
        &mut self,
        path: &str,
        memory: VectorMemory,
    ) -> std::result::Result<(), FsError> {
        let swap = |rt: &mut Runtime| runtime::with(|own| std::mem::swap(own, rt));
        swap(&mut self.rt);
        let mounted = icwasi::mount_memory(path, memory);
        swap(&mut self.rt);
        mounted
    }

    /// The file system is sound.
    pub fn check(&mut self) {
        let findings = self.rt.fs().expect("mounted").check();
        assert!(findings.is_empty(), "{findings:?}");
    }

    pub fn printed(&self) -> Vec<String> {
        let printed = self.rt.env().printed.borrow();
        printed
            .iter()
            .map(|line| String::from_utf8(line.clone()).expect("printed UTF-8"))
            .collect()
    }
}

/// Asserts that a call failed with `errno`.
#[track_caller]
pub fn fails<T: std::fmt::Debug>(result: Result<T>, errno: Errno) {
    match result {
        Err(got) if got == errno => {}
        other => panic!("expected {errno:?}, got {other:?}"),
    }
}

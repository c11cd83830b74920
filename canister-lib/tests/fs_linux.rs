//! Random operations on a directory of Linux and on ours: same results, contents, listings, link
//! counts. `ICWASI_FS_CASES` multiplies the cases.
//!
//! Where POSIX leaves the order of checks open, either error is taken: see [`same_error`].

#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

use ic_stable_structures::VectorMemory;
use icwasi::fs::{FileType, FormatOptions, Fs, FsError, Ino};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::{self as linux, AtFlags, FallocateFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

#[derive(Clone, Debug)]
enum Op {
    Create(String, String),
    Mkdir(String, String),
    Symlink(String, String, String),
    Link(String, String, String, String),
    Unlink(String, String),
    Rmdir(String, String),
    Rename(String, String, String, String),
    Open(String, String),
    Close(u8),
    Write(u8, u64, usize, u8),
    Read(u8, u64, usize),
    SetLen(u8, u64),
    Allocate(u8, u64, u64),
    Stat(String, String),
    List(String),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        24 => "[abcde]".prop_map(|name| name),
        2 => Just(".".into()),
        2 => Just("..".into()),
    ]
}

/// The path of a directory, or of what is taken for one; `#n`: of one that is there.
fn dir() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => any::<u8>().prop_map(|n| format!("#{n}")),
        3 => Just(".".to_string()),
        6 => prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/")),
        1 => name().prop_map(|name| format!("{name}//{name}/")),
    ]
}

/// A name for what exists at most once: also names that are too long, and just not.
fn new_name() -> impl Strategy<Value = String> {
    prop_oneof![30 => name(), 1 => Just("x".repeat(255)), 1 => Just("x".repeat(256))]
}

fn target() -> impl Strategy<Value = String> {
    let long = (1_usize..4200).prop_map(|n| "./".repeat(n / 2 + 1) + "a");
    prop_oneof![10 => dir().prop_map(|d| d.replace('#', "a/../")), 4 => name(), 1 => Just(String::new()), 1 => long]
}

fn op() -> impl Strategy<Value = Op> {
    let f = any::<u8>();
    let at = prop_oneof![4 => 0_u64..20_000, 2 => (0_u64..80).prop_map(|n| n * 4096), 1 => 0_u64..900_000];
    let len = prop_oneof![4 => 0_usize..3000, 2 => 0_usize..40_000];
    prop_oneof![
        20 => (dir(), new_name()).prop_map(|(d, n)| Op::Create(d, n)),
        12 => (dir(), new_name()).prop_map(|(d, n)| Op::Mkdir(d, n)),
        5 => (dir(), new_name(), target()).prop_map(|(d, n, t)| Op::Symlink(d, n, t)),
        5 => (dir(), name(), dir(), new_name()).prop_map(|(d, n, e, m)| Op::Link(d, n, e, m)),
        7 => (dir(), new_name()).prop_map(|(d, n)| Op::Unlink(d, n)),
        5 => (dir(), name()).prop_map(|(d, n)| Op::Rmdir(d, n)),
        14 => (dir(), name(), dir(), name()).prop_map(|(d, n, e, m)| Op::Rename(d, n, e, m)),
        10 => (dir(), name()).prop_map(|(d, n)| Op::Open(d, n)),
        4 => f.prop_map(Op::Close),
        14 => (f, at.clone(), len.clone(), f).prop_map(|(f, o, l, b)| Op::Write(f, o, l, b)),
        8 => (f, at.clone(), len).prop_map(|(f, o, l)| Op::Read(f, o, l)),
        5 => (f, at.clone()).prop_map(|(f, o)| Op::SetLen(f, o)),
        3 => (f, at, 0_u64..100_000).prop_map(|(f, o, l)| Op::Allocate(f, o, l)),
        6 => (dir(), name()).prop_map(|(d, n)| Op::Stat(d, n)),
        3 => dir().prop_map(Op::List),
    ]
}

fn errno(error: FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::NOENT,
        FsError::Exists => Errno::EXIST,
        FsError::NotDir => Errno::NOTDIR,
        FsError::IsDir => Errno::ISDIR,
        FsError::NotEmpty => Errno::NOTEMPTY,
        FsError::Invalid => Errno::INVAL,
        FsError::NameTooLong => Errno::NAMETOOLONG,
        FsError::NotPermitted => Errno::PERM,
        FsError::SymlinkLoop => Errno::LOOP,
        // What `RESOLVE_BENEATH` says.
        FsError::NotCapable => Errno::XDEV,
        other => panic!("{other} cannot come from these operations"),
    }
}

/// Whether the errors are the same, or POSIX lets a system choose.
fn same_error(op: &Op, ours: Errno, theirs: Errno) -> bool {
    ours == theirs
        || match op {
            // "." and "..": EBUSY or EINVAL. A file over a directory that holds it: EISDIR or
            // ENOTEMPTY.
            Op::Rename(..) => matches!(
                (ours, theirs),
                (Errno::INVAL, Errno::BUSY) | (Errno::ISDIR, Errno::NOTEMPTY)
            ),
            // A directory to a name that exists.
            Op::Link(..) => (ours, theirs) == (Errno::PERM, Errno::EXIST),
            // A name that is too long for an empty target.
            Op::Symlink(..) => (ours, theirs) == (Errno::NAMETOOLONG, Errno::NOENT),
            _ => false,
        }
}

type Res<T> = Result<T, Errno>;

struct Pair {
    fs: Fs<VectorMemory>,
    _temp: tempfile::TempDir,
    root: OwnedFd,
    open: Vec<(Ino, OwnedFd)>,
    /// Linux counts subdirectories as links here.
    counts_dirs: bool,
    /// Operations that succeeded.
    done: u32,
}

impl Pair {
    fn new() -> Self {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let temp = temp.expect("a temporary directory");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = linux::open(temp.path(), flags, Mode::empty()).expect("it is there");
        let links = || linux::fstat(&root).expect("it is open").st_nlink;
        linux::mkdirat(&root, "x", Mode::RWXU).expect("it is empty");
        let counts_dirs = links() == 3;
        linux::unlinkat(&root, "x", AtFlags::REMOVEDIR).expect("it is there");
        let fs = Fs::open(VectorMemory::default(), &FormatOptions::default(), 1);
        Self {
            fs: fs.expect("a new memory can be formatted"),
            _temp: temp,
            root,
            open: Vec::new(),
            counts_dirs,
            done: 0,
        }
    }

    fn our_dir(&mut self, path: &str) -> Res<Ino> {
        let root = self.fs.root();
        let found = self.fs.resolve(root, root, path.as_bytes(), true);
        let ino = found.map_err(errno)?.target.ok_or(Errno::NOENT)?;
        match self.fs.stat(ino).map_err(errno)?.file_type {
            FileType::Directory => Ok(ino),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn their_dir(&self, path: &str) -> Res<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        loop {
            // EAGAIN: something was renamed at the same time anywhere on the machine, so that the
            // kernel is not sure that ".." stayed beneath.
            let opened = linux::openat2(
                &self.root,
                path,
                flags,
                Mode::empty(),
                ResolveFlags::BENEATH,
            );
            if opened.as_ref().err() != Some(&Errno::AGAIN) {
                return opened;
            }
        }
    }

    /// The path of directory number `n`.
    fn existing(&mut self, n: usize) -> String {
        let mut all = vec![(self.fs.root(), ".".to_string())];
        let mut at = 0;
        while at < all.len() {
            let (dir, path) = all[at].clone();
            let listed = self.fs.read_dir(dir, 2, &mut |entry| {
                if entry.file_type == FileType::Directory {
                    let name = String::from_utf8_lossy(entry.name);
                    all.push((entry.ino, format!("{path}/{name}")));
                }
                ControlFlow::Continue(())
            });
            assert_eq!(listed, Ok(()));
            at += 1;
        }
        all.swap_remove(n % all.len()).1
    }

    /// Both sides' directory `path`, or the error.
    fn dirs(&mut self, path: &str) -> (Res<Ino>, Res<OwnedFd>) {
        let number = path.strip_prefix('#').and_then(|n| n.parse().ok());
        let path = &number.map_or(path.to_string(), |n| self.existing(n));
        (self.our_dir(path), self.their_dir(path))
    }

    fn step(&mut self, op: &Op) {
        let (ours, theirs) = match op {
            Op::Rename(a, n, b, m) => self.two(op, (a, n), (b, m)),
            Op::Link(a, n, b, m) => self.two(op, (a, n), (b, m)),
            Op::Create(d, n)
            | Op::Mkdir(d, n)
            | Op::Symlink(d, n, _)
            | Op::Unlink(d, n)
            | Op::Rmdir(d, n)
            | Op::Open(d, n)
            | Op::Stat(d, n) => self.one(op, d, n),
            Op::List(d) => {
                let (ours, theirs) = self.dirs(d);
                if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
                    self.compare_dir(*ours, theirs.as_fd(), false);
                }
                (ours.map(drop), theirs.map(drop))
            }
            Op::Close(f) => {
                if !self.open.is_empty() {
                    let at = usize::from(*f) % self.open.len();
                    let (ino, _) = self.open.swap_remove(at);
                    assert_eq!(self.fs.release(ino), Ok(()));
                }
                return;
            }
            Op::Write(f, ..) | Op::Read(f, ..) | Op::SetLen(f, _) | Op::Allocate(f, ..) => {
                if self.open.is_empty() {
                    return;
                }
                self.file(op, usize::from(*f) % self.open.len())
            }
        };
        match (ours, theirs) {
            (Ok(()), Ok(())) => self.done += 1,
            (Err(ours), Err(theirs)) if same_error(op, ours, theirs) => {}
            (ours, theirs) => panic!("{op:?}: ours {ours:?}, Linux {theirs:?}"),
        }
    }

    fn one(&mut self, op: &Op, dir: &str, name: &str) -> (Res<()>, Res<()>) {
        let (ino, fd) = match self.dirs(dir) {
            (Ok(ino), Ok(fd)) => (ino, fd),
            (ours, theirs) => return (ours.map(drop), theirs.map(drop)),
        };
        let (fs, bytes) = (&mut self.fs, name.as_bytes());
        let (ours, theirs) = match op {
            Op::Create(..) => (
                fs.create(ino, bytes).map(drop),
                linux::mknodat(&fd, name, linux::FileType::RegularFile, Mode::RWXU, 0),
            ),
            Op::Mkdir(..) => (
                fs.mkdir(ino, bytes).map(drop),
                linux::mkdirat(&fd, name, Mode::RWXU),
            ),
            Op::Symlink(_, _, target) => (
                fs.symlink(ino, bytes, target.as_bytes()).map(drop),
                linux::symlinkat(target.as_str(), &fd, name),
            ),
            Op::Unlink(..) => (
                fs.unlink(ino, bytes),
                linux::unlinkat(&fd, name, AtFlags::empty()),
            ),
            Op::Rmdir(..) => (
                fs.rmdir(ino, bytes),
                linux::unlinkat(&fd, name, AtFlags::REMOVEDIR),
            ),
            // Outside of the directory, if it is the root.
            _ if name == ".." => return (Ok(()), Ok(())),
            _ => {
                let ours = fs.lookup(ino, bytes);
                let theirs = linux::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW);
                if let (Ok(ours), Ok(theirs)) = (ours, &theirs) {
                    self.compare_stat(ours, theirs);
                    let is_file = theirs.st_mode & 0o170_000 == 0o100_000;
                    if is_file && matches!(op, Op::Open(..)) && self.open.len() < 12 {
                        let file = linux::openat(&fd, name, OFlags::RDWR, Mode::empty());
                        self.open.push((ours, file.expect("it is there")));
                        assert_eq!(self.fs.retain(ours), Ok(()));
                    }
                }
                (ours.map(drop), theirs.map(drop))
            }
        };
        (ours.map_err(errno), theirs)
    }

    fn two(&mut self, op: &Op, from: (&str, &str), to: (&str, &str)) -> (Res<()>, Res<()>) {
        let (a, b) = (self.dirs(from.0), self.dirs(to.0));
        let (ino_a, fd_a) = match a {
            (Ok(ino), Ok(fd)) => (ino, fd),
            (ours, theirs) => return (ours.map(drop), theirs.map(drop)),
        };
        let (ino_b, fd_b) = match b {
            (Ok(ino), Ok(fd)) => (ino, fd),
            (ours, theirs) => return (ours.map(drop), theirs.map(drop)),
        };
        let (old, new) = (from.1.as_bytes(), to.1.as_bytes());
        if let Op::Rename(..) = op {
            let ours = self.fs.rename(ino_a, old, ino_b, new);
            let theirs = linux::renameat(&fd_a, from.1, &fd_b, to.1);
            return (ours.map_err(errno), theirs);
        }
        let found = self.fs.lookup(ino_a, old);
        let ours = found.and_then(|ino| self.fs.link(ino, ino_b, new));
        let theirs = linux::linkat(&fd_a, from.1, &fd_b, to.1, AtFlags::empty());
        (ours.map_err(errno), theirs)
    }

    /// Works on an open file.
    fn file(&mut self, op: &Op, at: usize) -> (Res<()>, Res<()>) {
        let fs = &mut self.fs;
        let (ino, fd) = (self.open[at].0, &self.open[at].1);
        match *op {
            Op::Write(_, offset, len, byte) => {
                let data: Vec<u8> = (0..len).map(|i| byte.wrapping_add((i / 7) as u8)).collect();
                let mut done = 0;
                while done < len {
                    let n = rustix::io::pwrite(fd, &data[done..], offset + done as u64);
                    done += n.expect("there is room");
                }
                (fs.write(ino, offset, &data).map_err(errno), Ok(()))
            }
            Op::Read(_, offset, len) => {
                let (mut ours, mut theirs) = (vec![1; len], vec![1; len]);
                let n = fs.read(ino, offset, &mut ours).map_err(errno);
                let m = rustix::io::pread(fd, &mut theirs[..], offset);
                assert_eq!(n, m, "{op:?}");
                assert!(ours == theirs, "{op:?}");
                (Ok(()), Ok(()))
            }
            Op::SetLen(_, len) => (
                fs.set_len(ino, len).map_err(errno),
                linux::ftruncate(fd, len),
            ),
            Op::Allocate(_, offset, len) => {
                let theirs = linux::fallocate(fd, FallocateFlags::empty(), offset, len);
                if theirs == Err(Errno::OPNOTSUPP) {
                    return (Ok(()), Ok(()));
                }
                (fs.allocate(ino, offset, len).map_err(errno), theirs)
            }
            _ => unreachable!("an operation on an open file"),
        }
    }

    fn compare_stat(&mut self, ino: Ino, theirs: &linux::Stat) {
        let ours = self.fs.stat(ino).expect("it is there");
        let kind = match ours.file_type {
            FileType::Regular => 0o100_000,
            FileType::Directory => 0o040_000,
            FileType::Symlink => 0o120_000,
        };
        assert_eq!(kind, theirs.st_mode & 0o170_000);
        if ours.file_type != FileType::Directory {
            assert_eq!(ours.size, theirs.st_size as u64);
        }
        if ours.file_type != FileType::Directory || self.counts_dirs {
            assert_eq!(u64::from(ours.nlink), theirs.st_nlink, "links");
        }
    }

    /// Compares a listing and the metadata in it; with `deep` everything below.
    fn compare_dir(&mut self, dir: Ino, fd: std::os::fd::BorrowedFd<'_>, deep: bool) {
        let mut ours = BTreeMap::new();
        let listed = self.fs.read_dir(dir, 0, &mut |entry| {
            let name = String::from_utf8(entry.name.to_vec()).expect("names are UTF-8");
            assert_eq!(ours.insert(name, entry.ino), None, "listed twice");
            ControlFlow::Continue(())
        });
        assert_eq!(listed, Ok(()));
        let mut theirs = Vec::new();
        for entry in linux::Dir::read_from(fd).expect("it is a directory") {
            let name = entry.expect("it can be read").file_name().to_owned();
            theirs.push(name.into_string().expect("names are UTF-8"));
        }
        theirs.sort();
        assert!(theirs.iter().eq(ours.keys()), "{theirs:?}, ours {ours:?}");
        for (name, ino) in ours {
            if name == "." || name == ".." {
                continue;
            }
            let stat = linux::statat(fd, &name, AtFlags::SYMLINK_NOFOLLOW).expect("it is listed");
            self.compare_stat(ino, &stat);
            if !deep {
                continue;
            }
            match self.fs.stat(ino).expect("it is listed").file_type {
                FileType::Directory => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                    let below = linux::openat(fd, &name, flags, Mode::empty());
                    self.compare_dir(ino, below.expect("it is listed").as_fd(), true);
                }
                FileType::Symlink => {
                    let target = linux::readlinkat(fd, &name, Vec::new()).expect("it is a link");
                    assert_eq!(self.fs.read_link(ino), Ok(target.into_bytes()));
                }
                FileType::Regular => {
                    let file = linux::openat(fd, &name, OFlags::RDONLY, Mode::empty());
                    self.compare_file(ino, &file.expect("it is listed"));
                }
            }
        }
    }

    fn compare_file(&mut self, ino: Ino, fd: &OwnedFd) {
        let stat = linux::fstat(fd).expect("it is open");
        self.compare_stat(ino, &stat);
        let size = stat.st_size as usize;
        let (mut ours, mut theirs) = (vec![1; size], vec![2; size]);
        assert_eq!(self.fs.read(ino, 0, &mut ours), Ok(size));
        let mut done = 0;
        while done < size {
            let n = rustix::io::pread(fd, &mut theirs[done..], done as u64);
            done += n.expect("it is open");
        }
        assert!(ours == theirs, "content of inode {}", ino.0);
    }

    fn compare(&mut self) {
        let fd = self.their_dir(".").expect("it is there");
        self.compare_dir(self.fs.root(), fd.as_fd(), true);
        for (ino, fd) in std::mem::take(&mut self.open) {
            self.compare_file(ino, &fd);
            assert_eq!(self.fs.release(ino), Ok(()));
        }
        assert_eq!(self.fs.check(), []);
    }
}

fn against_linux() {
    let set = std::env::var("ICWASI_FS_CASES").ok();
    let factor: u32 = set.map_or(1, |n| n.parse().expect("ICWASI_FS_CASES is a factor"));
    let config = Config {
        cases: 500 * factor,
        failure_persistence: None,
        ..Config::default()
    };
    let done = Cell::new(0);
    let cases = config.cases;
    TestRunner::new(config)
        .run(&prop::collection::vec(op(), 200), |ops| {
            let mut pair = Pair::new();
            ops.iter().for_each(|op| pair.step(op));
            pair.compare();
            done.set(done.get() + pair.done);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let share = done.get() / cases;
    assert!(share > 50, "of 200 operations only {share} succeed");
    eprintln!("{share} of 200 operations succeeded");
}

// Two, so that they run side by side.
#[test]
fn behaves_like_linux_1() {
    against_linux();
}

#[test]
fn behaves_like_linux_2() {
    against_linux();
}

//! Both sides, one call at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::fs::FsError;
use icwasi::runtime::Runtime;
use icwasi::wasi::errno::Errno;
use icwasi::wasi::types::fdflags;
use icwasi::wasi::{fd_io, fd_meta, path};
use icwasi_types::{LinkConfig, Preopen};

use crate::model::{Body, Id, Model, Res, Val};
use crate::ops::{APPS, How, Op, PREOPENS};
use crate::wasi_support::*;

/// Enough for all that a case writes.
const TMP_BYTES: u64 = 64 << 20;

/// Files without a name that a mount frees; the others go one by one.
const RECLAIMED: usize = 4;

pub struct Run {
    p: Program,
    model: Model,
    apps: [VectorMemory; 2],
    /// Inodes that the library keeps for itself; `None` while files that had no name before an
    /// upgrade may be left.
    hidden: Option<usize>,
    /// Calls and what the model says.
    pub history: Vec<(String, String)>,
}

fn config() -> LinkConfig {
    let preopens = PREOPENS.map(|(path, read_only)| Preopen {
        path: path.to_owned(),
        read_only,
    });
    LinkConfig {
        preopens: preopens.to_vec(),
        tmp_bytes: Some(TMP_BYTES),
        ..LinkConfig::default()
    }
}

/// A program on `stable`, not started.
fn program(stable: VectorMemory) -> Program {
    Program {
        rt: Runtime::new(),
        memory: vec![0; MEMORY],
        library: None,
        stable,
        dir: ROOT,
    }
}

impl Run {
    pub fn new() -> Self {
        // An application has used one before.
        let apps = [VectorMemory::default(), VectorMemory::default()];
        apps[0].grow(1);
        apps[0].write(0, &[0xEE; 65_536]);
        let contents = apps.iter().map(|memory| memory.borrow().clone());
        let model = Model::new(contents.collect());
        let mut run = Self {
            p: program(VectorMemory::default()),
            model,
            apps,
            hidden: None,
            history: Vec::new(),
        };
        run.upgrade().expect("the first start");
        run.hidden = Some(run.inodes() - run.model.stable_nodes());
        run
    }

    fn inodes(&mut self) -> usize {
        self.p.rt.fs().expect("mounted").usage().inodes as usize
    }

    /// A new heap; the memories stay.
    fn upgrade(&mut self) -> Result<(), String> {
        let nameless = self.model.nameless();
        if self.model.start().is_err() {
            let copy = Rc::new(RefCell::new(self.p.stable.borrow().clone()));
            let refused = catch_unwind(AssertUnwindSafe(|| program(copy).upgrade_to(&config())));
            return refused.map_or(Ok(()), |_| Err("it does not trap".to_owned()));
        }
        if nameless > RECLAIMED {
            self.hidden = None;
        }
        let old = std::mem::replace(&mut self.p, program(VectorMemory::default()));
        self.p = old.upgrade_to(&config());
        for which in 0..APPS.len() {
            self.mount(which)?;
        }
        Ok(())
    }

    fn mount(&mut self, which: usize) -> Result<(), String> {
        let got = self.p.mount_memory(APPS[which], self.apps[which].clone());
        let (dir, name) = APPS[which].rsplit_once('/').expect("absolute");
        let dir = self.model.at(dir);
        let id = self.model.child(dir, name).unwrap_or_else(|| {
            let zeros = vec![0; self.model.apps[which].len()];
            let made = self.model.make(dir, name, Body::File(zeros));
            made.expect("the directory has a name")
        });
        let node = self.model.node(id);
        let want = match &node.body {
            Body::Dir(..) => Err(FsError::IsDir),
            Body::Link(_) => Err(FsError::Invalid),
            Body::File(content) if content.iter().any(|&byte| byte != 0) => {
                Err(FsError::NotPermitted)
            }
            // It may have blocks of zeros.
            Body::File(_) if node.written && got.is_err() => Err(FsError::NotPermitted),
            Body::File(content) => {
                node.body = Body::App(which, content.len());
                // It stays when its names go.
                node.fds += 1;
                Ok(())
            }
            Body::App(..) => unreachable!("nothing is mounted after an upgrade"),
        };
        if got == want {
            return Ok(());
        }
        Err(format!("mount_memory: got {got:?}, expected {want:?}"))
    }

    /// Makes a call on both sides and compares.
    pub fn step(&mut self, op: &Op) -> Result<(), String> {
        let done = |()| Val::Done;
        let number = |n: u32| Val::Number(n.into());
        let (call, got, want) = match op {
            Op::Open(at, how) => {
                let (fd, path) = self.model.path_of(at);
                let flags = if how.append { fdflags::APPEND } else { 0 };
                let follow = u32::from(how.follow);
                let got = self
                    .p
                    .open_at(fd, &path, follow, how.open, how.rights, flags.into());
                let want = self.model.open(fd, &path, *how);
                (
                    format!("open({fd}, {path:?}, {how:?})"),
                    got.map(number),
                    want,
                )
            }
            Op::Close(n) => {
                let fd = self.model.pick_any(*n);
                let got = self.p.close(fd).map(done);
                (format!("close({fd})"), got, self.model.close(fd))
            }
            Op::Renumber(from, to) => {
                let (from, to) = (self.model.pick_any(*from), self.model.pick_any(*to));
                let got = fd_meta::fd_renumber(&mut self.p.rt, from, to).map(done);
                let want = self.model.renumber(from, to);
                (format!("renumber({from}, {to})"), got, want)
            }
            Op::Read(n, len, at) => {
                let fd = self.model.pick_file(*n, |open| open.readable);
                let got = match at {
                    Some(at) => self.p.pread(fd, *len as u32, *at),
                    None => self.p.read(fd, *len as u32),
                };
                let want = self.model.read(fd, *len, *at);
                (
                    format!("read({fd}, {len}, {at:?})"),
                    got.map(Val::Bytes),
                    want,
                )
            }
            Op::Write(n, len, byte, at) => {
                let fd = self.model.pick_file(*n, |open| open.writable);
                let data: Vec<u8> = (0..*len)
                    .map(|i| byte.wrapping_add((i / 7) as u8))
                    .collect();
                let got = match at {
                    Some(at) => self.p.pwrite(fd, &data, *at),
                    None => self.p.write(fd, &data),
                };
                let want = self.model.write(fd, &data, *at);
                (
                    format!("write({fd}, {len} from {byte}, {at:?})"),
                    got.map(number),
                    want,
                )
            }
            Op::Seek(n, delta, whence) => {
                let fd = self.model.pick_file(*n, |open| open.writable);
                let got = self.p.seek(fd, *delta, *whence).map(Val::Number);
                let want = self.model.seek(fd, *delta, *whence);
                (format!("seek({fd}, {delta}, {whence:?})"), got, want)
            }
            Op::SetSize(n, size) => {
                let fd = self.model.pick_file(*n, |open| open.writable);
                let got = fd_meta::fd_filestat_set_size(&mut self.p.rt, fd, *size).map(done);
                let want = self.model.set_size(fd, *size as usize);
                (format!("set_size({fd}, {size})"), got, want)
            }
            Op::Allocate(n, at, len) => {
                let fd = self.model.pick_file(*n, |open| open.writable);
                let got = fd_io::fd_allocate(&mut self.p.rt, fd, *at, *len).map(done);
                let want = self.model.allocate(fd, (at + len) as usize);
                (format!("allocate({fd}, {at}, {len})"), got, want)
            }
            Op::Fstat(n) => {
                let fd = self.model.pick_fd(*n, |_| true);
                let got = self.p.fstat(fd);
                let id = self.model.fds.get(&fd).map(|open| open.id);
                let (got, want) = self.stats(got, id.ok_or(Errno::BADF));
                (format!("fstat({fd})"), got, want)
            }
            Op::Stat(at, follow) => {
                let (fd, path) = self.model.path_of(at);
                let (got, want) = self.stat(fd, &path, *follow);
                (format!("stat({fd}, {path:?}, {follow})"), got, want)
            }
            Op::List(n) => {
                let fd = if n.is_multiple_of(16) {
                    self.model.pick_any(*n)
                } else {
                    self.model.pick_dir(*n)
                };
                let (got, want) = self.list(fd);
                (format!("list({fd})"), got, want)
            }
            Op::Readlink(at) => {
                let (fd, path) = self.model.path_of(at);
                self.p.dir = fd;
                let got = self.p.readlink(&path, 1_000).map(Val::Bytes);
                let want = self.model.readlink(fd, &path);
                (format!("readlink({fd}, {path:?})"), got, want)
            }
            Op::Mkdir(at) => {
                let (fd, path) = self.model.path_of(at);
                self.p.dir = fd;
                let got = self.p.mkdir(&path).map(done);
                let want = self.model.mkdir(fd, &path);
                (format!("mkdir({fd}, {path:?})"), got, want)
            }
            Op::Rmdir(at) => {
                let (fd, path) = self.model.path_of(at);
                self.p.dir = fd;
                let got = self.p.rmdir(&path).map(done);
                let want = self.model.rmdir(fd, &path);
                (format!("rmdir({fd}, {path:?})"), got, want)
            }
            Op::Unlink(at) => {
                let (fd, path) = self.model.path_of(at);
                self.p.dir = fd;
                let got = self.p.unlink(&path).map(done);
                let want = self.model.unlink(fd, &path);
                (format!("unlink({fd}, {path:?})"), got, want)
            }
            Op::Symlink(target, at) => {
                let (fd, path) = self.model.path_of(at);
                let target = self.model.target_of(target, (fd, &path));
                self.p.dir = fd;
                let got = self.p.symlink(&target, &path).map(done);
                let want = self.model.symlink(&target, fd, &path);
                (format!("symlink({target:?}, {fd}, {path:?})"), got, want)
            }
            Op::Link(old, follow, new) => {
                let ((from, old), (to, new)) = (self.model.path_of(old), self.model.path_of(new));
                let (a, b) = (self.p.path(&old), self.p.path2(&new));
                let flags = u32::from(*follow);
                let got = self
                    .p
                    .call(|rt, g| path::path_link(rt, g, from, flags, PATH, a, to, PATH2, b));
                let want = self.model.link((from, &old), *follow, (to, &new));
                let call = format!("link({from}, {old:?}, {follow}, {to}, {new:?})");
                (call, got.map(done), want)
            }
            Op::Rename(old, new) => {
                let ((from, old), (to, new)) = (self.model.path_of(old), self.model.path_of(new));
                let (a, b) = (self.p.path(&old), self.p.path2(&new));
                let got = self
                    .p
                    .call(|rt, g| path::path_rename(rt, g, from, PATH, a, to, PATH2, b));
                let want = self.model.rename((from, &old), (to, &new));
                let call = format!("rename({from}, {old:?}, {to}, {new:?})");
                (call, got.map(done), want)
            }
            Op::Message => {
                self.p.next_message(1_000_000);
                ("message()".to_owned(), Ok(Val::Done), Ok(Val::Done))
            }
            Op::Upgrade => {
                self.compare()?;
                self.history.push(("upgrade()".to_owned(), "ok".to_owned()));
                return self.upgrade();
            }
        };
        self.history.push((call.clone(), brief(&want)));
        same(&call, &got, &want)
    }

    fn stats(&mut self, got: Res<Stat>, id: Res<Id>) -> (Res<Val>, Res<Val>) {
        let seen = got.as_ref().ok().map(|stat| stat.ino);
        let want = id.map(|id| self.model.stat(id, seen));
        let got = got.map(|stat| {
            let dir = stat.filetype == icwasi::wasi::types::filetype::DIRECTORY;
            let size = if dir { 0 } else { stat.size };
            Val::Stat(stat.dev, stat.ino, stat.filetype, stat.nlink, size)
        });
        (got, want)
    }

    fn stat(&mut self, fd: u32, path: &str, follow: bool) -> (Res<Val>, Res<Val>) {
        self.p.dir = fd;
        let got = self.p.stat(path, u32::from(follow));
        let id = self.model.find(fd, path, follow);
        self.stats(got, id)
    }

    fn list(&mut self, fd: u32) -> (Res<Val>, Res<Val>) {
        let got = self.p.entries(fd).map(|entries| {
            let count = entries.len();
            let entry = |(name, ino, kind)| (name, (ino, kind));
            let all: BTreeMap<_, _> = entries.into_iter().map(entry).collect();
            assert_eq!(all.len(), count, "a name twice");
            all
        });
        let none = BTreeMap::new();
        let seen = got.as_ref().unwrap_or(&none);
        let want = self.model.dir(fd).map(|(id, _)| self.model.list(id, seen));
        (got.map(Val::Entries), want)
    }

    /// Compares all that descriptors lead to, and checks the file system on stable memory.
    pub fn compare(&mut self) -> Result<(), String> {
        let fds: Vec<(u32, Id)> = self.model.fds.iter().map(|(&fd, o)| (fd, o.id)).collect();
        let mut seen = BTreeSet::new();
        for (fd, id) in fds {
            let got = self.p.fstat(fd);
            let (got, want) = self.stats(got, Ok(id));
            same(&format!("fstat({fd})"), &got, &want)?;
            if self.model.is_dir(id) {
                self.compare_tree(fd, ".", id, &mut seen)?;
            } else if self.model.fds[&fd].readable {
                self.compare_content(fd, &format!("descriptor {fd}"), id)?;
            }
        }
        for (which, memory) in self.apps.iter().enumerate() {
            if *memory.borrow() != self.model.apps[which] {
                return Err(format!("the memory of {}", APPS[which]));
            }
        }
        let inodes = self.inodes();
        if let Some(hidden) = self.hidden {
            let want = self.model.stable_nodes() + hidden;
            if inodes != want {
                return Err(format!("{inodes} inodes, expected {want}"));
            }
        }
        let findings = self.p.rt.fs().expect("mounted").check();
        if findings.is_empty() {
            return Ok(());
        }
        Err(format!("check: {findings:?}"))
    }

    fn compare_content(&mut self, fd: u32, path: &str, id: Id) -> Result<(), String> {
        const PIECE: u32 = 0x2_0000;
        let (mut got, want) = (Vec::new(), self.model.content(id));
        loop {
            let piece = self.p.pread(fd, PIECE, got.len() as u64);
            let piece = piece.map_err(|errno| format!("{path}: {errno:?}"))?;
            got.extend(&piece);
            if piece.len() < PIECE as usize {
                break;
            }
        }
        same(path, &Ok(Val::Bytes(got)), &Ok(Val::Bytes(want)))
    }

    fn compare_tree(
        &mut self,
        fd: u32,
        path: &str,
        id: Id,
        seen: &mut BTreeSet<Id>,
    ) -> Result<(), String> {
        let (got, want) = self.stat(fd, path, false);
        same(&format!("stat({fd}, {path:?})"), &got, &want)?;
        if !seen.insert(id) {
            return Ok(());
        }
        if let Body::Link(target) = self.model.body(id) {
            let want = Ok(Val::Bytes(target.clone().into_bytes()));
            let got = self.p.readlink(path, 1_000).map(Val::Bytes);
            return same(&format!("readlink({fd}, {path:?})"), &got, &want);
        }
        let got = self.p.open_at(fd, path, 0, 0, READ, 0);
        let got = got.map(|fd| Val::Number(fd.into()));
        let want = self.model.open(fd, path, How::default());
        same(&format!("open({fd}, {path:?})"), &got, &want)?;
        let Ok(Val::Number(opened)) = got else {
            return Ok(());
        };
        let opened = opened as u32;
        if self.model.is_dir(id) {
            let (got, want) = self.list(opened);
            same(&format!("list({fd}, {path:?})"), &got, &want)?;
        } else {
            self.compare_content(opened, path, id)?;
        }
        let (got, want) = (self.p.close(opened), self.model.close(opened));
        same("close", &got.map(|()| Val::Done), &want)?;
        for (name, child) in self.model.entries(id).cloned().into_iter().flatten() {
            let child = self.model.uncover(child);
            self.compare_tree(fd, &format!("{path}/{name}"), child, seen)?;
        }
        Ok(())
    }
}

fn brief(result: &Res<Val>) -> String {
    match result {
        Ok(Val::Bytes(bytes)) => format!("{} bytes", bytes.len()),
        Ok(Val::Done) => "ok".to_owned(),
        other => format!("{other:?}"),
    }
}

fn same(call: &str, got: &Res<Val>, want: &Res<Val>) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    let mut at = String::new();
    if let (Ok(Val::Bytes(got)), Ok(Val::Bytes(want))) = (got, want) {
        let first = got.iter().zip(want).position(|(got, want)| got != want);
        at = format!(", first difference at {first:?}");
    }
    Err(format!(
        "{call}: got {}, expected {}{at}",
        brief(got),
        brief(want)
    ))
}

//! Both sides, one operation at a time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use icwasi::fs::{FileType, FormatOptions, Fs, FsError, Ino, Plain};
use icwasi::memory::faulty::{Faults, FaultyMemory};

use crate::journal::Journal;
use crate::model::{Body, Model, Res};
use crate::ops::{Op, data, name, target};

pub type TestMemory = FaultyMemory<Journal>;

pub struct Run {
    pub fs: Option<Fs<TestMemory>>,
    pub model: Model,
    pub faults: Rc<Faults>,
    pub journal: Journal,
    /// The last step returned an error.
    pub failed: Cell<bool>,
}

/// Makes a file in one of the two ways that there are.
fn create(fs: &mut Fs<TestMemory>, dir: Ino, name: &str) -> Res<Ino> {
    if plainly(dir, name) {
        match fs.create_plain(dir, name.as_bytes())? {
            Plain::Made(ino) => {
                fs.release(ino)?;
                return Ok(ino);
            }
            Plain::Found(_) => return Err(FsError::Exists),
            Plain::Unknown => {}
        }
    }
    fs.create(dir, name.as_bytes())
}

/// The same for directories.
fn mkdir(fs: &mut Fs<TestMemory>, dir: Ino, name: &str) -> Res<Ino> {
    if plainly(dir, name) {
        match fs.mkdir_plain(dir, name.as_bytes())? {
            Plain::Made(ino) => return Ok(ino),
            Plain::Found(_) => return Err(FsError::Exists),
            Plain::Unknown => {}
        }
    }
    fs.mkdir(dir, name.as_bytes())
}

/// In half of the cases.
fn plainly(dir: Ino, name: &str) -> bool {
    name.bytes().map(u64::from).sum::<u64>() % 2 == dir.0 % 2
}

impl Run {
    pub fn new() -> Self {
        let faults = Rc::new(Faults::default());
        let journal = Journal::default();
        let memory = FaultyMemory::new(journal.clone(), faults.clone());
        let options = FormatOptions {
            hash_key: [3; 16],
            quota_bytes: None,
        };
        let fs = Fs::open(memory, &options, 1).expect("a new memory can be formatted");
        let model = Model::new(fs.root());
        Self {
            fs: Some(fs),
            model,
            faults,
            journal,
            failed: Cell::new(false),
        }
    }

    pub fn fs(&mut self) -> &mut Fs<TestMemory> {
        self.fs.as_mut().expect("only taken while remounting")
    }

    /// Mounts anew, and opens again what was open; orphans are gone then.
    pub fn remount(&mut self) {
        self.fs = None;
        let memory = FaultyMemory::new(self.journal.clone(), self.faults.clone());
        let mut fs = Fs::mount(memory).expect("what was mounted can be mounted");
        self.model.objs.retain(|_, obj| obj.names > 0);
        for (&ino, obj) in &self.model.objs {
            (0..obj.open).for_each(|_| fs.retain(Ino(ino)).expect("it has a name"));
        }
        self.fs = Some(fs);
    }

    /// Applies `op` to both sides. With `may_fail`, the real one may say `NoSpace` where the model
    /// has no limit; then neither changes.
    pub fn step(&mut self, op: &Op, may_fail: bool) {
        let before = may_fail.then(|| self.model.clone());
        let no_space = |got: &Res<()>| matches!(got, Err(FsError::NoSpace { .. }));
        let failed = &self.failed;
        failed.set(false);
        let compare = |got: Res<()>, want: Res<()>, model: &mut Model| {
            failed.set(got.is_err());
            match before.clone() {
                Some(before) if no_space(&got) => *model = before,
                _ => assert_eq!(got, want, "{op:?}"),
            }
        };
        let model = &mut self.model;
        let fs = self.fs.as_mut().expect("mounted");
        match *op {
            Op::Create(d, n) | Op::Mkdir(d, n) | Op::Symlink(d, n, _) => {
                let (Some(dir), name) = (model.pick(d, true), name(n)) else {
                    return;
                };
                let mut want = model.can_make(dir, &name);
                let (got, body) = match *op {
                    Op::Create(..) => (create(fs, Ino(dir), &name), Body::File(Rc::default())),
                    Op::Mkdir(..) => (mkdir(fs, Ino(dir), &name), Body::Dir(BTreeMap::new(), dir)),
                    _ => {
                        let target = if let Op::Symlink(_, _, t) = *op {
                            target(t)
                        } else {
                            "".into()
                        };
                        if name.len() <= 255 {
                            want = match target.len() {
                                0 => Err(FsError::NotFound),
                                4096.. => Err(FsError::NameTooLong),
                                _ => want,
                            };
                        }
                        let got = fs.symlink(Ino(dir), name.as_bytes(), target.as_bytes());
                        (got, Body::Link(target))
                    }
                };
                if let (Ok(ino), Ok(())) = (got, want) {
                    model.make(dir, &name, ino, body);
                }
                compare(got.map(drop), want, model);
            }
            Op::Many(d, n) => {
                let Some(dir) = model.pick(d, true) else {
                    return;
                };
                for i in 0..60 {
                    let name = format!("{}{i}{n}", "many".repeat(usize::from(n % 50)));
                    let want = model.can_make(dir, &name);
                    let got = create(fs, Ino(dir), &name);
                    if let (Ok(ino), Ok(())) = (got, want) {
                        model.make(dir, &name, ino, Body::File(Rc::default()));
                    } else if may_fail && no_space(&got.map(drop)) {
                        break;
                    } else {
                        assert_eq!(got.map(drop), want);
                    }
                }
            }
            Op::Link(f, d, n) => {
                let (Some(file), Some(dir)) = (model.pick(f, false), model.pick(d, true)) else {
                    return;
                };
                let name = name(n);
                let got = fs.link(Ino(file), Ino(dir), name.as_bytes());
                let want = model.can_make(dir, &name).and_then(|()| {
                    if model.objs[&file].names == 0 {
                        Err(FsError::NotFound)
                    } else {
                        Ok(())
                    }
                });
                if want.is_ok() {
                    model.objs.get_mut(&file).unwrap().names += 1;
                    model.entries(dir).unwrap().insert(name, file);
                }
                compare(got, want, model);
            }
            Op::Unlink(d, n) | Op::Rmdir(d, n) => {
                let (Some(dir), name) = (model.pick(d, true), name(n)) else {
                    return;
                };
                let want_dir = matches!(op, Op::Rmdir(..));
                let got = if want_dir {
                    fs.rmdir(Ino(dir), name.as_bytes())
                } else {
                    fs.unlink(Ino(dir), name.as_bytes())
                };
                let want = model.remove(dir, &name, want_dir);
                compare(got, want, model);
            }
            Op::Rename(a, n, b, m) => {
                let (Some(a), Some(b)) = (model.pick(a, true), model.pick(b, true)) else {
                    return;
                };
                let (n, m) = (name(n), name(m));
                let got = fs.rename(Ino(a), n.as_bytes(), Ino(b), m.as_bytes());
                let want = model.rename(a, &n, b, &m);
                compare(got, want, model);
            }
            Op::Write(f, offset, len, byte) => {
                let Some(file) = model.pick(f, false) else {
                    return;
                };
                let data = data(byte, len);
                let got = fs.write(Ino(file), offset, data);
                let want = match &mut model.objs.get_mut(&file).unwrap().body {
                    Body::File(content) if len > 0 => {
                        let (from, to) = (offset as usize, offset as usize + len);
                        let content = Rc::make_mut(content);
                        content.resize(content.len().max(to), 0);
                        content[from..to].copy_from_slice(data);
                        Ok(())
                    }
                    Body::File(_) => Ok(()),
                    _ => Err(FsError::Invalid),
                };
                compare(got, want, model);
            }
            Op::SetLen(f, len) | Op::Allocate(f, len, _) => {
                let Some(file) = model.pick(f, false) else {
                    return;
                };
                let got = match *op {
                    Op::Allocate(_, offset, len) => fs.allocate(Ino(file), offset, len),
                    _ => fs.set_len(Ino(file), len),
                };
                let want = match (&mut model.objs.get_mut(&file).unwrap().body, op) {
                    (Body::File(_), Op::Allocate(_, _, 0)) => Err(FsError::Invalid),
                    (Body::File(content), Op::Allocate(_, offset, more)) => {
                        let len = content.len().max((offset + more) as usize);
                        Rc::make_mut(content).resize(len, 0);
                        Ok(())
                    }
                    (Body::File(content), _) => {
                        Rc::make_mut(content).resize(len as usize, 0);
                        Ok(())
                    }
                    _ => Err(FsError::Invalid),
                };
                compare(got, want, model);
            }
            Op::Read(f, offset, len) => {
                let Some(file) = model.pick(f, false) else {
                    return;
                };
                let mut got = vec![0xA5; len];
                let result = fs.read(Ino(file), offset, &mut got);
                match &model.objs[&file].body {
                    Body::File(content) => {
                        let from = content.len().min(offset as usize);
                        let want = &content[from..content.len().min(from + len)];
                        assert_eq!(result, Ok(want.len()));
                        assert!(got[..want.len()] == *want, "{op:?}");
                    }
                    _ => assert_eq!(result, Err(FsError::Invalid)),
                }
            }
            Op::List(d) => {
                if let Some(dir) = model.pick(d, true) {
                    compare_listing(fs, model, dir);
                }
            }
            Op::Open(f) => {
                if let Some(ino) = model.pick(f, f % 5 == 0) {
                    assert_eq!(fs.retain(Ino(ino)), Ok(()));
                    model.objs.get_mut(&ino).unwrap().open += 1;
                }
            }
            Op::Close(f) => {
                let open: Vec<u64> = model
                    .objs
                    .iter()
                    .filter(|(_, o)| o.open > 0)
                    .map(|(&ino, _)| ino)
                    .collect();
                if open.is_empty() {
                    return;
                }
                let ino = open[usize::from(f) % open.len()];
                assert_eq!(fs.release(Ino(ino)), Ok(()));
                let obj = model.objs.get_mut(&ino).unwrap();
                obj.open -= 1;
                if obj.open == 0 && obj.names == 0 {
                    model.objs.remove(&ino);
                }
            }
        }
    }

    /// Compares everything, and checks the invariants.
    pub fn compare(&mut self) {
        let model = self.model.clone();
        let fs = self.fs();
        for (&ino, obj) in &model.objs {
            let stat = fs.stat(Ino(ino)).expect("the model has it");
            assert_eq!(stat.nlink, model.nlink(ino));
            match &obj.body {
                Body::File(content) => {
                    assert_eq!(
                        (stat.file_type, stat.size),
                        (FileType::Regular, content.len() as u64)
                    );
                    let mut got = vec![0xA5; content.len() + 10];
                    assert_eq!(fs.read(Ino(ino), 0, &mut got), Ok(content.len()));
                    assert!(
                        got[..content.len()] == content[..],
                        "content of inode {ino}"
                    );
                }
                Body::Link(target) => {
                    assert_eq!(fs.read_link(Ino(ino)), Ok(target.clone().into_bytes()));
                }
                Body::Dir(..) => compare_listing(fs, &model, ino),
            }
        }
        // The system directory is an inode too.
        assert_eq!(fs.usage().inodes, model.objs.len() as u64 + 1);
        assert_eq!(fs.check(), []);
    }
}

pub fn compare_listing(fs: &mut Fs<TestMemory>, model: &Model, dir: u64) {
    let obj = &model.objs[&dir];
    let Body::Dir(entries, parent) = &obj.body else {
        unreachable!("a directory")
    };
    let mut got = BTreeMap::new();
    let mut dots = Vec::new();
    fs.read_dir(Ino(dir), 0, &mut |entry| {
        let name = String::from_utf8(entry.name.to_vec()).expect("names are UTF-8");
        let is_dir = entry.file_type == FileType::Directory;
        if name.starts_with('.') {
            dots.push(entry.ino.0);
        } else {
            assert_eq!(is_dir, model.is_dir(entry.ino.0));
            assert_eq!(got.insert(name, entry.ino.0), None);
        }
        ControlFlow::Continue(())
    })
    .expect("listing");
    assert_eq!(got, *entries);
    assert_eq!(
        dots,
        if obj.names > 0 {
            vec![dir, *parent]
        } else {
            vec![]
        }
    );
}

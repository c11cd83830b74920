//! Random operations against a model in memory: same results, errors, contents and listings, and
//! a clean `check` after each case. `ICWASI_FS_CASES` sets the number of cases.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use ic_stable_structures::VectorMemory;
use icwasi::fs::{FileType, FormatOptions, Fs, FsError, Ino};
use icwasi::memory::faulty::{Faults, FaultyMemory};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

type TestMemory = FaultyMemory<VectorMemory>;

#[derive(Clone, Debug)]
enum Op {
    Create(u8, u8),
    Mkdir(u8, u8),
    Symlink(u8, u8, u16),
    Link(u8, u8, u8),
    Unlink(u8, u8),
    Rmdir(u8, u8),
    Rename(u8, u8, u8, u8),
    Write(u8, u64, usize, u8),
    SetLen(u8, u64),
    Allocate(u8, u64, u64),
    Read(u8, u64, usize),
    List(u8),
    Open(u8),
    Close(u8),
    Many(u8, u8),
}

fn op() -> impl Strategy<Value = Op> {
    let (d, n) = (any::<u8>(), any::<u8>());
    let offset = prop_oneof![
        4 => 0_u64..20_000,
        2 => (0_u64..300).prop_map(|block| block * 4096),
        1 => 0_u64..3_000_000,
    ];
    let len = prop_oneof![4 => 0_usize..3000, 2 => 0_usize..40_000, 1 => 0_usize..400_000];
    prop_oneof![
        12 => (d, n).prop_map(|(d, n)| Op::Create(d, n)),
        6 => (d, n).prop_map(|(d, n)| Op::Mkdir(d, n)),
        3 => (d, n, any::<u16>()).prop_map(|(d, n, t)| Op::Symlink(d, n, t)),
        4 => (n, d, n).prop_map(|(f, d, n)| Op::Link(f, d, n)),
        7 => (d, n).prop_map(|(d, n)| Op::Unlink(d, n)),
        4 => (d, n).prop_map(|(d, n)| Op::Rmdir(d, n)),
        12 => (d, n, d, n).prop_map(|(a, b, c, d)| Op::Rename(a, b, c, d)),
        25 => (n, offset.clone(), len.clone(), any::<u8>()).prop_map(|(f, o, l, b)| Op::Write(f, o, l, b)),
        6 => (n, offset.clone()).prop_map(|(f, o)| Op::SetLen(f, o)),
        3 => (n, offset.clone(), 0_u64..200_000).prop_map(|(f, o, l)| Op::Allocate(f, o, l)),
        10 => (n, offset, len).prop_map(|(f, o, l)| Op::Read(f, o, l)),
        3 => d.prop_map(Op::List),
        5 => n.prop_map(Op::Open),
        5 => n.prop_map(Op::Close),
        1 => (d, n).prop_map(|(d, n)| Op::Many(d, n)),
    ]
}

fn name(n: u8) -> String {
    match n % 16 {
        0 => ".".into(),
        1 => "..".into(),
        2 => "x".repeat(255),
        3 => "x".repeat(256),
        n => format!("name{n}"),
    }
}

fn target(t: u16) -> String {
    "t".repeat(usize::from(t) % 4200)
}

#[derive(Clone, Debug)]
enum Body {
    File(Vec<u8>),
    Link(String),
    Dir(BTreeMap<String, u64>, u64),
}

#[derive(Clone, Debug)]
struct Obj {
    body: Body,
    /// Names; of directories: 1 or 0.
    names: u32,
    open: u32,
}

/// What a file system does, in the plainest way. Keys are the inode numbers of the real one.
#[derive(Clone, Default)]
struct Model {
    objs: BTreeMap<u64, Obj>,
}

type Res<T> = Result<T, FsError>;

impl Model {
    fn new(root: Ino) -> Self {
        let body = Body::Dir(BTreeMap::new(), root.0);
        Self {
            objs: [(
                root.0,
                Obj {
                    body,
                    names: 1,
                    open: 0,
                },
            )]
            .into(),
        }
    }

    fn pick(&self, n: u8, dirs: bool) -> Option<u64> {
        let all: Vec<u64> = self
            .objs
            .iter()
            .filter(|(_, o)| matches!(o.body, Body::Dir(..)) == dirs)
            .map(|(&ino, _)| ino)
            .collect();
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    }

    fn entries(&mut self, dir: u64) -> Res<&mut BTreeMap<String, u64>> {
        let obj = self.objs.get_mut(&dir).ok_or(FsError::BadInode)?;
        match &mut obj.body {
            Body::Dir(entries, _) if obj.names > 0 => Ok(entries),
            Body::Dir(..) => Err(FsError::NotFound),
            _ => Err(FsError::NotDir),
        }
    }

    fn is_dir(&self, ino: u64) -> bool {
        matches!(self.objs[&ino].body, Body::Dir(..))
    }

    fn can_make(&mut self, dir: u64, name: &str) -> Res<()> {
        if name.len() > 255 {
            return Err(FsError::NameTooLong);
        }
        let entries = self.entries(dir)?;
        if name == "." || name == ".." || entries.contains_key(name) {
            return Err(FsError::Exists);
        }
        Ok(())
    }

    fn make(&mut self, dir: u64, name: &str, ino: Ino, body: Body) {
        self.objs.insert(
            ino.0,
            Obj {
                body,
                names: 1,
                open: 0,
            },
        );
        self.entries(dir).unwrap().insert(name.into(), ino.0);
    }

    fn drop_name(&mut self, ino: u64) {
        let obj = self.objs.get_mut(&ino).unwrap();
        obj.names -= 1;
        if obj.names == 0 && obj.open == 0 {
            self.objs.remove(&ino);
        }
    }

    fn remove(&mut self, dir: u64, name: &str, want_dir: bool) -> Res<()> {
        if name.len() > 255 {
            return Err(FsError::NameTooLong);
        }
        let entries = self.entries(dir)?;
        match (name, want_dir) {
            ("." | "..", false) => return Err(FsError::IsDir),
            (".", true) => return Err(FsError::Invalid),
            ("..", true) => return Err(FsError::NotEmpty),
            _ => {}
        }
        let ino = *entries.get(name).ok_or(FsError::NotFound)?;
        match (&self.objs[&ino].body, want_dir) {
            (Body::Dir(..), false) => return Err(FsError::IsDir),
            (Body::Dir(entries, _), true) if !entries.is_empty() => return Err(FsError::NotEmpty),
            (Body::File(_) | Body::Link(_), true) => return Err(FsError::NotDir),
            _ => {}
        }
        self.entries(dir)?.remove(name);
        self.drop_name(ino);
        Ok(())
    }

    fn rename(&mut self, from_dir: u64, from: &str, to_dir: u64, to: &str) -> Res<()> {
        if from.len() > 255 || to.len() > 255 {
            return Err(FsError::NameTooLong);
        }
        let source = self.entries(from_dir)?.get(from).copied();
        let existing = self.entries(to_dir)?.get(to).copied();
        if [from, to].iter().any(|name| matches!(*name, "." | "..")) {
            return Err(FsError::Invalid);
        }
        let source = source.ok_or(FsError::NotFound)?;
        if existing == Some(source) {
            return Ok(());
        }
        let moves_dir = self.is_dir(source);
        let mut at = to_dir;
        while moves_dir {
            if at == source {
                return Err(FsError::Invalid);
            }
            let Body::Dir(_, parent) = self.objs[&at].body else {
                unreachable!("a directory")
            };
            if parent == at {
                break;
            }
            at = parent;
        }
        if let Some(existing) = existing {
            match (&self.objs[&existing].body, moves_dir) {
                (Body::Dir(..), false) => return Err(FsError::IsDir),
                (Body::Dir(entries, _), true) if !entries.is_empty() => {
                    return Err(FsError::NotEmpty);
                }
                (Body::File(_) | Body::Link(_), true) => return Err(FsError::NotDir),
                _ => {}
            }
            self.drop_name(existing);
        }
        self.entries(from_dir)?.remove(from);
        self.entries(to_dir)?.insert(to.into(), source);
        if let Body::Dir(_, parent) = &mut self.objs.get_mut(&source).unwrap().body {
            *parent = to_dir;
        }
        Ok(())
    }

    fn nlink(&self, ino: u64) -> u32 {
        let obj = &self.objs[&ino];
        match &obj.body {
            Body::Dir(..) if obj.names == 0 => 0,
            Body::Dir(entries, _) => {
                2 + entries.values().filter(|&&ino| self.is_dir(ino)).count() as u32
            }
            _ => obj.names,
        }
    }
}

struct Run {
    fs: Option<Fs<TestMemory>>,
    model: Model,
    faults: Rc<Faults>,
}

impl Run {
    fn new() -> Self {
        let faults = Rc::new(Faults::default());
        let memory = FaultyMemory::new(VectorMemory::default(), faults.clone());
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
        }
    }

    fn fs(&mut self) -> &mut Fs<TestMemory> {
        self.fs.as_mut().expect("only taken while remounting")
    }

    /// Mounts anew, and opens again what was open; orphans are gone then.
    fn remount(&mut self) {
        let memory = self.fs.take().expect("mounted").into_memory();
        let mut fs = Fs::mount(memory).expect("what was mounted can be mounted");
        self.model.objs.retain(|_, obj| obj.names > 0);
        for (&ino, obj) in &self.model.objs {
            (0..obj.open).for_each(|_| fs.retain(Ino(ino)).expect("it has a name"));
        }
        self.fs = Some(fs);
    }

    /// Applies `op` to both sides. With `may_fail`, the real one may say `NoSpace` where the model
    /// has no limit; then neither changes.
    fn step(&mut self, op: &Op, may_fail: bool) {
        let before = may_fail.then(|| self.model.clone());
        let no_space = |got: &Res<()>| matches!(got, Err(FsError::NoSpace { .. }));
        let compare = |got: Res<()>, want: Res<()>, model: &mut Model| match before.clone() {
            Some(before) if no_space(&got) => *model = before,
            _ => assert_eq!(got, want, "{op:?}"),
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
                    Op::Create(..) => (fs.create(Ino(dir), name.as_bytes()), Body::File(vec![])),
                    Op::Mkdir(..) => (
                        fs.mkdir(Ino(dir), name.as_bytes()),
                        Body::Dir(BTreeMap::new(), dir),
                    ),
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
                    let got = fs.create(Ino(dir), name.as_bytes());
                    if let (Ok(ino), Ok(())) = (got, want) {
                        model.make(dir, &name, ino, Body::File(vec![]));
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
                assert_eq!(got, model.remove(dir, &name, want_dir), "{op:?}");
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
                let data: Vec<u8> = (0..len).map(|i| byte.wrapping_add((i / 7) as u8)).collect();
                let got = fs.write(Ino(file), offset, &data);
                let want = match &mut model.objs.get_mut(&file).unwrap().body {
                    Body::File(content) if len > 0 => {
                        let (from, to) = (offset as usize, offset as usize + len);
                        content.resize(content.len().max(to), 0);
                        content[from..to].copy_from_slice(&data);
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
                        content.resize(content.len().max((offset + more) as usize), 0);
                        Ok(())
                    }
                    (Body::File(content), _) => {
                        content.resize(len as usize, 0);
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
    fn compare(&mut self) {
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
                    assert!(got[..content.len()] == *content, "content of inode {ino}");
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

fn compare_listing(fs: &mut Fs<TestMemory>, model: &Model, dir: u64) {
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

fn cases(default: u32) -> u32 {
    let set = std::env::var("ICWASI_FS_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    set.map_or(default, |cases: u32| cases.div_ceil(300) * default)
}

fn run(count: u32, ops: usize, test: impl Fn(&[Op], u8)) {
    let config = Config {
        cases: cases(count),
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = (prop::collection::vec(op(), ops), any::<u8>());
    TestRunner::new(config)
        .run(&strategy, |(ops, seed)| {
            test(&ops, seed);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn behaves_like_the_model() {
    run(300, 200, |ops, _| {
        let mut run = Run::new();
        ops.iter().for_each(|op| run.step(op, false));
        run.compare();
    });
}

#[test]
fn behaves_like_the_model_with_a_remount_after_every_step() {
    run(60, 200, |ops, seed| {
        let mut run = Run::new();
        for (i, op) in ops.iter().enumerate() {
            run.step(op, false);
            run.remount();
            if i % 50 == usize::from(seed) % 50 {
                run.compare();
            }
        }
        run.compare();
    });
}

#[test]
fn growth_that_fails_changes_nothing() {
    run(50, 200, |ops, seed| {
        let mut run = Run::new();
        for (i, op) in ops.iter().enumerate() {
            // Sometimes full, sometimes refusing one growth only.
            let grows = run.faults.grows.get();
            let refuse = (i / 20 + usize::from(seed)) % 2 == 0;
            run.faults
                .fail_grow_after
                .set(refuse.then_some(grows + u64::from(seed % 3)));
            run.step(op, true);
            if i % 20 == 19 {
                run.compare();
            }
        }
        run.compare();
    });
}

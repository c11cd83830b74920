//! Files whose bytes are another memory's.

use std::rc::Rc;

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::fs::{FormatOptions, Fs, FsError, Ino};
use icwasi::memory::faulty::{Faults, FaultyMemory};
use proptest::prelude::*;

fn new_fs() -> (Fs<VectorMemory>, Ino) {
    let mut fs = Fs::open(VectorMemory::default(), &FormatOptions::default(), 1).unwrap();
    let root = fs.root();
    let file = fs.create(root, b"file").unwrap();
    (fs, file)
}

fn contents(fs: &mut Fs<VectorMemory>, ino: Ino) -> Vec<u8> {
    let mut data = vec![0xAA; fs.stat(ino).unwrap().size as usize];
    assert_eq!(fs.read(ino, 0, &mut data), Ok(data.len()));
    data
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, usize, u8),
    SetLen(u64),
    Allocate(u64, u64),
    Read(u64, usize),
    Remount,
}

fn op() -> impl Strategy<Value = Op> {
    let at = prop_oneof![4 => 0_u64..3_000, 2 => 60_000_u64..70_000, 1 => 0_u64..400_000];
    prop_oneof![
        4 => (at.clone(), 0_usize..20_000, 1_u8..).prop_map(|(at, len, byte)| Op::Write(at, len, byte)),
        3 => at.clone().prop_map(Op::SetLen),
        1 => (at.clone(), 0_u64..50_000).prop_map(|(at, len)| Op::Allocate(at, len)),
        2 => (at, 0_usize..70_000).prop_map(|(at, len)| Op::Read(at, len)),
        1 => Just(Op::Remount),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// As an ordinary file: above all, what was cut off never shows again.
    #[test]
    fn behaves_like_a_file(ops in prop::collection::vec(op(), 60)) {
        let (mut fs, file) = new_fs();
        let memory = VectorMemory::default();
        // An application has used it before.
        memory.grow(2);
        memory.write(0, &[0xEE; 131_072]);
        fs.attach(file, Rc::new(memory.clone())).unwrap();
        let used = fs.usage().used_bytes;
        let mut model: Vec<u8> = Vec::new();
        for op in ops {
            match op {
                Op::Write(at, len, byte) => {
                    fs.write(file, at, &vec![byte; len]).unwrap();
                    let end = at as usize + len;
                    if len > 0 {
                        model.resize(model.len().max(end), 0);
                        model[at as usize..end].fill(byte);
                    }
                }
                Op::SetLen(len) => {
                    fs.set_len(file, len).unwrap();
                    model.resize(len as usize, 0);
                }
                Op::Allocate(at, len) => {
                    let wanted = if len == 0 { Err(FsError::Invalid) } else { Ok(()) };
                    prop_assert_eq!(fs.allocate(file, at, len), wanted);
                    if len > 0 {
                        model.resize(model.len().max((at + len) as usize), 0);
                        prop_assert!(memory.size() * 65_536 >= at + len);
                    }
                }
                Op::Read(at, len) => {
                    let mut got = vec![0xAA; len];
                    let n = fs.read(file, at, &mut got).unwrap();
                    let from = model.len().min(at as usize);
                    let want = &model[from..model.len().min(from + len)];
                    prop_assert!(got[..n] == *want);
                }
                Op::Remount => {
                    fs = Fs::mount(fs.into_memory()).unwrap();
                    fs.attach(file, Rc::new(memory.clone())).unwrap();
                }
            }
            prop_assert_eq!(fs.stat(file).unwrap().size, model.len() as u64);
        }
        prop_assert!(contents(&mut fs, file) == model);
        prop_assert_eq!(fs.usage().used_bytes, used, "it takes no block");
        prop_assert_eq!(fs.check(), []);
    }
}

#[test]
fn what_cannot_be_attached() {
    let (mut fs, file) = new_fs();
    let root = fs.root();
    let memory = || Rc::new(VectorMemory::default());
    assert_eq!(fs.attach(root, memory()), Err(FsError::IsDir));
    let link = fs.symlink(root, b"link", b"file").unwrap();
    assert_eq!(fs.attach(link, memory()), Err(FsError::Invalid));
    let full = fs.create(root, b"full").unwrap();
    fs.write(full, 0, b"own").unwrap();
    assert_eq!(fs.attach(full, memory()), Err(FsError::NotPermitted));
    fs.attach(file, memory()).unwrap();
    assert_eq!(fs.attach(file, memory()), Err(FsError::Exists));
    assert_eq!(fs.attach(Ino(999), memory()), Err(FsError::BadInode));
}

#[test]
fn a_full_memory_changes_nothing() {
    let (mut fs, file) = new_fs();
    let faults = Rc::new(Faults::default());
    faults.max_pages.set(Some(1));
    let memory = VectorMemory::default();
    fs.attach(file, Rc::new(FaultyMemory::new(memory.clone(), faults)))
        .unwrap();
    fs.write(file, 0, b"kept").unwrap();
    let before = fs.stat(file).unwrap();
    let too_much = vec![1; 70_000];
    for result in [
        fs.write(file, 2, &too_much),
        fs.write(file, 65_536, b"x"),
        fs.allocate(file, 0, 65_537),
    ] {
        assert!(matches!(result, Err(FsError::NoSpace { .. })), "{result:?}");
    }
    assert_eq!(fs.stat(file).unwrap(), before);
    assert_eq!(contents(&mut fs, file), b"kept");
    // Only lengthened, it takes no memory.
    fs.set_len(file, 70_000).unwrap();
    assert_eq!(contents(&mut fs, file)[..5], *b"kept\0");
    assert_eq!(memory.size(), 1);
    assert_eq!(fs.set_len(file, u64::MAX), Err(FsError::FileTooBig));
}

#[test]
fn its_name_may_go() {
    let (mut fs, file) = new_fs();
    let root = fs.root();
    let memory = VectorMemory::default();
    fs.attach(file, Rc::new(memory.clone())).unwrap();
    fs.write(file, 0, b"bytes").unwrap();
    fs.rename(root, b"file", root, b"moved").unwrap();
    fs.link(file, root, b"again").unwrap();
    fs.unlink(root, b"moved").unwrap();
    assert_eq!(contents(&mut fs, file), b"bytes");
    fs.unlink(root, b"again").unwrap();
    // Its number is not given to another file.
    let other = fs.create(root, b"other").unwrap();
    fs.write(other, 0, b"other").unwrap();
    assert_ne!(other, file);
    assert_eq!(fs.check(), []);
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    assert_eq!(fs.stat(file).err(), Some(FsError::BadInode));
    let mut kept = [0; 5];
    memory.read(0, &mut kept);
    assert_eq!(&kept, b"bytes");
    assert_eq!(fs.check(), []);
}

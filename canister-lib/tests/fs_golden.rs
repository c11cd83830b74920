//! Images of every released version of the format are opened forever after. `images/README.md` says
//! how they are made and encoded. An image is never made again: a new version adds one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::fs::{FileType, Finding, FormatOptions, Fs, Ino, Part, PartSize, ResumeError};

const IMAGE_1_0: &[u8] = include_bytes!("images/format-1.0.sparse");

/// Names in the large directory, all of one file.
const LINKS: u32 = 1_000;
/// Pieces of the file with an index of leaves, of 10 bytes each, two blocks apart.
const PIECES: u64 = 1_600;
const QUOTA: u64 = 64 << 20;
/// When the image was made.
const CREATED: u64 = 1_700_000_000_000_000_000;

fn piece(i: u64) -> [u8; 10] {
    let mut piece = *b"piece.....";
    piece[6..].copy_from_slice(&(i as u32).to_le_bytes());
    piece
}

/// A file system with every kind of structure.
fn make() -> Vec<u8> {
    let options = FormatOptions {
        hash_key: *b"golden image key",
        quota_bytes: Some(QUOTA),
    };
    let mut fs = Fs::open(VectorMemory::default(), &options, CREATED).expect("a new memory");
    let root = fs.root();
    let small = fs.create(root, b"small.txt").unwrap();
    fs.write(small, 0, b"hello, world\n").unwrap();
    fs.set_times(small, Some(CREATED + 1), Some(CREATED + 2))
        .unwrap();
    fs.create(root, b"empty").unwrap();
    let dir = fs.mkdir(root, b"dir").unwrap();
    let deep = fs.mkdir(dir, "d\u{e9}ep".as_bytes()).unwrap();
    fs.link(small, deep, b"hard").unwrap();
    fs.symlink(root, b"short", "dir/d\u{e9}ep/hard".as_bytes())
        .unwrap();
    let long = "./".repeat(1000) + "small.txt";
    fs.symlink(dir, b"long", long.as_bytes()).unwrap();
    let large = fs.mkdir(root, b"large").unwrap();
    let linked = fs.create(root, b"linked").unwrap();
    for i in 0..LINKS {
        fs.link(linked, large, format!("n{i}").as_bytes()).unwrap();
    }
    for i in (0..LINKS).step_by(10) {
        fs.unlink(large, format!("n{i}").as_bytes()).unwrap();
    }
    let leaves = fs.create(root, b"leaves").unwrap();
    let index = fs.create(root, b"index").unwrap();
    for i in 0..PIECES {
        fs.write(index, i * 8192, &piece(i)).unwrap();
        if i < 300 {
            fs.write(leaves, i * 8192 + 4096, &piece(i)).unwrap();
        }
    }
    let ahead = fs.create(root, b"allocated").unwrap();
    fs.allocate(ahead, 0, 20_000).unwrap();
    fs.write(ahead, 9_000, b"written").unwrap();
    let hidden = fs.create(fs.system_dir(), b"hidden").unwrap();
    fs.write(hidden, 0, b"system").unwrap();
    for name in ["f1", "f2", "f3"] {
        fs.create(root, name.as_bytes()).unwrap();
    }
    for name in ["o1", "o2", "o3", "o4", "o5", "o6"] {
        let orphan = fs.create(root, name.as_bytes()).unwrap();
        fs.write(orphan, 0, b"held open").unwrap();
        fs.retain(orphan).unwrap();
        fs.unlink(root, name.as_bytes()).unwrap();
    }
    for name in ["f1", "f2", "f3"] {
        fs.unlink(root, name.as_bytes()).unwrap();
    }
    assert_eq!(fs.check(), []);
    fs.into_memory().borrow().to_vec()
}

/// Length of the image, then runs that are not zero: offset, length, bytes. Integers are u32.
fn encode(image: &[u8]) -> Vec<u8> {
    let mut out = (image.len() as u32).to_le_bytes().to_vec();
    let mut at = 0;
    while let Some(start) = image[at..].iter().position(|&b| b != 0).map(|n| at + n) {
        // Up to the next eight zeroes: they cost less as a gap.
        let rest = &image[start..];
        let len = rest.windows(8).position(|w| w == [0; 8]);
        let len = len.unwrap_or(rest.len());
        out.extend((start as u32).to_le_bytes());
        out.extend((len as u32).to_le_bytes());
        out.extend(&rest[..len]);
        at = start + len;
    }
    out
}

fn decode(sparse: &[u8]) -> Vec<u8> {
    let word = |at: usize| {
        let bytes = sparse[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let mut image = vec![0; word(0)];
    let mut at = 4;
    while at < sparse.len() {
        let (start, len) = (word(at), word(at + 4));
        image[start..start + len].copy_from_slice(&sparse[at + 8..at + 8 + len]);
        at += 8 + len;
    }
    image
}

fn memory(image: &[u8]) -> VectorMemory {
    let memory = VectorMemory::default();
    memory.grow(image.len() as u64 / 65536);
    memory.write(0, image);
    memory
}

fn at(fs: &mut Fs<VectorMemory>, path: &str) -> Ino {
    let root = fs.root();
    let found = fs.resolve(root, root, path.as_bytes(), true);
    found.unwrap().target.unwrap_or_else(|| panic!("no {path}"))
}

fn content(fs: &mut Fs<VectorMemory>, path: &str) -> Vec<u8> {
    let ino = at(fs, path);
    let mut buf = vec![1; fs.stat(ino).unwrap().size as usize];
    assert_eq!(fs.read(ino, 0, &mut buf), Ok(buf.len()));
    buf
}

fn names(fs: &mut Fs<VectorMemory>, dir: Ino) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    fs.read_dir(dir, 2, &mut |entry| {
        assert!(names.insert(String::from_utf8(entry.name.to_vec()).unwrap()));
        ControlFlow::Continue(())
    })
    .unwrap();
    names
}

/// What an image of version 1.0 holds.
fn verify(fs: &mut Fs<VectorMemory>) {
    assert_eq!(fs.check(), []);
    let root = fs.root();
    let expected = "allocated dir empty index large leaves linked short small.txt";
    let expected: BTreeSet<String> = expected.split(' ').map(String::from).collect();
    assert_eq!(names(fs, root), expected);
    for path in ["small.txt", "dir/d\u{e9}ep/hard", "short"] {
        assert_eq!(content(fs, path), b"hello, world\n", "{path}");
    }
    let dir = at(fs, "dir");
    let long = fs.lookup(dir, b"long").unwrap();
    let target = "./".repeat(1000) + "small.txt";
    assert_eq!(fs.read_link(long), Ok(target.into_bytes()));
    let small = at(fs, "small.txt");
    let stat = fs.stat(small).unwrap();
    assert_eq!((stat.nlink, stat.file_type), (2, FileType::Regular));
    assert_eq!((stat.mtime, stat.ctime), (CREATED + 2, CREATED));
    assert_eq!(content(fs, "empty"), b"");
    let large = at(fs, "large");
    let all: BTreeSet<String> = (0..LINKS)
        .filter(|i| i % 10 != 0)
        .map(|i| format!("n{i}"))
        .collect();
    assert_eq!(names(fs, large), all);
    let linked = at(fs, "large/n999");
    assert_eq!(fs.stat(linked).unwrap().nlink, LINKS * 9 / 10 + 1);
    for (path, pieces, shift) in [("index", PIECES, 0), ("leaves", 300, 4096)] {
        let got = content(fs, path);
        let mut want = vec![0; got.len()];
        for i in 0..pieces {
            let at = (i * 8192 + shift) as usize;
            want[at..at + 10].copy_from_slice(&piece(i));
        }
        assert!(got == want, "{path}");
    }
    let mut want = vec![0; 20_000];
    want[9_000..9_007].copy_from_slice(b"written");
    assert!(content(fs, "allocated") == want);
    let system = fs.system_dir();
    let hidden = fs.lookup(system, b"hidden").unwrap();
    let mut buf = [0; 10];
    assert_eq!(fs.read(hidden, 0, &mut buf), Ok(6));
    assert_eq!(&buf[..6], b"system");
    let usage = fs.usage();
    assert_eq!((usage.format, usage.quota_bytes), ((1, 0), Some(QUOTA)));
}

#[test]
fn version_1_0_opens() {
    let image = decode(IMAGE_1_0);
    let mut fs = Fs::mount(memory(&image)).expect("version 1.0 opens forever");
    verify(&mut fs);
    // It can be written to: the orphans go, names and files change, and it is still sound.
    fs.set_now(CREATED + 5);
    let (root, large) = (fs.root(), at(&mut fs, "large"));
    for i in 0..LINKS {
        let name = format!("n{i}");
        assert_eq!(fs.unlink(large, name.as_bytes()).is_ok(), i % 10 != 0);
    }
    fs.rename(root, b"index", large, b"moved").unwrap();
    let moved = at(&mut fs, "large/moved");
    fs.write(moved, 4096 * 3 + 5, b"between").unwrap();
    fs.set_len(moved, 1_000_000).unwrap();
    fs.mkdir(root, b"new").unwrap();
    assert_eq!(fs.check(), []);
    // Of the inodes counted, none is an orphan any more: 11 that were named, "new", "hidden", two roots.
    assert_eq!(fs.usage().inodes, 15);
    let mut fs = Fs::mount(fs.into_memory()).expect("what was mounted can be mounted");
    assert_eq!(fs.check(), []);
    assert_eq!(
        &content(&mut fs, "large/moved")[4096 * 3 + 5..][..7],
        b"between"
    );
}

/// With `ICWASI_WRITE_IMAGE=FILE`, also writes the image of today's version to a new file.
#[test]
fn what_is_written_today_reads_as_version_1_0() {
    let image = make();
    let sparse = encode(&image);
    assert!(decode(&sparse) == image, "the encoding loses nothing");
    if let Some(path) = std::env::var_os("ICWASI_WRITE_IMAGE") {
        let file = std::fs::File::create_new(&path).expect("a path where no file is");
        std::io::Write::write_all(&mut &file, &sparse).expect("the file can be written");
    }
    verify(&mut Fs::mount(memory(&image)).expect("it was just made"));
}

/// In parts and steps, a check finds what it finds in one go, also of a damaged image.
#[test]
fn a_check_goes_in_parts_and_steps() {
    let image = decode(IMAGE_1_0);
    let sorted = |mut findings: Vec<Finding>| {
        findings.sort_by_key(|f| (f.invariant.number(), f.subject, f.detail));
        findings
    };
    for damage in [0, 92, 4096 + 5, 3 * 4096 + 130, 3 * 4096 + 4 * 128 + 8] {
        let mut damaged = image.clone();
        damaged[damage] ^= u8::from(damage > 0);
        let mut fs = Fs::mount(memory(&damaged)).unwrap();
        let whole = sorted(fs.check());
        assert_eq!(
            whole.is_empty(),
            damage == 0 || damage > 3 * 4096 + 500,
            "{damage}"
        );
        for inodes in [0, 1, 7, 100] {
            let size = PartSize { inodes, groups: 1 };
            let parts = fs.check_parts(size);
            assert!(parts >= 24 / inodes.max(1), "{parts} parts of {inodes}");
            let part = |index| Part { index, size };
            let found = (0..parts).flat_map(|index| fs.check_part(part(index)));
            let found = found.collect::<Vec<_>>();
            assert_eq!(sorted(found), whole, "{damage}");
            for pieces in [1, 5] {
                let mut steps = 0;
                let found = (0..parts).flat_map(|index| {
                    let (findings, taken) = in_steps(&mut fs, part(index), pieces);
                    steps += taken;
                    findings
                });
                let found = found.collect::<Vec<_>>();
                assert_eq!(sorted(found), whole, "{damage} {pieces}");
                assert!(steps > parts * 24 / pieces, "{steps} steps");
            }
            assert_eq!(fs.check_part(part(parts)), []);
            assert_eq!(fs.check_part(part(u32::MAX)), []);
        }
    }
}

/// A part in steps of so many pieces of work: its findings, and how many steps it took.
fn in_steps<M: Memory>(fs: &mut Fs<M>, part: Part, pieces: u32) -> (Vec<Finding>, u32) {
    let (mut findings, mut rest, mut steps) = (Vec::new(), None::<Vec<u8>>, 0);
    loop {
        let mut left = pieces;
        let mut go_on = || {
            left -= 1;
            left > 0
        };
        let step = fs.check_step(part, rest.as_deref(), &mut go_on).unwrap();
        findings.extend(step.findings);
        steps += 1;
        rest = step.rest;
        if rest.is_none() {
            return (findings, steps);
        }
    }
}

/// A step goes on only where an earlier one of the same part ended, and only if nothing was done
/// meanwhile; bytes that were made up do no harm.
#[test]
fn a_check_is_resumed_by_what_its_last_step_gave() {
    let mut fs = Fs::mount(memory(&decode(IMAGE_1_0))).unwrap();
    fs.set_now(1);
    let size = PartSize::SMALL;
    let part = Part { index: 0, size };
    let mut steps = Vec::new();
    loop {
        let last: Option<&Vec<u8>> = steps.last();
        let step = fs.check_step(part, last.map(|rest| &rest[..]), &mut || false);
        match step.unwrap().rest {
            Some(rest) => steps.push(rest),
            None => break,
        }
    }
    let other = PartSize { inodes: 7, ..size };
    for (other, error) in [
        (Part { index: 1, size }, ResumeError::Invalid),
        (
            Part {
                index: 0,
                size: other,
            },
            ResumeError::Invalid,
        ),
    ] {
        let result = fs.check_step(other, Some(&steps[0]), &mut || true);
        assert_eq!(result.unwrap_err(), error);
    }
    let invalid = |fs: &mut Fs<_>, rest: &[u8]| {
        let result = fs.check_step(part, Some(rest), &mut || true);
        assert_eq!(result.unwrap_err(), ResumeError::Invalid, "{}", rest.len());
    };
    let rest = steps[steps.len() / 2].clone();
    for len in (0..200).chain([rest.len() - 1]) {
        invalid(&mut fs, &rest[..len]);
    }
    invalid(&mut fs, &[&rest[..], &[0]].concat());
    // Behind the stamp any byte may be changed.
    let made_up = std::cell::RefCell::new(&mut fs);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let changes = (0..steps.len(), 32..rest.len().min(1000), 1..=255_u8);
    runner
        .run(&(changes, 1..4_u32), |((step, at, change), pieces)| {
            let mut rest = Some(steps[step].clone());
            if let Some(rest) = &mut rest {
                // The head, more often than not.
                let at = if change % 3 > 0 { 32 + at % 60 } else { at };
                rest[at] ^= change;
            }
            for _ in 0..20 {
                let mut left = pieces;
                let mut go_on = || {
                    left -= 1;
                    left > 0
                };
                let step = made_up
                    .borrow_mut()
                    .check_step(part, rest.as_deref(), &mut go_on);
                match step {
                    Ok(step) if step.rest.is_some() => rest = step.rest,
                    Ok(_) | Err(ResumeError::Invalid) => break,
                    Err(ResumeError::Changed) => panic!("nothing was done"),
                }
            }
            Ok(())
        })
        .unwrap();
    // Another message, and the same after an upgrade.
    fs.set_now(2);
    let changed = |fs: &mut Fs<_>| {
        let result = fs.check_step(part, Some(&rest), &mut || true);
        assert_eq!(result.unwrap_err(), ResumeError::Changed);
    };
    changed(&mut fs);
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    fs.set_now(3);
    changed(&mut fs);
}

//! The file system's API on small cases whose outcome POSIX fixes.

use std::ops::ControlFlow;
use std::rc::Rc;

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::format::superblock::{self, Superblock};
use icwasi::fs::{FileType, FormatOptions, Fs, FsError, Ino, MountError};
use icwasi::memory::faulty::{Faults, FaultyMemory};

fn new_fs() -> Fs<VectorMemory> {
    let options = FormatOptions {
        hash_key: [7; 16],
        quota_bytes: None,
    };
    Fs::open(VectorMemory::default(), &options, 1).expect("a new memory can be formatted")
}

fn names(fs: &mut Fs<VectorMemory>, dir: Ino) -> Vec<String> {
    let mut names = Vec::new();
    fs.read_dir(dir, 0, &mut |entry| {
        names.push(String::from_utf8(entry.name.to_vec()).expect("names are UTF-8"));
        ControlFlow::Continue(())
    })
    .expect("listing");
    names.sort();
    names
}

fn contents(fs: &mut Fs<VectorMemory>, ino: Ino) -> Vec<u8> {
    let mut data = vec![0xAA; fs.stat(ino).expect("stat").size as usize];
    assert_eq!(fs.read(ino, 0, &mut data), Ok(data.len()));
    data
}

#[test]
fn files_survive_remount() {
    let mut fs = new_fs();
    let root = fs.root();
    let dir = fs.mkdir(root, b"d").unwrap();
    let file = fs.create(dir, b"f").unwrap();
    fs.write(file, 5000, b"hello").unwrap();
    fs.symlink(root, b"l", b"d/f").unwrap();
    assert_eq!(fs.check(), []);
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    let found = fs.resolve(root, root, b"l", true).unwrap().target.unwrap();
    assert_eq!(found, file);
    let data = contents(&mut fs, file);
    assert_eq!((data.len(), &data[5000..]), (5005, &b"hello"[..]));
    assert!(data[..5000].iter().all(|&b| b == 0));
    assert_eq!(names(&mut fs, root), [".", "..", "d", "l"]);
    assert_eq!(fs.stat(root).unwrap().nlink, 3);
    assert_eq!(fs.stat(file).unwrap().file_type, FileType::Regular);
}

#[test]
fn an_empty_file_system_is_small() {
    let fs = new_fs();
    assert_eq!(fs.into_memory().size(), 1);
}

#[test]
fn foreign_memory_is_left_alone() {
    for first in [0, 1] {
        let memory = VectorMemory::default();
        memory.grow(1);
        memory.write(0, &[first; 64]);
        let options = FormatOptions::default();
        assert_eq!(
            Fs::open(memory.clone(), &options, 0).err(),
            Some(MountError::Foreign)
        );
        let mut now = [9; 64];
        memory.read(0, &mut now);
        assert_eq!(now, [first; 64]);
    }
}

#[test]
fn rename_rules() {
    let mut fs = new_fs();
    let root = fs.root();
    let a = fs.mkdir(root, b"a").unwrap();
    let b = fs.mkdir(a, b"b").unwrap();
    let f = fs.create(root, b"f").unwrap();
    fs.link(f, root, b"g").unwrap();
    assert_eq!(fs.rename(root, b"f", root, b"f"), Ok(()));
    assert_eq!(fs.rename(root, b"f", root, b"g"), Ok(()));
    assert_eq!(names(&mut fs, root), [".", "..", "a", "f", "g"]);
    assert_eq!(fs.rename(root, b"a", b, b"x"), Err(FsError::Invalid));
    assert_eq!(fs.rename(root, b"a", root, b"f"), Err(FsError::NotDir));
    assert_eq!(fs.rename(root, b"f", root, b"a"), Err(FsError::IsDir));
    let c = fs.mkdir(root, b"c").unwrap();
    assert_eq!(fs.rename(root, b"c", root, b"a"), Err(FsError::NotEmpty));
    assert_eq!(fs.rename(a, b"b", root, b"c"), Ok(()));
    assert_eq!(fs.lookup(b, b".."), Ok(root));
    assert_eq!(fs.stat(c).err(), Some(FsError::BadInode));
    assert_eq!(fs.stat(root).unwrap().nlink, 4);
    assert_eq!(fs.check(), []);
}

#[test]
fn unlinked_open_files_live_until_the_last_close_or_mount() {
    let mut fs = new_fs();
    let root = fs.root();
    let used = fs.usage().used_bytes;
    let mut inos = Vec::new();
    for i in 0..20 {
        let name = format!("f{i}");
        let ino = fs.create(root, name.as_bytes()).unwrap();
        fs.write(ino, 0, &[i; 10_000]).unwrap();
        fs.retain(ino).unwrap();
        fs.unlink(root, name.as_bytes()).unwrap();
        inos.push(ino);
    }
    assert_eq!(contents(&mut fs, inos[3]), [3; 10_000]);
    assert_eq!(fs.check(), []);
    for at in [7, 19, 0] {
        fs.release(inos[at]).unwrap();
        assert_eq!(fs.stat(inos[at]).err(), Some(FsError::BadInode));
    }
    assert_eq!(fs.check(), []);
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    for i in 0..20 {
        fs.create(root, format!("n{i}").as_bytes()).unwrap();
    }
    assert_eq!(fs.check(), []);
    for i in 0..20 {
        fs.unlink(root, format!("n{i}").as_bytes()).unwrap();
    }
    // One directory page stays, and one block of the inode table may have been added.
    assert!(fs.usage().used_bytes <= used + 2 * 4096);
}

#[test]
fn paths_stay_inside_their_root() {
    let mut fs = new_fs();
    let root = fs.root();
    let a = fs.mkdir(root, b"a").unwrap();
    let b = fs.mkdir(a, b"b").unwrap();
    fs.symlink(b, b"up", b"../../x").unwrap();
    fs.symlink(b, b"abs", b"/etc").unwrap();
    fs.symlink(b, b"loop", b"loop").unwrap();
    let mut resolve = |path: &[u8], follow| fs.resolve(a, a, path, follow).map(|r| r.target);
    assert_eq!(resolve(b"..", true), Err(FsError::NotCapable));
    assert_eq!(resolve(b"b/../..", true), Err(FsError::NotCapable));
    assert_eq!(resolve(b"b/..", true), Ok(Some(a)));
    assert_eq!(resolve(b"b/up", true), Err(FsError::NotCapable));
    assert!(resolve(b"b/up", false).is_ok_and(|target| target.is_some()));
    assert_eq!(resolve(b"b/abs", true), Err(FsError::NotCapable));
    assert_eq!(resolve(b"/b", true), Err(FsError::NotCapable));
    assert_eq!(resolve(b"b/loop", true), Err(FsError::SymlinkLoop));
    assert_eq!(resolve(b"", true), Err(FsError::NotFound));
    assert_eq!(resolve(b"none/..", true), Err(FsError::NotFound));
    assert_eq!(resolve(b"b/new", true), Ok(None));
    assert_eq!(fs.resolve(a, b, b"../..", true), Err(FsError::NotCapable));
    // Moved out of the root while a descriptor is open on it.
    fs.rename(a, b"b", root, b"moved").unwrap();
    assert_eq!(fs.resolve(a, b, b"..", true), Err(FsError::NotCapable));
}

#[test]
fn old_bytes_never_show() {
    let mut fs = new_fs();
    let root = fs.root();
    let old = fs.create(root, b"old").unwrap();
    fs.write(old, 0, &[0xEE; 300_000]).unwrap();
    fs.unlink(root, b"old").unwrap();
    let new = fs.create(root, b"new").unwrap();
    fs.retain(new).unwrap();
    let mut expected = Vec::new();
    for (size, at, len) in [
        (0, 10, 100),
        (50, 9000, 3),
        (9001, 9002, 9000),
        (1, 70_000, 1),
    ] {
        fs.set_len(new, size).unwrap();
        expected.resize(size as usize, 0);
        fs.write(new, at, &vec![1; len]).unwrap();
        expected.resize(expected.len().max(at as usize + len), 0);
        expected[at as usize..at as usize + len].fill(1);
        assert_eq!(contents(&mut fs, new), expected);
        fs.allocate(new, 100_000, 10_000).unwrap();
        expected.resize(110_000, 0);
        assert_eq!(contents(&mut fs, new), expected);
        fs.set_len(new, 60_000).unwrap();
        fs.set_len(new, 120_000).unwrap();
        expected.truncate(60_000);
        expected.resize(120_000, 0);
        assert_eq!(contents(&mut fs, new), expected);
    }
    assert_eq!(fs.check(), []);
}

#[test]
fn listing_survives_changes() {
    let mut fs = new_fs();
    let root = fs.root();
    for i in 0..3000 {
        fs.create(root, format!("stay{i}").as_bytes()).unwrap();
    }
    let (mut cookie, mut seen, mut step) = (0, Vec::new(), 0);
    loop {
        let before = cookie;
        let mut left = 50;
        fs.read_dir(root, cookie, &mut |entry| {
            if entry.name.starts_with(b"stay") {
                seen.push(entry.name.to_vec());
            }
            cookie = entry.cookie;
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        if cookie == before {
            break;
        }
        for _ in 0..40 {
            fs.create(root, format!("extra{step}").as_bytes()).unwrap();
            if step % 3 == 0 {
                fs.unlink(root, format!("extra{step}").as_bytes()).unwrap();
            }
            step += 1;
        }
    }
    let yielded = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), yielded), (3000, 3000));
    assert_eq!(fs.check(), []);
    for i in 0..3000 {
        fs.unlink(root, format!("stay{i}").as_bytes()).unwrap();
    }
    assert_eq!(fs.check(), []);
}

#[test]
fn other_versions() {
    let fs = new_fs();
    let root = fs.root();
    let memory = fs.into_memory();
    let mut bytes = vec![0; superblock::END];
    memory.read(0, &mut bytes);
    let mut sb = Superblock::decode(&bytes).unwrap();
    sb.version = (1, 7);
    memory.write(0, &sb.encode());
    let mut fs = Fs::open(memory, &FormatOptions::default(), 5).unwrap();
    assert_eq!(fs.usage().format, (1, 7));
    assert_eq!(names(&mut fs, root), [".", ".."]);
    assert_eq!(fs.create(root, b"f"), Err(FsError::ReadOnly));
    assert_eq!(fs.set_quota(None), Err(FsError::ReadOnly));
    assert_eq!(fs.set_times(root, None, Some(3)), Err(FsError::ReadOnly));
    let memory = fs.into_memory();
    sb.version = (2, 0);
    memory.write(0, &sb.encode());
    let before = memory.borrow().clone();
    let error = Fs::open(memory.clone(), &FormatOptions::default(), 5).err();
    assert_eq!(error, Some(MountError::UnknownMajor(2)));
    assert!(*memory.borrow() == before);
}

#[test]
fn times_follow_reads_and_changes() {
    let mut fs = new_fs();
    let root = fs.root();
    let file = fs.create(root, b"f").unwrap();
    let times = |fs: &mut Fs<VectorMemory>, ino| {
        let stat = fs.stat(ino).unwrap();
        (stat.atime, stat.mtime, stat.ctime)
    };
    fs.set_now(10);
    fs.write(file, 0, b"x").unwrap();
    assert_eq!(times(&mut fs, file), (1, 10, 10));
    assert_eq!(times(&mut fs, root), (1, 1, 1));
    fs.set_now(20);
    fs.read(file, 0, &mut [0]).unwrap();
    fs.set_now(30);
    // Relatime: not again before the next change, or a day.
    fs.read(file, 0, &mut [0]).unwrap();
    assert_eq!(times(&mut fs, file), (20, 10, 10));
    let version = fs.stat(file).unwrap().version;
    fs.rename(root, b"f", root, b"g").unwrap();
    assert_eq!(times(&mut fs, file), (20, 10, 30));
    assert_eq!(times(&mut fs, root), (1, 30, 30));
    assert!(fs.stat(file).unwrap().version > version);
    fs.set_times(file, Some(5), None).unwrap();
    assert_eq!(times(&mut fs, file), (5, 10, 30));
    fs.set_now(24 * 3600 * 1_000_000_000 + 100);
    fs.set_times(file, Some(50), Some(40)).unwrap();
    fs.unlink(root, b"g").unwrap();
    assert_eq!(fs.stat(file).err(), Some(FsError::BadInode));
}

#[test]
fn format_without_room() {
    let faults = Rc::new(Faults::default());
    faults.max_pages.set(Some(0));
    let memory = FaultyMemory::new(VectorMemory::default(), faults);
    let error = Fs::open(memory, &FormatOptions::default(), 0).err();
    assert_eq!(error, Some(MountError::NoSpace));
}

#[test]
fn a_path_is_not_walked_from_a_directory_that_has_moved() {
    let mut fs = new_fs();
    let root = fs.root();
    let a = fs.mkdir(root, b"a").unwrap();
    let b = fs.mkdir(a, b"b").unwrap();
    let c = fs.mkdir(b, b"c").unwrap();
    fs.create(c, b"f").unwrap();
    let target = |fs: &mut Fs<VectorMemory>, path: &[u8]| {
        fs.resolve(root, root, path, true).map(|found| found.target)
    };
    assert_eq!(target(&mut fs, b"a/b"), Ok(Some(b)));
    // From where the last path ended, by more than one name.
    assert_eq!(target(&mut fs, b"a/b/c"), Ok(Some(c)));
    assert_eq!(target(&mut fs, b"a/b/c/../../../a"), Ok(Some(a)));
    assert_eq!(
        target(&mut fs, b"a/b/c/../../../.."),
        Err(FsError::NotCapable)
    );
    assert_eq!(target(&mut fs, b"a/b//c"), Ok(Some(c)));
    assert_eq!(target(&mut fs, b"a/b/none/f"), Err(FsError::NotFound));
    fs.rename(root, b"a", root, b"z").unwrap();
    assert_eq!(target(&mut fs, b"a/b/c"), Err(FsError::NotFound));
    assert_eq!(target(&mut fs, b"z/b/c"), Ok(Some(c)));
    fs.unlink(c, b"f").unwrap();
    fs.rmdir(b, b"c").unwrap();
    assert_eq!(target(&mut fs, b"z/b/c/f"), Err(FsError::NotFound));
}

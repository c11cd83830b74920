//! Preopened directories, and the file system on the heap.

mod wasi_support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ic_stable_structures::Memory;
use icwasi::format::superblock::{self, Superblock};
use icwasi::wasi::errno::Errno;
use icwasi::wasi::types::Whence;
use icwasi::wasi::{fd_io, fd_meta, path};
use icwasi_types::{LinkConfig, Preopen};
use wasi_support::*;

fn preopens(list: &[(&str, bool)]) -> LinkConfig {
    let preopen = |&(path, read_only): &(&str, bool)| Preopen {
        path: path.to_owned(),
        read_only,
    };
    LinkConfig {
        preopens: list.iter().map(preopen).collect(),
        ..LinkConfig::default()
    }
}

/// The names that a C library finds, by asking for 3, 4 and so on.
fn found_open(p: &mut Program) -> Vec<String> {
    let mut names = Vec::new();
    for fd in 3.. {
        match p.call(|rt, g| fd_meta::fd_prestat_get(rt, g, fd, OUT)) {
            Err(error) => {
                assert_eq!(error, Errno::BADF);
                break;
            }
            Ok(()) => {
                assert_eq!(p.u32_at(OUT), 0);
                let len = p.u32_at(OUT + 4);
                p.call(|rt, g| fd_meta::fd_prestat_dir_name(rt, g, fd, DATA, len))
                    .unwrap();
                names.push(String::from_utf8(p.bytes(DATA, len as usize).to_vec()).unwrap());
            }
        }
    }
    names
}

fn set_times(p: &mut Program, name: &str) -> icwasi::wasi::errno::Result<()> {
    let (len, dir) = (p.path(name), p.dir);
    p.call(|rt, g| path::path_filestat_set_times(rt, g, dir, FOLLOW, PATH, len, 1, 2, 5))
}

/// Every way to change something at `name`, a file, and beside it.
fn changes(p: &mut Program, name: &str) -> Vec<(&'static str, icwasi::wasi::errno::Result<()>)> {
    vec![
        ("open to write", p.open(name, 0, RW).map(drop)),
        ("truncate", p.open(name, TRUNC, READ).map(drop)),
        ("create", p.open("new", CREAT, READ).map(drop)),
        ("mkdir", p.mkdir("newdir")),
        ("symlink", p.symlink("x", "newlink")),
        ("link", p.link(0, name, "newname")),
        ("rename", p.rename(name, "moved")),
        ("unlink", p.unlink(name)),
        ("rmdir", p.rmdir("empty")),
        ("times", set_times(p, name)),
    ]
}

#[test]
fn preopens_in_order_and_no_way_out() {
    let config = preopens(&[("/data", false), ("/etc/app", true), ("/", false)]);
    let mut p = Program::linked(&config);
    assert_eq!(found_open(&mut p), ["/data", "/etc/app", "/"]);
    // Created, with what is above them.
    let (data, etc, root) = (3, 4, 5);
    p.dir = root;
    assert_eq!(p.stat("etc/app", 0).unwrap(), p.fstat(etc).unwrap());
    assert_eq!(p.stat("data", 0).unwrap(), p.fstat(data).unwrap());
    p.file("secret", b"secret");
    p.symlink("../secret", "data/up").unwrap();
    p.symlink("../data/in", "data/round").unwrap();
    p.mkdir("data/sub").unwrap();
    p.file("data/in", b"in");
    p.dir = data;
    assert_eq!(p.content("in"), b"in");
    for out in [
        "..",
        "../secret",
        "sub/../../secret",
        "up",
        "round",
        "/secret",
        "./../data/in",
    ] {
        fails(p.open(out, 0, READ), Errno::PERM);
        fails(p.stat(out, FOLLOW), Errno::PERM);
        fails(
            p.open(out, CREAT | EXCL, WRITE)
                .map_err(|e| if e == Errno::EXIST { Errno::PERM } else { e }),
            Errno::PERM,
        );
    }
    // A directory opened from there is no way out either, also when it has been moved.
    let sub = p.open("sub", DIRECTORY, READ).unwrap();
    p.dir = root;
    p.rename("data/sub", "sub").unwrap();
    p.dir = sub;
    fails(p.open("..", DIRECTORY, READ), Errno::PERM);
    fails(p.open("../secret", 0, READ), Errno::PERM);
    p.check();
}

#[test]
fn nothing_changes_through_a_read_only_preopen() {
    let config = preopens(&[("/ro", true), ("/ro", false), ("/other", false)]);
    let mut p = Program::linked(&config);
    let (ro, rw, other) = (3, 4, 5);
    p.dir = rw;
    p.file("f", b"content");
    p.mkdir("empty").unwrap();
    p.mkdir("sub").unwrap();
    p.file("sub/f", b"deep");
    let before = p.stat("f", 0).unwrap();
    p.next_message(1_000);
    p.dir = ro;
    let sub = p.open("sub", DIRECTORY, READ).unwrap();
    p.mkdir("f").expect_err("exists");
    for dir in [ro, sub] {
        p.dir = dir;
        for (what, result) in changes(&mut p, "f") {
            let missing = dir == sub && what == "rmdir";
            let errno = if missing { Errno::NOENT } else { Errno::ROFS };
            assert_eq!(result, Err(errno), "{what}");
        }
    }
    p.dir = ro;
    // What only reads works, also with CREAT where there is a file, as on Linux.
    let fd = p.open("f", CREAT, READ).unwrap();
    assert_eq!(p.read(fd, 10).unwrap(), b"content");
    fails(p.write(fd, b"x"), Errno::BADF);
    fails(
        fd_meta::fd_filestat_set_size(&mut p.rt, fd, 0),
        Errno::INVAL,
    );
    fails(fd_io::fd_allocate(&mut p.rt, fd, 0, 9), Errno::BADF);
    fails(
        fd_meta::fd_filestat_set_times(&mut p.rt, fd, 0, 0, 10),
        Errno::ROFS,
    );
    fails(
        fd_meta::fd_filestat_set_times(&mut p.rt, ro, 0, 0, 10),
        Errno::ROFS,
    );
    // Neither by another name, nor by moving it out or over.
    let (f, g) = (p.path("f"), p.path2("g"));
    fails(
        p.call(|rt, m| path::path_link(rt, m, ro, 0, PATH, f, other, PATH2, g)),
        Errno::ROFS,
    );
    for (from, to) in [(ro, other), (rw, ro)] {
        fails(
            p.call(|rt, m| path::path_rename(rt, m, from, PATH, f, to, PATH2, g)),
            Errno::ROFS,
        );
    }
    let after = p.stat("f", 0).unwrap();
    assert_eq!(
        (after.size, after.mtim, after.nlink),
        (before.size, before.mtim, 1)
    );
    assert_eq!(p.content("sub/f"), b"deep");
    p.dir = rw;
    for (what, result) in changes(&mut p, "f") {
        let gone = ["unlink", "times"].contains(&what);
        assert_eq!(
            result,
            if gone { Err(Errno::NOENT) } else { Ok(()) },
            "{what}"
        );
    }
    p.check();
}

#[test]
fn a_preopen_that_is_no_directory_refuses_the_install() {
    let mut p = Program::new();
    p.file("data", b"a file");
    let refused = catch_unwind(AssertUnwindSafe(|| {
        p.upgrade_to(&preopens(&[("/data/x", false)]))
    }));
    let message = refused.err().expect("traps");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(
        message.contains("/data/x") && message.contains("not a directory"),
        "{message}"
    );
}

#[test]
fn a_removed_preopen_is_made_again_by_an_upgrade() {
    let config = preopens(&[("/", false), ("/data", false)]);
    let mut p = Program::linked(&config);
    p.dir = 4;
    p.file("f", b"x");
    p.unlink("f").unwrap();
    p.dir = ROOT;
    p.rmdir("data").unwrap();
    p.dir = 4;
    fails(p.open("f", CREAT, WRITE), Errno::NOENT);
    p.check();
    let mut p = p.upgrade_to(&config);
    p.file("f", b"y");
    p.check();
}

fn with_tmp(bytes: u64) -> LinkConfig {
    LinkConfig {
        tmp_bytes: Some(bytes),
        ..LinkConfig::default()
    }
}

/// Inode numbers by name.
fn listing(p: &mut Program, dir: &str) -> std::collections::BTreeMap<String, u64> {
    let fd = p.open(dir, DIRECTORY, READ).unwrap();
    let page = p.readdir(fd, 4_000, 0).unwrap();
    p.close(fd).unwrap();
    let (mut at, mut found) = (0, std::collections::BTreeMap::new());
    let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
    while at < page.len() {
        let len = u64_at(at + 16) as u32 as usize;
        let name = String::from_utf8(page[at + 24..at + 24 + len].to_vec()).unwrap();
        found.insert(name, u64_at(at + 8));
        at += 24 + len;
    }
    found
}

#[test]
fn tmp_is_another_device_on_the_way() {
    let mut p = Program::linked(&with_tmp(1 << 20));
    let (root, tmp) = (p.stat(".", 0).unwrap(), p.stat("tmp", 0).unwrap());
    assert_eq!((root.dev, tmp.dev), (1, 2));
    p.mkdir("tmp/d").unwrap();
    p.mkdir("data").unwrap();
    p.file("tmp/d/f", b"on the heap");
    p.file("data/f", b"stable");
    // Paths go in and out again, links too.
    assert_eq!(p.content("data/../tmp/d/f"), b"on the heap");
    assert_eq!(p.content("tmp/d/../../data/f"), b"stable");
    p.symlink("../tmp/d", "data/into").unwrap();
    p.symlink("../../data/f", "tmp/d/back").unwrap();
    assert_eq!(p.content("data/into/f"), b"on the heap");
    assert_eq!(p.content("data/into/back"), b"stable");
    assert_eq!(p.stat("tmp/..", 0).unwrap(), p.stat(".", 0).unwrap());
    assert_eq!(p.stat("tmp/.", 0).unwrap(), p.stat("tmp", 0).unwrap());
    fails(p.stat("tmp/../..", 0), Errno::PERM);
    fails(p.stat("tmp/f/x", 0), Errno::NOENT);
    fails(p.stat("tmp/d/f/", 0), Errno::NOTDIR);
    let inside = listing(&mut p, "tmp");
    assert_eq!(inside["."], p.stat("tmp", 0).unwrap().ino);
    assert_eq!(inside[".."], p.stat(".", 0).unwrap().ino);
    assert_eq!(inside["d"], p.stat("tmp/d", 0).unwrap().ino);
    assert!(listing(&mut p, ".").contains_key("tmp"));
    // An open directory is not left.
    p.dir = p.open("tmp", DIRECTORY, READ).unwrap();
    assert_eq!(p.content("d/f"), b"on the heap");
    fails(p.stat("..", 0), Errno::PERM);
    fails(p.open("d/back", 0, READ), Errno::PERM);
    // A file is a file, in all ways.
    let fd = p.open("d/f", 0, RW).unwrap();
    assert_eq!(p.fstat(fd).unwrap(), p.stat("d/f", 0).unwrap());
    assert_eq!(p.seek(fd, -4, Whence::End).unwrap(), 7);
    assert_eq!(p.read(fd, 10).unwrap(), b"heap");
    assert_eq!(p.pwrite(fd, b"IN", 0).unwrap(), 2);
    assert_eq!(p.pread(fd, 6, 0).unwrap(), b"IN the");
    fd_io::fd_sync(&mut p.rt, fd).unwrap();
    fd_io::fd_allocate(&mut p.rt, fd, 0, 100).unwrap();
    fd_meta::fd_filestat_set_size(&mut p.rt, fd, 3).unwrap();
    fd_meta::fd_filestat_set_times(&mut p.rt, fd, 7, 8, 5).unwrap();
    let stat = p.fstat(fd).unwrap();
    assert_eq!((stat.dev, stat.size, stat.atim, stat.mtim), (2, 3, 7, 8));
    p.unlink("d/f").unwrap();
    assert_eq!(p.pread(fd, 6, 0).unwrap(), b"IN ");
    p.close(fd).unwrap();
    p.check();
}

#[test]
fn nothing_moves_between_file_systems() {
    let mut p = Program::linked(&with_tmp(1 << 20));
    p.file("tmp/t", b"t");
    p.file("s", b"s");
    p.mkdir("d").unwrap();
    for (from, to) in [
        ("s", "tmp/s"),
        ("tmp/t", "t"),
        ("d", "tmp/d"),
        ("s", "tmp/t"),
    ] {
        fails(p.rename(from, to), Errno::XDEV);
    }
    fails(p.link(0, "s", "tmp/s"), Errno::XDEV);
    fails(p.link(0, "tmp/t", "t"), Errno::XDEV);
    fails(p.rename("tmp", "other"), Errno::BUSY);
    fails(p.rename("d", "tmp"), Errno::BUSY);
    fails(p.rmdir("tmp"), Errno::BUSY);
    fails(p.unlink("tmp"), Errno::ISDIR);
    fails(p.mkdir("tmp"), Errno::EXIST);
    assert_eq!(
        (p.content("s"), p.content("tmp/t")),
        (b"s".to_vec(), b"t".to_vec())
    );
    p.check();
}

#[test]
fn tmp_has_a_limit_and_ends_with_an_upgrade() {
    let config = with_tmp(1 << 20);
    let mut p = Program::linked(&config);
    let before = p.stable.borrow().len();
    let fd = p.open("tmp/big", CREAT, RW).unwrap();
    let block = [7; 50_000];
    let written = (0..100).take_while(|_| p.write(fd, &block).is_ok()).count();
    assert!(
        (15..21).contains(&written),
        "{written} blocks of 50,000 bytes in 1 MiB"
    );
    fails(p.write(fd, &block), Errno::NOSPC);
    assert_eq!(p.fstat(fd).unwrap().size, written as u64 * 50_000);
    assert_eq!(
        p.stable.borrow().len(),
        before,
        "nothing went to stable memory"
    );
    // Space comes back.
    p.close(fd).unwrap();
    p.unlink("tmp/big").unwrap();
    p.file("tmp/again", &block);
    p.next_message(10);
    assert_eq!(p.stat("tmp/again", 0).unwrap().size, 50_000);
    p.check();
    let mut p = p.upgrade_to(&config);
    assert_eq!(listing(&mut p, "tmp").len(), 2);
    p.file("tmp/again", b"new");
    // What is below it shows when it is gone, and stays where it was.
    let mut p = p.upgrade();
    p.file("tmp/below", b"below");
    let mut p = p.upgrade_to(&config);
    fails(p.stat("tmp/below", 0), Errno::NOENT);
    let mut p = p.upgrade();
    assert_eq!(p.content("tmp/below"), b"below");
    p.check();
}

#[test]
fn tmp_as_a_preopen() {
    let config = LinkConfig {
        tmp_bytes: Some(1 << 20),
        ..preopens(&[("/data", false), ("/tmp/x", false)])
    };
    let mut p = Program::linked(&config);
    assert_eq!(p.fstat(3).unwrap().dev, 1);
    assert_eq!(p.fstat(4).unwrap().dev, 2);
    p.dir = 4;
    p.file("f", b"f");
    fails(p.stat("..", 0), Errno::PERM);
    let (f, g) = (p.path("f"), p.path2("g"));
    fails(
        p.call(|rt, m| path::path_rename(rt, m, 4, PATH, f, 3, PATH2, g)),
        Errno::XDEV,
    );
    p.check();
}

/// A file system of a newer minor version: an upgrade to this library succeeds, what only reads
/// goes on, everything else says that it is read-only.
#[test]
fn a_newer_minor_version_is_read_only_for_programs() {
    let mut p = Program::new();
    p.file("f", b"content");
    p.mkdir("empty").unwrap();
    let mut bytes = vec![0; superblock::END];
    p.stable.read(0, &mut bytes);
    let mut sb = Superblock::decode(&bytes).unwrap();
    sb.version.1 += 1;
    p.stable.write(0, &sb.encode());
    let mut p = p.upgrade();
    let before = p.stable.borrow().clone();
    assert_eq!(p.content("f"), b"content");
    for (what, result) in changes(&mut p, "f") {
        assert_eq!(result, Err(Errno::ROFS), "{what}");
    }
    assert_eq!(p.content("f"), b"content");
    assert!(*p.stable.borrow() == before);
}

//! Paths: opening, links, renaming, removing, directories.

mod wasi_support;

use icwasi::wasi::errno::Errno;
use icwasi::wasi::path;
use icwasi::wasi::types::filetype;
use wasi_support::*;

#[test]
fn open_flags() {
    let mut p = Program::new();
    fails(p.open("f", 0, RW), Errno::NOENT);
    let fd = p.open("f", CREAT | EXCL, WRITE).unwrap();
    p.write(fd, b"content").unwrap();
    fails(p.open("f", CREAT | EXCL, WRITE), Errno::EXIST);
    assert_eq!(p.content("f"), b"content");
    p.open("f", CREAT, WRITE).unwrap();
    assert_eq!(p.content("f"), b"content");
    p.open("f", TRUNC, WRITE).unwrap();
    assert_eq!(p.content("f"), b"");

    p.mkdir("d").unwrap();
    let d = p.open("d", DIRECTORY, READ).unwrap();
    assert_eq!(p.fstat(d).unwrap().filetype, filetype::DIRECTORY);
    p.open("d", 0, 0).unwrap();
    p.open("d/", 0, READ).unwrap();
    p.open(".", DIRECTORY, READ).unwrap();
    p.open("d/../d/.", DIRECTORY, READ).unwrap();
    fails(p.open("d", 0, WRITE), Errno::ISDIR);
    fails(p.open("d", TRUNC, READ), Errno::ISDIR);
    fails(p.open("d", CREAT, READ), Errno::ISDIR);
    fails(p.open("d", CREAT | EXCL, READ), Errno::EXIST);
    fails(p.open("f", DIRECTORY, READ), Errno::NOTDIR);
    fails(p.open("f/", 0, READ), Errno::NOTDIR);
    fails(p.open("f/x", 0, READ), Errno::NOTDIR);
    fails(p.open("new/", CREAT, WRITE), Errno::ISDIR);
    fails(p.open("no/such", CREAT, WRITE), Errno::NOENT);
    fails(p.open("no/..", 0, READ), Errno::NOENT);
    fails(p.open("", 0, READ), Errno::NOENT);
    fails(p.open("d", DIRECTORY | CREAT, READ), Errno::INVAL);
    fails(p.open("f", 16, READ), Errno::INVAL);
    fails(p.open_at(ROOT, "f", 2, 0, READ, 0), Errno::INVAL);
    fails(p.open_at(ROOT, "f", 0, 0, READ, 32), Errno::INVAL);
    fails(p.open_at(fd, "f", 0, 0, READ, 0), Errno::NOTDIR);
    fails(p.open_at(1, "f", 0, 0, READ, 0), Errno::BADF);
    fails(p.open_at(99, "f", 0, 0, READ, 0), Errno::BADF);

    // The errors of wasi-libc's own look at names.
    fails(p.open(&"n".repeat(256), CREAT, WRITE), Errno::NAMETOOLONG);
    p.open(&"n".repeat(255), CREAT, WRITE).unwrap();
    fails(
        p.open(&"d/../".repeat(900), CREAT, WRITE),
        Errno::NAMETOOLONG,
    );
    fails(p.open("a\0b", CREAT, WRITE), Errno::ILSEQ);
    p.put(PATH, b"\xff\xfe");
    let open = |rt: &mut icwasi::runtime::Runtime, g: &mut icwasi::wasi::guest::Guest<'_>| {
        icwasi::wasi::path_open::path_open(rt, g, ROOT, 0, PATH, 2, CREAT, RW, 0, 0, OUT)
    };
    fails(p.call(open), Errno::ILSEQ);
    p.check();
}

#[test]
fn nothing_leaves_its_directory() {
    let mut p = Program::new();
    p.mkdir("jail").unwrap();
    p.mkdir("jail/in").unwrap();
    p.file("secret", b"secret");
    let jail = p.open("jail", DIRECTORY, READ).unwrap();
    p.symlink("../secret", "jail/out").unwrap();
    p.symlink("in/../../secret", "jail/out2").unwrap();
    p.symlink("../jail/in", "jail/back").unwrap();
    for path in [
        "../secret",
        "in/../../secret",
        "/secret",
        "out",
        "out2",
        "back",
        "/",
        "..",
        "in/../..",
    ] {
        fails(p.open_at(jail, path, FOLLOW, 0, READ, 0), Errno::PERM);
    }
    // From the root, the same links are fine, and the root is its own limit.
    assert_eq!(p.content("jail/out"), b"secret");
    assert_eq!(p.content("jail/back/../../secret"), b"secret");
    fails(p.open("..", 0, READ), Errno::PERM);
    fails(p.open("../secret", 0, READ), Errno::PERM);
    fails(p.symlink("/secret", "absolute"), Errno::PERM);
    let inside = p
        .open_at(jail, "in/../in", FOLLOW, DIRECTORY, READ, 0)
        .unwrap();
    p.open_at(inside, "new", 0, CREAT, WRITE, 0).unwrap();
    assert_eq!(
        p.stat("jail/in/new", 0).unwrap().filetype,
        filetype::REGULAR_FILE
    );
    p.check();
}

#[test]
fn symbolic_links() {
    let mut p = Program::new();
    p.mkdir("d").unwrap();
    p.file("d/f", b"data");
    p.symlink("d/f", "l").unwrap();
    p.symlink("d", "ld").unwrap();
    p.symlink("nowhere", "dangling").unwrap();
    p.symlink("loop2", "loop1").unwrap();
    p.symlink("loop1", "loop2").unwrap();

    assert_eq!(p.stat("l", 0).unwrap().filetype, filetype::SYMBOLIC_LINK);
    assert_eq!(p.stat("l", 0).unwrap().size, 3);
    assert_eq!(p.stat("l", FOLLOW).unwrap().size, 4);
    assert_eq!(p.content("l"), b"data");
    assert_eq!(p.content("ld/f"), b"data");
    fails(p.open_at(ROOT, "l", 0, 0, READ, 0), Errno::LOOP);
    fails(p.open_at(ROOT, "ld", 0, DIRECTORY, READ, 0), Errno::NOTDIR);
    p.open_at(ROOT, "ld/", 0, DIRECTORY, READ, 0).unwrap();
    fails(p.stat("l/", 0), Errno::NOTDIR);
    assert_eq!(p.stat("ld/", 0).unwrap().filetype, filetype::DIRECTORY);
    fails(p.open("dangling", 0, READ), Errno::NOENT);
    fails(p.open("dangling", CREAT | EXCL, WRITE), Errno::EXIST);
    fails(p.stat("nowhere", 0), Errno::NOENT);
    p.open("dangling", CREAT, WRITE).unwrap();
    assert_eq!(
        p.stat("nowhere", 0).unwrap().filetype,
        filetype::REGULAR_FILE
    );
    fails(p.open("loop1", 0, READ), Errno::LOOP);
    fails(p.open("loop1/x", 0, READ), Errno::LOOP);

    assert_eq!(p.readlink("l", 100).unwrap(), b"d/f");
    assert_eq!(p.readlink("l", 2).unwrap(), b"d/");
    fails(p.readlink("d", 9), Errno::INVAL);
    fails(p.readlink("no", 9), Errno::NOENT);
    fails(p.symlink("x", "l"), Errno::EXIST);
    fails(p.symlink("", "n"), Errno::NOENT);
    fails(p.symlink("x", "n/"), Errno::NOENT);
    fails(p.symlink("x", "d/"), Errno::EXIST);

    fails(p.unlink("ld/"), Errno::NOTDIR);
    fails(p.rmdir("ld"), Errno::NOTDIR);
    p.unlink("ld").unwrap();
    assert_eq!(p.content("d/f"), b"data");
    p.check();
}

#[test]
fn hard_links() {
    let mut p = Program::new();
    p.mkdir("d").unwrap();
    p.file("f", b"data");
    p.link(0, "f", "d/g").unwrap();
    assert_eq!(p.stat("f", 0).unwrap().nlink, 2);
    assert_eq!(p.stat("f", 0).unwrap().ino, p.stat("d/g", 0).unwrap().ino);
    fails(p.link(0, "f", "d/g"), Errno::EXIST);
    fails(p.link(0, "d", "e"), Errno::PERM);
    fails(p.link(0, "f", "e/"), Errno::NOENT);
    fails(p.link(0, "f/", "e"), Errno::NOTDIR);
    fails(p.link(0, "no", "e"), Errno::NOENT);
    fails(p.link(0, "f", "no/e"), Errno::NOENT);
    p.symlink("f", "l").unwrap();
    p.link(0, "l", "l2").unwrap();
    assert_eq!(p.stat("l2", 0).unwrap().filetype, filetype::SYMBOLIC_LINK);
    p.link(FOLLOW, "l", "f3").unwrap();
    assert_eq!(p.stat("f3", 0).unwrap().nlink, 3);
    p.unlink("f").unwrap();
    assert_eq!(p.content("d/g"), b"data");
    assert_eq!(p.stat("f3", 0).unwrap().nlink, 2);
    p.check();
}

#[test]
fn rename_as_posix() {
    let mut p = Program::new();
    p.file("a", b"a");
    p.file("b", b"b");
    p.rename("a", "b").unwrap();
    assert_eq!(p.content("b"), b"a");
    fails(p.stat("a", 0), Errno::NOENT);
    p.rename("b", "b").unwrap();
    assert_eq!(p.content("b"), b"a");
    p.link(0, "b", "b2").unwrap();
    p.rename("b", "b2").unwrap();
    assert_eq!(
        p.stat("b", 0).unwrap().nlink,
        2,
        "two links to one file: nothing happens"
    );

    p.mkdir("d").unwrap();
    p.mkdir("d/e").unwrap();
    p.mkdir("empty").unwrap();
    fails(p.rename("d", "d/e/f"), Errno::INVAL);
    fails(p.rename("d", "d/e"), Errno::INVAL);
    fails(p.rename("b", "d"), Errno::ISDIR);
    fails(p.rename("d", "b"), Errno::NOTDIR);
    fails(p.rename("empty", "d"), Errno::NOTEMPTY);
    fails(p.rename("b/", "x"), Errno::NOTDIR);
    fails(p.rename("b", "x/"), Errno::NOTDIR);
    fails(p.rename("no", "x"), Errno::NOENT);
    fails(p.rename("b", "no/x"), Errno::NOENT);
    fails(p.rename(".", "x"), Errno::BUSY);
    fails(p.rename("b", "d/.."), Errno::BUSY);
    p.rename("d/", "empty/").unwrap();
    p.rename("empty/e", "new/").unwrap();
    assert_eq!(p.stat("empty", 0).unwrap().nlink, 2);
    p.check();
}

#[test]
fn removing_and_making_directories() {
    let mut p = Program::new();
    p.mkdir("d").unwrap();
    p.mkdir("d/e/").unwrap();
    fails(p.mkdir("d"), Errno::EXIST);
    fails(p.mkdir("."), Errno::EXIST);
    fails(p.mkdir("x/y"), Errno::NOENT);
    p.file("f", b"");
    fails(p.mkdir("f"), Errno::EXIST);
    fails(p.mkdir("f/x"), Errno::NOTDIR);
    fails(p.rmdir("d"), Errno::NOTEMPTY);
    fails(p.rmdir("f"), Errno::NOTDIR);
    fails(p.rmdir("f/"), Errno::NOTDIR);
    fails(p.rmdir("d/."), Errno::INVAL);
    fails(p.rmdir("d/e/.."), Errno::NOTEMPTY);
    fails(p.rmdir("."), Errno::INVAL);
    fails(p.unlink("d"), Errno::ISDIR);
    fails(p.unlink("d/"), Errno::ISDIR);
    fails(p.unlink("."), Errno::ISDIR);
    fails(p.unlink("f/"), Errno::NOTDIR);
    fails(p.unlink("no"), Errno::NOENT);
    // A directory that is open can be removed.
    let e = p.open("d/e", DIRECTORY, READ).unwrap();
    p.rmdir("d/e/").unwrap();
    p.rmdir("d").unwrap();
    fails(p.open_at(e, "x", 0, CREAT, WRITE, 0), Errno::NOENT);
    p.close(e).unwrap();
    p.check();
}

#[test]
fn listing_with_small_buffers_while_it_changes() {
    let mut p = Program::new();
    p.mkdir("d").unwrap();
    let mut expected = vec![".".to_owned(), "..".to_owned()];
    for n in 0..200 {
        let name = format!("{n}-{}", "x".repeat(n));
        p.file(&format!("d/{name}"), b"");
        expected.push(name);
    }
    let d = p.open("d", DIRECTORY, READ).unwrap();
    let mut names = p.names(d);
    assert_eq!(names[..2], [".", ".."]);
    names.sort();
    expected.sort();
    assert_eq!(names, expected);

    // The last entry is cut off exactly at the end of the buffer.
    let whole = p.readdir(d, 500, 0).unwrap();
    assert_eq!(whole.len(), 500);
    for len in [0, 1, 23, 24, 25, 26, 60, 499] {
        assert_eq!(p.readdir(d, len, 0).unwrap(), whole[..len as usize]);
    }

    // Removing what was listed and creating more: what stays is listed once.
    let page = p.readdir(d, 5000, 0).unwrap();
    let (mut seen, mut cookie, mut at) = (vec![], 0, 0);
    while at + 24 <= page.len() {
        let len = u32::from_le_bytes(page[at + 16..at + 20].try_into().unwrap()) as usize;
        let Some(name) = page.get(at + 24..at + 24 + len) else {
            break;
        };
        cookie = u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
        seen.push(String::from_utf8(name.to_vec()).unwrap());
        at += 24 + len;
    }
    for name in seen.iter().filter(|name| !name.starts_with('.')) {
        p.unlink(&format!("d/{name}")).unwrap();
    }
    for n in 0..300 {
        p.file(&format!("d/new{n}"), b"");
    }
    loop {
        let page = p.readdir(d, 4000, cookie).unwrap();
        let mut at = 0;
        while at + 24 <= page.len() {
            let len = u32::from_le_bytes(page[at + 16..at + 20].try_into().unwrap()) as usize;
            let Some(name) = page.get(at + 24..at + 24 + len) else {
                break;
            };
            cookie = u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
            seen.push(String::from_utf8(name.to_vec()).unwrap());
            at += 24 + len;
        }
        if page.len() < 4000 {
            break;
        }
    }
    seen.retain(|name| !name.starts_with("new"));
    seen.sort();
    assert_eq!(seen, expected);
    let f = p.open("d/new1", 0, READ).unwrap();
    fails(p.readdir(f, 100, 0), Errno::NOTDIR);
    fails(p.readdir(1, 100, 0), Errno::BADF);
    fails(p.readdir(d, u32::MAX, 0), Errno::FAULT);
}

#[test]
fn attributes_and_times() {
    let mut p = Program::new();
    let start = p.rt.now();
    p.file("f", b"12345");
    p.mkdir("d").unwrap();
    p.symlink("f", "l").unwrap();
    let stat = p.stat("f", 0).unwrap();
    assert_eq!(
        (stat.dev, stat.filetype, stat.nlink, stat.size),
        (1, filetype::REGULAR_FILE, 1, 5)
    );
    assert_eq!((stat.mtim, stat.ctim), (start, start));
    p.next_message(1_000_000_007);
    let fd = p.open("f", 0, RW).unwrap();
    p.write(fd, b"x").unwrap();
    let stat = p.fstat(fd).unwrap();
    assert_eq!(
        (stat.mtim, stat.ctim),
        (start + 1_000_000_007, start + 1_000_000_007)
    );

    // 1 atim, 2 atim_now, 4 mtim, 8 mtim_now
    let len = p.path("l");
    let set = |p: &mut Program, lookup, atime, mtime, flags| {
        p.call(|rt, g| {
            path::path_filestat_set_times(rt, g, ROOT, lookup, PATH, len, atime, mtime, flags)
        })
    };
    set(&mut p, FOLLOW, 11, 22, 1 | 4).unwrap();
    let stat = p.fstat(fd).unwrap();
    assert_eq!((stat.atim, stat.mtim), (11, 22));
    p.path("l");
    set(&mut p, 0, 33, 44, 1 | 4).unwrap();
    assert_eq!(p.fstat(fd).unwrap().atim, 11, "the link itself was meant");
    assert_eq!(p.stat("l", 0).unwrap().atim, 33);
    p.path("l");
    set(&mut p, FOLLOW, 0, 0, 8).unwrap();
    let stat = p.fstat(fd).unwrap();
    assert_eq!((stat.atim, stat.mtim), (11, start + 1_000_000_007));
    p.path("l");
    fails(set(&mut p, 0, 0, 0, 3), Errno::INVAL);
    p.path("l");
    fails(set(&mut p, 0, 0, 0, 16), Errno::INVAL);
    fails(
        icwasi::wasi::fd_meta::fd_filestat_set_times(&mut p.rt, 1, 0, 0, 1),
        Errno::BADF,
    );
    icwasi::wasi::fd_meta::fd_filestat_set_times(&mut p.rt, ROOT, 5, 6, 5).unwrap();
    assert_eq!(p.stat(".", 0).unwrap().mtim, 6);

    // Files and their attributes outlive an upgrade.
    let mut p = p.upgrade();
    assert_eq!(p.content("f"), b"x2345");
    assert_eq!(p.stat("l", 0).unwrap().mtim, 44);
    p.check();
}

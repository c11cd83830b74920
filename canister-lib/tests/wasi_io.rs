//! Reading, writing, seeking, descriptors and stdio.

mod wasi_support;

use icwasi::wasi::errno::Errno;
use icwasi::wasi::types::{Whence, fdflags, filetype, rights};
use icwasi::wasi::{fd_io, fd_meta, guest, sock};
use wasi_support::*;

#[test]
fn cursor_positional_and_append_writes() {
    let mut p = Program::new();
    let fd = p.open("f", CREAT | EXCL, RW).unwrap();
    assert_eq!(fd, 4, "the lowest free number");
    assert_eq!(p.write(fd, b"hello world"), Ok(11));
    assert_eq!(p.seek(fd, 0, Whence::Cur), Ok(11));
    assert_eq!(p.pwrite(fd, b"HE", 0), Ok(2));
    assert_eq!(p.pread(fd, 5, 6).unwrap(), b"world");
    assert_eq!(
        p.seek(fd, 0, Whence::Cur),
        Ok(11),
        "positional calls leave the cursor"
    );
    assert_eq!(p.seek(fd, -11, Whence::End), Ok(0));
    assert_eq!(p.read(fd, 100).unwrap(), b"HEllo world");
    assert_eq!(p.read(fd, 100).unwrap(), b"");

    // Beyond the end: a hole of zeros.
    assert_eq!(p.seek(fd, 9, Whence::End), Ok(20));
    p.write(fd, b"x").unwrap();
    assert_eq!(p.pread(fd, 100, 9).unwrap(), b"ld\0\0\0\0\0\0\0\0\0x");

    // Append: at the end, wherever the cursor and the offset are.
    let log = p
        .open_at(ROOT, "f", 0, 0, WRITE, u32::from(fdflags::APPEND))
        .unwrap();
    p.write(log, b"one").unwrap();
    p.write(fd, b"!").unwrap();
    assert_eq!(p.pread(fd, 100, 20).unwrap(), b"x!ne");
    assert_eq!(p.pwrite(log, b"two", 0), Ok(3));
    p.write(log, b"3").unwrap();
    assert_eq!(p.pread(fd, 100, 20).unwrap(), b"x!netwo3");
    assert_eq!(p.seek(log, 0, Whence::Cur), Ok(28));

    // Flags can be changed later.
    fd_meta::fd_fdstat_set_flags(&mut p.rt, log, 0).unwrap();
    p.seek(log, 0, Whence::Set).unwrap();
    p.write(log, b"J").unwrap();
    assert_eq!(p.pread(fd, 4, 0).unwrap(), b"JEll");
    p.check();
}

#[test]
fn vectors_are_gathered_and_scattered() {
    let mut p = Program::new();
    let fd = p.open("f", CREAT, RW).unwrap();
    p.put(DATA, b"abcdefghij");
    p.iovs(&[(DATA, 3), (DATA, 0), (DATA + 8, 2), (DATA + 1, 4)]);
    p.call(|rt, g| fd_io::fd_write(rt, g, fd, IOVS, 4, OUT))
        .unwrap();
    assert_eq!(p.u32_at(OUT), 9);
    assert_eq!(p.pread(fd, 100, 0).unwrap(), b"abcijbcde");

    p.seek(fd, 0, Whence::Set).unwrap();
    p.put(DATA, &[0; 32]);
    p.iovs(&[(DATA, 2), (DATA + 10, 0), (DATA + 20, 100)]);
    p.call(|rt, g| fd_io::fd_read(rt, g, fd, IOVS, 3, OUT))
        .unwrap();
    assert_eq!(p.u32_at(OUT), 9);
    assert_eq!(p.bytes(DATA, 3), b"ab\0");
    assert_eq!(p.bytes(DATA + 20, 7), b"cijbcde");

    // More buffers than fit on the stack.
    let many: Vec<(u32, u32)> = (0..100).map(|n| (DATA + n % 7, n % 3)).collect();
    let expected: u32 = many.iter().map(|iov| iov.1).sum();
    p.iovs(&many);
    p.call(|rt, g| fd_io::fd_pwrite(rt, g, fd, IOVS, 100, 0, OUT))
        .unwrap();
    assert_eq!(p.u32_at(OUT), expected);
    assert_eq!(p.fstat(fd).unwrap().size, u64::from(expected));

    // One bad buffer, and nothing is written, not even by the good ones before it.
    p.iovs(&[(DATA, 5), (MEMORY as u32 - 2, 3)]);
    fails(
        p.call(|rt, g| fd_io::fd_pwrite(rt, g, fd, IOVS, 2, 1000, OUT)),
        Errno::FAULT,
    );
    fails(
        p.call(|rt, g| fd_io::fd_read(rt, g, fd, IOVS, guest::MAX_IOVECS + 1, OUT)),
        Errno::INVAL,
    );
    p.iovs(&[(DATA, 5)]);
    fails(
        p.call(|rt, g| fd_io::fd_write(rt, g, fd, IOVS, 1, MEMORY as u32 - 3)),
        Errno::FAULT,
    );
    fails(
        p.call(|rt, g| fd_io::fd_write(rt, g, fd, u32::MAX - 3, 1, OUT)),
        Errno::FAULT,
    );
    assert_eq!(p.fstat(fd).unwrap().size, u64::from(expected));

    // A buffer that covers the array it is named in.
    p.file("pattern", &[0xff; 64]);
    let fd = p.open("pattern", 0, READ).unwrap();
    p.iovs(&[(IOVS, 16), (DATA, 4)]);
    fails(
        p.call(|rt, g| fd_io::fd_read(rt, g, fd, IOVS, 2, OUT)),
        Errno::FAULT,
    );
    p.check();
}

#[test]
fn modes_and_seek_errors() {
    let mut p = Program::new();
    p.file("f", b"12345");
    let (r, w, none) = (
        p.open("f", 0, READ).unwrap(),
        p.open("f", 0, WRITE).unwrap(),
        p.open("f", 0, 0).unwrap(),
    );
    fails(p.write(r, b"x"), Errno::BADF);
    fails(p.pwrite(r, b"x", 0), Errno::BADF);
    fails(p.read(w, 1), Errno::BADF);
    fails(p.pread(w, 1, 0), Errno::BADF);
    assert_eq!(
        p.read(none, 9).unwrap(),
        b"12345",
        "without rights it can be read"
    );
    fails(p.write(none, b"x"), Errno::BADF);
    fails(fd_meta::fd_filestat_set_size(&mut p.rt, r, 0), Errno::INVAL);
    fails(fd_io::fd_allocate(&mut p.rt, r, 0, 1), Errno::BADF);

    fails(p.seek(r, -1, Whence::Set), Errno::INVAL);
    fails(p.seek(r, -6, Whence::End), Errno::INVAL);
    assert_eq!(p.seek(r, i64::MAX, Whence::Set), Ok(i64::MAX as u64));
    fails(p.seek(r, 1, Whence::Cur), Errno::INVAL);
    assert_eq!(p.read(r, 10).unwrap(), b"", "far behind the end");
    fails(
        p.call(|rt, g| fd_io::fd_seek(rt, g, r, 0, Whence::from_preview1(3), OUT)),
        Errno::INVAL,
    );
    fails(p.pread(r, 1, 1 << 63), Errno::INVAL);
    p.seek(w, i64::MAX, Whence::Set).unwrap();
    fails(p.write(w, b"xx"), Errno::FBIG);
    fails(
        fd_meta::fd_filestat_set_size(&mut p.rt, w, 1 << 63),
        Errno::INVAL,
    );
    assert_eq!(p.content("f"), b"12345");

    for bad in [9, 77, u32::MAX] {
        fails(p.read(bad, 1), Errno::BADF);
        fails(p.close(bad), Errno::BADF);
        fails(p.seek(bad, 0, Whence::Set), Errno::BADF);
    }
    fails(p.read(ROOT, 1), Errno::BADF);
    fails(p.seek(ROOT, 0, Whence::Set), Errno::BADF);
    p.check();
}

#[test]
fn size_allocation_and_sync() {
    let mut p = Program::new();
    let fd = p.open("f", CREAT, RW).unwrap();
    p.write(fd, b"abcdef").unwrap();
    fd_meta::fd_filestat_set_size(&mut p.rt, fd, 3).unwrap();
    fd_meta::fd_filestat_set_size(&mut p.rt, fd, 6).unwrap();
    assert_eq!(
        p.pread(fd, 9, 0).unwrap(),
        b"abc\0\0\0",
        "no old bytes come back"
    );
    fd_io::fd_allocate(&mut p.rt, fd, 4, 10_000).unwrap();
    assert_eq!(p.fstat(fd).unwrap().size, 10_004);
    fd_io::fd_allocate(&mut p.rt, fd, 0, 5).unwrap();
    assert_eq!(p.fstat(fd).unwrap().size, 10_004, "it never shrinks");
    fails(fd_io::fd_allocate(&mut p.rt, fd, 0, 0), Errno::INVAL);
    fails(
        fd_io::fd_allocate(&mut p.rt, fd, i64::MAX as u64, 2),
        Errno::FBIG,
    );
    fails(
        fd_meta::fd_filestat_set_size(&mut p.rt, ROOT, 2),
        Errno::BADF,
    );

    fd_io::fd_sync(&mut p.rt, fd).unwrap();
    fd_io::fd_sync(&mut p.rt, ROOT).unwrap();
    fails(fd_io::fd_sync(&mut p.rt, 1), Errno::BADF);
    fd_io::fd_advise(&mut p.rt, fd, 0, 0, 5).unwrap();
    fails(fd_io::fd_advise(&mut p.rt, fd, 0, 0, 6), Errno::INVAL);
    fails(fd_io::fd_advise(&mut p.rt, 1, 0, 0, 0), Errno::BADF);
    p.check();
}

#[test]
fn unlinked_file_lives_until_its_last_descriptor() {
    let mut p = Program::new();
    // The directory keeps its page.
    p.file("other", b"");
    let free = p.rt.fs().unwrap().usage().free_bytes;
    p.file("f", &[7; 50_000]);
    let (a, b) = (p.open("f", 0, RW).unwrap(), p.open("f", 0, READ).unwrap());
    p.unlink("f").unwrap();
    assert_eq!(p.fstat(a).unwrap().nlink, 0);
    p.close(b).unwrap();
    p.pwrite(a, b"still here", 49_990).unwrap();
    assert_eq!(p.pread(a, 20, 49_990).unwrap(), b"still here");
    p.close(a).unwrap();
    assert_eq!(p.rt.fs().unwrap().usage().free_bytes, free);

    // The heap forgets open descriptors at an upgrade; what they held is freed.
    p.file("g", &[7; 50_000]);
    p.open("g", 0, RW).unwrap();
    p.unlink("g").unwrap();
    let mut p = p.upgrade();
    fails(p.fstat(4), Errno::BADF);
    p.check();
}

#[test]
fn renumber_moves_and_closes() {
    let mut p = Program::new();
    p.file("a", b"aaa");
    p.file("b", b"bbb");
    let (a, b) = (p.open("a", 0, READ).unwrap(), p.open("b", 0, READ).unwrap());
    fd_meta::fd_renumber(&mut p.rt, b, a).unwrap();
    assert_eq!(p.read(a, 9).unwrap(), b"bbb");
    fails(p.read(b, 9), Errno::BADF);
    assert_eq!(p.open("a", 0, READ), Ok(b), "the number is free again");
    fd_meta::fd_renumber(&mut p.rt, a, a).unwrap();
    fails(fd_meta::fd_renumber(&mut p.rt, a, 100), Errno::BADF);
    fails(fd_meta::fd_renumber(&mut p.rt, 100, a), Errno::BADF);

    // Stdout into a file, and the root away.
    let out = p.open("out", CREAT, WRITE).unwrap();
    fd_meta::fd_renumber(&mut p.rt, out, 1).unwrap();
    p.write(1, b"into the file\n").unwrap();
    assert_eq!(p.content("out"), b"into the file\n");
    p.close(ROOT).unwrap();
    fails(p.open("a", 0, READ), Errno::BADF);
    p.check();
}

#[test]
fn many_descriptors_have_a_limit() {
    let mut p = Program::new();
    p.file("f", b"");
    let mut last = 0;
    let error = loop {
        match p.open("f", 0, READ) {
            Ok(fd) => last = fd,
            Err(error) => break error,
        }
    };
    assert_eq!(error, Errno::MFILE);
    assert_eq!(last as usize, icwasi::wasi::fdtable::MAX_OPEN - 1);
    p.close(1000).unwrap();
    p.close(500).unwrap();
    assert_eq!(p.open("f", 0, READ), Ok(500));
    assert_eq!(p.open("f", 0, READ), Ok(1000));
    // O_CREAT with a full table creates nothing.
    fails(p.open("new", CREAT, WRITE), Errno::MFILE);
    fails(p.stat("new", 0), Errno::NOENT);
}

#[test]
fn stdio_is_a_terminal_with_lines() {
    let mut p = Program::new();
    for fd in 0..3 {
        p.call(|rt, g| fd_meta::fd_fdstat_get(rt, g, fd, OUT))
            .unwrap();
        assert_eq!(p.memory[OUT as usize], filetype::CHARACTER_DEVICE);
        assert_eq!(
            p.u64_at(OUT + 8) & (rights::FD_SEEK | rights::FD_TELL),
            0,
            "isatty"
        );
        assert_eq!(p.fstat(fd).unwrap().filetype, filetype::CHARACTER_DEVICE);
        fails(p.seek(fd, 0, Whence::Cur), Errno::SPIPE);
    }
    fails(p.pwrite(1, b"x", 0), Errno::SPIPE);
    fails(p.pread(0, 1, 0), Errno::SPIPE);
    fails(p.write(0, b"x"), Errno::BADF);
    fails(p.read(1, 1), Errno::BADF);
    assert_eq!(p.read(0, 10).unwrap(), b"", "end of input");

    p.write(1, b"one\ntw").unwrap();
    p.write(2, b"error").unwrap();
    p.write(1, b"o\n\nthree \xff\xc3(").unwrap();
    assert_eq!(p.printed(), ["one", "two", ""]);
    p.rt.leave();
    assert_eq!(
        p.printed(),
        ["one", "two", "", "three \\xff\\xc3(", "error"]
    );
    p.rt.leave();
    assert_eq!(p.printed().len(), 5, "nothing twice");

    // A line that is too long comes in pieces, but no character is cut in two.
    let long = format!("x{}", "ü".repeat(10_000));
    p.write(1, long.as_bytes()).unwrap();
    p.write(1, b"\n").unwrap();
    let pieces = p.printed().split_off(5);
    assert_eq!((pieces.len(), pieces.concat()), (3, long));

    p.rt.set_stdin(b"typed\n".to_vec());
    assert_eq!(p.read(0, 4).unwrap(), b"type");
    assert_eq!(p.read(0, 4).unwrap(), b"d\n");
    assert_eq!(p.read(0, 4).unwrap(), b"");
}

#[test]
fn sockets_and_rights() {
    let mut p = Program::new();
    p.file("f", b"");
    let fd = p.open("f", 0, READ).unwrap();
    for fd in [0, ROOT, fd] {
        fails(sock::sock_shutdown(&mut p.rt, fd, 3), Errno::NOTSOCK);
        fails(sock::sock_accept(&mut p.rt, fd), Errno::NOTSOCK);
        fails(sock::sock_recv(&mut p.rt, fd), Errno::NOTSOCK);
        fails(sock::sock_send(&mut p.rt, fd), Errno::NOTSOCK);
    }
    fails(sock::sock_shutdown(&mut p.rt, 99, 1), Errno::BADF);
    fails(sock::sock_shutdown(&mut p.rt, fd, 4), Errno::INVAL);

    p.call(|rt, g| fd_meta::fd_fdstat_get(rt, g, fd, OUT))
        .unwrap();
    assert_eq!(p.memory[OUT as usize], filetype::REGULAR_FILE);
    assert_eq!(
        p.u64_at(OUT + 8) & (rights::FD_READ | rights::FD_WRITE),
        rights::FD_READ
    );
    fd_meta::fd_fdstat_set_rights(&mut p.rt, fd, rights::FD_TELL, 0).unwrap();
    fails(
        fd_meta::fd_fdstat_set_rights(&mut p.rt, fd, rights::FD_READ, 0),
        Errno::NOTCAPABLE,
    );
    fails(
        fd_meta::fd_fdstat_set_flags(&mut p.rt, fd, 32),
        Errno::INVAL,
    );
    fails(
        fd_meta::fd_fdstat_set_flags(&mut p.rt, fd, u32::from(fdflags::SYNC)),
        Errno::INVAL,
    );

    p.call(|rt, g| fd_meta::fd_prestat_get(rt, g, ROOT, OUT))
        .unwrap();
    assert_eq!((p.u32_at(OUT), p.u32_at(OUT + 4)), (0, 1));
    p.call(|rt, g| fd_meta::fd_prestat_dir_name(rt, g, ROOT, OUT, 1))
        .unwrap();
    assert_eq!(p.bytes(OUT, 1), b"/");
    fails(
        p.call(|rt, g| fd_meta::fd_prestat_dir_name(rt, g, ROOT, OUT, 0)),
        Errno::NAMETOOLONG,
    );
    fails(
        p.call(|rt, g| fd_meta::fd_prestat_get(rt, g, fd, OUT)),
        Errno::BADF,
    );
    fails(
        p.call(|rt, g| fd_meta::fd_prestat_get(rt, g, 4711, OUT)),
        Errno::BADF,
    );
}

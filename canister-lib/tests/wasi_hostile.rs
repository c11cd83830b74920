//! A guest that passes anything to every function: no panic, only error numbers of WASI, and a
//! file system that is sound afterwards.

mod wasi_support;

use std::cell::RefCell;

use icwasi::wasi::errno::{Errno, Result};
use icwasi::wasi::types::Whence;
use icwasi::wasi::{
    args_env, clock, fd_dir, fd_io, fd_meta, path, path_open, poll, proc, random, sock, unstable,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use wasi_support::*;

const FUNCTIONS: usize = 49;

/// Arguments of a call: any of them may become a pointer, a length, a descriptor or flags.
type Arguments = [u64; 9];

/// Paths that lie in the guest's memory, 32 bytes each.
const PATHS: [&str; 13] = [
    "a", "b", "a/b", "a/b/c", ".", "..", "a/../b", "/a", "a/", "link", "link/x", "file", "\0\u{7f}",
];

fn run(p: &mut Program, function: usize, args: &Arguments) -> Result<()> {
    let [a, b, c, d, e, f, g_, h, i] = args.map(|value| value as u32);
    let wide = args[3];
    p.call(|rt, g| match function {
        0 => args_env::args_get(rt, g, a, b),
        1 => args_env::args_sizes_get(rt, g, a, b),
        2 => args_env::environ_get(rt, g, a, b),
        3 => args_env::environ_sizes_get(rt, g, a, b),
        4 => clock::clock_res_get(g, a % 5, b),
        5 => clock::clock_time_get(rt, g, a % 5, b),
        6 => fd_io::fd_advise(rt, a, wide, args[4], b % 7),
        7 => fd_io::fd_allocate(rt, a, wide, args[4]),
        8 => fd_meta::fd_close(rt, a),
        9 => fd_io::fd_sync(rt, a),
        10 => fd_meta::fd_fdstat_get(rt, g, a, b),
        11 => fd_meta::fd_fdstat_set_flags(rt, a, b % 40),
        12 => fd_meta::fd_fdstat_set_rights(rt, a, wide, args[4]),
        13 => fd_meta::fd_filestat_get(rt, g, a, b),
        14 => fd_meta::fd_filestat_set_size(rt, a, wide),
        15 => fd_meta::fd_filestat_set_times(rt, a, wide, args[4], b % 20),
        16 => fd_io::fd_pread(rt, g, a, b, c, wide, e),
        17 => fd_meta::fd_prestat_get(rt, g, a, b),
        18 => fd_meta::fd_prestat_dir_name(rt, g, a, b, c),
        19 => fd_io::fd_pwrite(rt, g, a, b, c, wide, e),
        20 => fd_io::fd_read(rt, g, a, b, c, d),
        21 => fd_dir::fd_readdir(rt, g, a, b, c, wide, e),
        22 => fd_meta::fd_renumber(rt, a, b),
        23 => fd_io::fd_seek(rt, g, a, wide as i64, Whence::from_preview1(b % 4), c),
        24 => fd_io::fd_tell(rt, g, a, b),
        25 => fd_io::fd_write(rt, g, a, b, c, d),
        26 => path::path_create_directory(rt, g, a, b, c),
        27 => path::path_filestat_get(rt, g, a, d % 3, b, c, e),
        28 => path::path_filestat_set_times(rt, g, a, d % 3, b, c, args[4], args[5], g_ % 20),
        29 => path::path_link(rt, g, a, d % 3, b, c, e, f, g_),
        30 | 31 => path_open::path_open(rt, g, a, d % 3, b, c, e % 17, wide, 0, f % 33, h),
        32 => path::path_readlink(rt, g, a, b, c, d, e, f),
        33 => path::path_remove_directory(rt, g, a, b, c),
        34 => path::path_rename(rt, g, a, b, c, d, e, f),
        35 => path::path_symlink(rt, g, a, b, c, d, e),
        36 => path::path_unlink_file(rt, g, a, b, c),
        37 => poll::poll_oneoff(rt, g, a, b, c, d),
        38 => proc::proc_raise(a),
        39 => proc::sched_yield(),
        40 => random::random_get(rt, g, a, b),
        41 => sock::sock_accept(rt, a),
        42 => sock::sock_recv(rt, a),
        43 => sock::sock_send(rt, a),
        44 => sock::sock_shutdown(rt, a, b % 5),
        45 => unstable::fd_filestat_get(rt, g, a, i),
        46 => unstable::path_filestat_get(rt, g, a, d % 3, b, c, e),
        47 => unstable::fd_seek(rt, g, a, wide as i64, b % 4, c),
        _ => unstable::poll_oneoff(rt, g, a, b, c, d),
    })
}

/// Numbers that mean something to at least one function, and some that do not.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        5 => 0..8_u64,
        4 => (0..PATHS.len() as u64).prop_map(|index| u64::from(PATH) + 32 * index),
        3 => (0..0x100_u64).prop_map(|offset| u64::from(DATA) + 16 * offset),
        2 => (0..64_u64).prop_map(|back| MEMORY as u64 - back),
        2 => 0..MEMORY as u64,
        1 => (0..16_u64).prop_map(|back| u64::from(u32::MAX) - back),
        1 => (0..16_u64).prop_map(|back| u64::MAX - back),
        1 => (0..16_u64).prop_map(|more| i64::MAX as u64 - 8 + more),
        1 => any::<u64>(),
    ]
}

fn argument_for(fd_like: bool) -> BoxedStrategy<u64> {
    if fd_like {
        prop_oneof![4 => 3..9_u64, 1 => argument()].boxed()
    } else {
        argument().boxed()
    }
}

fn calls() -> impl Strategy<Value = Vec<(usize, Arguments)>> {
    let arguments =
        [true, false, false, false, false, false, false, false, false].map(argument_for);
    let path_call = (
        prop_oneof![10 => 26..37_usize, 1 => Just(46_usize)],
        arguments.clone(),
        0..PATHS.len(),
        0..PATHS.len(),
    )
        .prop_map(|(function, mut arguments, one, two)| {
            // Well-formed paths, so that something happens.
            let pointer = |index: usize| u64::from(PATH) + 32 * index as u64;
            let len = |index: usize| PATHS[index].len() as u64;
            match function {
                35 => arguments[..5].copy_from_slice(&[
                    pointer(one),
                    len(one),
                    3,
                    pointer(two),
                    len(two),
                ]),
                34 => arguments[..6].copy_from_slice(&[
                    3,
                    pointer(one),
                    len(one),
                    3,
                    pointer(two),
                    len(two),
                ]),
                29 => arguments[..7].copy_from_slice(&[
                    3,
                    pointer(one),
                    len(one),
                    0,
                    3,
                    pointer(two),
                    len(two),
                ]),
                _ => arguments[..3].copy_from_slice(&[3, pointer(one), len(one)]),
            }
            match function {
                30 | 31 => arguments[7] = u64::from(OUT),
                32 => arguments[3..6].copy_from_slice(&[u64::from(DATA), 16, u64::from(OUT)]),
                27 | 46 => arguments[4] = u64::from(OUT),
                _ => {}
            }
            (function, arguments)
        });
    let any_call = (0..FUNCTIONS, arguments);
    prop::collection::vec(prop_oneof![1 => path_call, 2 => any_call], 1..120)
}

/// What is not the guest's.
const LIBRARY: std::ops::Range<u32> = 0x1_8000..0x2_8000;

/// What touches the library's memory is refused, and nothing is done; beside it all is as ever.
#[test]
fn the_librarys_memory_is_not_the_guests() {
    let mut p = Program::new();
    p.library = Some(LIBRARY);
    let fd = p.open("f", CREAT, RW).unwrap();
    let (start, end, top) = (LIBRARY.start, LIBRARY.end, MEMORY as u32);
    for (address, len, good) in [
        (start - 100, 100, true),
        (start - 100, 101, false),
        (start - 1, 2, false),
        (start, 1, false),
        (start + 50, 1, false),
        (end - 1, 1, false),
        (end - 1, 2, false),
        (start - 1, end - start + 2, false),
        (DATA, top - DATA, false),
        (end, 100, true),
        (top - 8, 8, true),
        (top - 20, 12, true),
        (top - 7, 8, false),
    ] {
        for array in [IOVS, end, end + 64, top - 8] {
            if array < address.saturating_add(len) && address < array + 8 {
                continue;
            }
            p.put(array, &address.to_le_bytes());
            p.put(array + 4, &len.to_le_bytes());
            for out in [OUT, end + 32] {
                if out < address + len && address < out + 4 {
                    continue;
                }
                // Twice: the first call of a message is not the fast one.
                for _ in 0..2 {
                    let write = p.call(|rt, g| fd_io::fd_write(rt, g, fd, array, 1, out));
                    let expected = if good { Ok(()) } else { Err(Errno::FAULT) };
                    assert_eq!(
                        write, expected,
                        "{len} at {address:#x}, {array:#x}, {out:#x}"
                    );
                    let seek = |p: &mut Program| {
                        let whence = Whence::from_preview1(0);
                        p.call(|rt, g| fd_io::fd_seek(rt, g, fd, 0, whence, OUT))
                    };
                    seek(&mut p).unwrap();
                    let read = p.call(|rt, g| fd_io::fd_read(rt, g, fd, array, 1, out));
                    assert_eq!(
                        read, expected,
                        "{len} at {address:#x}, {array:#x}, {out:#x}"
                    );
                    p.call(|rt, _| fd_meta::fd_filestat_set_size(rt, fd, 0))
                        .unwrap();
                    seek(&mut p).unwrap();
                }
            }
        }
    }
    for out in [start - 3, start, end - 4, end - 1] {
        let tell = p.call(|rt, g| fd_io::fd_tell(rt, g, fd, out));
        assert_eq!(tell, Err(Errno::FAULT), "{out:#x}");
    }
    assert!(p.bytes(start, LIBRARY.len()).iter().all(|byte| *byte == 0));
}

/// Calls that cannot succeed: there are no sockets and no signals.
const ALWAYS_FAIL: [usize; 5] = [38, 41, 42, 43, 44];

#[test]
fn any_call_with_anything() {
    let succeeded = RefCell::new([0_u32; FUNCTIONS]);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 600,
        ..ProptestConfig::default()
    });
    let result = runner.run(&(calls(), any::<u64>()), |(calls, seed)| {
        let mut p = Program::new();
        // A limit, so that the test's stable memory stays small.
        p.rt.fs().unwrap().set_quota(Some(16 << 20)).unwrap();
        p.rt.reseed(&seed.to_le_bytes());
        p.call(|rt, g| random::random_get(rt, g, 0x8000, 0x4000))
            .unwrap();
        // Descriptors 4 to 6, so that not all calls fail for want of one.
        p.open("file", CREAT, RW).unwrap();
        p.open("file", 0, READ).unwrap();
        p.open(".", DIRECTORY, READ).unwrap();
        p.symlink("a", "link").unwrap();
        // In every second case, a part of the memory belongs to an injected library.
        if seed % 2 == 0 {
            p.library = Some(LIBRARY);
            p.memory[LIBRARY.start as usize..LIBRARY.end as usize].fill(0xa5);
        }
        for (index, path) in (0..).zip(PATHS) {
            p.put(PATH + 32 * index, path.as_bytes());
        }
        for index in 0..64 {
            // Buffers here and there, some of them good.
            let (address, len) = (p.u32_at(0x8000 + 8 * index) % 0x5_0000, index % 40);
            p.put(DATA + 16 * index, &address.to_le_bytes());
            p.put(DATA + 16 * index + 4, &len.to_le_bytes());
        }
        for (function, arguments) in &calls {
            match run(&mut p, *function, arguments) {
                Ok(()) => succeeded.borrow_mut()[*function] += 1,
                Err(Errno(errno)) => {
                    prop_assert!(
                        (1..=76).contains(&errno),
                        "function {function}: errno {errno}"
                    );
                }
            }
        }
        if p.library.is_some() {
            let library = p.bytes(LIBRARY.start, LIBRARY.len());
            prop_assert!(library.iter().all(|byte| *byte == 0xa5), "it was written");
        }
        p.rt.leave();
        let findings = p.rt.fs().unwrap().check();
        prop_assert!(findings.is_empty(), "{findings:?}");
        let mut p = p.upgrade();
        let findings = p.rt.fs().unwrap().check();
        prop_assert!(findings.is_empty(), "after a remount: {findings:?}");
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let succeeded = succeeded.into_inner();
    let never: Vec<usize> = (0..FUNCTIONS)
        .filter(|function| succeeded[*function] == 0 && !ALWAYS_FAIL.contains(function))
        .collect();
    assert!(
        never.is_empty(),
        "the test never got these functions to succeed: {never:?}"
    );
}

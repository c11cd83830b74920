//! Arguments, environment, clocks, waiting, random numbers, exit, `wasi_unstable`, and the stable
//! memory of injected guests.

mod wasi_support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use candid::Encode;
use ic_stable_structures::{Memory, VectorMemory};
use icwasi::MountError;
use icwasi::runtime::Runtime;
use icwasi::wasi::errno::Errno;
use icwasi::wasi::{args_env, clock, poll, proc, random, stable, unstable};
use icwasi_types::LinkConfig;
use wasi_support::*;

fn configured(config: &LinkConfig) -> Program {
    let rt = Runtime::new();
    rt.env().link_config.replace(Encode!(config).unwrap());
    Program {
        rt,
        memory: vec![0; MEMORY],
        library: None,
        stable: VectorMemory::default(),
        dir: ROOT,
    }
}

/// The strings that `args_get` or `environ_get` left.
fn strings(p: &Program, count: u32) -> Vec<String> {
    (0..count)
        .map(|index| {
            let at = p.u32_at(DATA + 4 * index) as usize;
            let end = at + p.memory[at..].iter().position(|&byte| byte == 0).unwrap();
            String::from_utf8(p.memory[at..end].to_vec()).unwrap()
        })
        .collect()
}

#[test]
fn arguments_and_environment() {
    let mut p = configured(&LinkConfig {
        version: 1,
        args: vec!["prog".into(), "".into(), "ü -x".into()],
        env: vec![("A".into(), "1".into()), ("B".into(), "2".into())],
        ..LinkConfig::default()
    });
    p.call(|rt, g| args_env::args_sizes_get(rt, g, OUT, OUT + 4))
        .unwrap();
    assert_eq!((p.u32_at(OUT), p.u32_at(OUT + 4)), (3, 5 + 1 + 6));
    p.call(|rt, g| args_env::args_get(rt, g, DATA, DATA + 100))
        .unwrap();
    assert_eq!(strings(&p, 3), ["prog", "", "ü -x"]);

    // The canister's settings win over the link configuration.
    p.rt.env().environment.replace(vec![
        (b"B".to_vec(), b"two".to_vec()),
        (b"C".to_vec(), b"3".to_vec()),
    ]);
    p.call(|rt, g| args_env::environ_sizes_get(rt, g, OUT, OUT + 4))
        .unwrap();
    assert_eq!((p.u32_at(OUT), p.u32_at(OUT + 4)), (3, 4 + 6 + 4));
    // They may change between the two calls; the measured size stays true.
    p.rt.env()
        .environment
        .replace(vec![(b"LONGER".to_vec(), b"value".to_vec())]);
    p.call(|rt, g| args_env::environ_get(rt, g, DATA, DATA + 100))
        .unwrap();
    assert_eq!(strings(&p, 3), ["A=1", "B=two", "C=3"]);
    fails(
        p.call(|rt, g| args_env::environ_get(rt, g, DATA, MEMORY as u32 - 5)),
        Errno::FAULT,
    );
    fails(
        p.call(|rt, g| args_env::args_sizes_get(rt, g, OUT, u32::MAX)),
        Errno::FAULT,
    );
    assert!(!p.rt.is_mounted(), "none of this needs the file system");
}

#[test]
fn quota_of_the_link_configuration_holds() {
    let mut p = configured(&LinkConfig {
        quota_bytes: Some(1 << 20),
        ..LinkConfig::default()
    });
    assert_eq!(p.rt.fs().unwrap().usage().quota_bytes, Some(1 << 20));
    let fd = p.open("f", CREAT, WRITE).unwrap();
    let block = vec![1; 0x1_0000];
    let error = (0..100).find_map(|_| p.write(fd, &block).err());
    assert_eq!(error, Some(Errno::NOSPC));
    let size = p.fstat(fd).unwrap().size;
    assert_eq!(size % 0x1_0000, 0, "the write that failed wrote nothing");
    p.check();
}

fn time(p: &mut Program, id: u32) -> u64 {
    p.call(|rt, g| clock::clock_time_get(rt, g, id, OUT))
        .unwrap();
    p.u64_at(OUT)
}

#[test]
fn clocks_go_forward() {
    let mut p = Program::new();
    let start = p.rt.env().now.get();
    let calls = p.rt.env().time_calls.get();
    p.next_message(5);
    assert_eq!(time(&mut p, 0), start + 5);
    let mut last = time(&mut p, 1);
    for _ in 0..10 {
        let next = time(&mut p, 1);
        assert!(next > last, "it moves within a message");
        last = next;
    }
    assert_eq!(time(&mut p, 0), start + 5, "realtime does not");
    assert_eq!(
        p.rt.env().time_calls.get(),
        calls + 1,
        "the platform was asked once"
    );
    let cpu = time(&mut p, 2);
    p.next_message(0);
    assert!(
        time(&mut p, 1) >= last,
        "never back, though the counter starts anew"
    );
    assert!(time(&mut p, 3) > cpu);
    for (id, resolution) in [(0, 1_000_000_000), (1, 1), (2, 1), (3, 1)] {
        p.call(|_, g| clock::clock_res_get(g, id, OUT)).unwrap();
        assert_eq!(p.u64_at(OUT), resolution);
    }
    fails(
        p.call(|rt, g| clock::clock_time_get(rt, g, 4, OUT)),
        Errno::INVAL,
    );
    fails(p.call(|_, g| clock::clock_res_get(g, 4, OUT)), Errno::INVAL);
}

/// Writes a clock subscription of preview1.
fn clock_subscription(
    p: &mut Program,
    index: u32,
    userdata: u64,
    id: u32,
    timeout: u64,
    absolute: bool,
) {
    let at = DATA + 48 * index;
    p.put(at, &[0; 48]);
    p.put(at, &userdata.to_le_bytes());
    p.put(at + 16, &id.to_le_bytes());
    p.put(at + 24, &timeout.to_le_bytes());
    p.put(at + 40, &u16::from(absolute).to_le_bytes());
}

fn fd_subscription(p: &mut Program, index: u32, userdata: u64, kind: u8, fd: u32) {
    let at = DATA + 48 * index;
    p.put(at, &[0; 48]);
    p.put(at, &userdata.to_le_bytes());
    p.put(at + 8, &[kind]);
    p.put(at + 16, &fd.to_le_bytes());
}

const EVENTS: u32 = DATA + 0x1000;

/// User data, error, kind, bytes and flags.
type Event = (u64, u16, u8, u64, u16);

fn poll_events(p: &mut Program, count: u32) -> Result<Vec<Event>, Errno> {
    p.call(|rt, g| poll::poll_oneoff(rt, g, DATA, EVENTS, count, OUT))?;
    let events = (0..p.u32_at(OUT)).map(|index| {
        let at = EVENTS + 32 * index;
        let half = |at| p.u32_at(at) as u16;
        (
            p.u64_at(at),
            half(at + 8),
            p.memory[at as usize + 10],
            p.u64_at(at + 16),
            half(at + 24),
        )
    });
    Ok(events.collect())
}

#[test]
fn waiting_moves_the_monotonic_clock() {
    const HOUR: u64 = 3_600_000_000_000;
    let mut p = Program::new();
    let before = time(&mut p, 1);
    clock_subscription(&mut p, 0, 7, 1, HOUR, false);
    clock_subscription(&mut p, 1, 8, 1, 2 * HOUR, false);
    clock_subscription(&mut p, 2, 9, 0, HOUR, false);
    assert_eq!(
        poll_events(&mut p, 3),
        Ok(vec![(7, 0, 0, 0, 0), (9, 0, 0, 0, 0)])
    );
    let after = time(&mut p, 1);
    assert!(
        (HOUR..HOUR + 100_000).contains(&(after - before)),
        "{}",
        after - before
    );

    // A deadline that has passed.
    clock_subscription(&mut p, 0, 1, 1, after, true);
    assert_eq!(poll_events(&mut p, 1), Ok(vec![(1, 0, 0, 0, 0)]));
    assert!(time(&mut p, 1) - after < 100_000);
    // A real time deadline a minute ahead.
    let deadline = time(&mut p, 0) + 60_000_000_000;
    clock_subscription(&mut p, 0, 1, 0, deadline, true);
    assert_eq!(poll_events(&mut p, 1), Ok(vec![(1, 0, 0, 0, 0)]));
    let slept = time(&mut p, 1);
    assert!(slept - after >= 60_000_000_000);

    let mut p = p.upgrade();
    assert!(
        time(&mut p, 1) >= slept - 1_000_000,
        "not even an upgrade turns it back"
    );

    // Endless sleep does not wrap around.
    clock_subscription(&mut p, 0, 1, 1, u64::MAX, false);
    poll_events(&mut p, 1).unwrap();
    poll_events(&mut p, 1).unwrap();
    assert_eq!(time(&mut p, 1), u64::MAX);

    clock_subscription(&mut p, 0, 1, 2, 1, false);
    fails(poll_events(&mut p, 1), Errno::INVAL);
    fails(poll_events(&mut p, 0), Errno::INVAL);
    fails(
        poll_events(&mut p, poll::MAX_SUBSCRIPTIONS + 1),
        Errno::INVAL,
    );
    fails(poll_events(&mut p, 4000), Errno::INVAL);
}

#[test]
fn files_and_stdio_are_ready_before_any_clock() {
    let mut p = Program::new();
    p.file("f", b"12345");
    let fd = p.open("f", 0, RW).unwrap();
    p.read(fd, 2).unwrap();
    p.rt.set_stdin(b"abc".to_vec());
    let before = time(&mut p, 1);
    clock_subscription(&mut p, 0, 1, 1, 1 << 50, false);
    fd_subscription(&mut p, 1, 2, 1, fd);
    fd_subscription(&mut p, 2, 3, 2, fd);
    fd_subscription(&mut p, 3, 4, 1, 0);
    fd_subscription(&mut p, 4, 5, 2, 2);
    let expected = vec![
        (2, 0, 1, 3, 0),
        (3, 0, 2, 1, 0),
        (4, 0, 1, 3, 0),
        (5, 0, 2, 1, 0),
    ];
    assert_eq!(poll_events(&mut p, 5), Ok(expected));
    assert!(time(&mut p, 1) - before < 100_000, "nobody waited");
    p.read(fd, 9).unwrap();
    fd_subscription(&mut p, 0, 2, 1, fd);
    assert_eq!(
        poll_events(&mut p, 1),
        Ok(vec![(2, 0, 1, 0, 1)]),
        "the end: hang-up"
    );
    for (kind, fd, errno) in [
        (1, 99, Errno::BADF),
        (2, 0, Errno::BADF),
        (1, ROOT, Errno::BADF),
        (3, fd, Errno::INVAL),
    ] {
        fd_subscription(&mut p, 0, 2, kind, fd);
        fails(poll_events(&mut p, 1), errno);
    }
}

fn random_bytes(p: &mut Program, len: u32) -> Vec<u8> {
    p.call(|rt, g| random::random_get(rt, g, DATA, len))
        .unwrap();
    p.bytes(DATA, len as usize).to_vec()
}

#[test]
fn random_numbers_never_repeat() {
    let mut p = Program::new();
    let mut seen = std::collections::HashSet::new();
    let mut draw = |p: &mut Program| assert!(seen.insert(random_bytes(p, 32)), "repeated");
    for _ in 0..5 {
        draw(&mut p);
        draw(&mut p);
        // Same time, same counter: the worst case of a next message.
        p.next_message(0);
    }
    // Nor after upgrades, even at the same time.
    for _ in 0..3 {
        p = p.upgrade();
        p.rt.env().instructions.set(0);
        draw(&mut p);
    }
    // Two queries on the same state differ by their callers or counters.
    let key = {
        let stable: Vec<u8> = {
            let mut bytes = vec![0; (p.stable.size() * 65_536) as usize];
            p.stable.read(0, &mut bytes);
            bytes
        };
        stable
    };
    let mut query = |caller: &[u8]| {
        let stable = VectorMemory::default();
        stable.grow(key.len() as u64 / 65_536);
        stable.write(0, &key);
        let mut rt = Runtime::new();
        rt.env().replicated.set(false);
        rt.env().caller.replace(caller.to_vec());
        rt.init_with_memory(stable.clone()).unwrap();
        rt.started();
        let mut p = Program {
            rt,
            memory: vec![0; MEMORY],
            library: None,
            stable,
            dir: ROOT,
        };
        draw(&mut p);
    };
    query(b"alice");
    query(b"bob");

    // Secret bytes change everything that follows, and are remembered.
    let run = |secret: &[u8], upgrade: bool| {
        let mut p = Program::new();
        p.rt.reseed(secret);
        if upgrade {
            p = p.upgrade();
        }
        random_bytes(&mut p, 16)
    };
    for upgrade in [false, true] {
        assert_eq!(
            run(b"secret", upgrade),
            run(b"secret", upgrade),
            "the double is deterministic"
        );
        assert_ne!(run(b"secret", upgrade), run(b"other", upgrade));
    }
    fails(
        p.call(|rt, g| random::random_get(rt, g, MEMORY as u32 - 1, 2)),
        Errno::FAULT,
    );
    p.call(|rt, g| random::random_get(rt, g, DATA, 0)).unwrap();
    let big = random_bytes(&mut p, 60_000);
    let ones: u32 = big.iter().map(|byte| byte.count_ones()).sum();
    assert!(
        (238_000..242_000).contains(&ones),
        "{ones} of 480,000 bits are set"
    );
    p.check();
}

#[test]
fn secret_bytes_are_asked_for_until_they_come() {
    const MINUTE: u64 = 60_000_000_000;
    let mut p = Program::new();
    let blob = |bytes: &[u8]| candid::encode_one(serde_bytes::ByteBuf::from(bytes)).unwrap();
    let useless = [
        None,
        Some(vec![]),
        Some(b"DIDL".to_vec()),
        Some(candid::encode_one("text").unwrap()),
        Some(blob(b"")),
    ];
    for (asked, reply) in (1..).zip(useless) {
        random::reseed_if_due(&mut p.rt);
        assert_eq!(p.rt.env().random_requests.get(), asked);
        p.rt.env().random_reply.replace(reply);
        random::take_reply(&mut p.rt);
        p.next_message(10 * MINUTE - 1);
        random::reseed_if_due(&mut p.rt);
        assert_eq!(p.rt.env().random_requests.get(), asked, "too early");
        p.next_message(1);
    }
    random::reseed_if_due(&mut p.rt);
    p.rt.env().random_reply.replace(Some(blob(&[7; 32])));
    random::take_reply(&mut p.rt);
    p.next_message(1_000 * MINUTE);
    random::reseed_if_due(&mut p.rt);
    assert_eq!(p.rt.env().random_requests.get(), 6);
}

#[test]
fn exit_and_signals() {
    let mut p = Program::new();
    p.write(1, b"last words").unwrap();
    let trap = catch_unwind(AssertUnwindSafe(|| proc::proc_exit(&mut p.rt, 3))).unwrap_err();
    assert!(
        trap.downcast_ref::<String>()
            .unwrap()
            .contains("exit code 3")
    );
    assert_eq!(p.printed(), ["last words"]);
    fails(proc::proc_raise(6), Errno::NOTSUP);
    fails(proc::proc_raise(31), Errno::INVAL);
    proc::sched_yield().unwrap();
}

#[test]
fn unstable_has_its_own_layouts() {
    let mut p = Program::new();
    p.file("f", b"12345");
    let fd = p.open("f", 0, READ).unwrap();
    for (whence, expected) in [(1, 4), (0, 3), (2, -1)] {
        let result = p.call(|rt, g| unstable::fd_seek(rt, g, fd, -1, whence, OUT));
        match expected {
            -1 => fails(result, Errno::INVAL),
            at => assert_eq!((result, p.u64_at(OUT)), (Ok(()), at as u64)),
        }
    }
    fails(
        p.call(|rt, g| unstable::fd_seek(rt, g, fd, 0, 3, OUT)),
        Errno::INVAL,
    );
    let new = p.fstat(fd).unwrap();
    p.put(OUT, &[0xaa; 64]);
    p.call(|rt, g| unstable::fd_filestat_get(rt, g, fd, OUT))
        .unwrap();
    assert_eq!(
        (
            p.u64_at(OUT),
            p.u64_at(OUT + 8),
            p.memory[OUT as usize + 16]
        ),
        (new.dev, new.ino, new.filetype)
    );
    assert_eq!((p.u32_at(OUT + 20), p.u64_at(OUT + 24)), (1, 5));
    assert_eq!(
        (p.u64_at(OUT + 32), p.u64_at(OUT + 40), p.u64_at(OUT + 48)),
        (new.atim, new.mtim, new.ctim)
    );
    assert_eq!(p.bytes(OUT + 56, 8), [0xaa; 8], "56 bytes and no more");
    let len = p.path("f");
    p.call(|rt, g| unstable::path_filestat_get(rt, g, ROOT, 0, PATH, len, OUT))
        .unwrap();
    assert_eq!((p.u32_at(OUT + 20), p.u64_at(OUT + 24)), (1, 5));

    // userdata 5, clock with an identifier, monotonic, 1,000 ns
    p.put(DATA, &[0; 112]);
    p.put(DATA, &5_u64.to_le_bytes());
    p.put(DATA + 16, &0xdead_u64.to_le_bytes());
    p.put(DATA + 24, &1_u32.to_le_bytes());
    p.put(DATA + 32, &1_000_u64.to_le_bytes());
    p.put(DATA + 56, &6_u64.to_le_bytes());
    p.put(DATA + 64, &[1]);
    p.put(DATA + 72, &fd.to_le_bytes());
    p.call(|rt, g| unstable::poll_oneoff(rt, g, DATA, EVENTS, 1, OUT))
        .unwrap();
    assert_eq!((p.u32_at(OUT), p.u64_at(EVENTS)), (1, 5));
    p.call(|rt, g| unstable::poll_oneoff(rt, g, DATA, EVENTS, 2, OUT))
        .unwrap();
    assert_eq!((p.u32_at(OUT), p.u64_at(EVENTS)), (1, 6));
}

#[test]
fn the_guests_own_stable_memory() {
    let mut p = Program::new();
    p.file("f", b"a file");
    assert_eq!(stable::stable64_size(&mut p.rt), 0);
    assert_eq!(stable::stable64_grow(&mut p.rt, 3), 0);
    assert_eq!(stable::stable_grow(&mut p.rt, 1), 3);
    p.put(DATA, b"stable data");
    p.call(|rt, g| stable::stable64_write(rt, g, 4 * 65_536 - 11, u64::from(DATA), 11));
    p.call(|rt, g| stable::stable_read(rt, g, OUT, 4 * 65_536 - 13, 13));
    assert_eq!(p.bytes(OUT, 13), b"\0\0stable data");
    let before = p.rt.fs().unwrap().usage().used_bytes;
    assert_eq!(
        stable::stable64_grow(&mut p.rt, 1 << 20),
        4,
        "64 GiB that take no space"
    );
    assert!(p.rt.fs().unwrap().usage().used_bytes - before < 100_000);
    assert_eq!(stable::stable64_grow(&mut p.rt, u64::MAX), -1);
    assert_eq!(stable::stable64_grow(&mut p.rt, 8_192_000), -1);

    let mut p = p.upgrade();
    assert_eq!(stable::stable64_size(&mut p.rt), 4 + (1 << 20));
    p.call(|rt, g| stable::stable64_read(rt, g, u64::from(OUT), 4 * 65_536 - 11, 11));
    assert_eq!(p.bytes(OUT, 11), b"stable data");
    assert_eq!(p.content("f"), b"a file");

    let end = (4 + (1 << 20)) * 65_536;
    for (offset, address, len) in [
        (end - 1, 0x100, 2),
        (u64::MAX, 0x100, 1),
        (0, MEMORY as u64, 1),
        (0, u64::MAX, 1),
    ] {
        let trap = catch_unwind(AssertUnwindSafe(|| {
            p.call(|rt, g| stable::stable64_read(rt, g, address, offset, len))
        }));
        let message = trap.unwrap_err().downcast_ref::<String>().unwrap().clone();
        assert!(message.contains("out of bounds"), "{message}");
    }
    let trap = catch_unwind(AssertUnwindSafe(|| stable::stable_size(&mut p.rt)));
    assert!(trap.is_err(), "too large for the 32-bit functions");
    p.check();
}

#[test]
fn foreign_memory_is_refused_and_left_alone() {
    let stable = VectorMemory::default();
    stable.grow(3);
    stable.write(0, b"MGR the program's own structures");
    let before = stable.borrow().clone();
    let mut rt = Runtime::new();
    assert_eq!(
        rt.init_with_memory(stable.clone()),
        Err(MountError::Foreign)
    );
    assert!(*stable.borrow() == before);
    // Another memory can be given then.
    rt.init_with_memory(VectorMemory::default()).unwrap();
    rt.started();
    // But not a second one.
    assert!(rt.init_with_memory(VectorMemory::default()).is_err());
}

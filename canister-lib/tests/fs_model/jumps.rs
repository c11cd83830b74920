//! Reads and writes that jump about in files, often enough for what the file system keeps in mind
//! for them, between changes of what it keeps in mind.

use ic_stable_structures::VectorMemory;
use icwasi::fs::{FormatOptions, Fs, Ino};
use proptest::prelude::*;

const FILES: usize = 2;
/// Bytes that a file may have: 100 blocks in as many extents or fewer.
const MOST: u64 = 100 * 4096;

/// What changes the map of a file.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, usize),
    SetLen(u64),
    Allocate(u64, u64),
    /// The name goes, the open file stays.
    Unlink,
    /// The file goes, and another one takes its inode.
    Replace,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0..MOST, 1_usize..20_000).prop_map(|(at, len)| Change::Write(at, len)),
        3 => (0..MOST).prop_map(Change::SetLen),
        2 => (0..MOST, 1..MOST / 2).prop_map(|(at, len)| Change::Allocate(at, len)),
        1 => Just(Change::Unlink),
        1 => Just(Change::Replace),
    ]
}

struct Run {
    fs: Fs<VectorMemory>,
    files: Vec<(Ino, Vec<u8>)>,
    /// The last byte written.
    byte: u8,
}

impl Run {
    fn new() -> Self {
        let options = FormatOptions {
            hash_key: [7; 16],
            quota_bytes: None,
        };
        let fs = Fs::open(VectorMemory::default(), &options, 1).expect("a new memory");
        let mut run = Self {
            fs,
            files: Vec::new(),
            byte: 0,
        };
        for file in 0..FILES {
            let made = run.create(file);
            run.files.push((made, Vec::new()));
        }
        // One block of each in turn: no extent is longer.
        for at in (0..MOST / 2).step_by(4096) {
            for file in 0..FILES {
                run.write(file, at, 4096);
            }
        }
        run
    }

    fn create(&mut self, file: usize) -> Ino {
        let root = self.fs.root();
        let made = self.fs.create(root, &[b'a' + file as u8]).expect("create");
        self.fs.retain(made).expect("retain");
        made
    }

    fn write(&mut self, file: usize, at: u64, len: usize) {
        self.byte = self.byte.wrapping_add(1);
        let (ino, content) = &mut self.files[file];
        self.fs
            .write(*ino, at, &vec![self.byte; len])
            .expect("write");
        let end = at as usize + len;
        content.resize(content.len().max(end), 0);
        content[at as usize..end].fill(self.byte);
    }

    fn change(&mut self, file: usize, change: &Change) {
        let (ino, content) = &mut self.files[file];
        match *change {
            Change::Write(at, len) => self.write(file, at, len),
            Change::SetLen(size) => {
                self.fs.set_len(*ino, size).expect("set_len");
                content.resize(size as usize, 0);
            }
            Change::Allocate(at, len) => {
                self.fs.allocate(*ino, at, len).expect("allocate");
                content.resize(content.len().max((at + len) as usize), 0);
            }
            Change::Unlink => {
                // The second time there is none.
                let root = self.fs.root();
                let _ = self.fs.unlink(root, &[b'a' + file as u8]);
            }
            Change::Replace => {
                let (ino, root) = (*ino, self.fs.root());
                let _ = self.fs.unlink(root, &[b'a' + file as u8]);
                self.fs.release(ino).expect("release");
                self.files[file] = (self.create(file), Vec::new());
            }
        }
    }

    /// Accesses here and there, half of them crossing blocks.
    fn jump(&mut self, file: usize, seed: u32, times: u32) {
        let mut state = seed;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut buffer = [0; 5000];
        for _ in 0..times {
            let at = u64::from(random(MOST as u32));
            let len = 1 + random(5000) as usize;
            let (ino, content) = &self.files[file];
            // Every third one writes, inside the file.
            if random(3) == 0 && at as usize + len <= content.len() {
                self.write(file, at, len);
                continue;
            }
            let read = self.fs.read(*ino, at, &mut buffer[..len]).expect("read");
            let there = content.get(at as usize..).unwrap_or_default();
            assert_eq!(read, len.min(there.len()));
            assert_eq!(buffer[..read], there[..read], "at {at}");
        }
    }
}

/// What happens, to which file, and how often it is read and written after it.
type Phase = (Change, usize, u32, u32);

fn phase() -> impl Strategy<Value = Phase> {
    (change(), 0..FILES, any::<u32>(), 0_u32..150)
}

#[test]
fn jumps_find_what_is_there() {
    let config = ProptestConfig {
        cases: crate::cases(60),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(phases in prop::collection::vec(phase(), 30))| {
        let mut run = Run::new();
        for (change, file, seed, times) in &phases {
            run.jump(*file, *seed, *times);
            run.change(*file, change);
            run.jump(*file, !seed, *times);
        }
        prop_assert_eq!(run.fs.check(), []);
    });
}

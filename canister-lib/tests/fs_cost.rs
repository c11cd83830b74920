//! What operations cost on the Internet Computer in accesses of stable memory: 25 instructions a
//! call, 1 a byte, 1,000 for each 4 KiB page first dirtied in a message. Computation comes on top
//! and is measured in the replica.

use std::rc::Rc;

use ic_stable_structures::VectorMemory;
use icwasi::fs::{FormatOptions, Fs, Ino};
use icwasi::memory::counting::{Costs, CountingMemory};

struct Bench {
    fs: Fs<CountingMemory<VectorMemory>>,
    costs: Rc<Costs>,
}

impl Bench {
    fn new() -> Self {
        let costs = Rc::new(Costs::default());
        let memory = CountingMemory::new(VectorMemory::default(), costs.clone());
        let options = FormatOptions {
            hash_key: [1; 16],
            quota_bytes: None,
        };
        Self {
            fs: Fs::open(memory, &options, 1).unwrap(),
            costs,
        }
    }

    /// Average cost of `count` calls in one message; prints it, and compares it with `budget`.
    fn message(
        &mut self,
        what: &str,
        count: u64,
        budget: u64,
        mut op: impl FnMut(&mut Fs<CountingMemory<VectorMemory>>, u64),
    ) {
        self.costs.start_message();
        let now = self.fs.stat(self.fs.root()).unwrap().mtime + 1_000_000;
        self.fs.set_now(now);
        (0..count).for_each(|i| op(&mut self.fs, i));
        let each = self.costs.total() / count;
        println!(
            "{what}: {each} each, of these {} for {} pages",
            self.costs.dirty_pages() * 1000 / count,
            self.costs.dirty_pages()
        );
        assert!(each <= budget, "{what}: {each} each, budget {budget}");
    }

    fn file(&mut self, name: &str) -> Ino {
        let file = self.fs.create(self.fs.root(), name.as_bytes()).unwrap();
        self.fs.retain(file).unwrap();
        file
    }
}

#[test]
fn small_and_large_accesses() {
    let mut b = Bench::new();
    let file = b.file("f");
    let mut buf = vec![1; 65536];
    let raw_write = 1025 + 1000 * 1000 / 4096;
    // Goals are 1.35, 1.25 and 1.25 of the raw calls, computation included.
    b.message(
        "append 1,000 bytes",
        10_000,
        raw_write * 108 / 100,
        |fs, i| {
            fs.write(file, i * 1000, &[2; 1000]).unwrap();
        },
    );
    b.message(
        "overwrite 1,000 bytes",
        10_000,
        raw_write * 108 / 100,
        |fs, i| {
            fs.write(file, i * 1000, &[3; 1000]).unwrap();
        },
    );
    b.message("read 1,000 bytes", 10_000, 1025 * 104 / 100, |fs, i| {
        assert_eq!(fs.read(file, i * 1000, &mut buf[..1000]), Ok(1000));
    });
    b.message("append 1,000 bytes, alone", 1, 3_600, |fs, _| {
        fs.write(file, 10_000_000, &[2; 1000]).unwrap();
    });
    let log = b.file("log");
    b.message("append 100 bytes", 10_000, 300, |fs, i| {
        fs.write(log, i * 100, &[2; 100]).unwrap();
    });
    let big = b.file("big");
    let raw = 25 + 65536 + 16_000;
    b.message("write 64 KiB", 1_600, raw * 101 / 100, |fs, i| {
        fs.write(big, i * 65536, &buf).unwrap();
    });
    b.message("read 64 KiB", 1_600, (25 + 65536) * 101 / 100, |fs, i| {
        assert_eq!(fs.read(big, i * 65536, &mut buf), Ok(65536));
    });
    let extents = b.fs.stat(big).unwrap();
    assert!(extents.allocated < 1_600 * 65536 + 3_000_000);
    b.fs.release(big).unwrap();
    b.message("delete 100 MiB", 1, 30_000, |fs, _| {
        fs.unlink(fs.root(), b"big").unwrap()
    });
    assert_eq!(b.fs.check(), []);
}

#[test]
fn interleaved_files_stay_in_few_extents() {
    let mut b = Bench::new();
    let files: Vec<Ino> = (0..10).map(|i| b.file(&format!("f{i}"))).collect();
    b.message(
        "append 1,000 bytes to 10 files in turn",
        20_000,
        1_269 * 110 / 100,
        |fs, i| {
            fs.write(files[i as usize % 10], i / 10 * 1000, &[2; 1000])
                .unwrap();
        },
    );
    let mut buf = vec![0; 2_000_000];
    b.message(
        "read 2 MB of it at once",
        1,
        2_000_000 + 1_000 + 50 * 25,
        |fs, _| {
            assert_eq!(fs.read(files[4], 0, &mut buf), Ok(2_000_000));
        },
    );
}

#[test]
fn names() {
    let mut b = Bench::new();
    let root = b.fs.root();
    let dir = b.fs.mkdir(root, b"dir").unwrap();
    b.message("create, 10,000 in a message", 10_000, 2_500, |fs, i| {
        fs.create(dir, format!("file{i}").as_bytes()).unwrap();
    });
    b.message("create, alone", 1, 6_000, |fs, _| {
        fs.create(dir, b"alone").unwrap();
    });
    b.message("look-up that misses", 1_000, 250, |fs, i| {
        assert!(fs.lookup(dir, format!("none{i}").as_bytes()).is_err());
    });
    b.message("look-up that hits", 1_000, 350, |fs, i| {
        fs.lookup(dir, format!("file{i}").as_bytes()).unwrap();
    });
    let mut cookie = 0;
    b.message("list, 100 entries at a time", 100, 100 * 150, |fs, _| {
        let mut left = 100;
        fs.read_dir(dir, cookie, &mut |entry| {
            cookie = entry.cookie;
            left -= 1;
            if left == 0 {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        })
        .unwrap();
    });
    b.message("create 1,000 directories", 1_000, 3_000, |fs, i| {
        fs.mkdir(root, format!("dir{i}").as_bytes()).unwrap();
    });
    let mut at = root;
    b.message("create 1,000 nested directories", 1_000, 5_000, |fs, _| {
        at = fs.mkdir(at, b"nested").unwrap();
    });
    let costs = b.costs;
    costs.start_message();
    let mut fs = Fs::mount(b.fs.into_memory()).unwrap();
    println!("mount: {}", costs.total());
    assert!(
        costs.total() < 5_000,
        "mount with 12,000 inodes: {}",
        costs.total()
    );
    assert_eq!(fs.check(), []);
}

#[test]
fn many_extents() {
    let mut b = Bench::new();
    let (a, c) = (b.file("a"), b.file("c"));
    b.fs.release(a).unwrap();
    b.fs.release(c).unwrap();
    for i in 0..1_000 {
        b.fs.write(a, i * 4096, &[1; 4096]).unwrap();
        b.fs.write(c, i * 4096, &[1; 4096]).unwrap();
    }
    let mut buf = vec![0; 4096];
    b.message(
        "read 4 KiB of 1,000 extents",
        2_000,
        4_121 * 103 / 100,
        |fs, i| {
            assert_eq!(fs.read(a, i * 7919 % 1000 * 4096, &mut buf), Ok(4096));
        },
    );
    b.message(
        "overwrite 4 KiB of 1,000 extents",
        1_000,
        5_121 * 103 / 100,
        |fs, i| {
            fs.write(a, i * 7919 % 1000 * 4096, &buf).unwrap();
        },
    );
    let new = b.fs.create(b.fs.root(), b"new").unwrap();
    b.fs.write(new, 0, b"x").unwrap();
    b.message(
        "rename over a file of 1,000 extents",
        1,
        100_000,
        |fs, _| {
            fs.rename(fs.root(), b"new", fs.root(), b"a").unwrap();
        },
    );
    b.message("truncate a file of 1,000 extents", 1, 100_000, |fs, _| {
        fs.set_len(c, 0).unwrap();
    });
    assert_eq!(b.fs.check(), []);
}

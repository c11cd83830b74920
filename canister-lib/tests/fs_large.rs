//! Sizes that random tests do not reach: many extents, several groups of blocks, quotas.

use ic_stable_structures::VectorMemory;
use icwasi::fs::{FormatOptions, Fs, FsError};

fn new_fs(quota_bytes: Option<u64>) -> Fs<VectorMemory> {
    let options = FormatOptions {
        hash_key: [7; 16],
        quota_bytes,
    };
    Fs::open(VectorMemory::default(), &options, 1).expect("a new memory can be formatted")
}

#[test]
fn a_file_of_many_extents() {
    let mut fs = new_fs(None);
    let root = fs.root();
    let (a, b) = (
        fs.create(root, b"a").unwrap(),
        fs.create(root, b"b").unwrap(),
    );
    let count = 8_000_u64;
    // Every other block, in an order that splits leaves everywhere.
    let order: Vec<u64> = (0..count).map(|i| i * 4_799 % count).collect();
    for &i in &order {
        fs.write(a, i * 8192, &i.to_le_bytes()).unwrap();
    }
    for i in 0..count {
        fs.write(b, i * 8192, &i.to_le_bytes()).unwrap();
    }
    assert_eq!(fs.check(), []);
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    let verify = |fs: &mut Fs<VectorMemory>, file, upto: u64| {
        let mut got = [9; 4096 + 8];
        for i in 0..upto {
            let read = fs.read(file, i * 8192, &mut got).unwrap();
            assert_eq!(got[..8], i.to_le_bytes());
            assert!(got[8..read].iter().all(|&byte| byte == 0));
        }
    };
    verify(&mut fs, a, count);
    verify(&mut fs, b, count);
    // Fills the holes: neighbours may join again.
    for &i in &order {
        fs.write(a, i * 8192 + 4096, &[0]).unwrap();
    }
    verify(&mut fs, a, count);
    fs.set_len(a, 3000 * 8192).unwrap();
    verify(&mut fs, a, 3000);
    fs.set_len(b, 8192 + 5).unwrap();
    verify(&mut fs, b, 1);
    assert_eq!(fs.check(), []);
    fs.unlink(root, b"a").unwrap();
    fs.unlink(root, b"b").unwrap();
    assert_eq!(fs.check(), []);
    // Superblock, bitmap, map, inodes, one directory page.
    assert_eq!(fs.usage().used_bytes, 5 * 4096);
}

#[test]
fn several_groups_of_blocks() {
    let mut fs = new_fs(None);
    let root = fs.root();
    let a = fs.create(root, b"a").unwrap();
    let big = 400 << 20;
    fs.allocate(a, 0, big).unwrap();
    let mut got = [1; 100];
    for at in [0, 128 << 20, (256 << 20) - 50, big - 100] {
        assert_eq!(fs.read(a, at, &mut got), Ok(100));
        assert_eq!(got, [0; 100]);
        fs.write(a, at, &[7; 100]).unwrap();
        fs.read(a, at, &mut got).unwrap();
        assert_eq!(got, [7; 100]);
    }
    assert_eq!(fs.check(), []);
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    fs.unlink(root, b"a").unwrap();
    assert_eq!(fs.check(), []);
    let before = fs.usage();
    let b = fs.create(root, b"b").unwrap();
    fs.allocate(b, 0, big).unwrap();
    let allocated = fs.stat(b).unwrap().allocated;
    assert!(
        (big..=big + 4096).contains(&allocated),
        "the data and at most a leaf"
    );
    assert_eq!(fs.usage().used_bytes, before.used_bytes + allocated);
    let memory = fs.into_memory();
    let size = memory.borrow().len() as u64;
    assert!(
        size < big + (16 << 20),
        "freed space was used again: {size}"
    );
    assert_eq!(Fs::mount(memory).unwrap().check(), []);
}

#[test]
fn quotas_hold_and_can_be_raised() {
    let mut fs = new_fs(Some(100 * 4096));
    let root = fs.root();
    let a = fs.create(root, b"a").unwrap();
    let free = fs.usage().free_bytes;
    assert_eq!(free, 95 * 4096);
    let too_much = vec![1; free as usize + 1];
    let needed = 96 * 4096;
    let error = FsError::NoSpace {
        needed,
        available: free,
    };
    assert_eq!(fs.write(a, 0, &too_much), Err(error));
    assert_eq!(fs.stat(a).unwrap().size, 0);
    fs.write(a, 0, &too_much[1..]).unwrap();
    assert_eq!(fs.usage().free_bytes, 0);
    // Overwriting, removing and metadata in place need no space.
    fs.write(a, 100, b"over").unwrap();
    fs.create(root, b"b").unwrap();
    fs.set_len(a, 100_000).unwrap();
    assert!(fs.usage().free_bytes > 0);
    fs.set_quota(None).unwrap();
    fs.write(a, 0, &too_much).unwrap();
    assert_eq!(fs.check(), []);
    assert_eq!(fs.set_len(a, u64::MAX), Err(FsError::FileTooBig));
    assert_eq!(fs.write(a, u64::MAX, b"xx"), Err(FsError::FileTooBig));
    assert_eq!(fs.usage().quota_bytes, None);
}

//! Damaged images: errors or findings, never a panic, an endless loop, or another file system made
//! over them.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::format::{BLOCK_LEN, superblock};
use icwasi::fs::{FormatOptions, Fs, Ino, MountError};

/// An image with every kind of structure. File contents are zero, so that bytes that are not are
/// metadata.
fn image() -> Vec<u8> {
    let options = FormatOptions {
        hash_key: [5; 16],
        quota_bytes: None,
    };
    let mut fs = Fs::open(VectorMemory::default(), &options, 1).unwrap();
    let root = fs.root();
    let dir = fs.mkdir(root, b"dir").unwrap();
    for i in 0..260 {
        fs.create(dir, format!("entry-with-a-name-{i}").as_bytes())
            .unwrap();
    }
    for i in (0..260).step_by(7) {
        fs.unlink(dir, format!("entry-with-a-name-{i}").as_bytes())
            .unwrap();
    }
    let (a, b) = (
        fs.create(root, b"a").unwrap(),
        fs.create(root, b"b").unwrap(),
    );
    for i in 0..12 {
        fs.write(a, i * 8192, &[0; 4096]).unwrap();
        fs.write(b, i * 4096, &[0; 10]).unwrap();
    }
    fs.allocate(b, 100_000, 50_000).unwrap();
    fs.symlink(root, b"short", b"dir").unwrap();
    fs.symlink(root, b"long", "dir/../".repeat(20).as_bytes())
        .unwrap();
    fs.link(a, dir, b"hard").unwrap();
    for name in ["o1", "o2", "o3", "o4", "o5", "o6"] {
        let orphan = fs.create(root, name.as_bytes()).unwrap();
        fs.write(orphan, 0, &[0; 5000]).unwrap();
        fs.retain(orphan).unwrap();
        fs.unlink(root, name.as_bytes()).unwrap();
    }
    assert_eq!(fs.check(), []);
    let memory = fs.into_memory();
    memory.borrow().to_vec()
}

/// Uses everything; results do not matter.
fn exercise(image: &[u8]) -> Result<(), MountError> {
    let memory = VectorMemory::default();
    memory.grow(image.len() as u64 / 65536);
    memory.write(0, image);
    let mut fs = Fs::open(memory, &FormatOptions::default(), 9)?;
    fs.check();
    let root = fs.root();
    let mut found = vec![(root, b"none".to_vec(), root)];
    for dir in [root, Ino(3), fs.system_dir()] {
        let _ = fs.read_dir(dir, 0, &mut |entry| {
            found.push((dir, entry.name.to_vec(), entry.ino));
            ControlFlow::Continue(())
        });
    }
    found.truncate(40);
    let mut buf = vec![0; 20_000];
    for path in [&b"dir/hard"[..], b"short/hard", b"long/../a", b"dir/../b"] {
        let _ = fs.resolve(root, root, path, true);
    }
    for (i, (dir, name, ino)) in found.iter().enumerate() {
        let at = i as u64 * 3000;
        let _ = fs.lookup(*dir, name);
        let _ = fs.stat(*ino);
        let _ = fs.retain(*ino);
        let _ = fs.read_link(*ino);
        let _ = fs.read(*ino, at, &mut buf);
        let _ = fs.write(*ino, at, b"data");
        let _ = fs.write(*ino, 300_000, b"data");
        let _ = fs.allocate(*ino, at, 10_000);
        let _ = fs.set_len(*ino, at + 1);
        let _ = fs.create(*dir, format!("{i}{}", "n".repeat(200)).as_bytes());
        let _ = fs.mkdir(*ino, b"new");
        let _ = fs.link(*ino, root, format!("link{i}").as_bytes());
        let _ = fs.rename(*dir, name, root, b"renamed");
        let _ = fs.rename(root, b"renamed", *dir, name);
        let _ = fs.unlink(*dir, name);
        let _ = fs.rmdir(*dir, name);
        let _ = fs.release(*ino);
    }
    fs.check();
    Ok(())
}

#[test]
fn no_damage_panics() {
    let image = image();
    assert_eq!(exercise(&image), Ok(()));
    let (mut tried, mut failures) = (0, Vec::new());
    for at in 0..image.len() {
        let fixed = at < 512 || image[at] != 0;
        if !fixed {
            continue;
        }
        // Alternately all bits of a byte and one.
        let flip = if (at / 8) % 2 == 0 {
            0xFF
        } else {
            1 << (at % 8)
        };
        let mut damaged = image.clone();
        damaged[at] ^= flip;
        tried += 1;
        if catch_unwind(AssertUnwindSafe(|| exercise(&damaged))).is_err() {
            failures.push((at / BLOCK_LEN, at % BLOCK_LEN, flip));
        }
    }
    assert!(
        failures.is_empty(),
        "panics for (block, offset, flip) of {tried}: {failures:?}"
    );
    assert!(tried > 5_000, "the image has all structures: {tried}");
}

#[test]
fn damaged_identity_is_refused() {
    let image = image();
    for at in 0..superblock::CHECKSUM + 8 {
        let mut damaged = image.clone();
        damaged[at] ^= 4;
        let error = exercise(&damaged).expect_err("the identity is checksummed");
        assert_eq!(error == MountError::Foreign, at < 8, "offset {at}: {error}");
    }
}

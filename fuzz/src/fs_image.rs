//! Damaged images: using one may fail, but must not panic, loop, or reach outside of the memory.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::format::superblock::Superblock;
use icwasi::format::{BLOCK_LEN, superblock};
use icwasi::fs::{FormatOptions, Fs, Ino, MountError};

/// Damages an image as `data` says, and uses it. The first byte: bit 0, whether the superblock's
/// identity is kept, so that more than the checksum is met. Then pieces of 5 bytes: where, as u24,
/// how, and the value.
pub fn fs_image(data: &[u8]) {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let Some((&mode, pieces)) = data.split_first() else {
        return;
    };
    let mut damaged = IMAGE.get_or_init(image).clone();
    let used = damaged.iter().rposition(|&byte| byte != 0).unwrap_or(0) + 1;
    for piece in pieces.chunks_exact(5) {
        let at = usize::from(piece[0]) | usize::from(piece[1]) << 8 | usize::from(piece[2]) << 16;
        let at = match piece[3] % 4 {
            // The superblock; metadata, which is what is not zero; anything.
            0 => at % superblock::END,
            1 | 2 => {
                let from = at % used;
                let next = damaged[from..].iter().position(|&byte| byte != 0);
                from + next.unwrap_or(0)
            }
            _ => at % damaged.len(),
        };
        match piece[3] / 4 % 3 {
            0 => damaged[at] ^= piece[4],
            1 => damaged[at] = piece[4],
            _ => {
                // A small number, as most fields are.
                let at = at / 4 * 4;
                damaged[at..at + 4].copy_from_slice(&u32::from(piece[4]).to_le_bytes());
            }
        }
    }
    if mode % 2 == 0 {
        let good = IMAGE.get_or_init(image);
        damaged[..superblock::CHECKSUM + 8].copy_from_slice(&good[..superblock::CHECKSUM + 8]);
    }
    debug_assert!(Superblock::decode(&IMAGE.get_or_init(image)[..BLOCK_LEN]).is_ok());
    let _ = exercise(&damaged);
}

/// An image with every kind of structure. File contents are zero, so that bytes that are not are
/// metadata.
pub fn image() -> Vec<u8> {
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

pub fn memory(image: &[u8]) -> VectorMemory {
    let memory = VectorMemory::default();
    memory.grow(image.len() as u64 / 65536);
    memory.write(0, image);
    memory
}

/// Uses everything; results do not matter.
pub fn exercise(image: &[u8]) -> Result<(), MountError> {
    let mut fs = Fs::open(memory(image), &FormatOptions::default(), 9)?;
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

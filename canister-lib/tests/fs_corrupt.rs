//! Damaged images: errors or findings, never a panic, an endless loop, or another file system made
//! over them.

#[path = "../../fuzz/src/fs_image.rs"]
mod fs_image;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fs_image::{exercise, image, memory};
use ic_stable_structures::{Memory, VectorMemory};
use icwasi::format::{BLOCK_LEN, dirent, extent, inode, superblock};
use icwasi::fs::{Finding, Fs, Ino, Invariant, MountError, Part, PartSize};

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

/// A field: name, address, bytes, and the bits of it whose damage is to be found. Not found are
/// values of which any is sound: times, hints, births, the quota, discriminators of cookies.
type Field = (&'static str, usize, usize, u64);

const ALL: u64 = u64::MAX;

fn superblock_fields() -> Vec<Field> {
    use superblock::*;
    vec![
        ("magic", 0, 8, ALL),
        ("major version", MAJOR, 2, ALL),
        ("minor version", MINOR, 2, ALL),
        ("block size", BLOCK_SIZE, 4, ALL),
        ("hash key", HASH_KEY, 8, ALL),
        ("hash key, second half", HASH_KEY + 8, 8, ALL),
        ("time of formatting", CREATED, 8, ALL),
        ("features", FEATURES, 4, ALL),
        ("required features", FEATURES_REQUIRED, 4, ALL),
        ("checksum", CHECKSUM, 8, ALL),
        ("quota", QUOTA, 8, 0),
        ("generation", GENERATION, 4, 0),
        ("root of snapshots", SNAPSHOTS, 4, ALL),
        ("root of history", HISTORY, 4, ALL),
        ("total blocks", TOTAL_BLOCKS, 4, ALL),
        ("free blocks", FREE_BLOCKS, 4, ALL),
        ("search hint", ALLOC_HINT, 4, 0),
        ("end of inodes", INODE_END, 4, ALL),
        ("inodes", INODES, 4, ALL),
        ("free inode", FREE_INODE, 4, ALL),
        ("orphans", ORPHANS, 4, ALL),
        ("chunks", CHUNKS, 4, ALL),
        ("chunk", CHUNK_TABLE, 4, ALL),
    ]
}

/// Fields of the inode at `at`; `dir`: of a directory, else of a file of form 1.
fn inode_fields(at: usize, dir: bool) -> Vec<Field> {
    use inode::*;
    let of_dir = |mask| if dir { mask } else { 0 };
    let mut fields = vec![
        ("kind", at + KIND, 1, ALL),
        ("form", at + FORM, 1, ALL),
        ("flags", at + FLAGS, 2, 1),
        ("link count", at + NLINK, 4, ALL),
        ("size", at + SIZE, 8, if dir { ALL } else { !0 << 43 }),
        ("mtime", at + MTIME, 8, 0),
        ("ctime", at + CTIME, 8, 0),
        ("changes", at + CHANGES, 8, 0),
        ("atime", at + ATIME, 8, 0),
        ("birth", at + BIRTH, 4, 0),
        ("blocks", at + BLOCKS, 4, ALL),
        ("parent", at + PARENT, 4, of_dir(ALL)),
        ("next", at + NEXT, 4, 0),
        ("count", at + COUNT, 4, ALL),
    ];
    let map = at + MAP;
    if dir {
        use dirent::*;
        fields.extend([
            ("depth", map + DIR_DEPTH, 1, ALL),
            ("first block of the table", map + DIR_TABLE, 4, ALL),
            ("pages", map + DIR_PAGES, 4, ALL),
            ("first page", map + DIR_INLINE, 4, ALL),
        ]);
    } else {
        fields.extend([
            ("first logical block of a leaf", map, 4, ALL),
            ("leaf", map + 4, 4, ALL),
        ]);
    }
    fields
}

/// Fields of the leaf at `at` and of its first extent.
fn extent_fields(at: usize) -> Vec<Field> {
    use extent::*;
    let first = at + LEAF_EXTENTS;
    vec![
        ("magic of a leaf", at, 4, ALL),
        ("owner of a leaf", at + LEAF_OWNER, 4, ALL),
        ("birth of a leaf", at + LEAF_BIRTH, 4, 0),
        ("count of a leaf", at + LEAF_COUNT, 4, ALL),
        ("logical block", first + LOGICAL, 4, ALL),
        ("physical block", first + PHYSICAL, 4, ALL),
        ("length", first + LENGTH, 4, !(1 << 31)),
        ("birth", first + EXTENT_BIRTH, 4, 0),
    ]
}

/// Fields of the directory page at `at` and of its first entry.
fn entry_fields(at: usize) -> Vec<Field> {
    use dirent::*;
    let first = at + PAGE_ENTRIES;
    vec![
        ("magic of a page", at, 4, ALL),
        ("owner of a page", at + PAGE_OWNER, 4, ALL),
        ("birth of a page", at + PAGE_BIRTH, 4, 0),
        ("depth of a page", at + PAGE_DEPTH, 1, ALL),
        ("entries", at + PAGE_LIVE, 2, ALL),
        ("used", at + PAGE_USED, 2, ALL),
        ("dead", at + PAGE_DEAD, 2, ALL),
        ("head", at + PAGE_HEADS, 2, ALL),
        ("next entry", first + ENTRY_NEXT, 2, ALL),
        ("length of the name", first + ENTRY_NAME_LEN, 1, ALL),
        ("kind", first + ENTRY_KIND, 1, ALL),
        ("inode", first + ENTRY_INO, 4, ALL),
        ("cookie", first + ENTRY_COOKIE, 8, !0xFF),
        ("birth", first + ENTRY_BIRTH, 4, 0),
        ("name", first + ENTRY_NAME, 3, ALL),
    ]
}

fn word(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
}

fn put(image: &mut [u8], at: usize, word: u32) {
    image[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// Where an inode is.
fn slot(image: &[u8], ino: Ino) -> usize {
    let (chunk, block) = inode::locate_slot(ino.0 as u32);
    let start = word(image, superblock::CHUNK_TABLE + 4 * chunk as usize) + block;
    start as usize * BLOCK_LEN + ino.0 as usize % 32 * inode::INODE_LEN
}

/// What was in the memory of a file system.
fn bytes_of(fs: Fs<VectorMemory>) -> Vec<u8> {
    fs.into_memory().borrow().clone()
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|f| (f.invariant.number(), f.subject, f.detail));
    findings
}

/// What a check finds that goes in small parts, each in small steps.
fn in_steps<M: Memory>(fs: &mut Fs<M>) -> Vec<Finding> {
    let size = PartSize {
        inodes: 50,
        groups: 1,
    };
    let mut findings = Vec::new();
    for index in 0..fs.check_parts(size) {
        let mut rest: Option<Vec<u8>> = None;
        loop {
            let mut pieces = 7;
            let mut go_on = || {
                pieces -= 1;
                pieces > 0
            };
            let part = Part { index, size };
            let step = fs.check_step(part, rest.as_deref(), &mut go_on).unwrap();
            findings.extend(step.findings);
            match step.rest {
                Some(state) => rest = Some(state),
                None => break,
            }
        }
    }
    sorted(findings)
}

#[test]
fn damage_to_each_field_is_found() {
    let image = image();
    let mut fs = Fs::mount(memory(&image)).unwrap();
    let root = fs.root();
    let file = slot(&image, fs.lookup(root, b"a").unwrap());
    assert_eq!(image[file + inode::FORM], 1, "a file with a leaf");
    let directory = slot(&image, root);
    let leaf = word(&image, file + inode::MAP + 4) as usize * BLOCK_LEN;
    let page = directory + inode::MAP + dirent::DIR_INLINE;
    let page = word(&image, page) as usize * BLOCK_LEN;
    let fields = [
        ("superblock", superblock_fields()),
        ("file", inode_fields(file, false)),
        ("directory", inode_fields(directory, true)),
        ("extent", extent_fields(leaf)),
        ("entry", entry_fields(page)),
    ];
    let mut missed = Vec::new();
    for (of, name, at, size, mask) in fields
        .iter()
        .flat_map(|(of, fields)| fields.iter().map(move |f| (of, f.0, f.1, f.2, f.3)))
    {
        let damages = (0..8 * size).map(|bit| 1_u64 << bit).chain([u64::MAX]);
        for flip in damages {
            let mut damaged = image.clone();
            for (i, byte) in damaged[at..at + size].iter_mut().enumerate() {
                *byte ^= flip.to_le_bytes()[i];
            }
            let found = catch_unwind(AssertUnwindSafe(|| {
                let found = match Fs::mount(memory(&damaged)) {
                    Ok(mut fs) => {
                        let found = fs.check();
                        assert_eq!(in_steps(&mut fs), sorted(found.clone()));
                        !found.is_empty()
                    }
                    Err(_) => true,
                };
                let _ = exercise(&damaged);
                found
            }));
            match found {
                Ok(found) if found || flip & mask == 0 || flip == u64::MAX => {}
                Ok(_) => missed.push(format!("{of}: {name}, bits {flip:#x}: not found")),
                Err(_) => missed.push(format!("{of}: {name}, bits {flip:#x}: panic")),
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Directories above each other, with as many names and as many links as they say: only the way up
/// from them tells.
#[test]
fn a_circle_of_directories_is_found() {
    let mut fs = Fs::mount(memory(&image())).unwrap();
    let root = fs.root();
    let a = fs.mkdir(root, b"name of a").unwrap();
    let b = fs.mkdir(a, b"name of b").unwrap();
    let c = fs.mkdir(b, b"name of c").unwrap();
    assert_eq!(fs.check(), []);
    let mut bytes = bytes_of(fs);
    // `a` goes to where `c` was, in a directory below itself, and `c` to the root.
    for (name, ino, parent) in [("name of a", c, root), ("name of c", a, b)] {
        let found = bytes.windows(name.len()).position(|b| b == name.as_bytes());
        let entry = found.expect("the entry") - dirent::ENTRY_NAME;
        put(&mut bytes, entry + dirent::ENTRY_INO, ino.0 as u32);
        let slot = slot(&bytes, ino);
        put(&mut bytes, slot + inode::PARENT, parent.0 as u32);
    }
    let mut fs = Fs::mount(memory(&bytes)).unwrap();
    let found = fs.check();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].invariant, found[0].subject),
        (Invariant::Tree, a.0)
    );
    assert_eq!(in_steps(&mut fs), found);
}

/// Blocks of two files, and blocks of none.
#[test]
fn blocks_with_two_owners_are_found() {
    let mut fs = Fs::mount(memory(&image())).unwrap();
    let root = fs.root();
    let [x, y] = [b"x", b"y"].map(|name| {
        let file = fs.create(root, name).unwrap();
        fs.write(file, 0, &vec![1; 200 * BLOCK_LEN]).unwrap();
        file
    });
    assert_eq!(fs.check(), []);
    let mut bytes = bytes_of(fs);
    let extent = |ino| slot(&bytes, ino) + inode::MAP;
    let (x, y) = (extent(x), extent(y));
    assert_eq!(word(&bytes, x + extent::LENGTH), 200, "one extent each");
    assert_eq!(word(&bytes, y + extent::LENGTH), 200);
    let (from, old) = (word(&bytes, x + 4), word(&bytes, y + 4));
    let new = from + 30;
    put(&mut bytes, y + 4, new);
    let mut fs = Fs::mount(memory(&bytes)).unwrap();
    let found = fs.check();
    let with = |detail: &str| -> BTreeSet<u64> {
        let found = found.iter().filter(|f| f.detail == detail);
        found.map(|f| f.subject).collect()
    };
    let span = |start: u32| (start..start + 200).map(u64::from).collect::<BTreeSet<_>>();
    let (x, lost, y) = (span(from), span(old), span(new));
    assert_eq!(with("has two owners"), &x & &y);
    assert_eq!(with("used by nothing"), &lost - &y);
    assert_eq!(found.len(), (&x & &y).len() + (&lost - &y).len());
    assert!((&x & &y).len() > 64);
    assert_eq!(in_steps(&mut fs), sorted(found));
}

/// What `cargo fuzz run fs_image` runs, on some bytes that are made up and on its corpus.
#[test]
fn fuzz_target_smoke() {
    let mut seed = 0x5EED_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for round in 0..2_000 {
        let bytes: Vec<u8> = (0..1 + round % 60).map(|_| random()).collect();
        fs_image::fs_image(&bytes);
    }
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/fs_image");
    let mut seeds = 0;
    for seed in std::fs::read_dir(corpus).expect("the corpus") {
        fs_image::fs_image(&std::fs::read(seed.unwrap().path()).unwrap());
        seeds += 1;
    }
    assert!(seeds > 0);
}

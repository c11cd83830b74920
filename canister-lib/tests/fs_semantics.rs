//! What POSIX promises and random tests do not look at: times, numbers, limits, space.

use std::ops::ControlFlow;

use ic_stable_structures::{Memory, VectorMemory};
use icwasi::format::inode::INODE_LEN;
use icwasi::format::superblock::{self, Superblock};
use icwasi::fs::{FormatOptions, Fs, FsError, Ino, Stat};

fn new_fs() -> (Fs<VectorMemory>, Ino) {
    let fs = Fs::open(VectorMemory::default(), &FormatOptions::default(), 1).unwrap();
    let root = fs.root();
    (fs, root)
}

fn times(stat: &Stat) -> (u64, u64, u64) {
    (stat.atime, stat.mtime, stat.ctime)
}

/// Names and inode numbers of a directory.
fn list(fs: &mut Fs<VectorMemory>, dir: Ino) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    fs.read_dir(dir, 0, &mut |entry| {
        found.push((
            String::from_utf8_lossy(entry.name).into_owned(),
            entry.ino.0,
        ));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[test]
fn every_change_of_a_directory_has_a_time() {
    let (mut fs, root) = new_fs();
    let dir = fs.mkdir(root, b"dir").unwrap();
    let other = fs.mkdir(root, b"other").unwrap();
    let file = fs.create(dir, b"file").unwrap();
    let mut now = 100;
    let mut step = |fs: &mut Fs<VectorMemory>,
                    what: &str,
                    changed: &[Ino],
                    act: &mut dyn FnMut(&mut Fs<VectorMemory>)| {
        now += 10;
        fs.set_now(now);
        let before: Vec<_> = [dir, other].map(|d| fs.stat(d).unwrap()).to_vec();
        act(fs);
        for (before, at) in before.iter().zip([dir, other]) {
            let after = fs.stat(at).unwrap();
            if changed.contains(&at) {
                assert_eq!(times(&after), (before.atime, now, now), "{what}");
                assert!(after.version > before.version, "{what}");
            } else {
                assert_eq!(&after, before, "{what}");
            }
        }
    };
    step(&mut fs, "create", &[dir], &mut |fs| {
        fs.create(dir, b"new").unwrap();
    });
    step(&mut fs, "mkdir", &[dir], &mut |fs| {
        fs.mkdir(dir, b"sub").unwrap();
    });
    step(&mut fs, "symlink", &[dir], &mut |fs| {
        fs.symlink(dir, b"sym", b"x").unwrap();
    });
    step(&mut fs, "link", &[other], &mut |fs| {
        fs.link(file, other, b"hard").unwrap()
    });
    step(&mut fs, "rename", &[dir, other], &mut |fs| {
        fs.rename(dir, b"new", other, b"moved").unwrap()
    });
    step(&mut fs, "replace", &[dir, other], &mut |fs| {
        fs.rename(dir, b"sym", other, b"moved").unwrap()
    });
    step(&mut fs, "same inode", &[], &mut |fs| {
        fs.rename(dir, b"file", other, b"hard").unwrap()
    });
    step(&mut fs, "unlink", &[dir], &mut |fs| {
        fs.unlink(dir, b"file").unwrap()
    });
    step(&mut fs, "rmdir", &[dir], &mut |fs| {
        fs.rmdir(dir, b"sub").unwrap()
    });
    step(&mut fs, "error", &[], &mut |fs| {
        assert!(fs.mkdir(other, b"hard").is_err())
    });
    step(&mut fs, "content", &[], &mut |fs| {
        fs.write(file, 0, b"x").unwrap()
    });
    // The link, the unlink and the write were changes of the file too.
    let stat = fs.stat(file).unwrap();
    assert_eq!((stat.mtime, stat.ctime, stat.nlink), (now, now, 1));
    assert_eq!(fs.check(), []);
}

#[test]
fn access_times_follow_the_rule_of_relatime() {
    const DAY: u64 = 24 * 3600 * 1_000_000_000;
    let (mut fs, root) = new_fs();
    let file = fs.create(root, b"f").unwrap();
    fs.write(file, 0, b"content").unwrap();
    let read = |fs: &mut Fs<VectorMemory>, now: u64| {
        fs.set_now(now);
        fs.read(file, 0, &mut [0; 3]).unwrap();
        fs.stat(file).unwrap().atime
    };
    assert_eq!(read(&mut fs, 100), 100, "not after the last change");
    assert_eq!(read(&mut fs, 200), 100, "nothing has changed");
    assert_eq!(read(&mut fs, 100 + DAY - 1), 100);
    assert_eq!(read(&mut fs, 100 + DAY), 100 + DAY, "a day old");
    fs.set_now(200 + DAY);
    fs.write(file, 0, b"new").unwrap();
    assert_eq!(read(&mut fs, 300 + DAY), 300 + DAY, "changed since");
    // Directories by listing, links by reading them.
    let link = fs.symlink(root, b"l", b"f").unwrap();
    fs.set_now(400 + DAY);
    fs.read_link(link).unwrap();
    list(&mut fs, root);
    assert_eq!(fs.stat(link).unwrap().atime, 400 + DAY);
    assert_eq!(fs.stat(root).unwrap().atime, 400 + DAY);
}

#[test]
fn dots_have_real_numbers_and_move_along() {
    let (mut fs, root) = new_fs();
    let a = fs.mkdir(root, b"a").unwrap();
    let b = fs.mkdir(root, b"b").unwrap();
    let sub = fs.mkdir(a, b"sub").unwrap();
    let dots = |fs: &mut Fs<VectorMemory>, dir: Ino| list(fs, dir)[..2].to_vec();
    let dot = |name: &str, ino: Ino| (name.to_owned(), ino.0);
    assert_eq!(dots(&mut fs, root), [dot(".", root), dot("..", root)]);
    assert_eq!(dots(&mut fs, sub), [dot(".", sub), dot("..", a)]);
    assert_eq!([root, a, b].map(|d| fs.stat(d).unwrap().nlink), [4, 3, 2]);
    fs.rename(a, b"sub", b, b"sub").unwrap();
    assert_eq!(dots(&mut fs, sub), [dot(".", sub), dot("..", b)]);
    assert_eq!([root, a, b].map(|d| fs.stat(d).unwrap().nlink), [4, 2, 3]);
    // A removed directory that is open has no entries, and nothing can be made in it.
    fs.retain(a).unwrap();
    fs.rmdir(root, b"a").unwrap();
    assert_eq!(list(&mut fs, a), []);
    assert_eq!(fs.stat(a).unwrap().nlink, 0);
    assert_eq!(fs.create(a, b"x"), Err(FsError::NotFound));
    assert_eq!(fs.lookup(a, b".."), Err(FsError::NotFound));
    fs.release(a).unwrap();
    assert_eq!(fs.check(), []);
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let (mut fs, root) = new_fs();
    let end = fs.create(root, b"0").unwrap();
    for i in 1..=41 {
        let target = (i - 1).to_string();
        fs.symlink(root, i.to_string().as_bytes(), target.as_bytes())
            .unwrap();
    }
    let mut resolve = |path: &[u8]| fs.resolve(root, root, path, true).map(|r| r.target);
    assert_eq!(resolve(b"40"), Ok(Some(end)));
    assert_eq!(resolve(b"41"), Err(FsError::SymlinkLoop));
}

#[test]
fn names_and_sizes_have_limits() {
    let (mut fs, root) = new_fs();
    let (longest, longer) = ([b'n'; 255], [b'n'; 256]);
    fs.create(root, &longest).unwrap();
    for result in [
        fs.create(root, &longer).map(drop),
        fs.mkdir(root, &longer).map(drop),
        fs.lookup(root, &longer).map(drop),
        fs.rename(root, &longest, root, &longer),
        fs.unlink(root, &longer),
    ] {
        assert_eq!(result, Err(FsError::NameTooLong));
    }
    // Long paths are only limited by whoever takes them.
    let path = b"./".repeat(3_000);
    assert_eq!(
        fs.resolve(root, root, &path, true).unwrap().target,
        Some(root)
    );
    let file = fs.create(root, b"sparse").unwrap();
    let end = 8 << 40;
    fs.write(file, end - 1, b"x").unwrap();
    let stat = fs.stat(file).unwrap();
    assert_eq!((stat.size, stat.allocated), (end, 4096));
    assert_eq!(fs.write(file, end, b"x"), Err(FsError::FileTooBig));
    assert_eq!(fs.write(file, end - 1, b"xy"), Err(FsError::FileTooBig));
    assert_eq!(fs.set_len(file, end + 1), Err(FsError::FileTooBig));
    assert_eq!(fs.allocate(file, end, 1), Err(FsError::FileTooBig));
    assert_eq!(fs.stat(file).unwrap(), stat);
    let mut got = [9; 3];
    assert_eq!(fs.read(file, 5 << 40, &mut got), Ok(3));
    assert_eq!(got, [0; 3]);
    assert_eq!(fs.check(), []);
}

/// Whatever does not fit changes nothing, and a quota that is set later counts like one from the
/// start.
#[test]
fn what_does_not_fit_changes_nothing() {
    let (mut fs, root) = new_fs();
    let dir = fs.mkdir(root, b"dir").unwrap();
    let file = fs.create(dir, b"file").unwrap();
    fs.write(file, 0, &[7; 20_000]).unwrap();
    fs.set_len(file, 10_000).unwrap();
    let used = fs.usage().used_bytes;
    fs.set_quota(Some(used)).unwrap();
    let listed = list(&mut fs, dir);
    let stats = [root, dir, file].map(|ino| fs.stat(ino).unwrap());
    fs.set_now(99);
    let long_target = [b't'; 100];
    for (what, result) in [
        ("write behind the end", fs.write(file, 20_000, b"x")),
        ("write over the end", fs.write(file, 9_000, &[1; 9_000])),
        ("allocate", fs.allocate(file, 0, 100_000)),
        (
            "symlink with a block",
            fs.symlink(dir, b"l", &long_target).map(drop),
        ),
        (
            "first entry",
            fs.mkdir(dir, b"d")
                .and_then(|d| fs.create(d, b"f"))
                .map(drop),
        ),
    ] {
        assert!(
            matches!(result, Err(FsError::NoSpace { .. })),
            "{what}: {result:?}"
        );
    }
    // The directory itself had room on its page.
    fs.rmdir(dir, b"d").unwrap();
    assert_eq!(list(&mut fs, dir), listed);
    assert_eq!(fs.stat(file).unwrap(), stats[2]);
    assert_eq!(fs.stat(root).unwrap(), stats[0]);
    assert_eq!(fs.usage().used_bytes, used);
    // Lengthening without blocks is free, as are changes in place.
    fs.set_len(file, 1 << 40).unwrap();
    fs.write(file, 0, b"in place").unwrap();
    let mut fs = Fs::mount(fs.into_memory()).unwrap();
    assert_eq!(fs.usage().quota_bytes, Some(used));
    assert!(fs.write(file, 20_000, b"x").is_err());
    fs.set_quota(None).unwrap();
    fs.write(file, 20_000, b"x").unwrap();
    assert_eq!(fs.check(), []);
}

/// An empty file takes its inode and its entry, at most 256 bytes, all tables and pages included.
#[test]
fn an_empty_file_takes_at_most_256_bytes() {
    for (count, name_len) in [(1_000_u64, 12), (30_000, 12), (30_000, 40)] {
        let (mut fs, root) = new_fs();
        let dir = fs.mkdir(root, b"dir").unwrap();
        let before = fs.usage().used_bytes;
        for i in 0..count {
            let name = format!("{i:0name_len$}");
            fs.create(dir, name.as_bytes()).unwrap();
        }
        let each = (fs.usage().used_bytes - before) / count;
        println!("{count} files with names of {name_len} bytes: {each} bytes each");
        assert!(
            (INODE_LEN as u64..=256).contains(&each),
            "{each} bytes each"
        );
    }
}

/// A newer minor version is served as far as it is understood, and not changed at all.
#[test]
fn a_newer_minor_version_is_read_only() {
    let (mut fs, root) = new_fs();
    let dir = fs.mkdir(root, b"dir").unwrap();
    let file = fs.create(dir, b"file").unwrap();
    fs.write(file, 0, b"content").unwrap();
    fs.symlink(root, b"link", b"dir/file").unwrap();
    let open = fs.create(root, b"open").unwrap();
    fs.retain(open).unwrap();
    fs.unlink(root, b"open").unwrap();
    let memory = fs.into_memory();
    let mut bytes = vec![0; superblock::END];
    memory.read(0, &mut bytes);
    let mut sb = Superblock::decode(&bytes).unwrap();
    sb.version.1 += 1;
    memory.write(0, &sb.encode());
    let image = memory.borrow().clone();
    let mut fs = Fs::open(memory.clone(), &FormatOptions::default(), 5).unwrap();
    let found = fs.resolve(root, root, b"link", true).unwrap().target;
    assert_eq!(found, Some(file));
    let mut content = [0; 7];
    assert_eq!(fs.read(file, 0, &mut content), Ok(7));
    assert_eq!(&content, b"content");
    assert_eq!(list(&mut fs, root).len(), 4);
    fs.retain(file).unwrap();
    for result in [
        fs.create(dir, b"x").map(drop),
        fs.mkdir(dir, b"x").map(drop),
        fs.symlink(dir, b"x", b"y").map(drop),
        fs.link(file, root, b"x"),
        fs.unlink(dir, b"file"),
        fs.rmdir(root, b"dir"),
        fs.rename(dir, b"file", root, b"x"),
        fs.write(file, 0, b"x"),
        fs.set_len(file, 0),
        fs.allocate(file, 0, 9),
        fs.set_times(file, Some(1), None),
        fs.set_quota(Some(1)),
    ] {
        assert_eq!(result, Err(FsError::ReadOnly));
    }
    fs.release(file).unwrap();
    assert!(*memory.borrow() == image, "not a byte was changed");
}

/// A create that fails for want of space may have split a page already. What a look-up found out
/// before must not be used after that.
#[test]
fn a_create_that_found_no_room_spoils_no_later_one() {
    let mut hits = 0;
    for others in 0..64 {
        let (mut fs, root) = new_fs();
        let dir = fs.mkdir(root, b"dir").unwrap();
        for i in 0..others {
            fs.create(root, format!("other {i}").as_bytes()).unwrap();
        }
        for i in 0..80 {
            let name = format!("{i:0>100}");
            let missing = format!("missing {i}");
            let missed = fs.lookup(dir, missing.as_bytes());
            assert_eq!(missed, Err(FsError::NotFound));
            // Room for a page or for inodes, not for both.
            fs.set_quota(Some(fs.usage().used_bytes + 4096)).unwrap();
            let made = fs.create(dir, name.as_bytes());
            fs.set_quota(None).unwrap();
            if made.is_ok() {
                continue;
            }
            hits += 1;
            let ino = fs.create(dir, missing.as_bytes()).unwrap();
            assert_eq!(fs.lookup(dir, missing.as_bytes()), Ok(ino));
            assert_eq!(fs.check(), []);
        }
    }
    assert!(hits > 0, "no create failed after a split");
}

/// What was allocated ahead of a file that is appended to is given back with its last descriptor.
#[test]
fn space_ahead_of_a_file_goes_with_its_last_descriptor() {
    let (mut fs, root) = new_fs();
    let (file, other) = (fs.create(root, b"f"), fs.create(root, b"g"));
    let (file, other) = (file.unwrap(), other.unwrap());
    fs.retain(file).unwrap();
    fs.retain(file).unwrap();
    let piece = [7; 1000];
    for n in 0..500 {
        // Another file grows beside it, so that there would be no room later.
        fs.write(file, 1000 * n, &piece).unwrap();
        fs.write(other, 1000 * n, &piece).unwrap();
    }
    // With a leaf of extents.
    let needed = (500_000_u64.div_ceil(4096) + 1) * 4096;
    let allocated = |fs: &mut Fs<VectorMemory>| fs.stat(file).unwrap().allocated;
    assert!(allocated(&mut fs) > needed, "nothing is allocated ahead");
    fs.release(file).unwrap();
    assert!(allocated(&mut fs) > needed, "it is open still");
    let used = fs.usage().used_bytes;
    fs.release(file).unwrap();
    assert_eq!(allocated(&mut fs), needed);
    assert!(fs.usage().used_bytes < used);
    assert_eq!(fs.check(), []);
}

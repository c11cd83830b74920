use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use icwasi::fs::FileType;

use super::*;

fn mapping(host: &Path, guest: &str) -> Mapping {
    Mapping {
        host: host.to_owned(),
        guest: guest.to_owned(),
        read_only: false,
    }
}

/// A program, which changes the file system that was copied in.
fn through(
    mappings: &[Mapping],
    program: impl FnOnce(&mut icwasi::fs::Fs<Scratch>),
) -> Vec<FilesError> {
    let (file, seen) = copy_in(mappings, 5_000).expect("copied");
    let memory = Scratch::over(file);
    let mut fs = icwasi::fs::Fs::mount(memory.clone()).expect("mounts");
    fs.set_now(1_000_000_000_000);
    program(&mut fs);
    assert_eq!(fs.check(), []);
    drop(fs);
    copy_out(memory.finish().expect("is sound"), mappings, &seen)
}

fn at(fs: &mut icwasi::fs::Fs<Scratch>, path: &str) -> Ino {
    let mut ino = fs.root();
    for name in path.split('/').filter(|n| !n.is_empty()) {
        ino = fs.lookup(ino, name.as_bytes()).expect(path);
    }
    ino
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("read")
}

#[test]
fn trees_come_in_and_go_back_as_they_are() {
    let temp = tempfile::tempdir().expect("a directory");
    let (dir, outside) = (temp.path().join("in"), temp.path().join("outside"));
    fs::create_dir_all(dir.join("sub/deep")).expect("made");
    fs::create_dir(&outside).expect("made");
    write(&outside.join("secret"), "secret");
    write(&dir.join("kept"), "kept");
    write(&dir.join("tool"), "#!/bin/sh");
    fs::set_permissions(dir.join("tool"), fs::Permissions::from_mode(0o754)).expect("set");
    fs::hard_link(dir.join("kept"), dir.join("sub/same")).expect("linked");
    symlink("../kept", dir.join("sub/link")).expect("made");
    symlink(&outside, dir.join("away")).expect("made");
    symlink("nowhere", dir.join("sub/dangling")).expect("made");
    let sparse = fs::File::create(dir.join("sparse")).expect("made");
    sparse.set_len(50 << 20).expect("grown");
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_007, 123_456_789);
    let file = fs::File::options()
        .write(true)
        .open(dir.join("kept"))
        .expect("opened");
    file.set_modified(old).expect("set");
    let inode = fs::metadata(dir.join("kept")).expect("there").ino();

    let errors = through(&[mapping(&dir, "/data/")], |fs| {
        let root = at(fs, "data");
        let kept = at(fs, "data/kept");
        let stat = fs.stat(kept).expect("there");
        assert_eq!((stat.mtime, stat.nlink), (1_000_000_007_123_456_789, 2));
        assert_eq!(at(fs, "data/sub/same"), kept);
        let away = at(fs, "data/away");
        assert_eq!(fs.stat(away).expect("there").file_type, FileType::Symlink);
        assert_eq!(
            fs.read_link(away).expect("is one"),
            outside.as_os_str().as_bytes()
        );
        let sparse = at(fs, "data/sparse");
        let stat = fs.stat(sparse).expect("there");
        assert!(
            stat.size == 50 << 20 && stat.allocated < 1 << 20,
            "{stat:?}"
        );

        let tool = at(fs, "data/tool");
        fs.write(tool, 9, b"\nexit 1\n").expect("written");
        fs.symlink(root, b"escape", b"../outside/secret")
            .expect("made");
        let new = fs.mkdir(root, b"new").expect("made");
        let file = fs.create(new, b"file").expect("made");
        fs.write(file, 0, b"new").expect("written");
        fs.set_times(file, Some(7), Some(2_000_000_000))
            .expect("set");
        fs.set_times(new, None, Some(3_000_000_000)).expect("set");
        fs.unlink(root, b"sparse").expect("removed");
        // A file takes the place of a link out.
        fs.unlink(root, b"away").expect("removed");
        let file = fs.create(root, b"away").expect("made");
        fs.write(file, 0, b"here").expect("written");
    });
    assert!(errors.is_empty(), "{errors:?}");
    let kept = fs::metadata(dir.join("kept")).expect("there");
    assert_eq!(
        (kept.ino(), kept.modified().expect("known")),
        (inode, old),
        "left alone"
    );
    assert_eq!(read(&dir.join("tool")), "#!/bin/sh\nexit 1\n");
    assert_eq!(
        fs::metadata(dir.join("tool")).expect("there").mode() & 0o777,
        0o754
    );
    assert_eq!(
        fs::read_link(dir.join("escape")).expect("a link"),
        Path::new("../outside/secret")
    );
    assert_eq!(
        fs::metadata(dir.join("new/file")).expect("there").mtime(),
        2
    );
    assert_eq!(fs::metadata(dir.join("new")).expect("there").mtime(), 3);
    assert!(dir.join("sparse").exists(), "nothing is removed here");
    assert!(
        !fs::symlink_metadata(dir.join("away"))
            .expect("there")
            .is_symlink()
    );
    assert_eq!(read(&outside.join("secret")), "secret");
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 1);
    let names = fs::read_dir(&dir)
        .expect("there")
        .flatten()
        .map(|e| e.file_name());
    assert!(
        names
            .into_iter()
            .all(|n| !n.to_string_lossy().ends_with(".tmp"))
    );
}

#[test]
fn a_directory_covers_what_another_has_at_its_place() {
    let temp = tempfile::tempdir().expect("a directory");
    let (outer, inner) = (temp.path().join("outer"), temp.path().join("inner"));
    fs::create_dir_all(outer.join("sub")).expect("made");
    fs::create_dir(&inner).expect("made");
    write(&outer.join("sub/file"), "covered");
    write(&inner.join("file"), "inner");
    let mappings = [mapping(&inner, "/data/sub"), mapping(&outer, "/data")];
    let errors = through(&mappings, |fs| {
        let file = at(fs, "data/sub/file");
        let mut text = [0; 5];
        fs.read(file, 0, &mut text).expect("read");
        assert_eq!(&text, b"inner");
        fs.write(file, 0, b"INNER").expect("written");
    });
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(read(&outer.join("sub/file")), "covered");
    assert_eq!(read(&inner.join("file")), "INNER");
}

#[test]
fn what_is_of_another_kind_here_stays_and_the_rest_is_copied() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path();
    fs::create_dir(dir.join("a")).expect("made");
    write(&dir.join("a/inside"), "x");
    write(&dir.join("b"), "b");
    symlink("/", dir.join("c")).expect("made");
    let errors = through(&[mapping(dir, "/")], |fs| {
        let root = fs.root();
        let a = at(fs, "a");
        fs.unlink(a, b"inside").expect("removed");
        fs.rmdir(root, b"a").expect("removed");
        fs.create(root, b"a").expect("made");
        for name in [b"b", b"c"] {
            fs.unlink(root, name).expect("removed");
            let made = fs.mkdir(root, name).expect("made");
            fs.create(made, b"tmp").expect("made");
        }
        let z = fs.create(root, b"z").expect("made");
        fs.write(z, 0, b"z").expect("written");
    });
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors
            .iter()
            .all(|e| e.contains("was not written: it is a")),
        "{errors:?}"
    );
    assert_eq!(read(&dir.join("a/inside")), "x");
    assert_eq!(read(&dir.join("b")), "b");
    assert_eq!(read(&dir.join("z")), "z");
}

#[test]
fn what_cannot_be_copied_is_refused() {
    let temp = tempfile::tempdir().expect("a directory");
    let refused = |name: &str, make: &dyn Fn(&Path), reason: &str| {
        let dir = temp.path().join(name);
        fs::create_dir(&dir).expect("made");
        make(&dir);
        let error = copy_in(&[mapping(&dir, "/x")], 1)
            .map(|_| ())
            .expect_err(name);
        let text = error.to_string();
        assert!(
            text.contains(reason) && text.contains(name),
            "{reason}: {text}"
        );
    };
    refused(
        "pipe",
        &|dir| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, dir.join("p"), kind, mode, 0).expect("made");
        },
        "is a fifo",
    );
    refused(
        "socket",
        &|dir| {
            std::os::unix::net::UnixListener::bind(dir.join("s")).expect("made");
        },
        "is a socket",
    );
    refused(
        "name",
        &|dir| write(&dir.join(OsStr::from_bytes(b"\xff")), ""),
        "not UTF-8",
    );
    refused(
        "target",
        &|dir| {
            symlink(OsStr::from_bytes(b"\xff"), dir.join("l")).expect("made");
        },
        "not UTF-8",
    );
    refused(
        "deep",
        &|dir| {
            let deep = dir.join(vec!["d"; MAX_DEPTH + 2].join("/"));
            fs::create_dir_all(deep).expect("made");
        },
        "nested more than 200",
    );

    let dir = temp.path().join("plain");
    fs::create_dir_all(dir.join("sub")).expect("made");
    let error = |mappings: &[Mapping]| check(mappings, true).map_err(|e| e.to_string());
    let missing = error(&[mapping(&temp.path().join("missing"), "/x")]).expect_err("is missing");
    assert!(missing.contains("No such file"), "{missing}");
    write(&dir.join("file"), "");
    let file = error(&[mapping(&dir.join("file"), "/x")]).expect_err("is a file");
    assert!(
        file.contains("not a directory") || file.contains("Not a directory"),
        "{file}"
    );
    symlink(&dir, temp.path().join("link")).expect("made");
    let mut both = [
        mapping(&temp.path().join("link/sub"), "/a"),
        mapping(&dir, "/b"),
    ];
    let overlap = error(&both).expect_err("overlap");
    assert!(overlap.contains("::ro"), "{overlap}");
    both[0].read_only = true;
    error(&both).expect("one is not copied back");
}

#[test]
fn names_of_a_canister_are_checked() {
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", b"\xff"] {
        assert!(
            matches!(checked_name(name), Err(FilesError::HostileName { .. })),
            "{name:?}"
        );
    }
    checked_name("ä b:\\*".as_bytes()).expect("is one here");
}

fn checked_name(name: &[u8]) -> Result<(), FilesError> {
    copy_out::checked(name, "/x").map(|_| ())
}

/// Holes are passed over in both directions: terabytes of them take no time.
#[test]
fn files_with_large_holes_come_and_go() {
    const HOLE: u64 = 1 << 40;
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("in");
    fs::create_dir(&dir).expect("made");
    let file = fs::File::create(dir.join("file")).expect("made");
    file.write_all_at(b"first", 100).expect("written");
    file.write_all_at(b"last", HOLE).expect("written");
    file.set_len(HOLE + (1 << 30)).expect("grown");
    let errors = through(&[mapping(&dir, "/data")], |fs| {
        let (root, file) = (at(fs, "data"), at(fs, "data/file"));
        let stat = fs.stat(file).expect("there");
        assert_eq!(stat.size, HOLE + (1 << 30));
        let mut bytes = [0; 6];
        fs.read(file, 99, &mut bytes).expect("read");
        assert_eq!(&bytes, b"\0first");
        fs.read(file, HOLE, &mut bytes).expect("read");
        assert_eq!(&bytes, b"last\0\0");
        let copy = fs.create(root, b"copy").expect("made");
        fs.write(copy, HOLE / 2, b"middle").expect("written");
        fs.write(copy, HOLE, b"end").expect("written");
        fs.set_len(copy, HOLE + 4_000).expect("grown");
        // Reserved is not written.
        fs.allocate(copy, 1 << 30, 1 << 20).expect("allocated");
        let found: Vec<_> = [0, HOLE / 2 + 1, HOLE / 2 + 5_000, HOLE + 4_001]
            .map(|at| fs.next_data(copy, at).expect("is a file"))
            .to_vec();
        let wanted = [Some(HOLE / 2), Some(HOLE / 2 + 1), Some(HOLE), None];
        assert_eq!(found, wanted);
    });
    assert!(errors.is_empty(), "{errors:?}");
    let copy = fs::File::open(dir.join("copy")).expect("there");
    let stat = copy.metadata().expect("known");
    assert!(
        stat.len() == HOLE + 4_000 && stat.blocks() < 100,
        "{stat:?}"
    );
    let mut bytes = [0; 7];
    copy.read_exact_at(&mut bytes, HOLE / 2).expect("read");
    assert_eq!(&bytes, b"middle\0");
    copy.read_exact_at(&mut bytes, HOLE).expect("read");
    assert_eq!(&bytes, b"end\0\0\0\0");
}

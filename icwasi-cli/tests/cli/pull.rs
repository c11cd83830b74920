//! Pull from a canister in memory: consistency, hostile canisters, what is here already.

use std::path::Path;
use std::time::Duration;

use crate::double::{Double, Faults};
use icwasi_cli::remote::path::RemotePath;
use icwasi_cli::remote::{RetryPolicy, Retrying};
use icwasi_cli::transfer::{NoProgress, PullOptions, Pulled, TransferError, pull, read_to};
use icwasi_types::{Entry, FileType, Stat};

fn quick(double: Double) -> Retrying<Double> {
    let delay = Duration::from_micros(1);
    Retrying::new(
        double,
        RetryPolicy {
            retries: 30,
            first_delay: delay,
            max_delay: delay,
        },
    )
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

fn run(
    api: &Retrying<Double>,
    sources: &[&str],
    target: &Path,
    overwrite: bool,
) -> Result<Vec<Pulled>, TransferError> {
    let options = PullOptions {
        recursive: true,
        overwrite,
        concurrency: 4,
        source: None,
    };
    let parse = |s: &&str| RemotePath::parse(s).expect("a valid path");
    let sources: Vec<RemotePath> = sources.iter().map(parse).collect();
    block_on(pull(api, &sources, target, &options, &NoProgress))
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 / 7) as u8).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("list");
    let name = |e: std::io::Result<std::fs::DirEntry>| {
        e.expect("entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn trees_and_files_come_as_with_scp() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let double = Double::new(3);
    for (path, n) in [
        ("/d/a", 0),
        ("/d/b", 1000),
        ("/d/s/c", 47),
        ("/d/s/e", 48),
        ("/d/s/g", 49),
    ] {
        double.put(path, &bytes(n));
    }
    double.state().faults = Faults {
        lose_request: 200,
        lose_reply: 200,
        duplicate: 100,
    };
    let api = quick(double);
    let dir = temp.path();
    run(&api, &["/d/b"], &dir.join("one"), false).expect("pulled");
    assert_eq!(std::fs::read(dir.join("one")).expect("read"), bytes(1000));
    let modified = std::fs::metadata(dir.join("one"))
        .expect("stat")
        .modified()
        .expect("time");
    assert_eq!(modified, std::time::UNIX_EPOCH + Duration::from_secs(7));
    run(&api, &["/d"], dir, false).expect("pulled");
    run(&api, &["/d"], &dir.join("new"), false).expect("pulled");
    run(&api, &["/d/"], &dir.join("content/"), false).expect("pulled");
    for tree in ["d", "new", "content"] {
        assert_eq!(names(&dir.join(tree)), ["a", "b", "s"], "{tree}");
        assert_eq!(
            std::fs::read(dir.join(tree).join("s/g")).expect("read"),
            bytes(49)
        );
    }
}

#[test]
fn what_exists_here_stays_unless_told() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let here = temp.path().join("f");
    std::fs::write(&here, "mine").expect("write");
    let double = Double::new(3);
    double.put("/f", b"theirs");
    let api = quick(double);
    let e = run(&api, &["/f"], temp.path(), false).expect_err("exists");
    assert!(matches!(e, TransferError::Exists { .. }), "{e}");
    assert_eq!(std::fs::read(&here).expect("read"), b"mine");
    run(&api, &["/f"], temp.path(), true).expect("told");
    assert_eq!(std::fs::read(&here).expect("read"), b"theirs");
    assert_eq!(names(temp.path()), ["f"], "no temporary file is left");
}

#[test]
fn a_file_that_changes_is_never_mixed() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let target = temp.path().join("f");
    // Changes with the second reads of the first attempts, with the same size; and, in the second
    // round, even with the same version: another file took its place.
    for same_version in [false, true] {
        let double = Double::new(3);
        double.put("/f", &bytes(1000));
        let (mut reads, mut changes) = (0, 0);
        double.state().before_read = Some(Box::new(move |state| {
            reads += 1;
            if reads % 9 == 2 && changes < 3 {
                changes += 1;
                let version = state.nodes["/f"].version;
                state.put("/f", &[changes; 1000]);
                if same_version && let Some(node) = state.nodes.get_mut("/f") {
                    node.version = version;
                }
            }
        }));
        let api = quick(double);
        run(&api, &["/f"], &target, true).expect("calms down");
        assert_eq!(
            std::fs::read(&target).expect("read"),
            [3; 1000],
            "{same_version}"
        );
        let mut out = Vec::new();
        block_on(read_to(&api, "/f", &mut out, 4)).expect("read");
        assert_eq!(out, [3; 1000]);
    }
    // One that never rests.
    let double = Double::new(3);
    double.put("/f", &bytes(1000));
    double.state().before_read = Some(Box::new(|state| state.put("/f", &[9; 1000])));
    let api = quick(double);
    let e = run(&api, &["/f"], &target, true).expect_err("never rests");
    assert!(matches!(e, TransferError::RemoteChanged { .. }), "{e}");
    assert_eq!(
        std::fs::read(&target).expect("read"),
        [3; 1000],
        "the old file is intact"
    );
    assert_eq!(names(temp.path()), ["f"]);
}

#[test]
fn hostile_names_write_nothing() {
    let stat = Stat {
        file_type: FileType::Regular,
        inode: 9,
        size: 1,
        allocated: 0,
        links: 1,
        accessed: 0,
        modified: 0,
        changed: 0,
        version: 1,
    };
    for name in [
        "../evil", "..", "/abs", "a/b", "a\\b", "x\0y", "NUL", "C:evil", "",
    ] {
        for file_type in [FileType::Regular, FileType::Directory] {
            let temp = tempfile::tempdir().expect("temporary directory");
            let target = temp.path().join("in");
            std::fs::create_dir(&target).expect("mkdir");
            let double = Double::new(3);
            double.put("/d/good", b"good");
            let stat = Stat {
                file_type,
                ..stat.clone()
            };
            double.state().extra_entries = vec![Entry {
                name: name.to_owned(),
                stat,
            }];
            let e = run(&quick(double), &["/d/"], &target, true).expect_err(name);
            assert!(
                matches!(e, TransferError::HostileName { .. }),
                "{name:?}: {e}"
            );
            assert_eq!(names(temp.path()), ["in"], "{name:?}");
            assert!(names(&target).is_empty(), "{name:?}");
        }
    }
}

#[test]
fn links_here_are_not_followed() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (inside, outside) = (temp.path().join("in"), temp.path().join("out"));
    std::fs::create_dir(&inside).expect("mkdir");
    std::fs::create_dir(&outside).expect("mkdir");
    std::os::unix::fs::symlink(&outside, inside.join("sub")).expect("symlink");
    let double = Double::new(3);
    double.put("/d/sub/f", b"x");
    let e = run(&quick(double), &["/d/"], &inside, true).expect_err("leads out");
    assert!(matches!(e, TransferError::NotADirectory(_)), "{e}");
    assert!(names(&outside).is_empty());
}

#[test]
fn impossible_replies_are_errors() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let double = Double::new(3);
    double.put("/f", &bytes(100));
    double.state().surplus = 5;
    let api = quick(double);
    let e = run(&api, &["/f"], &temp.path().join("f"), false).expect_err("too many bytes");
    assert_eq!(e.kind(), "bad_reply", "{e}");
    assert!(names(temp.path()).is_empty());
    let mut out = Vec::new();
    assert!(block_on(read_to(&api, "/f", &mut out, 4)).is_err());
}

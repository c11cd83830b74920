//! Push against a canister in memory: naming, resuming, faults.

use std::path::PathBuf;
use std::time::Duration;

use crate::double::{Double, Faults, MAX_CHUNK};
use icwasi_cli::remote::path::RemotePath;
use icwasi_cli::remote::{RetryPolicy, Retrying};
use icwasi_cli::transfer::{NoProgress, PushOptions, Pushed, TransferError, push};
use proptest::prelude::*;

fn quick(double: Double) -> Retrying<Double> {
    let delay = Duration::from_micros(1);
    Retrying::new(
        double,
        RetryPolicy {
            retries: 8,
            first_delay: delay,
            max_delay: delay,
        },
    )
}

fn options() -> PushOptions {
    PushOptions {
        recursive: true,
        overwrite: true,
        concurrency: 4,
    }
}

fn run(
    api: &Retrying<Double>,
    sources: &[PathBuf],
    target: &str,
    options: &PushOptions,
) -> Result<Vec<Pushed>, TransferError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let target = RemotePath::parse(target).expect("a valid path");
    runtime.block_on(push(api, sources, &target, options, &NoProgress))
}

fn file(dir: &tempfile::TempDir, name: &str, data: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(path.parent().expect("has a parent")).expect("mkdir");
    std::fs::write(&path, data).expect("write");
    path
}

#[test]
fn names_follow_scp() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let a = file(&dir, "a", b"A");
    let b = file(&dir, "tree/x/b", b"B");
    std::fs::create_dir(dir.path().join("tree/empty")).expect("mkdir");
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("tree/link")).expect("symlink");
    let tree = dir.path().join("tree");
    let content = PathBuf::from(format!("{}/", tree.display()));
    let cases: &[(&[&PathBuf], &str, &[&str])] = &[
        (&[&a], "/new", &["/new"]),
        (&[&a], "/there", &["/there/a"]),
        (&[&a], "/made/", &["/made/a"]),
        (&[&a, &b], "/both", &["/both/a", "/both/b"]),
        (
            &[&tree],
            "/there",
            &["/there/tree/x/b", "/there/tree/empty"],
        ),
        (&[&tree], "/fresh", &["/fresh/x/b", "/fresh/empty"]),
        (&[&content], "/there", &["/there/x/b", "/there/empty"]),
    ];
    for (sources, target, expected) in cases {
        let double = Double::new(1);
        double.put("/there/old", b"old");
        let api = quick(double);
        let sources: Vec<PathBuf> = sources.iter().map(|p| (*p).clone()).collect();
        run(&api, &sources, target, &options()).expect("pushed");
        for path in *expected {
            assert!(
                api.inner().get(path).is_some(),
                "{sources:?} to {target}: {path}"
            );
        }
        let links = api
            .inner()
            .state()
            .nodes
            .keys()
            .any(|p| p.ends_with("link"));
        assert!(!links, "symbolic links are skipped");
    }
}

#[test]
fn refusals() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let a = file(&dir, "a", b"A");
    let double = Double::new(1);
    double.put("/f", b"old");
    let api = quick(double);
    let plain = PushOptions {
        recursive: false,
        overwrite: false,
        concurrency: 1,
    };
    let one = |source: PathBuf, target: &str| run(&api, &[source], target, &plain);
    let e = one(a.clone(), "/f").expect_err("exists");
    assert_eq!(e.kind(), "already_exists", "{e}");
    assert!(matches!(
        one(a.clone(), "/f/"),
        Err(TransferError::NotADirectory(_))
    ));
    let is_dir = one(dir.path().to_owned(), "/d");
    assert!(matches!(is_dir, Err(TransferError::IsDirectory(_))));
    assert!(matches!(
        one(dir.path().join("no"), "/d"),
        Err(TransferError::ReadLocal { .. })
    ));
    assert!(matches!(
        one("/dev/null".into(), "/d"),
        Err(TransferError::Special(_))
    ));
    assert_eq!(api.inner().get("/f").expect("still there"), b"old");
}

#[test]
fn a_killed_push_is_resumed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let data: Vec<u8> = (0..MAX_CHUNK * 10 + 5).map(|i| (i * 7) as u8).collect();
    let source = file(&dir, "f", &data);
    let double = Double::new(1);
    double.put("/f", b"old");
    double.state().chunks_left = Some(4);
    let api = quick(double);
    run(&api, std::slice::from_ref(&source), "/f", &options()).expect_err("killed");
    assert_eq!(api.inner().get("/f").expect("still there"), b"old");
    api.inner().state().chunks_left = None;
    let done = run(&api, &[source], "/f", &options()).expect("resumed");
    assert_eq!(done[0].sent, data.len() as u64 - 4 * MAX_CHUNK);
    assert_eq!(api.inner().get("/f").expect("there"), data);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    /// Whatever is lost or doubled: the new content, or an error and nothing in between.
    #[test]
    fn faults_never_leave_a_mixture(
        seed: u64,
        data in proptest::collection::vec(any::<u8>(), 0..1500),
        old in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        lose_request in 0u64..500,
        lose_reply in 0u64..500,
        duplicate in 0u64..500,
        kill in proptest::option::of(0u64..30),
    ) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let source = file(&dir, "f", &data);
        let double = Double::new(seed);
        if let Some(old) = &old {
            double.put("/d/f", old);
        }
        {
            let mut state = double.state();
            state.faults = Faults { lose_request, lose_reply, duplicate };
            state.chunks_left = kill;
        }
        let api = quick(double);
        let result = run(&api, std::slice::from_ref(&source), "/d/f", &options());
        let now = api.inner().get("/d/f");
        match result {
            Ok(done) => {
                prop_assert_eq!(now.as_ref(), Some(&data));
                prop_assert_eq!(done[0].hash, *blake3::hash(&data).as_bytes());
            }
            Err(e) => {
                prop_assert!(now == old || now.as_ref() == Some(&data), "a mixture after {}", e);
                prop_assert!(["transport", "other"].contains(&e.kind()), "{}", e);
            }
        }
        // Once the trouble is over, pushing again ends well and sends no more than is missing.
        {
            let mut state = api.inner().state();
            state.faults = Faults::default();
            state.chunks_left = None;
            state.chunk_calls = 0;
        }
        let done = run(&api, &[source], "/d/f", &options()).expect("no faults any more");
        prop_assert_eq!(api.inner().get("/d/f"), Some(data.clone()));
        prop_assert!(done[0].sent <= data.len() as u64);
    }
}

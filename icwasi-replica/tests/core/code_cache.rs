//! Compiled code that is kept in a directory.

use crate::common::*;
use crate::execution::{counters, shown};
use icwasi_replica::core::{Core, CoreConfig};

#[test]
fn compiled_code_is_kept_on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let make = || {
        let config = CoreConfig {
            compile_cache: Some(dir.path().join("cache")),
            ..CoreConfig::default()
        };
        let mut core = Core::new(config).expect("a core");
        let id = create(&mut core);
        install(&mut core, &id, &counters()).expect("installed");
        let reply = update(&mut core, &id, "bump").expect("replied").reply;
        assert_eq!(shown(&reply).0, 1);
    };
    make();
    let files = std::fs::read_dir(dir.path().join("cache"))
        .expect("cache")
        .count();
    assert_eq!(files, 1);
    make();
    // Damaged files are compiled anew.
    for file in std::fs::read_dir(dir.path().join("cache")).expect("cache") {
        std::fs::write(file.expect("file").path(), b"rubbish").expect("written");
    }
    make();
}

#[test]
fn what_was_compiled_quickly_is_compiled_well_when_it_is_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |quick_compile| {
        let config = CoreConfig {
            compile_cache: Some(dir.path().to_owned()),
            quick_compile,
            ..CoreConfig::default()
        };
        let mut core = Core::new(config).expect("a core");
        let id = create(&mut core);
        install(&mut core, &id, &counters()).expect("installed");
        instructions(update(&mut core, &id, "bump"))
    };
    let kept = || -> Vec<String> {
        let files = std::fs::read_dir(dir.path()).expect("cache");
        let extension = |path: std::path::PathBuf| path.extension().map(|e| e.to_owned());
        let extensions = files.filter_map(|file| extension(file.expect("file").path()));
        extensions
            .map(|e| e.to_string_lossy().into_owned())
            .collect()
    };
    let first = run(true);
    assert_eq!(kept(), ["quick"]);
    assert_eq!(run(true), first);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while kept() != ["cwasm"] {
        assert!(std::time::Instant::now() < until, "kept: {:?}", kept());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(run(true), first);
    assert_eq!(kept(), ["cwasm"]);
    assert_eq!(run(false), first);
}

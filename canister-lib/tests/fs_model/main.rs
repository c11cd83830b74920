//! Random operations against a model in memory: same results, errors, contents and listings, and
//! a clean `check` after each case. `ICWASI_FS_CASES` multiplies the cases of all tests here:
//! a normal run is 1,000 cases of 200 operations against the model.

mod journal;
mod jumps;
mod model;
mod ops;
mod run;
mod strategy;
mod traps;

#[path = "../../../fuzz/src/fs_ops.rs"]
mod fs_ops;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use ops::Op;
use run::Run;
use strategy::op;

/// How often `default` cases are to be run.
fn cases(default: u32) -> u32 {
    let set = std::env::var("ICWASI_FS_CASES").ok();
    let factor = set.map_or(1, |n| n.parse().expect("ICWASI_FS_CASES is a factor"));
    default * factor
}

fn run(count: u32, ops: usize, test: impl Fn(&[Op], u8)) {
    let config = Config {
        cases: cases(count),
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = (prop::collection::vec(op(), ops), any::<u8>());
    TestRunner::new(config)
        .run(&strategy, |(ops, seed)| {
            test(&ops, seed);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn against_the_model() {
    run(200, 200, |ops, _| {
        let mut run = Run::new();
        ops.iter().for_each(|op| run.step(op, false));
        run.compare();
    });
}

// Four, so that they run side by side.
#[test]
fn behaves_like_the_model_1() {
    against_the_model();
}

#[test]
fn behaves_like_the_model_2() {
    against_the_model();
}

#[test]
fn behaves_like_the_model_3() {
    against_the_model();
}

#[test]
fn behaves_like_the_model_4() {
    against_the_model();
}

#[test]
fn behaves_like_the_model_with_a_remount_after_every_step() {
    run(120, 200, |ops, seed| {
        let mut run = Run::new();
        for (i, op) in ops.iter().enumerate() {
            run.step(op, false);
            run.remount();
            if i % 50 == usize::from(seed) % 50 {
                run.compare();
            }
        }
        run.compare();
    });
}

#[test]
fn growth_that_fails_changes_nothing() {
    run(80, 200, |ops, seed| {
        let mut run = Run::new();
        for (i, op) in ops.iter().enumerate() {
            // Sometimes full, sometimes refusing one growth only.
            let grows = run.faults.grows.get();
            let refuse = (i / 20 + usize::from(seed)) % 2 == 0;
            run.faults
                .fail_grow_after
                .set(refuse.then_some(grows + u64::from(seed % 3)));
            run.step(op, true);
            if i % 20 == 19 {
                run.compare();
            }
        }
        run.compare();
    });
}

#[test]
fn a_trap_at_any_store_rolls_back() {
    let traps = std::cell::Cell::new(0);
    run(50, 60, |ops, seed| {
        let mut run = Run::new();
        for message in ops.chunks(1 + usize::from(seed % 6)) {
            traps.set(traps.get() + traps::trap_everywhere(&mut run, message));
        }
        run.compare();
    });
    eprintln!("{} traps", traps.get());
    assert!(traps.get() > 5_000, "messages store: {}", traps.get());
}

#[test]
fn errors_leave_nothing_behind() {
    run(40, 200, |ops, seed| {
        let mut run = Run::new();
        for (i, op) in ops.iter().enumerate() {
            let refuse = (i / 10 + usize::from(seed)) % 2 == 0;
            let grows = run.faults.grows.get();
            run.faults
                .fail_grow_after
                .set(refuse.then_some(grows + u64::from(seed % 2)));
            run.step(op, true);
            if run.failed.get() {
                // What counts is what is stored.
                run.remount();
                run.compare();
            }
        }
    });
}

/// What `cargo fuzz run fs_ops` runs, on some bytes that are made up and on its corpus.
#[test]
fn fuzz_target_smoke() {
    let mut seed = 0x5EED_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for len in (0..150).map(|n| n * 11) {
        let bytes: Vec<u8> = (0..len).map(|_| random()).collect();
        fs_ops::fs_ops(&bytes);
    }
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/fs_ops");
    let mut seeds = 0;
    for seed in std::fs::read_dir(corpus).expect("the corpus") {
        fs_ops::fs_ops(&std::fs::read(seed.unwrap().path()).unwrap());
        seeds += 1;
    }
    assert!(seeds > 0);
}

//! Random calls in a name space of several file systems, against a model of it: `/` on stable
//! memory, `/tmp` on the heap, two files that are other memories, and directories that the program
//! finds open in all of them. Same results, errors, contents, listings, devices and inode numbers;
//! upgrades in between, and a clean `check` before each and at the end of a case.
//!
//! Where docs/WASI.md says nothing, the model does what Linux does with a tmpfs.
//! `ICWASI_MOUNT_CASES` multiplies the cases; those of a seed are always the same.

mod calls;
mod model;
mod ops;
mod pick;
mod run;
#[path = "../wasi_support/mod.rs"]
mod wasi_support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use ops::{Op, op};
use run::Run;

/// Of each test.
const CASES: u64 = 500;
/// Calls of a case, on average.
const OPS: usize = 150;
/// Tests side by side.
const TESTS: u64 = 4;

/// By call, how often it succeeded and how often it was made.
type Counts = BTreeMap<String, (u32, u32)>;

fn case(ops: &[Op], counts: &RefCell<Counts>) -> Result<(), String> {
    let mut run = Run::new();
    let mut failed = None;
    for step in 0..=ops.len() {
        let attempt = AssertUnwindSafe(|| match ops.get(step) {
            Some(op) => run.step(op),
            None => run.compare(),
        });
        let result = catch_unwind(attempt).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>();
            Err(format!("{:?} panics: {text:?}", ops.get(step)))
        });
        if let Err(error) = result {
            failed = Some(format!("step {step}: {error}"));
            break;
        }
    }
    if let Some(error) = failed {
        let lines = run.history.iter().enumerate();
        let lines = lines.map(|(n, (call, result))| format!("{n:4} {call} = {result}\n"));
        return Err(format!("{error}\n{}", lines.collect::<String>()));
    }
    let mut counts = counts.borrow_mut();
    for (call, result) in run.history {
        let call = call.split('(').next().unwrap_or_default().to_owned();
        let (done, all) = counts.entry(call).or_default();
        *done += u32::from(!result.starts_with("Err"));
        *all += 1;
    }
    Ok(())
}

fn against_the_model(test: u64) {
    let set = std::env::var("ICWASI_MOUNT_CASES").ok();
    let factor: u64 = set.map_or(1, |n| n.parse().expect("ICWASI_MOUNT_CASES is a factor"));
    let counts = RefCell::<Counts>::default();
    for n in 0..CASES * factor {
        let seed = n * TESTS + test;
        let config = Config {
            cases: 1,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_iters: 3_000,
            ..Config::default()
        };
        TestRunner::new(config)
            .run(&prop::collection::vec(op(), 1..2 * OPS), |ops| {
                case(&ops, &counts).map_err(TestCaseError::fail)
            })
            .unwrap_or_else(|error| match error {
                // The history says it better than the input.
                TestError::Fail(reason, _) => panic!("seed {seed}, {reason}"),
                error => panic!("seed {seed}: {error}"),
            });
    }
    for (call, (done, all)) in counts.into_inner() {
        eprintln!("{call}: {done} of {all} succeeded");
        assert!(done * 20 > all, "{call}: {done} of {all} succeeded");
    }
}

// Four, so that they run side by side.
#[test]
fn behaves_like_the_model_1() {
    against_the_model(0);
}

#[test]
fn behaves_like_the_model_2() {
    against_the_model(1);
}

#[test]
fn behaves_like_the_model_3() {
    against_the_model(2);
}

#[test]
fn behaves_like_the_model_4() {
    against_the_model(3);
}

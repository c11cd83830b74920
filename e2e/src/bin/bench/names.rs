//! Workloads on names.

use crate::machine::Step;
use crate::workload::{Also, Goal, Plan, Workload};

fn plan(setup: &[Step], messages: &[Step], operations: u64) -> Plan {
    Plan {
        setup: setup.to_vec(),
        messages: messages.to_vec(),
        operations,
    }
}

const MAKE: Step = Step("make_directory", [0; 4]);

fn create(first: u64, count: u64) -> Step {
    Step("create_files", [0, first, count, 0])
}

/// `count` files in directory 0, in messages of 20,000.
fn files(count: u64) -> Vec<Step> {
    let mut steps = vec![MAKE];
    let messages = (0..count).step_by(20_000);
    steps.extend(messages.map(|first| create(first, (count - first).min(20_000))));
    steps
}

/// With stable-fs, `n` names cost n^2: where it would take a day, it gets a smaller plan.
fn making() -> Vec<Workload> {
    use Goal::Each;
    let folders = plan(
        &[MAKE],
        &[Step("create_directories", [0, 1_000, 0, 0])],
        1_000,
    );
    let nested = |by_path| {
        plan(
            &[MAKE],
            &[Step("create_nested", [0, 1_000, by_path, 0])],
            1_000,
        )
    };
    let first = plan(&[MAKE], &[create(0, 1_000)], 1_000);
    let one_by_one = |before: u64, count: u64| {
        let messages: Vec<Step> = (before..before + count).map(|i| create(i, 1)).collect();
        plan(&files(before), &messages, count)
    };
    vec![
        Workload {
            chunks: Some(folders.clone()),
            ..Workload::new("create 1,000 folders in one", folders, Each(5_000))
        },
        Workload {
            chunks: Some(nested(0)),
            ..Workload::new(
                "create 1,000 folders, each in the one before, and open it",
                nested(0),
                Each(5_000),
            )
        },
        Workload::new(
            "create 1,000 folders, each in the one before, by its whole path",
            nested(1),
            Goal::None,
        ),
        Workload {
            chunks: Some(first.clone()),
            ..Workload::new("create 1,000 files in one folder", first, Each(5_000))
        },
        Workload::new(
            "create 10,000 files in one folder, one message",
            plan(&[MAKE], &[create(0, 10_000)], 10_000),
            Each(5_000),
        ),
        Workload::new(
            "create 10,000 files in one folder, a message each",
            one_by_one(0, 10_000),
            Each(10_000),
        ),
        Workload::new(
            "create a file among 100,000, a message each",
            one_by_one(100_000, 1_000),
            Each(10_000),
        ),
    ]
}

pub fn all() -> Vec<Workload> {
    use Goal::Each;
    let mut all = making();
    let missing = |files_before, count| {
        let messages = [Step("stat_missing", [0, count, 0, 0])];
        plan(&files(files_before), &messages, count)
    };
    all.push(Workload {
        chunks: Some(missing(1_000, 10)),
        ..Workload::new(
            "stat of a missing name among 1,000",
            missing(1_000, 1_000),
            Each(2_000),
        )
    });
    all.push(Workload::new(
        "stat of a missing name among 100,000",
        missing(100_000, 1_000),
        Each(2_000),
    ));
    for (title, buffer, goal) in [
        ("list 10,000 entries, 4 KiB at a time", 4_096, Each(800)),
        ("list 10,000 entries, 512 bytes at a time", 512, Goal::None),
    ] {
        let list = Step("list", [0, 10_000, buffer, 1]);
        all.push(Workload::new(
            title,
            plan(&files(10_000), &[list], 10_000),
            goal,
        ));
    }
    let write = |file, total, call| Step("write", [file, total, call, 0]);
    let whole = |total| [write(0, total, 65_536)];
    let rename = plan(
        &[write(0, 10_000_000, 65_536), write(1, 10_000_000, 65_536)],
        &[Step("rename", [1, 0, 0, 0])],
        1,
    );
    let truncate = plan(&whole(1 << 30), &[Step("truncate", [0; 4])], 1);
    let remove = plan(&whole(1 << 30), &[Step("remove", [0; 4])], 1);
    let small = plan(
        &[write(0, 100_000_000, 1_000)],
        &[Step("remove", [0; 4])],
        1,
    );
    for (title, plan) in [
        ("rename over a file of 10 MB", rename),
        ("truncate a file of 1 GiB", truncate),
        ("remove a file of 1 GiB", remove),
        (
            "remove a file of 100 MB, written in 1,000-byte calls",
            small,
        ),
    ] {
        all.push(Workload {
            chunks: Some(plan.clone()),
            ..Workload::new(title, plan, Each(100_000))
        });
    }
    all.extend(mounting());
    all
}

/// An upgrade and the first look-up after it, and a check.
fn mounting() -> Vec<Workload> {
    let first = [Step("stat_missing", [0, 1, 0, 0])];
    let mut full = files(100_000);
    full.push(Step("allocate", [0, 10 << 30, 0, 0]));
    let mount = |title, setup: &[Step]| Workload {
        also: Also::Upgrade,
        ..Workload::new(title, plan(setup, &first, 1), Goal::Each(1_000_000))
    };
    // A query can have 5 billion. Seven parts of 16,384 inodes.
    let check = Workload {
        also: Also::Check,
        ..Workload::new(
            "check 100,000 files and 10 GiB, a part",
            plan(&full, &[], 7),
            Goal::Each(3_000_000_000),
        )
    };
    vec![
        mount("upgrade and first look-up, nothing stored", &[MAKE]),
        mount("upgrade and first look-up, 100,000 files and 10 GiB", &full),
        check,
    ]
}

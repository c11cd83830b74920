//! Workloads on what is in files.

use crate::machine::Step;
use crate::workload::{Goal, Plan, Workload};

/// 100 MB.
const TOTAL: u64 = 100_000_000;
/// 1 GiB.
const LARGE: u64 = 1 << 30;
/// Scattered accesses.
const PIECES: u64 = 10_000;

const CREATE: u64 = 0;
const OVER: u64 = 1;
const APPEND: u64 = 2;

fn plan(setup: &[Step], messages: &[Step], operations: u64) -> Plan {
    Plan {
        setup: setup.to_vec(),
        messages: messages.to_vec(),
        operations,
    }
}

/// One that runs the same everywhere.
fn same(title: &'static str, plan: Plan, goal: Goal) -> Workload {
    Workload {
        floor: Some(plan.clone()),
        chunks: Some(plan.clone()),
        mounted: Some(plan.clone()),
        ..Workload::new(title, plan, goal)
    }
}

fn sequential(titles: [&'static str; 3], call: u64, goals: [u64; 3]) -> Vec<Workload> {
    let calls = TOTAL.div_ceil(call);
    let write = |mode| Step("write", [0, TOTAL, call, mode]);
    let read = Step("read", [0, TOTAL, call, 0]);
    let goals = goals.map(Goal::Floor);
    // Stable memory is as large before as after: the floor is for writing, not for growing.
    let grown = plan(&[write(CREATE)], &[write(CREATE)], calls);
    let new = plan(&[], &[write(CREATE)], calls);
    let mut new = same(titles[0], new, goals[0]);
    new.floor = Some(grown);
    let over = plan(&[write(CREATE)], &[write(OVER)], calls);
    let reading = plan(&[write(CREATE)], &[read], calls);
    vec![
        new,
        same(titles[1], over, goals[1]),
        same(titles[2], reading, goals[2]),
    ]
}

fn scattered() -> Vec<Workload> {
    let one = Step("write", [0, LARGE, 65_536, CREATE]);
    let many = Step("fragments", [0, 1_000, LARGE / 1_000 / 4_096 * 4_096, 0]);
    let titles = [
        ("read 4 KiB at random, 1 GiB in 1 extent", one, 0),
        ("overwrite 4 KiB at random, 1 GiB in 1 extent", one, 1),
        ("seek and read 4 KiB at random, 1 GiB in 1 extent", one, 2),
        ("read 4 KiB at random, 1 GiB in 1,000 extents", many, 0),
        ("overwrite 4 KiB at random, 1 GiB in 1,000 extents", many, 1),
    ];
    let workload = |(title, setup, kind): (&'static str, Step, u64)| {
        // The last extent ends below 1 GiB.
        let size = if setup.0 == "write" {
            LARGE
        } else {
            many.1[2] * 1_000
        };
        let messages = [Step("scattered", [0, size, PIECES, kind])];
        let mut workload = same(
            title,
            plan(&[setup], &messages, PIECES),
            if kind == 2 {
                Goal::None
            } else {
                Goal::Floor(110)
            },
        );
        let filled = Step("write", [0, size, 65_536, CREATE]);
        let filled = plan(&[filled], &messages, PIECES);
        workload.floor = Some(filled.clone());
        // Extents are ours. It takes the others a while to write 1 GiB.
        (workload.chunks, workload.mounted) = if setup.0 == "write" {
            (Some(filled.clone()), Some(filled))
        } else {
            (None, None)
        };
        workload
    };
    titles.into_iter().map(workload).collect()
}

pub fn all() -> Vec<Workload> {
    let mut all = sequential(
        [
            "write 100 MB to a new file, 64 KiB calls",
            "overwrite 100 MB, 64 KiB calls",
            "read 100 MB, 64 KiB calls",
        ],
        65_536,
        [103; 3],
    );
    all.extend(sequential(
        [
            "write 100 MB to a new file, 1,000-byte calls",
            "overwrite 100 MB, 1,000-byte calls",
            "read 100 MB, 1,000-byte calls",
        ],
        1_000,
        [135, 125, 125],
    ));
    all.extend(scattered());
    let side_by_side = Step("interleaved", [0, 10, TOTAL / 10, 1_000]);
    let new = plan(&[], &[side_by_side], TOTAL / 1_000);
    let one = "write 100 MB to a new file, 1,000-byte calls";
    let mut workload = same(
        "10 files of 10 MB side by side, 1,000-byte calls",
        new,
        Goal::Row(one, 110),
    );
    workload.floor = Some(plan(&[side_by_side], &[side_by_side], TOTAL / 1_000));
    all.push(workload);
    let lines = 10_000;
    let empty = Step("write", [0, 0, 100, CREATE]);
    let append = Step("write", [0, lines * 100, 100, APPEND]);
    let mut workload = same(
        "append 10,000 lines of 100 bytes",
        plan(&[empty], &[append], lines),
        Goal::Each(600),
    );
    workload.floor = Some(plan(&[append], &[append], lines));
    all.push(workload);
    all
}

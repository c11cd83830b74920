//! SQLite: each piece of work on a database in a file and on one in memory, with the same settings
//! and the same cache. What files cost is the difference.

use anyhow::{Context, Result};

use crate::canisters::Canisters;
use crate::machine::{Machine, Step};
use crate::report::Row;

const ROWS: u64 = 100_000;
const SMALL: u64 = 10_000;

/// A piece of work: title, method and its numbers, operations, whether the cache is cold.
type Work = (&'static str, &'static str, [u64; 3], u64, bool);

const WORK: [Work; 5] = [
    (
        "insert 100,000 rows",
        "sqlite_insert",
        [ROWS, 0, 0],
        ROWS,
        false,
    ),
    (
        "10,000 transactions of one row",
        "sqlite_transactions",
        [SMALL, 0, 0],
        SMALL,
        false,
    ),
    (
        "10,000 point reads, cold cache",
        "sqlite_points",
        [SMALL, ROWS, 0],
        SMALL,
        true,
    ),
    (
        "full scan of 100,000 rows, cold cache",
        "sqlite_scan",
        [ROWS, 0, 0],
        ROWS,
        true,
    ),
    ("build an index", "sqlite_index", [0, 0, 0], ROWS, false),
];

const FILE: u64 = 0;
const MEMORY: u64 = 1;

/// All work of ic-sqlite-vfs, which has no database in memory. Only an upgrade makes its cache cold.
fn run_vfs(module: &[u8]) -> Result<Vec<u64>> {
    let mut machine = Machine::install(module)?;
    machine.call(Step("sqlite_open", [0; 4]))?;
    let mut figures = Vec::new();
    for (_, method, [a, b, c], operations, cold) in WORK {
        if cold {
            machine.upgrade(module)?;
        }
        figures.push(machine.call(Step(method, [0, a, b, c]))? / operations);
    }
    Ok(figures)
}

/// For each piece of work, all of it, and all of it in memory.
fn run(module: &[u8]) -> Result<Vec<(u64, u64)>> {
    let mut machine = Machine::install(module)?;
    let open = |place| Step("sqlite_open", [place, 0, 0, 0]);
    machine.run(&[open(FILE), open(MEMORY)])?;
    let mut figures = Vec::new();
    for (_, method, [a, b, c], operations, cold) in WORK {
        if cold {
            machine.call(open(FILE))?;
        }
        let file = machine.call(Step(method, [FILE, a, b, c]))?;
        let memory = machine.call(Step(method, [MEMORY, a, b, c]))?;
        figures.push((file / operations, memory / operations));
    }
    Ok(figures)
}

/// Two rows for each piece of work: all of it, and what files cost.
pub fn measure(canisters: &Canisters) -> Result<Vec<Row>> {
    let ours = run(&canisters.ours).context("SQLite")?;
    let mut rows: Vec<Row> = Vec::new();
    for (work, (all, memory)) in WORK.iter().zip(&ours) {
        rows.push(Row::new(&format!("SQLite: {}", work.0), *all));
        let files = all.saturating_sub(*memory);
        rows.push(Row::new(&format!("SQLite: {}: files", work.0), files));
    }
    if let Some(module) = &canisters.rusqlite {
        let theirs = run(module).context("ic-rusqlite")?;
        for (rows, (all, memory)) in rows.chunks_exact_mut(2).zip(theirs) {
            let files = all.saturating_sub(memory);
            for (row, count) in rows.iter_mut().zip([all, files]) {
                row.peers.insert("ic-rusqlite".to_owned(), count.into());
            }
            // All of it never above theirs, and a third of what files cost there.
            rows[0].set_goal(Some(all));
            rows[1].set_goal(Some(files / 3));
        }
    }
    if let Some(module) = &canisters.vfs {
        let theirs = run_vfs(module).context("ic-sqlite-vfs")?;
        for (rows, all) in rows.chunks_exact_mut(2).zip(theirs) {
            rows[0].peers.insert("ic-sqlite-vfs".to_owned(), all.into());
        }
    }
    Ok(rows)
}

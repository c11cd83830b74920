//! SQLite: each piece of work on a database in a file and on one in memory, with the same settings
//! and the same cache. What files cost is the difference.

use anyhow::{Context, Result};

use crate::canisters::Canisters;
use crate::machine::{Machine, Step};
use crate::report::Row;
use crate::workload::Plan;

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

/// Each piece of work for itself, on a file and in memory: what a profile is made of.
pub fn plans() -> Vec<(String, Plan)> {
    let mut plans = Vec::new();
    for (place, medium) in [(FILE, "on a file"), (MEMORY, "in memory")] {
        let mut setup = vec![Step("sqlite_open", [place, 0, 0, 0])];
        for (title, method, [a, b, c], operations, cold) in WORK {
            if cold && place == FILE {
                setup.push(Step("sqlite_open", [FILE, 0, 0, 0]));
            }
            let step = Step(method, [place, a, b, c]);
            let plan = Plan {
                setup: setup.clone(),
                messages: vec![step],
                operations,
            };
            plans.push((format!("SQLite: {title}, {medium}"), plan));
            setup.push(step);
        }
    }
    plans
}

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

/// What a piece of work took.
struct Figures {
    /// All of it.
    file: u64,
    /// All of it in memory.
    memory: u64,
    /// Pages that SQLite read.
    pages: u64,
}

fn run(module: &[u8], ours: bool) -> Result<Vec<Figures>> {
    let mut machine = Machine::install(module)?;
    let open = |place| Step("sqlite_open", [place, 0, 0, 0]);
    machine.run(&[open(FILE), open(MEMORY)])?;
    let mut figures = Vec::new();
    for (_, method, [a, b, c], operations, cold) in WORK {
        if cold {
            machine.call(open(FILE))?;
        }
        let before = pages_read(&mut machine, ours)?;
        let file = machine.call(Step(method, [FILE, a, b, c]))?;
        let pages = pages_read(&mut machine, ours)? - before;
        let memory = machine.call(Step(method, [MEMORY, a, b, c]))?;
        figures.push(Figures {
            file: file / operations,
            memory: memory / operations,
            pages,
        });
    }
    Ok(figures)
}

fn pages_read(machine: &mut Machine, ours: bool) -> Result<u64> {
    if ours {
        machine.ask("sqlite_pages_read")
    } else {
        Ok(0)
    }
}

/// What it takes to read a page from stable memory, and nothing else.
fn floor_of_a_page(floor: &[u8]) -> Result<u64> {
    const PAGES: u64 = 10_000;
    const SIZE: u64 = 16 << 20;
    let mut machine = Machine::install(floor)?;
    machine.call(Step("write", [0, SIZE, 65_536, 0]))?;
    Ok(machine.call(Step("scattered", [0, SIZE, PAGES, 0]))? / PAGES)
}

/// Two rows for each piece of work: all of it, and what files cost.
pub fn measure(canisters: &Canisters) -> Result<Vec<Row>> {
    let ours = run(&canisters.ours, true).context("SQLite")?;
    let page = floor_of_a_page(&canisters.floor).context("floor")?;
    let mut rows: Vec<Row> = Vec::new();
    for (work, figures) in WORK.iter().zip(&ours) {
        rows.push(Row::new(&format!("SQLite: {}", work.0), figures.file));
        let files = figures.file.saturating_sub(figures.memory);
        let mut files = Row::new(&format!("SQLite: {}: files", work.0), files);
        if work.4 {
            // What is written depends on when; what is read is the same for everybody.
            files.floor = Some(figures.pages * page / work.3);
        }
        rows.push(files);
    }
    if let Some(module) = &canisters.rusqlite {
        let theirs = run(module, false).context("ic-rusqlite")?;
        for (rows, Figures { file, memory, .. }) in rows.chunks_exact_mut(2).zip(theirs) {
            let files = file.saturating_sub(memory);
            for (row, count) in rows.iter_mut().zip([file, files]) {
                row.peers.insert("ic-rusqlite".to_owned(), count.into());
            }
            // All of it never above theirs, and a third of what files cost there.
            rows[0].set_goal(Some(file));
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

//! The table, as text and as JSON.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

/// A line of the table.
#[derive(Serialize)]
pub struct Row {
    pub workload: String,
    /// Instructions for each operation, as all figures.
    pub ours: u64,
    pub peers: serde_json::Map<String, serde_json::Value>,
    pub floor: Option<u64>,
    pub ratio_floor: Option<f64>,
    pub goal: Option<u64>,
    pub met: Option<bool>,
}

impl Row {
    pub fn new(workload: &str, ours: u64) -> Self {
        Self {
            workload: workload.to_owned(),
            ours,
            peers: serde_json::Map::new(),
            floor: None,
            ratio_floor: None,
            goal: None,
            met: None,
        }
    }

    /// Sets the goal, and what follows from floor and goal.
    pub fn set_goal(&mut self, goal: Option<u64>) {
        self.ratio_floor = self.floor.map(|floor| ratio(self.ours, floor));
        self.goal = goal;
        self.met = goal.map(|goal| self.ours <= goal);
    }

    fn peer(&self, name: &str) -> Option<u64> {
        self.peers.get(name)?.as_u64()
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    (a as f64 / b.max(1) as f64 * 1_000.0).round() / 1_000.0
}

fn digits(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn number(number: Option<u64>) -> String {
    number.map_or("-".to_owned(), digits)
}

const PEERS: [&str; 4] = [
    "stable-fs",
    "mounted memory",
    "ic-rusqlite",
    "ic-sqlite-vfs",
];

/// The other libraries that a table has columns for.
fn columns(rows: &[&Row]) -> Vec<&'static str> {
    PEERS
        .into_iter()
        .filter(|name| rows.iter().any(|row| row.peers.contains_key(*name)))
        .collect()
}

/// The head of what [`line()`] prints.
pub fn header() -> String {
    format!(
        "{:<66} {:>13} {:>13} {:>7} {:>13} {:>3}",
        "workload", "ours", "floor", "ratio", "goal", "met"
    )
}

/// A line on the terminal.
pub fn line(row: &Row) -> String {
    let mut line = format!(
        "{:<66} {:>13} {:>13} {:>7} {:>13} {:>3}",
        row.workload,
        digits(row.ours),
        number(row.floor),
        row.ratio_floor
            .map_or("-".to_owned(), |r| format!("{r:.3}")),
        number(row.goal),
        met(row)
    );
    for name in PEERS {
        if let Some(count) = row.peer(name) {
            line += &format!("  {name} {}", digits(count));
        }
    }
    line
}

fn met(row: &Row) -> &'static str {
    match row.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    }
}

fn table(rows: &[&Row]) -> Result<String> {
    let peers = columns(rows);
    let floor = rows.iter().any(|row| row.floor.is_some());
    let mut text = String::from("| workload | ours |");
    let mut rule = String::from("|---|--:|");
    if floor {
        text += " floor | ours / floor |";
        rule += "--:|--:|";
    }
    for name in &peers {
        write!(text, " {name} | {name} / ours |")?;
        rule += "--:|--:|";
    }
    writeln!(text, " goal | met |\n{rule}--:|---|")?;
    for row in rows {
        write!(text, "| {} | {} |", row.workload, digits(row.ours))?;
        if floor {
            let ratio = row
                .ratio_floor
                .map_or("-".to_owned(), |r| format!("{r:.3}"));
            write!(text, " {} | {ratio} |", number(row.floor))?;
        }
        for name in &peers {
            let peer = row.peer(name);
            let times = peer.map_or("-".to_owned(), |peer| {
                format!("{:.2}", ratio(peer, row.ours))
            });
            write!(text, " {} | {times} |", number(peer))?;
        }
        writeln!(text, " {} | {} |", number(row.goal), met(row))?;
    }
    Ok(text)
}

const INTRODUCTION: &str = "# What files cost

Written by `cargo xtask bench fs`. Instructions of the Internet Computer for each operation, as the
replica meters whole messages: entering the method and its reply are in them. The programs call the
functions of WASI themselves; the module is compiled for `wasm32-wasip1` and linked with the
polyfill injected.

*floor*: the same loop over `stable64_read` and `stable64_write`, in a canister of its own.
*stable-fs*: stable-fs 0.13.1 through ic-wasi-polyfill 0.13.1 and wasi2ic 0.2.16, with chunks of
16 KiB; *mounted memory*: the same with each file on a memory of its own. They run in the same
replica; where the number of names makes them too slow to run, there is no figure.
A goal is instructions, or follows from the floor or from what others take.

";

/// Writes `bench/RESULTS.md`: the tables, and the notes in `bench/NOTES.md`.
pub fn write(rows: &[Row], peers: bool) -> Result<()> {
    let directory = xtask::process::root().join("bench");
    let (sqlite, files): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .partition(|row| row.workload.starts_with("SQLite"));
    let mut text = String::from(INTRODUCTION);
    if !peers {
        text += "This run left the other libraries out.\n\n";
    }
    text += &table(&files)?;
    text += "\n## SQLite\n\n";
    text += &table(&sqlite)?;
    let notes = directory.join("NOTES.md");
    let notes = std::fs::read_to_string(&notes)
        .with_context(|| format!("cannot read {}", notes.display()))?;
    writeln!(text, "\n{}", notes.trim())?;
    let path = directory.join("RESULTS.md");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

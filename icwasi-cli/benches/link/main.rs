//! The linker and `icwasi run` against their goals: `cargo xtask bench link [--json FILE]`.
//!
//! Times are those of the release build as a user calls it, the median of several calls; with
//! files that were just read, on this machine.

mod exits;
mod time;

use std::path::PathBuf;

use serde_json::{Value, json};

/// A figure, and the most that it should be.
pub struct Row {
    workload: String,
    ours: f64,
    goal: f64,
}

impl Row {
    /// Less is better.
    pub fn at_most(workload: impl Into<String>, ours: f64, goal: f64) -> Self {
        Self {
            workload: workload.into(),
            ours,
            goal,
        }
    }

    fn met(&self) -> bool {
        self.ours <= self.goal
    }

    fn print(&self) {
        let word = if self.met() { "met" } else { "MISSED" };
        println!(
            "{word:7} {:60} {:10.2}  (goal <= {})",
            self.workload, self.ours, self.goal
        );
    }

    fn json(&self) -> Value {
        json!({
            "workload": self.workload,
            "ours": (self.ours * 100.0).round() / 100.0,
            "goal": self.goal,
            "met": self.met(),
        })
    }
}

/// Name, and what measures it.
type Part = (&'static str, fn() -> Vec<Row>);

fn main() {
    let (mut json, mut only) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = Some(PathBuf::from(args.next().expect("--json needs a file"))),
            // cargo's own.
            "--bench" => {}
            _ => only = Some(arg),
        }
    }
    let mut rows = Vec::new();
    let parts: [Part; 2] = [("time", time::run), ("exits", exits::run)];
    for (name, part) in parts {
        if only.as_deref().is_none_or(|only| only == name) {
            let measured = part();
            measured.iter().for_each(Row::print);
            rows.extend(measured);
        }
    }
    if let Some(path) = json {
        let all: Vec<Value> = rows.iter().map(Row::json).collect();
        let text = serde_json::to_string_pretty(&all).expect("it is plain data");
        std::fs::write(&path, text + "\n").expect("the file can be written");
    }
}

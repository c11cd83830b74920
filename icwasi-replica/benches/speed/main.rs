//! The replica against its speed goals: `cargo xtask bench replica [--json FILE]`.
//!
//! Rates are measured over HTTP, on this machine, with clients that do not verify what they get,
//! so that the replica is what is measured. What compares two things is a ratio within one run.

mod engine;
mod http;
mod memory;

use std::path::PathBuf;

use serde_json::{Value, json};

/// One goal, and what was measured.
pub struct Row {
    workload: String,
    ours: f64,
    goal: f64,
    /// Whether more is better.
    at_least: bool,
}

impl Row {
    /// More is better.
    pub fn at_least(workload: impl Into<String>, ours: f64, goal: f64) -> Self {
        Self {
            workload: workload.into(),
            ours,
            goal,
            at_least: true,
        }
    }

    /// Less is better.
    pub fn at_most(workload: impl Into<String>, ours: f64, goal: f64) -> Self {
        Self {
            at_least: false,
            ..Self::at_least(workload, ours, goal)
        }
    }

    fn met(&self) -> bool {
        if self.at_least {
            self.ours >= self.goal
        } else {
            self.ours <= self.goal
        }
    }

    fn print(&self) {
        let word = if self.met() { "met" } else { "MISSED" };
        let than = if self.at_least { ">=" } else { "<=" };
        println!(
            "{word:7} {:52} {:10.1}  (goal {than} {})",
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

fn main() {
    let mut json = None;
    let mut only = None;
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
    type Part = (&'static str, fn() -> Vec<Row>);
    let parts: [Part; 3] = [
        ("http", http::run),
        ("engine", engine::run),
        ("memory", memory::run),
    ];
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

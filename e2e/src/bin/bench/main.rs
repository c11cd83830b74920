//! `cargo xtask bench fs`: what files cost in a canister, in instructions of the Internet
//! Computer, beside the same work with other libraries and the least that stable memory itself
//! would cost.
//!
//! Every figure is that of whole messages as the replica meters them, divided by the number of
//! operations. Each workload runs in a canister of its own.

mod canisters;
mod contents;
mod machine;
mod names;
mod peers;
mod profile;
mod report;
mod sqlite;
mod workload;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::canisters::Canisters;
use crate::report::Row;

/// Measure what files cost in a canister.
#[derive(Parser)]
struct Args {
    /// Also write the results to FILE, as an array of JSON objects.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only workloads whose titles contain TEXT; nothing is written to bench/RESULTS.md.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Leave the other libraries out.
    #[arg(long)]
    no_peers: bool,
    /// Show which functions the instructions of the workloads go to that contain TEXT.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["json", "only"])]
    profile: Option<String>,
    /// Inject this build of the library instead of the linker's own.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // A canister may use 5 MiB of stack.
    let thread = std::thread::Builder::new().stack_size(16 << 20);
    let worker = thread.spawn(move || run(&args)).context("start a thread")?;
    match worker.join() {
        Ok(result) => result,
        Err(_) => bail!("the benchmark panicked"),
    }
}

fn run(args: &Args) -> Result<()> {
    let library = match &args.library {
        Some(path) => {
            Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => None,
    };
    if let Some(text) = &args.profile {
        return profile::run(&Canisters::build(library, false)?, text);
    }
    let canisters = Canisters::build(library, !args.no_peers)?;
    let wanted = |title: &str| args.only.as_deref().is_none_or(|text| title.contains(text));
    let mut rows: Vec<Row> = Vec::new();
    println!("{}", report::header());
    for workload in workload::all().iter().filter(|w| wanted(w.title)) {
        let row = workload.measure(&canisters, &rows)?;
        println!("{}", report::line(&row));
        rows.push(row);
    }
    if wanted("SQLite") {
        for row in sqlite::measure(&canisters)? {
            println!("{}", report::line(&row));
            rows.push(row);
        }
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.only.is_none() {
        report::write(&rows, !args.no_peers)?;
    }
    Ok(())
}

//! Runs the real clients against the replica and prints a line for each.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use e2e::clients::{Outcome, agent, icp, node};

#[tokio::main]
async fn main() -> ExitCode {
    let mut report = Report { failed: false };
    let start = Instant::now();
    report.line("ic-agent 0.49", start, agent::run().await);
    let start = Instant::now();
    report.line("@icp-sdk/core 6.1.0", start, node::run().await);
    let start = Instant::now();
    report.line("icp 1.5.0", start, icp::run().await);
    if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, client: &str, start: Instant, result: Result<Outcome>) {
        let seconds = start.elapsed().as_secs_f32();
        match result {
            Ok(Outcome::Passed(what)) => println!("passed   {client} ({seconds:.1} s): {what}"),
            Ok(Outcome::NotRun(why)) => println!("NOT RUN  {client}: {why}"),
            Err(error) => {
                self.failed = true;
                println!("FAILED   {client} ({seconds:.1} s): {error:#}");
            }
        }
    }
}

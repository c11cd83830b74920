//! Runs the real clients against the replica and prints a line for each, or for those whose names
//! contain the first argument. `--all` adds the one that takes minutes to compile; others have to
//! be asked for by their names.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use e2e::clients::{Outcome, agent, assets, counts, icp, motoko, node};

#[tokio::main]
async fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let all = argument.as_deref() == Some("--all");
    let filter = argument.filter(|_| !all);
    let mut report = Report { failed: false };
    macro_rules! run {
        ($name:literal, $run:expr) => {
            if filter.as_deref().is_none_or(|part| $name.contains(part)) {
                let start = Instant::now();
                report.line($name, start, $run.await);
            }
        };
    }
    run!("ic-agent 0.49", agent::run());
    run!("@icp-sdk/core 6.1.0", node::run());
    run!("icp 1.5.0", icp::run());
    run!("icp 1.5.0 on this repository", icp::run_own());
    run!("Motoko 4.10.0", motoko::run());
    if all || filter.is_some() {
        run!("asset canister", assets::run());
    }
    if filter.is_some() {
        run!(
            "another process, instruction counts",
            counts::other_process()
        );
        run!("PocketIC, instruction counts", counts::pocket_ic());
    }
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

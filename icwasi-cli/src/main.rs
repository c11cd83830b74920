//! The `icwasi` program: arguments in, exit code out.

mod cli;
mod commands;
mod exit;
mod printer;
mod ui_progress;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use exit::ExitStatus;
use printer::{OutputClosed, Printer};

fn main() -> ExitCode {
    let arguments = commands::launcher::arguments(std::env::args_os().collect());
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            let status = match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitStatus::Done,
                _ => ExitStatus::Usage,
            };
            // A closed pipe is all that can go wrong.
            let _ = e.print();
            return status.into();
        }
    };
    start_log(cli.global.verbose);
    let printer = Printer {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            printer.error(
                "runtime",
                &anyhow::Error::new(e).context("cannot start threads"),
            );
            return ExitStatus::Failed.into();
        }
    };
    let result = runtime.block_on(commands::run(cli, printer));
    // A read of a hanging disk must not keep a program alive that is done or was interrupted.
    runtime.shutdown_background();
    match result {
        Ok(status) => status.into(),
        Err(e) if e.is::<OutputClosed>() => ExitStatus::Done.into(),
        Err(e) => {
            printer.error(commands::kind_of(&e), &e);
            let usage = e.is::<commands::UsageError>();
            if usage {
                ExitStatus::Usage
            } else {
                ExitStatus::Failed
            }
            .into()
        }
    }
}

/// Messages of the library: warnings, more with `-v`; `ICWASI_LOG` takes filters.
fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        // `canister`: what canisters print.
        0 => "warn,icwasi_replica=info,canister=info",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("ICWASI_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only if a log was started before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| ui_progress::LogWriter)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .try_init();
}

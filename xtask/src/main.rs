//! `cargo xtask`: see [`Command`] for what there is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use xtask::guests::{Guest, Mode};
use xtask::process::{cargo, run};
use xtask::{checks, setup};

/// Set-up, demo, tests and benchmarks of icwasi.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check for the Rust targets and a C compiler for WASI; install what is missing.
    Setup,
    /// Show the main job, step by step, on a local replica.
    Demo,
    /// Run all tests, lints and other checks, or only the tests whose names contain FILTER.
    Test {
        /// Part of a test's name. `clients` runs the real clients (ic-agent, @icp-sdk/core, icp),
        /// the asset canister and a canister in Motoko; `pocket-ic` the end-to-end tests on the PocketIC server
        /// that POCKET_IC_BIN names.
        filter: Option<String>,
    },
    /// Measure: files in instructions, the replica and the linker in time.
    Bench {
        /// What to measure.
        what: Bench,
        /// `--json FILE`; of `fs` also `--only TEXT`, `--no-peers`, `--profile TEXT`,
        /// `--library FILE`, and `--help`, which explains them.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<std::ffi::OsString>,
    },
    /// What continuous integration runs: the same as `test`.
    Ci,
    /// Build and link an example canister, for dfx.json and icp.yaml.
    Canister {
        /// Directory under examples/.
        example: Example,
        /// How it gets its file system.
        #[arg(long, value_enum, default_value = "inject")]
        mode: ModeName,
        /// Where to put the linked module.
        #[arg(long, short)]
        output: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// Files and SQLite in a canister.
    Fs,
    /// The local replica against its speed goals (a release build).
    Replica,
    /// Linking, what exits cost, and the start of `icwasi run` (a release build).
    Link,
}

#[derive(Clone, Copy, ValueEnum)]
enum Example {
    Sqlite,
    Bench,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Rewire,
    Inject,
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup::setup(),
        Command::Demo => {
            setup::setup()?;
            run(cargo().args([
                "run",
                "--quiet",
                "--locked",
                "--package",
                "e2e",
                "--bin",
                "demo",
            ]))
        }
        Command::Test { filter } if filter.as_deref() == Some("clients") => checks::clients(),
        Command::Test { filter } if filter.as_deref() == Some("pocket-ic") => checks::pocket_ic(),
        Command::Test { filter } => checks::test(filter.as_deref()),
        Command::Ci => checks::test(None),
        Command::Bench {
            what: Bench::Fs,
            options,
        } => {
            setup::setup()?;
            let mut bench = cargo();
            // Paths in the options are relative to where this was called.
            bench.current_dir(std::env::current_dir()?);
            bench.arg("run").arg("--manifest-path");
            bench.arg(xtask::process::root().join("Cargo.toml"));
            bench.args(["--quiet", "--locked", "--package", "e2e"]);
            bench.args(["--bin", "bench", "--"]);
            run(bench.args(options))
        }
        Command::Bench {
            what: what @ (Bench::Replica | Bench::Link),
            options,
        } => {
            let (package, name) = match what {
                Bench::Link => ("icwasi-cli", "link"),
                _ => ("icwasi-replica", "speed"),
            };
            let mut bench = cargo();
            // Paths in the options are relative to where this was called.
            bench.current_dir(std::env::current_dir()?);
            bench.arg("bench").arg("--manifest-path");
            bench.arg(xtask::process::root().join("Cargo.toml"));
            bench.args(["--quiet", "--locked", "--package"]);
            bench.args([package, "--bench", name, "--"]);
            run(bench.args(options))
        }
        Command::Canister {
            example,
            mode,
            output,
        } => canister(example, mode, &output),
    }
}

fn canister(example: Example, mode: ModeName, output: &std::path::Path) -> Result<()> {
    setup::setup()?;
    let guest = Guest {
        example: match example {
            Example::Sqlite => "sqlite",
            Example::Bench => "bench",
        },
        mode: match mode {
            ModeName::Rewire => Mode::Rewire,
            ModeName::Inject => Mode::Inject,
        },
        features: &[],
    };
    let module = guest.build()?;
    if let Some(parent) = output.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    // Where it is built already, it is not built once more.
    let mut icwasi = match std::env::var_os("ICWASI_BIN") {
        Some(program) => {
            let mut program = std::process::Command::new(std::path::absolute(program)?);
            program.current_dir(xtask::process::root());
            program
        }
        None => {
            let mut cargo = cargo();
            cargo.args(["run", "--quiet", "--locked", "--package", "icwasi-cli"]);
            cargo.args(["--bin", "icwasi", "--"]);
            cargo
        }
    };
    run(icwasi
        .arg("link")
        .arg(&module)
        .arg("--candid")
        .arg(guest.candid())
        .arg("--output")
        .arg(std::path::absolute(output)?)
        .arg("--admin"))
}

//! Everything that must hold before a change is merged.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::guests::target_dir;
use crate::process::{cargo, display, output, run};
use crate::setup::setup;
use crate::toolchain::WasiC;

/// Tests whose names contain `filter`; without one, all tests, lints, documentation and licences.
///
/// # Errors
/// Names the checks that failed; later checks run nevertheless.
pub fn test(filter: Option<&str>) -> Result<()> {
    setup()?;
    if let Some(filter) = filter {
        return run(cargo()
            .args(["test", "--locked", "--workspace"])
            .args(EXCEPT_GUESTS)
            .arg(filter));
    }
    let mut checks = Checks::default();
    checks.run("formatting", cargo().args(["fmt", "--all", "--check"]));
    checks.run(
        "tests",
        // They run the program that is built beside them. Alone, it would be built a second time:
        // the features of its dependencies depend on what else is built.
        cargo()
            .env("ICWASI_BIN", built("icwasi"))
            .args(["test", "--locked", "--no-fail-fast", "--workspace"])
            .args(EXCEPT_GUESTS),
    );
    // As the tests left them. Without the asset canister, which takes minutes to compile.
    let mut clients = Command::new(built("clients"));
    clients.env("ICWASI_BIN", built("icwasi"));
    checks.counted(clients)?;
    pocket_ic_checks(&mut checks)?;
    checks.run(
        "lints",
        cargo()
            .args(["clippy", "--locked", "--workspace", "--all-targets"])
            .args(EXCEPT_GUESTS)
            .args(["--", "--deny", "warnings"]),
    );
    for features in [&[][..], &["--features", "rewire"]] {
        checks.run(
            "lints of the examples",
            cargo()
                .envs(WasiC::find()?.environment())
                .args([
                    "clippy",
                    "--locked",
                    "--profile",
                    "canister",
                    "--target",
                    "wasm32-wasip1",
                ])
                .args(["--package", "example-sqlite", "--package", "example-bench"])
                .args(["--package", "example-shared", "--package", "example-async"])
                .args(features)
                .args(["--", "--deny", "warnings"]),
        );
    }
    checks.run(
        "documentation",
        cargo()
            .env("RUSTDOCFLAGS", "--deny warnings")
            .args(["doc", "--locked", "--no-deps", "--workspace"])
            .args(EXCEPT_GUESTS),
    );
    if output(Command::new("cargo").args(["deny", "--version"])).is_some() {
        checks.run(
            "licences and advisories",
            cargo().args(["deny", "--locked", "check"]),
        );
    } else {
        checks.skip("licences and advisories", "cargo-deny is not installed");
    }
    checks.finish()
}

/// Runs the real clients against the replica: a line for each on stdout.
///
/// # Errors
/// If one fails. What cannot be had on this machine is reported as not run.
pub fn clients() -> Result<()> {
    run(real_clients().args(["--", "--all"]))
}

fn real_clients() -> Command {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "e2e",
        "--bin",
        "clients",
    ]);
    command
}

/// Runs the end-to-end tests on the PocketIC server that `POCKET_IC_BIN` names, and compares
/// instruction counts.
///
/// # Errors
/// If a test or count differs. Without the variable it is reported as not run.
pub fn pocket_ic() -> Result<()> {
    setup()?;
    let mut checks = Checks::default();
    pocket_ic_checks(&mut checks)?;
    checks.finish()
}

fn pocket_ic_checks(checks: &mut Checks) -> Result<()> {
    if std::env::var_os("POCKET_IC_BIN").is_none() {
        checks.skip(
            "end-to-end tests on PocketIC",
            "POCKET_IC_BIN is not set: it names the program of a PocketIC server",
        );
        return Ok(());
    }
    checks.run(
        "end-to-end tests on PocketIC",
        cargo()
            .args(["test", "--locked", "--no-fail-fast", "--package", "e2e"])
            .args(["--test", "main_job", "--test", "bad_input"])
            .env("ICWASI_E2E_NETWORK", "pocket-ic"),
    );
    let mut counts = real_clients();
    counts.args(["--", "PocketIC"]);
    checks.counted(counts)
}

/// A program that `cargo test --workspace` builds.
fn built(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}

/// The examples are for wasm32-wasip1 only.
const EXCEPT_GUESTS: [&str; 8] = [
    "--exclude",
    "example-async",
    "--exclude",
    "example-sqlite",
    "--exclude",
    "example-bench",
    "--exclude",
    "example-shared",
];

#[derive(Default)]
struct Checks {
    lines: Vec<String>,
    failed: Vec<&'static str>,
}

impl Checks {
    fn run(&mut self, name: &'static str, command: &mut Command) {
        let start = Instant::now();
        let result = run(command);
        let seconds = start.elapsed().as_secs();
        if let Err(error) = &result {
            eprintln!("{error:#}");
            self.failed.push(name);
        }
        let word = if result.is_ok() { "passed" } else { "FAILED" };
        self.lines.push(format!("{word:8} {name} ({seconds} s)"));
    }

    /// Every line counts for itself, since each may be one that was not run.
    fn counted(&mut self, mut command: Command) -> Result<()> {
        eprintln!("$ {}", display(&command));
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        let lines = String::from_utf8_lossy(&output.stdout);
        self.lines.extend(lines.lines().map(str::to_owned));
        if !output.status.success() {
            self.failed.push("real clients");
            if lines.is_empty() {
                self.lines.push(format!("{:8} real clients", "FAILED"));
            }
        }
        Ok(())
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.lines.push(format!("{:8} {name}: {reason}", "NOT RUN"));
    }

    fn finish(self) -> Result<()> {
        eprintln!("\n{}", self.lines.join("\n"));
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", self.failed.join(", "))
    }
}

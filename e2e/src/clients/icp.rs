//! The `icp` tool, with the replica as its local network.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::npm::{self, Installed};
use super::{Outcome, counter};
use crate::cli::{self, wait};

const LIMIT: Duration = Duration::from_secs(90);
const BINARY: &str = "node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp";

/// A project in a directory of its own, with a home of its own.
struct Project {
    icp: PathBuf,
    launcher: PathBuf,
    directory: tempfile::TempDir,
    started: bool,
}

impl Project {
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.icp);
        command
            .args(arguments)
            .current_dir(self.directory.path().join("project"))
            .env("ICP_HOME", self.directory.path().join("home"))
            .env("ICP_CLI_NETWORK_LAUNCHER_PATH", &self.launcher)
            .env("DO_NOT_TRACK", "1")
            .env_remove("ICP_ENVIRONMENT")
            .env_remove("ICP_NETWORK")
            .stdin(Stdio::null());
        command
    }

    /// What it prints on both streams; it has to end well.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let out = self.directory.path().join("out");
        let file = std::fs::File::create(&out)?;
        let mut child = self
            .command(arguments)
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start icp")?;
        let status = wait(&mut child, LIMIT);
        let text = std::fs::read_to_string(&out)?;
        match status {
            Ok(status) if status.success() => Ok(text),
            Ok(status) => bail!("`icp {}`: {status}\n{text}", arguments.join(" ")),
            Err(error) => bail!("`icp {}`: {error:#}\n{text}", arguments.join(" ")),
        }
    }

    /// The same, and what it prints has to hold `part`.
    fn expect(&self, arguments: &[&str], part: &str) -> Result<String> {
        let text = self.run(arguments)?;
        ensure!(
            text.contains(part),
            "`icp {}` should have printed {part:?}:\n{text}",
            arguments.join(" ")
        );
        Ok(text)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if self.started {
            // What it says has been told by the failure that brought us here.
            let _ = self.run(&["network", "stop"]);
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Starts a network, deploys, calls, reads status and logs, takes and restores a snapshot.
///
/// # Errors
/// With the command that went wrong and what it printed.
pub async fn run() -> Result<Outcome> {
    let directory = match npm::install("icp")? {
        Installed::In(directory) => directory,
        Installed::Missing(reason) => return Ok(Outcome::NotRun(reason)),
    };
    let icp = directory.join(BINARY);
    let Some(version) = npm::version(&icp) else {
        return Ok(Outcome::NotRun(format!(
            "{} cannot be run here",
            icp.display()
        )));
    };
    let launcher = cli::binary()?;
    tokio::task::spawn_blocking(move || session(icp, launcher, &version)).await?
}

fn session(icp: PathBuf, launcher: PathBuf, version: &str) -> Result<Outcome> {
    let mut project = Project {
        icp,
        launcher,
        directory: tempfile::tempdir()?,
        started: false,
    };
    let root = project.directory.path().join("project");
    std::fs::create_dir_all(&root)?;
    std::fs::create_dir_all(project.directory.path().join("home"))?;
    std::fs::write(root.join("counter.wasm"), counter::module()?)?;
    std::fs::write(root.join("icp.yaml"), project_file(free_port()?))?;

    project.run(&["identity", "new", "tester", "--storage", "plaintext"])?;
    project.run(&["identity", "default", "tester"])?;
    project.started = true;
    project.run(&["network", "start", "--background"])?;
    project.run(&["deploy"])?;
    project.expect(&["canister", "call", "counter", "inc", "()"], "(1 : nat64)")?;
    project.expect(&["canister", "call", "counter", "inc", "()"], "(2 : nat64)")?;
    project.expect(
        &["canister", "call", "counter", "get", "()", "--query"],
        "(2 : nat64)",
    )?;
    project.expect(&["canister", "status", "counter"], "Running")?;
    project.expect(&["canister", "logs", "counter"], counter::LOG_LINE)?;
    let service = ["canister", "metadata", "counter", "candid:service"];
    project.expect(&service, "inc")?;

    project.run(&["canister", "stop", "counter"])?;
    let created = project.run(&["canister", "snapshot", "create", "counter", "--quiet"])?;
    let snapshot = created.trim();
    project.run(&["canister", "start", "counter"])?;
    project.expect(&["canister", "snapshot", "list", "counter"], snapshot)?;
    project.expect(&["canister", "call", "counter", "inc", "()"], "(3 : nat64)")?;
    project.run(&["canister", "stop", "counter"])?;
    project.run(&["canister", "snapshot", "restore", "counter", snapshot])?;
    project.run(&["canister", "start", "counter"])?;
    project.expect(
        &["canister", "call", "counter", "get", "()", "--query"],
        "(2 : nat64)",
    )?;

    // Deployed again it is an upgrade.
    project.run(&["deploy", "--yes"])?;
    project.run(&["network", "stop"])?;
    project.started = false;
    Ok(Outcome::Passed(format!(
        "{version}: network start; deploy; canister call, status, logs, metadata; \
         snapshot create, list, restore; deploy again; network stop"
    )))
}

fn project_file(port: u16) -> String {
    format!(
        r#"canisters:
  - name: counter
    build:
      steps:
        - type: script
          commands:
            - cp counter.wasm "$ICP_WASM_OUTPUT_PATH"
networks:
  - name: local
    mode: managed
    gateway:
      port: {port}
"#
    )
}

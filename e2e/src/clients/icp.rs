//! The `icp` tool, with the replica as its local network.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::npm::{self, Installed};
use super::{Outcome, counter};
use crate::cli::{self, wait};

/// For each command.
const LIMIT: Duration = Duration::from_secs(300);
const BINARY: &str = "node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp";

/// The tool, and what it starts as a network.
struct Tools {
    icp: PathBuf,
    launcher: PathBuf,
    version: String,
}

/// A project in a directory of its own, with a home of its own.
struct Project<'a> {
    tools: &'a Tools,
    directory: tempfile::TempDir,
    started: bool,
}

impl<'a> Project<'a> {
    /// A project whose local network will listen on a free port. `fill` puts files into its
    /// directory; what `icp.yaml` says follows.
    fn new(
        tools: &'a Tools,
        manifest: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let project = Self {
            tools,
            directory: tempfile::tempdir()?,
            started: false,
        };
        std::fs::create_dir_all(project.root())?;
        std::fs::create_dir_all(project.directory.path().join("home"))?;
        fill(&project.root())?;
        ensure!(
            !manifest.contains("networks:"),
            "icp.yaml says itself on which port its network listens"
        );
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let network = format!(
            "\nnetworks:\n  - name: local\n    mode: managed\n    gateway:\n      port: {port}\n"
        );
        std::fs::write(
            project.root().join("icp.yaml"),
            manifest.to_owned() + &network,
        )?;
        project.run(&["identity", "new", "tester", "--storage", "plaintext"])?;
        project.run(&["identity", "default", "tester"])?;
        Ok(project)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.tools.icp);
        command
            .args(arguments)
            .current_dir(self.root())
            .env("ICP_HOME", self.directory.path().join("home"))
            .env("ICP_CLI_NETWORK_LAUNCHER_PATH", &self.tools.launcher)
            // What `cargo xtask canister` links with.
            .env("ICWASI_BIN", &self.tools.launcher)
            .env("DO_NOT_TRACK", "1")
            .env_remove("ICP_ENVIRONMENT")
            .env_remove("ICP_NETWORK")
            .env_remove("ICP_PROJECT_ROOT")
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

    fn start(&mut self) -> Result<()> {
        self.started = true;
        self.run(&["network", "start", "--background"]).map(drop)
    }

    fn stop(&mut self) -> Result<()> {
        self.run(&["network", "stop"])?;
        self.started = false;
        Ok(())
    }

    /// Takes a snapshot of a running canister; its id.
    fn snapshot(&self, canister: &str) -> Result<String> {
        self.run(&["canister", "stop", canister])?;
        let created = self.run(&["canister", "snapshot", "create", canister, "--quiet"])?;
        self.run(&["canister", "start", canister])?;
        snapshot_id(&created)
    }

    fn restore(&self, canister: &str, snapshot: &str) -> Result<()> {
        self.run(&["canister", "stop", canister])?;
        self.run(&["canister", "snapshot", "restore", canister, snapshot])?;
        self.run(&["canister", "start", canister]).map(drop)
    }
}

/// The id in what icp prints with `--quiet`: a line of its own, among notes on the other stream.
fn snapshot_id(printed: &str) -> Result<String> {
    let id = |line: &&str| !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
    let line = printed.lines().map(str::trim).find(id);
    line.map(str::to_owned)
        .with_context(|| format!("no id of a snapshot in:\n{printed}"))
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        if self.started {
            // What it says has been told by the failure that brought us here.
            let _ = self.run(&["network", "stop"]);
        }
    }
}

async fn session(run: fn(&Tools) -> Result<String>) -> Result<Outcome> {
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
    let tools = Tools {
        icp,
        launcher,
        version,
    };
    let steps = tokio::task::spawn_blocking(move || {
        let steps = run(&tools)?;
        anyhow::Ok(format!("{}: {steps}", tools.version))
    })
    .await??;
    Ok(Outcome::Passed(steps))
}

/// A project with a small canister and one that is too large for one message.
///
/// # Errors
/// With the command that went wrong and what it printed.
pub async fn run() -> Result<Outcome> {
    session(small_project).await
}

/// The repository's own `icp.yaml`.
///
/// # Errors
/// With the command that went wrong and what it printed.
pub async fn run_own() -> Result<Outcome> {
    session(own_project).await
}

fn small_project(tools: &Tools) -> Result<String> {
    let canister = |name: &str| {
        format!(
            "  - name: {name}\n    build:\n      steps:\n        - type: script\n          \
             commands:\n            - cp {name}.wasm \"$ICP_WASM_OUTPUT_PATH\"\n"
        )
    };
    let manifest = format!("canisters:\n{}{}", canister("counter"), canister("large"));
    let mut project = Project::new(tools, &manifest, |root| {
        let module = counter::module()?;
        std::fs::write(root.join("large.wasm"), counter::large(&module))?;
        std::fs::write(root.join("counter.wasm"), module)?;
        Ok(())
    })?;
    project.start()?;
    project.run(&["deploy"])?;
    for name in ["counter", "large"] {
        project.expect(&["canister", "call", name, "inc", "()"], "(1 : nat64)")?;
        project.expect(&["canister", "call", name, "inc", "()"], "(2 : nat64)")?;
        let get = ["canister", "call", name, "get", "()", "--query"];
        project.expect(&get, "(2 : nat64)")?;
    }
    project.expect(&["canister", "status", "counter"], "Running")?;
    project.expect(&["canister", "logs", "counter"], counter::LOG_LINE)?;
    let service = ["canister", "metadata", "counter", "candid:service"];
    project.expect(&service, "inc")?;
    // Every deployment tells a canister the ids of the others.
    project.expect(
        &["canister", "status", "counter"],
        "PUBLIC_CANISTER_ID:large",
    )?;

    // Deployed again it is an upgrade.
    project.run(&["deploy", "--yes"])?;
    project.run(&["canister", "stop", "counter"])?;
    // Before it deletes, it lets the canister send its cycles to the cycles ledger.
    project.expect(&["canister", "delete", "counter"], "Recovered")?;
    project.stop()?;
    Ok(
        "network start; deploy, one of two canisters in chunks; canister call, status, logs, \
        metadata, delete; deploy again; network stop"
            .into(),
    )
}

fn own_project(tools: &Tools) -> Result<String> {
    let repository = xtask::process::root();
    // Compiling takes as long as it takes; what icp runs then finds it done.
    let guest = xtask::guests::Guest {
        example: "sqlite",
        mode: xtask::guests::Mode::Inject,
        features: &[],
    };
    guest.build()?;
    let manifest = std::fs::read_to_string(repository.join("icp.yaml"))?;
    let mut project = Project::new(tools, &manifest, |root| {
        // The same files, but what icp writes is written elsewhere.
        for entry in std::fs::read_dir(&repository)? {
            let name = entry?.file_name();
            let own = ["icp.yaml", ".icp", ".cargo", ".git", "target", "Cargo.toml"];
            if !own.iter().any(|own| name == *own) {
                std::os::unix::fs::symlink(repository.join(&name), root.join(&name))?;
            }
        }
        // `cargo xtask` from here is the repository's.
        std::fs::create_dir(root.join(".cargo"))?;
        let manifest = repository.join("Cargo.toml");
        let alias = format!(
            "[alias]\nxtask = [\"run\", \"--quiet\", \"--manifest-path\", {:?}, \"--package\", \
             \"xtask\", \"--\"]\n",
            manifest
        );
        std::fs::write(root.join(".cargo/config.toml"), alias)?;
        Ok(())
    })?;
    project.start()?;
    project.run(&["deploy"])?;

    let add = |id: u32, name: &str| {
        let city = format!(
            "(record {{ id = {id} : nat32; name = \"{name}\"; country = \"ZZ\"; latitude = 1.5; \
             longitude = 2.5; population = {id} : nat64; timezone = \"UTC\" }})"
        );
        project.expect(&["canister", "call", "app", "add_city", &city], "Ok")
    };
    let has = |name: &str| {
        let argument = format!("(\"{name}\")");
        project
            .run(&["canister", "call", "app", "city", &argument, "--query"])
            .map(|text| text.contains("timezone"))
    };
    add(1, "Firsttown")?;
    ensure!(has("Firsttown")? && !has("Secondtown")?, "one city");
    project.expect(&["canister", "status", "app"], "Running")?;
    let service = ["canister", "metadata", "app", "candid:service"];
    project.expect(&service, "icwasi_upload_commit")?;

    let snapshot = project.snapshot("app")?;
    project.expect(&["canister", "snapshot", "list", "app"], &snapshot)?;
    add(2, "Secondtown")?;
    project.run(&[
        "canister", "snapshot", "download", "app", &snapshot, "--output", "saved",
    ])?;
    for file in ["metadata.json", "wasm_module.bin", "stable_memory.bin"] {
        let path = project.root().join("saved").join(file);
        ensure!(path.is_file(), "{} was not downloaded", path.display());
    }
    project.restore("app", &snapshot)?;
    ensure!(
        has("Firsttown")? && !has("Secondtown")?,
        "the snapshot has one city"
    );
    project.run(&["canister", "snapshot", "delete", "app", &snapshot])?;
    let left = project.run(&["canister", "snapshot", "list", "app"])?;
    ensure!(!left.contains(&snapshot), "deleted, but listed:\n{left}");

    add(3, "Thirdtown")?;
    let upload = [
        "canister", "snapshot", "upload", "app", "--input", "saved", "--quiet",
    ];
    let uploaded = snapshot_id(&project.run(&upload)?)?;
    ensure!(uploaded != snapshot, "a new snapshot has a new id");
    project.restore("app", &uploaded)?;
    ensure!(
        has("Firsttown")? && !has("Thirdtown")?,
        "the uploaded snapshot has one city"
    );

    // A trap is logged. Deployed again it is an upgrade, and the data stays.
    let trapped = project
        .command(&["canister", "call", "app", "trap_after_write", "()"])
        .output()
        .context("cannot start icp")?;
    ensure!(!trapped.status.success(), "trap_after_write has to trap");
    project.expect(&["canister", "logs", "app"], "TRAP")?;
    project.run(&["deploy", "--yes"])?;
    ensure!(has("Firsttown")?, "an upgrade keeps the data");
    project.stop()?;
    Ok(
        "network start; deploy; canister call, status, logs, metadata; snapshot create, list, \
        download, restore, delete, upload; deploy again; network stop"
            .into(),
    )
}

//! Running the `icwasi` binary.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The `icwasi` binary with the options that its commands get.
#[derive(Clone, Debug)]
pub struct Icwasi {
    binary: PathBuf,
    directory: Option<PathBuf>,
    network: Option<String>,
    identity: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    /// The command, as typed.
    pub line: String,
    /// Of the process.
    pub status: ExitStatus,
    /// Data.
    pub stdout: Vec<u8>,
    /// Messages.
    pub stderr: String,
}

impl Output {
    /// Itself, if the exit code is 0.
    ///
    /// # Errors
    /// With everything that the command printed.
    pub fn success(self) -> Result<Self> {
        if !self.status.success() {
            bail!(
                "`{}`: {}\n{}{}",
                self.line,
                self.status,
                self.text(),
                self.stderr
            );
        }
        Ok(self)
    }

    /// The error message, if the command failed as commands should: with exit code 1, or 2 for
    /// a mistake in the command line, nothing on stdout, and an explanation on stderr.
    ///
    /// # Errors
    /// If it ended in any other way.
    pub fn failure(self) -> Result<String> {
        let code = self.status.code();
        let explained = self.stderr.trim().len() > 10 && !self.stderr.contains("panicked at");
        if !matches!(code, Some(1..=3)) || !explained {
            bail!(
                "`{}` should have failed with a message: {}\n{}{}",
                self.line,
                self.status,
                self.text(),
                self.stderr
            );
        }
        Ok(self.stderr)
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Where cargo puts the binary; `ICWASI_BIN` names another one. Built if it is not up to date.
///
/// # Errors
/// With cargo's messages, if it cannot be built.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || -> Result<PathBuf> {
        if let Some(path) = std::env::var_os("ICWASI_BIN") {
            return Ok(path.into());
        }
        let mut cargo = xtask::process::cargo();
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "icwasi-cli",
            "--bin",
            "icwasi",
        ]);
        cargo.arg("--target-dir").arg(xtask::guests::target_dir());
        let output = cargo.output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!(
                "building icwasi failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(xtask::guests::target_dir().join("debug/icwasi"))
    };
    BINARY
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

impl Icwasi {
    /// Without network or identity.
    ///
    /// # Errors
    /// If the binary cannot be built.
    pub fn new() -> Result<Self> {
        Ok(Self {
            binary: binary()?,
            directory: None,
            network: None,
            identity: None,
        })
    }

    /// Runs in this directory.
    pub fn in_directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Adds `--network URL --pem FILE`.
    pub fn with_network(mut self, url: &str, identity: &Path) -> Self {
        self.network = Some(url.to_owned());
        self.identity = Some(identity.to_owned());
        self
    }

    /// The command, not started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        if let Some(url) = &self.network {
            command.args(["--network", url]);
        }
        if let Some(identity) = &self.identity {
            command.arg("--pem").arg(identity);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts a command whose output nobody reads, to be killed.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("cannot start icwasi")
    }

    /// Runs a command to its end, which must come within `limit`.
    ///
    /// # Errors
    /// If it cannot be started, or does not end in time: then it is killed.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S], limit: Duration) -> Result<Output> {
        let mut command = self.command(arguments);
        let line = xtask::process::display(&command);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = wait(&mut child, limit).with_context(|| format!("`{line}`"))?;
        // The readers end with the process, which closes the pipes.
        let stdout = stdout.join().unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
        Ok(Output {
            line,
            status,
            stdout,
            stderr,
        })
    }

    /// [`Icwasi::run`] with a limit of a minute.
    ///
    /// # Errors
    /// As there.
    pub fn call(&self, arguments: &[&str]) -> Result<Output> {
        self.run(arguments, Duration::from_secs(60))
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is what there is to show.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits for the end of a process, and kills it when `limit` is over.
///
/// # Errors
/// If it had to be killed.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("did not end within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

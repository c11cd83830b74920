//! Packages from npm, at the versions of a committed lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::wait;

const INSTALL_LIMIT: Duration = Duration::from_secs(120);

/// Packages that were put in place, or why they could not be had.
pub enum Installed {
    /// The directory that holds `node_modules`.
    In(PathBuf),
    /// npm or the package is missing.
    Missing(String),
}

/// Whether a program can be started, and its version.
pub fn version(program: impl AsRef<std::ffi::OsStr>) -> Option<String> {
    let text = xtask::process::output(Command::new(program).arg("--version"))?;
    Some(text.trim().to_owned())
}

/// Installs what `e2e/clients/<client>/package-lock.json` names, unless it is there already.
///
/// # Errors
/// If files cannot be copied. A registry that cannot be reached is no error.
pub fn install(client: &str) -> Result<Installed> {
    let source = super::source_dir(client);
    let target = super::install_dir(client)?;
    // Written when an installation has ended well.
    let stamp = target.join("installed.json");
    let lock = fs::read(source.join("package-lock.json"))
        .with_context(|| format!("the lock file in {}", source.display()))?;
    if fs::read(&stamp).is_ok_and(|held| held == lock) {
        return Ok(Installed::In(target));
    }
    if version("npm").is_none() {
        return Ok(Installed::Missing("npm is not installed".into()));
    }
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), target.join(file))
            .with_context(|| format!("cannot copy {file} to {}", target.display()))?;
    }
    let log_path = target.join("npm.log");
    let log = fs::File::create(&log_path)?;
    let mut npm = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .args(["--fetch-retries", "1", "--fetch-timeout", "30000"])
        .current_dir(&target)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start npm")?;
    let ended = wait(&mut npm, INSTALL_LIMIT);
    if !ended.as_ref().is_ok_and(|status| status.success()) {
        return Ok(Installed::Missing(format!(
            "npm could not install the packages: {}",
            last_line(&log_path)
        )));
    }
    fs::write(&stamp, lock)?;
    Ok(Installed::In(target))
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().find(|line| line.contains("error"));
    line.unwrap_or("it did not end in time").to_owned()
}

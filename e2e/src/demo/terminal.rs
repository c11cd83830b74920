//! Commands, shown as a user would type them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cli::{Icwasi, Output, wait};

/// The directory in which the demo types its commands.
pub struct Terminal {
    directory: PathBuf,
    icwasi: Icwasi,
}

impl Terminal {
    /// Builds `icwasi` if that is needed.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn new(directory: &Path) -> Result<Self> {
        let icwasi = Icwasi::new()?.in_directory(directory);
        Ok(Self {
            directory: directory.to_owned(),
            icwasi,
        })
    }

    /// A file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A heading.
    pub fn step(&self, number: u32, title: &str) {
        println!("\n== {number}. {title}");
    }

    /// A remark.
    pub fn say(&self, text: &str) {
        println!("{text}");
    }

    /// A command with its output; it must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub fn icwasi(&self, arguments: &[&str]) -> Result<()> {
        let status = self.show(arguments)?;
        if !status.success() {
            bail!("the command above ended with {status}");
        }
        Ok(())
    }

    /// A command with its output; it must fail.
    ///
    /// # Errors
    /// If it does not.
    pub fn refused(&self, arguments: &[&str]) -> Result<()> {
        let status = self.show(arguments)?;
        if status.code() != Some(1) {
            bail!("the command above should have ended with exit code 1, and ended with {status}");
        }
        println!("(exit code 1)");
        Ok(())
    }

    /// A command whose output is not shown.
    ///
    /// # Errors
    /// If it fails.
    pub fn quietly(&self, arguments: &[&str]) -> Result<Output> {
        self.icwasi.call(arguments)?.success()
    }

    /// A command with its output, which it returns; it must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub fn capture(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.icwasi.command(arguments);
        println!("$ {}", xtask::process::display(&command));
        command
            .env("ICWASI_PROGRESS", "always")
            .stderr(std::process::Stdio::inherit());
        let output = command.output().context("cannot start icwasi")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{text}");
        if !output.status.success() {
            bail!("the command above ended with {}", output.status);
        }
        Ok(text)
    }

    fn show(&self, arguments: &[&str]) -> Result<std::process::ExitStatus> {
        let mut command = self.icwasi.command(arguments);
        println!("$ {}", xtask::process::display(&command));
        // Progress bars are part of the show, also where there is no terminal.
        command.env("ICWASI_PROGRESS", "always");
        let mut child = command.spawn().context("cannot start icwasi")?;
        wait(&mut child, Duration::from_secs(300))
    }
}

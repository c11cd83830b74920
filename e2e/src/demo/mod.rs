//! `cargo xtask demo`: the main job, shown as a transcript of commands and what they print.
//!
//! Everything goes through the `icwasi` binary and, for SQL, through ic-agent over HTTP. Each
//! step checks what it got: the demo fails where it would show something wrong.

mod steps;
mod terminal;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};

use terminal::Terminal;

/// Runs the demo in `target/demo`, which is emptied first.
///
/// # Errors
/// The first thing that is not as it should be.
pub async fn run() -> Result<()> {
    let start = Instant::now();
    let directory = xtask::guests::target_dir().join("demo");
    let terminal = prepare(&directory)?;
    let result = steps::all(&terminal).await;
    // Also after a failure: no replica is left behind.
    let stopped = terminal.icwasi(&["replica", "stop"]);
    result?;
    stopped?;
    println!(
        "\nAll of it went as it should, in {} s.",
        start.elapsed().as_secs()
    );
    Ok(())
}

fn prepare(directory: &PathBuf) -> Result<Terminal> {
    let terminal = Terminal::new(directory)?;
    if directory.exists() {
        // Of a demo that was interrupted; if none runs, that is what is wanted.
        let _ = terminal.quietly(&["replica", "stop"]);
        std::fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    // What makes a directory a project of its own, so that names of canisters are kept here.
    std::fs::create_dir(directory.join(".icwasi"))?;
    Ok(terminal)
}

//! Example canisters, built and linked once per process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::guests::out_dir;
pub use xtask::guests::{Guest, Mode};

use crate::cli::Icwasi;

/// The SQLite example.
pub fn sqlite(mode: Mode) -> Guest {
    Guest {
        example: "sqlite",
        mode,
        features: &[],
    }
}

/// A newer build of the SQLite example, to upgrade to.
pub fn sqlite_second(mode: Mode) -> Guest {
    Guest {
        example: "sqlite",
        mode,
        features: &["second-build"],
    }
}

/// The canister that measures files.
pub fn bench(mode: Mode) -> Guest {
    Guest {
        example: "bench",
        mode,
        features: &[],
    }
}

/// The canister that waits for other canisters.
pub fn asynchronous(mode: Mode) -> Guest {
    Guest {
        example: "async",
        mode,
        features: &[],
    }
}

/// The canister with data of its own beside files.
pub fn shared() -> Guest {
    Guest {
        example: "shared",
        mode: Mode::Rewire,
        features: &[],
    }
}

type Key = (Guest, Vec<String>);

static LINKED: Mutex<Option<HashMap<Key, PathBuf>>> = Mutex::new(None);

/// Builds `guest` and links it with `icwasi link` and `options`; the path of the canister.
///
/// # Errors
/// If the build or the link fails.
pub fn linked(guest: Guest, options: &[&str]) -> Result<PathBuf> {
    let key = (
        guest,
        options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>(),
    );
    // Held over the build: a second test that needs the same canister waits for it.
    let mut linked = LINKED.lock().unwrap_or_else(PoisonError::into_inner);
    let linked = linked.get_or_insert_default();
    if let Some(path) = linked.get(&key) {
        return Ok(path.clone());
    }
    let module = guest.build()?;
    let suffix: String = key
        .1
        .concat()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    // Other test processes link the same canister at the same time.
    let name = format!("{}-{suffix}-{}.wasm", guest.name(), std::process::id());
    let path = out_dir()?.join(name);
    let candid = guest.candid();
    let candid = candid.to_str().context("path is not UTF-8")?;
    link(&module, &path, &[options, &["--candid", candid]].concat())?;
    linked.insert(key, path.clone());
    Ok(path)
}

/// `icwasi link MODULE --output OUTPUT OPTIONS...`
///
/// # Errors
/// If the link fails.
pub fn link(module: &Path, output: &Path, options: &[&str]) -> Result<()> {
    let icwasi = Icwasi::new()?;
    let module = module.to_str().context("path is not UTF-8")?;
    let output = output.to_str().context("path is not UTF-8")?;
    let mut arguments = vec!["link", module, "--output", output];
    arguments.extend(options);
    icwasi
        .run(&arguments, Duration::from_secs(120))?
        .success()?;
    Ok(())
}

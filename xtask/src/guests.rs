//! Building the example canisters for wasm32-wasip1, before linking.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::toolchain::WasiC;

/// How an example gets its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The module links the `icwasi` crate.
    Rewire,
    /// The linker injects the polyfill.
    Inject,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rewire, Self::Inject];

    /// `rewire` or `inject`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rewire => "rewire",
            Self::Inject => "inject",
        }
    }
}

/// A build of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guest {
    /// Directory under `examples/`.
    pub example: &'static str,
    /// How it gets its file system.
    pub mode: Mode,
    /// Further features of the package.
    pub features: &'static [&'static str],
}

impl Guest {
    /// Name of the build in file names.
    pub fn name(&self) -> String {
        let mut name = format!("{}-{}", self.example, self.mode.name());
        for feature in self.features {
            name.push('-');
            name.push_str(feature);
        }
        name
    }

    /// The example's own candid interface.
    pub fn candid(&self) -> PathBuf {
        let file = format!("examples/{0}/{0}.did", self.example);
        process::root().join(file)
    }

    /// Builds the module and returns its path, which no other build of the example overwrites.
    ///
    /// Processes that build at the same time wait for each other.
    ///
    /// # Errors
    /// If the C compiler is missing or the build fails.
    pub fn build(&self) -> Result<PathBuf> {
        let toolchain = WasiC::find()?;
        let out = out_dir()?;
        let target = out.join(format!("{}.guest.wasm", self.name()));
        let _lock = lock(&out)?;

        let package = format!("example-{}", self.example);
        let mut features: Vec<&str> = self.features.to_vec();
        if self.mode == Mode::Rewire {
            features.push("rewire");
        }
        let mut cargo = process::cargo();
        cargo.args(["build", "--quiet", "--locked", "--profile", "canister"]);
        cargo.args(["--target", "wasm32-wasip1", "--package", &package]);
        cargo.arg("--target-dir").arg(target_dir());
        if !features.is_empty() {
            cargo.args(["--features", &features.join(",")]);
        }
        // What cargo sets for the process that runs this is not meant for the inner build.
        cargo.envs(toolchain.environment()).env_remove("RUSTFLAGS");
        let output = cargo.output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!(
                "building {package} failed:\n$ {}\n{}",
                process::display(&cargo),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let module = format!("{}.wasm", package.replace('-', "_"));
        let built = target_dir().join("wasm32-wasip1/canister").join(module);
        replace(&built, &target)?;
        Ok(target)
    }
}

/// cargo's target directory.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => process::root().join(directory),
        None => process::root().join("target"),
    }
}

/// Where built and linked canisters are put: `target/canisters`.
///
/// # Errors
/// If it cannot be created.
pub fn out_dir() -> Result<PathBuf> {
    let directory = target_dir().join("canisters");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// Held while a module is built and copied: all builds of an example write the same file.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Copies `from` to `to`, so that a reader sees the old file or the new one.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let temporary = to.with_extension("tmp");
    fs::copy(from, &temporary)
        .and_then(|_| fs::rename(&temporary, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

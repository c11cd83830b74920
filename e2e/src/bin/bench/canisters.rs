//! The modules that are measured.

use std::path::PathBuf;

use anyhow::{Context, Result};
use icwasi_cli::link::{LinkOptions, link};
use xtask::guests::{Guest, Mode, target_dir};
use xtask::process::{cargo, run};

use crate::peers;

/// Modules, ready to be installed.
pub struct Canisters {
    pub ours: Vec<u8>,
    pub floor: Vec<u8>,
    pub chunks: Option<Vec<u8>>,
    pub mounted: Option<Vec<u8>>,
    pub rusqlite: Option<Vec<u8>>,
    pub vfs: Option<Vec<u8>>,
}

impl Canisters {
    /// Builds and links them.
    pub fn build(library: Option<Vec<u8>>, peers: bool) -> Result<Self> {
        let peer = |build: fn() -> Result<Vec<u8>>| peers.then(build).transpose();
        Ok(Self {
            ours: ours(library)?,
            floor: floor()?,
            chunks: peer(peers::chunks)?,
            mounted: peer(peers::mounted)?,
            rusqlite: peer(peers::rusqlite)?,
            vfs: peer(peers::vfs)?,
        })
    }
}

pub fn read(path: PathBuf) -> Result<Vec<u8>> {
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn ours(library: Option<Vec<u8>>) -> Result<Vec<u8>> {
    let guest = Guest {
        example: "bench",
        mode: Mode::Inject,
        features: &[],
    };
    let module = read(guest.build()?)?;
    let options = LinkOptions {
        admin: true,
        library,
        ..LinkOptions::default()
    };
    Ok(link(&module, &options)?.module)
}

/// The loops over stable memory itself: nothing is to be linked.
fn floor() -> Result<Vec<u8>> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "--profile", "canister"]);
    build.args(["--target", "wasm32-unknown-unknown"]);
    build.args(["--package", "example-bench", "--no-default-features"]);
    build.args(["--features", "floor"]);
    build.arg("--target-dir").arg(target_dir());
    run(build.env_remove("RUSTFLAGS"))?;
    read(target_dir().join("wasm32-unknown-unknown/canister/example_bench.wasm"))
}

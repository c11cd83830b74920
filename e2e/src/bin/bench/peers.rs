//! Other libraries, as they are released, around the same workloads. `bench/peers/` holds
//! their crates, each with a lock file of its own; nothing else builds them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::guests::target_dir;
use xtask::process::{cargo, root, run};
use xtask::toolchain::WasiC;

use crate::canisters::read;

/// stable-fs with chunks of 16 KiB.
pub fn chunks() -> Result<Vec<u8>> {
    wasi("polyfill", &[])
}

/// stable-fs with files on memories of their own.
pub fn mounted() -> Result<Vec<u8>> {
    wasi("polyfill", &["mounted"])
}

/// ic-rusqlite.
pub fn rusqlite() -> Result<Vec<u8>> {
    wasi("rusqlite", &[])
}

/// ic-sqlite-vfs.
pub fn vfs() -> Result<Vec<u8>> {
    build("vfs", "wasm32-unknown-unknown", &[]).and_then(read)
}

fn build(peer: &str, target: &str, features: &[&str]) -> Result<PathBuf> {
    let directory = root().join("bench/peers").join(peer);
    let out = target_dir().join("peers");
    let toolchain = WasiC::find()?;
    let mut build = cargo();
    build.current_dir(&directory);
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--target",
        target,
    ]);
    build.arg("--target-dir").arg(&out);
    if !features.is_empty() {
        build.args(["--features", &features.join(",")]);
    }
    build.envs(toolchain.environment()).env_remove("RUSTFLAGS");
    if target == "wasm32-unknown-unknown" {
        for (name, value) in toolchain.environment() {
            build.env(name.replace("wasip1", "unknown_unknown"), value);
        }
    }
    run(&mut build).with_context(|| format!("build the peer {peer}"))?;
    Ok(out
        .join(target)
        .join("release")
        .join(format!("peer_{peer}.wasm")))
}

/// Builds a peer for WASI and binds its imports with wasi2ic.
fn wasi(peer: &str, features: &[&str]) -> Result<Vec<u8>> {
    let module = build(peer, "wasm32-wasip1", features)?;
    let output = module.with_extension(format!("{}ic.wasm", features.concat()));
    let status = Command::new(wasi2ic()?)
        .arg(&module)
        .arg(&output)
        .stdout(std::process::Stdio::null())
        .status()
        .context("start wasi2ic")?;
    ensure!(status.success(), "wasi2ic failed on the peer {peer}");
    read(output)
}

/// Version of wasi2ic.
const WASI2IC: &str = "0.2.16";

/// Installs wasi2ic under `target/` unless it is there.
fn wasi2ic() -> Result<PathBuf> {
    let tools = target_dir().join("tools");
    let binary = tools.join("bin/wasi2ic");
    if !binary.exists() {
        let mut install = cargo();
        install.args([
            "install",
            "--quiet",
            "--locked",
            "wasi2ic",
            "--version",
            WASI2IC,
        ]);
        install.arg("--root").arg(&tools);
        install.arg("--target-dir").arg(target_dir().join("peers"));
        run(&mut install)?;
    }
    Ok(binary)
}

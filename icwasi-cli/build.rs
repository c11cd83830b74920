//! Builds the canister library as the relocatable module that `icwasi link` injects, and leaves
//! it as `$OUT_DIR/icwasi_module.wasm`.
//!
//! `ICWASI_MODULE=path` takes a module that is built already. Whether it can be relocated is
//! proved by the linker itself, each time it uses it, and by the tests.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "canister";

/// Bytes of the library's shadow stack. It checks itself, see `link/body.rs`.
const STACK: u32 = 512 * 1024;

fn main() {
    println!("cargo::rerun-if-env-changed=ICWASI_MODULE");
    let out = PathBuf::from(var("OUT_DIR")).join("icwasi_module.wasm");
    let module = match env::var_os("ICWASI_MODULE") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", Path::new(&path).display());
            PathBuf::from(path)
        }
        None => build(),
    };
    if let Err(error) = std::fs::copy(&module, &out) {
        fail(&format!("cannot copy {}: {error}", module.display()));
    }
}

fn build() -> PathBuf {
    let workspace = PathBuf::from(var("CARGO_MANIFEST_DIR")).join("..");
    for path in ["canister-lib", "icwasi-types", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    check_target();
    let target_dir = target_dir();
    let mut cargo = Command::new(var("CARGO"));
    // What the outer cargo, clippy and cross builds set must not reach the inner one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let keep = [
            "CARGO_HOME",
            "CARGO_HTTP_",
            "CARGO_NET_",
            "CARGO_REGISTRIES_",
            "RUSTUP_",
        ];
        let outer = [
            "CARGO",
            "RUST",
            "CLIPPY",
            "TARGET",
            "HOST",
            "PROFILE",
            "OPT_LEVEL",
            "DEBUG",
        ];
        let drop = outer.iter().any(|prefix| text.starts_with(prefix))
            && !keep.iter().any(|prefix| text.starts_with(prefix));
        if drop {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(&workspace);
    // For all crates of the module; the arguments after `--` are for the last one only. Bulk memory
    // operators are dear on the IC: the module has its own `memcpy`, see `canister-lib/src/mem.rs`.
    cargo.env(
        "RUSTFLAGS",
        "-C target-feature=+simd128,-bulk-memory,-bulk-memory-opt",
    );
    cargo.env("RUSTC", var("RUSTC"));
    cargo.args([
        "rustc",
        "--package",
        "icwasi",
        "--lib",
        "--crate-type",
        "cdylib",
    ]);
    cargo.args([
        "--profile",
        PROFILE,
        "--target",
        TARGET,
        "--features",
        "module,admin",
    ]);
    cargo.arg("--target-dir").arg(&target_dir);
    // Together with the standard library, which is compiled with them, everything would get bulk
    // memory operators.
    cargo.args(["--config", "profile.canister.lto=false"]);
    cargo.args(["--locked", "--quiet"]);
    if env::var_os("CARGO_NET_OFFLINE").is_some_and(|value| value == "true") {
        cargo.arg("--offline");
    }
    cargo.args([
        "--",
        "-C",
        "link-arg=--emit-relocs",
        "-C",
        "link-arg=--import-memory",
    ]);
    cargo.args(["-C", &format!("link-arg=-zstack-size={STACK}")]);
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("building the canister library failed ({status})")),
        Err(error) => fail(&format!("cannot run cargo: {error}")),
    }
    target_dir.join(TARGET).join(PROFILE).join("icwasi.wasm")
}

/// A directory beside those of the outer cargo, so that the two never wait for one another's lock,
/// and so that all profiles share what is built.
fn target_dir() -> PathBuf {
    let out = PathBuf::from(var("OUT_DIR"));
    let build = out
        .ancestors()
        .find(|path| path.file_name().is_some_and(|name| name == "build"));
    let target = build.and_then(|path| path.parent()?.parent());
    target.unwrap_or(&out).join("icwasi-module")
}

fn check_target() {
    let mut rustc = Command::new(var("RUSTC"));
    let output = rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let there = output
        .is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    if !there {
        fail(&format!(
            "the Rust target {TARGET} is missing: run `rustup target add {TARGET}`"
        ));
    }
}

fn var(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| fail(&format!("cargo did not set {name}")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}

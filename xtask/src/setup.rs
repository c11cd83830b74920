//! Installing what the builds need.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, output, run};
use crate::toolchain::WasiC;

const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-unknown-unknown"];

/// Checks for the Rust targets and a C compiler for WASI, and installs what is missing.
///
/// # Errors
/// If something is missing and cannot be installed from here; says how to do it by hand.
pub fn setup() -> Result<()> {
    rust_targets()?;
    let toolchain = match WasiC::find() {
        Ok(toolchain) => toolchain,
        Err(_) => {
            install_c()?;
            WasiC::find()?
        }
    };
    if let Err(error) = cpp_library(&toolchain) {
        eprintln!("the C++ library for WASI was not installed: {error:#}");
    }
    eprintln!(
        "set up: Rust targets {}; C compiler {} with the headers in {}",
        TARGETS.join(", "),
        toolchain.clang.display(),
        toolchain.sysroot.display()
    );
    Ok(())
}

fn rust_targets() -> Result<()> {
    for target in TARGETS {
        let mut rustc = Command::new("rustc");
        rustc
            .current_dir(process::root())
            .args(["--print", "target-libdir", "--target", target]);
        let there = output(&mut rustc).is_some_and(|path| Path::new(path.trim()).is_dir());
        if !there {
            let mut rustup = Command::new("rustup");
            rustup
                .current_dir(process::root())
                .args(["target", "add", target]);
            run(&mut rustup).with_context(|| {
                format!("the Rust target {target} is missing and rustup did not install it")
            })?;
        }
    }
    Ok(())
}

fn install_c() -> Result<()> {
    if cfg!(target_os = "macos") {
        bail!(
            "no C compiler for wasm32-wasip1: run `brew install llvm wasi-libc`, then this again"
        );
    }
    if output(Command::new("apt-get").arg("--version")).is_none() {
        bail!(
            "no C compiler for wasm32-wasip1: install clang and wasi-libc, or unpack the wasi-sdk \
             (https://github.com/WebAssembly/wasi-sdk) and set WASI_SDK_PATH, then run this again"
        );
    }
    let mut clang = newest_clang();
    if clang.is_none() {
        run(privileged()?.args(["apt-get", "update"]))?;
        clang = newest_clang();
    }
    let Some(version) = clang else {
        bail!("apt-cache knows no package clang-N: add a source that has one, then run this again")
    };
    let packages = [
        format!("clang-{version}"),
        format!("lld-{version}"),
        "wasi-libc".into(),
    ];
    let mut install = privileged()?;
    install
        .args(["apt-get", "install", "-y", "--no-install-recommends"])
        .args(&packages);
    if run(&mut install).is_err() {
        // Package lists that are too old name files which are gone.
        run(privileged()?.args(["apt-get", "update"]))?;
        run(&mut install)?;
    }
    Ok(())
}

/// The C++ library for WASI, which a test needs. Where it cannot be installed, that test fails and
/// says so.
fn cpp_library(toolchain: &WasiC) -> Result<()> {
    let name = toolchain.clang.file_name().and_then(|name| name.to_str());
    let Some(version) = name.and_then(|name| name.strip_prefix("clang-")) else {
        // Not one of the system's packages.
        return Ok(());
    };
    let headers = format!("/usr/lib/llvm-{version}/include/wasm32-wasi/c++/v1");
    if Path::new(&headers).is_dir() {
        return Ok(());
    }
    let packages = ["libc++", "libc++abi"].map(|name| format!("{name}-{version}-dev-wasm32"));
    run(privileged()?
        .args(["apt-get", "install", "-y", "--no-install-recommends"])
        .args(packages))
}

/// The highest N of the packages `clang-N`.
fn newest_clang() -> Option<u32> {
    let names =
        output(Command::new("apt-cache").args(["search", "--names-only", "^clang-[0-9]+$"]))?;
    let number = |line: &str| line.split(' ').next()?.strip_prefix("clang-")?.parse().ok();
    names.lines().filter_map(number).max()
}

/// `env` as root: directly, or through a sudo that asks for no password.
fn privileged() -> Result<Command> {
    let uid = output(Command::new("id").arg("-u")).unwrap_or_default();
    let mut command = if uid.trim() == "0" {
        Command::new("env")
    } else if output(Command::new("sudo").args(["-n", "true"])).is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    } else {
        bail!(
            "a C compiler for wasm32-wasip1 is missing and installing it needs root: run \
             `sudo apt-get install -y --no-install-recommends clang lld wasi-libc`, then this again"
        )
    };
    command.arg("DEBIAN_FRONTEND=noninteractive");
    Ok(command)
}

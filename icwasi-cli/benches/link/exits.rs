//! What it costs that an exit can unwind: the same programs with and without.

use std::path::{Path, PathBuf};
use std::process::Command;

use candid::Principal;
use icwasi_cli::link::{DEFAULT_EXEC_METHOD, LinkOptions, link};
use icwasi_replica::core::{Core, CoreConfig, InstallMode, Limits, Settings};
use icwasi_types::exec::{ExecRequest, ExecResult};
use serde_bytes::ByteBuf;
use xtask::packages;

use super::Row;

/// Most percent of the instructions.
const GOAL: f64 = 3.0;

struct Program {
    title: &'static str,
    module: Vec<u8>,
    args: Vec<&'static str>,
    stdin: &'static str,
}

pub fn run() -> Vec<Row> {
    // Guests may use 5 MiB of stack.
    let thread = std::thread::Builder::new().stack_size(16 << 20);
    let measured = thread.spawn(|| programs().iter().map(compare).collect());
    let rows: Vec<Row> = measured.expect("starts").join().expect("measures");
    rows
}

fn compare(program: &Program) -> Row {
    let with = instructions(program, true);
    let without = instructions(program, false);
    let percent = (with as f64 / without as f64 - 1.0) * 100.0;
    println!("{}: {with} instructions, {without} without", program.title);
    Row::at_most(
        format!("exits of {}: percent of instructions", program.title),
        percent,
        GOAL,
    )
}

/// Of a whole message, after which the program has returned: nothing exits.
fn instructions(program: &Program, exit_unwinds: bool) -> u64 {
    let options = LinkOptions {
        exit_unwinds,
        reseed: false,
        ..LinkOptions::default()
    };
    let linked = link(&program.module, &options).expect("links");
    let mut core = Core::new(CoreConfig {
        limits: Limits {
            wasm_stack_bytes: 5 << 20,
            ..Limits::default()
        },
        ..CoreConfig::default()
    })
    .expect("starts");
    core.set_time(1_700_000_000_000_000_000);
    let owner = Principal::self_authenticating(b"bench");
    let settings = Settings::new(vec![owner], core.limits());
    let id = core
        .create_canister(owner, None, settings, u128::MAX / 4)
        .expect("created");
    core.install_code(owner, &id, InstallMode::Install, &linked.module, &[])
        .expect("installed");
    let args = std::iter::once(&"program").chain(&program.args);
    let request = ExecRequest {
        args: args.map(|arg| (*arg).to_owned()).collect(),
        // Python's dictionaries would go by random numbers, which differ by some percent of the work.
        env: vec![("PYTHONHASHSEED".to_owned(), "0".to_owned())],
        stdin: ByteBuf::from(program.stdin.as_bytes()),
        ..ExecRequest::default()
    };
    let arg = candid::encode_one(&request).expect("encodes");
    let outcome = core.update(&id, owner, DEFAULT_EXEC_METHOD, arg);
    let outcome = outcome.expect("runs");
    let result: ExecResult = candid::decode_one(&outcome.reply).expect("is candid");
    let stderr = String::from_utf8_lossy(&result.stderr);
    assert_eq!(result.exit_code, 0, "{}: {stderr}", program.title);
    outcome.stats.instructions
}

fn programs() -> Vec<Program> {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out.wasm");
    let mut programs = Vec::new();
    let mut add = |title, module: Vec<u8>, args: &[&'static str], stdin| {
        programs.push(Program {
            title,
            module,
            args: args.to_vec(),
            stdin,
        });
    };
    let mut rust = Command::new("rustc");
    rust.args(["--edition", "2024", "--target", "wasm32-wasip1"]);
    rust.args(["-Copt-level=2"]).arg(source("stress.rs"));
    add("Rust, files", built(rust, &out), &["/data", "2000"], "");
    match packages::sqlite() {
        Ok(sources) => {
            let mut shell = clang("clang-22");
            shell.args([
                "-w",
                "-DSQLITE_THREADSAFE=0",
                "-DSQLITE_OMIT_LOAD_EXTENSION",
            ]);
            shell.args(["-DSQLITE_NOHAVE_SYSTEM", "-DSQLITE_OMIT_POPEN"]);
            shell.arg("-Dchmod(path,mode)=0");
            for part in ["signal", "getpid", "process-clocks", "mman"] {
                let name = part.replace('-', "_").to_uppercase();
                shell.arg(format!("-D_WASI_EMULATED_{name}"));
                shell.arg(format!("-lwasi-emulated-{part}"));
            }
            shell
                .arg(sources.join("sqlite3.c"))
                .arg(sources.join("shell.c"));
            shell.arg("-lm");
            let args = ["-batch", "/bench.db"];
            add("the SQLite shell", built(shell, &out), &args, SQL);
        }
        Err(reason) => println!("not measured: SQLite ({reason:#})"),
    }
    match packages::interpreters() {
        Ok(dir) => {
            let read = |name| std::fs::read(dir.join(name)).expect("is there");
            add("QuickJS", read("quickjs.wasm"), &["-e", JAVASCRIPT], "");
            add("CPython", read("python.wasm"), &["-c", PYTHON], "");
        }
        Err(reason) => println!("not measured: CPython, QuickJS ({reason:#})"),
    }
    programs
}

const SQL: &str = "
CREATE TABLE t(a TEXT, b INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
  INSERT INTO t SELECT 'name ' || (i * 7919 % 20000), i FROM n;
CREATE INDEX x ON t(a);
SELECT count(*), sum(b), max(a) FROM t WHERE a > 'name 5';
SELECT a, count(*) FROM t GROUP BY substr(a, 1, 6) ORDER BY 2 LIMIT 3;
";

const JAVASCRIPT: &str = "
let text = '', map = new Map();
for (let n = 0; n < 20000; n++) { map.set('k' + n % 500, n); text += n; }
console.log(map.size, text.length, [...map.values()].sort().join().length);
";

const PYTHON: &str = "
words = {}
for n in range(20000):
    words.setdefault('k%d' % (n % 500), []).append(n)
print(len(words), sum(len(w) for w in words.values()), sorted(words)[:3])
";

fn source(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    tests.join(name)
}

fn clang(compiler: &str) -> Command {
    let mut command = Command::new(compiler);
    command.args(["--target=wasm32-wasi", "-Wno-deprecated", "--sysroot=/usr"]);
    command.args(["--no-wasm-opt", "-O2"]);
    command
}

fn built(mut command: Command, out: &Path) -> Vec<u8> {
    let status = command.arg("-o").arg(out).status();
    assert!(status.expect("the compiler is installed").success());
    std::fs::read(out).expect("was written")
}

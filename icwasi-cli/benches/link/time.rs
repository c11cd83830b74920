//! How long `icwasi link` and `icwasi run` take, and how much memory linking needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use xtask::packages;

use super::Row;

pub fn run() -> Vec<Row> {
    let dir = tempfile::tempdir().expect("a directory");
    let (name, program) = match packages::interpreters() {
        Ok(dir) => ("CPython", dir.join("python.wasm")),
        Err(reason) => {
            println!("CPython cannot be had ({reason:#}): a module of its size instead");
            let path = dir.path().join("large.wasm");
            std::fs::write(&path, large()).expect("written");
            ("a generated module", path)
        }
    };
    let size = std::fs::metadata(&program).expect("there").len() as f64 / 1e6;
    let out = dir.path().join("out.wasm");
    let link = || {
        let mut command = icwasi();
        command.arg("link").arg(&program).arg("-o").arg(&out);
        measure(command)
    };
    let (time, _) = median(9, link);
    let peak = (0..5).map(|_| link().1).max().unwrap_or(0);
    let title = format!("link {name}, {size:.0} MB");
    let mut rows = vec![
        Row::at_most(format!("{title}: seconds"), time.as_secs_f64(), 0.5),
        Row::at_most(
            format!("{title}: peak memory in MB"),
            peak as f64 / 1e6,
            100.0,
        ),
    ];
    let small = small(dir.path());
    let start = |flags: &[&str]| {
        let (time, _) = median(15, || {
            let mut command = icwasi();
            command.env("XDG_CACHE_HOME", dir.path());
            command.arg("run").args(flags).arg(&small);
            measure(command)
        });
        time.as_secs_f64()
    };
    rows.push(Row::at_most(
        "run a small program: seconds",
        start(&[]),
        0.5,
    ));
    rows.push(Row::at_most(
        "run a small program, not compiled before: seconds",
        start(&["--no-cache"]),
        1.0,
    ));
    rows
}

fn icwasi() -> Command {
    Command::new(env!("CARGO_BIN_EXE_icwasi"))
}

fn median(times: usize, mut call: impl FnMut() -> (Duration, u64)) -> (Duration, u64) {
    // Once to have files in memory.
    call();
    let mut all: Vec<_> = (0..times).map(|_| call()).collect();
    all.sort();
    all[times / 2]
}

/// How long the command takes, and the most bytes of memory that it was seen to use.
fn measure(mut command: Command) -> (Duration, u64) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().expect("starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // The high-water mark only rises, so the last look at it is the highest.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = high.and_then(|h| h.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) * 1_024);
        if let Some(status) = child.try_wait().expect("is a child") {
            assert!(status.success(), "{command:?} failed");
            return (begin.elapsed(), peak);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A C program that says hello.
fn small(dir: &Path) -> PathBuf {
    let (source, out) = (dir.join("small.c"), dir.join("small.wasm"));
    let text = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";
    std::fs::write(&source, text).expect("written");
    let status = Command::new("clang-22")
        .args(["--target=wasm32-wasi", "-Wno-deprecated", "--sysroot=/usr"])
        .args(["--no-wasm-opt", "-O2", "-o"])
        .arg(&out)
        .arg(&source)
        .status();
    assert!(status.expect("clang-22 is installed").success());
    out
}

/// A program as large as CPython: 11,000 functions of 800 bytes that may exit, and 15 MB of data.
fn large() -> Vec<u8> {
    const FUNCTIONS: u32 = 11_000;
    const DATA: usize = 15 << 20;
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import(
        "wasi_snapshot_preview1",
        "proc_exit",
        EntityType::Function(0),
    );
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for at in 1..=FUNCTIONS {
        functions.function(0);
        let mut body = Function::new([]);
        for n in 0..100 {
            body.instructions()
                .local_get(0)
                .i32_const(n)
                .i32_add()
                .local_set(0);
        }
        body.instructions().local_get(0).call(at - 1).end();
        code.function(&body);
    }
    functions.function(1);
    let mut body = Function::new([]);
    body.instructions().i32_const(0).call(FUNCTIONS).end();
    code.function(&body);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 300,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("_start", ExportKind::Func, FUNCTIONS + 1);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(1_024), vec![0x5a; DATA]);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code)
        .section(&data);
    module.finish()
}

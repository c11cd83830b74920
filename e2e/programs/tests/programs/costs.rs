//! What calls cost in a canister, in instructions of the IC, against the table in
//! `docs/WASI.md`. With `ICWASI_PRINT_COSTS=1` the table is printed as it has to be.

use std::fmt::Write as _;
use std::path::Path;

use e2e_programs::canister::{Canister, with_stack};
use icwasi_cli::link::LinkOptions;
use icwasi_types::exec::ExecRequest;

/// What is measured, what is done before, and the call. Each is measured when it is done for the
/// second time.
const CALLS: [(&str, &str, &str); 34] = [
    (
        "`fd_write`, 100 bytes at the end",
        "",
        "(call $fd_write (global.get $f) (i32.const 200) (i32.const 1) (i32.const 0))",
    ),
    (
        "`fd_write`, 1,000 bytes at the end",
        "",
        "(call $fd_write (global.get $f) (i32.const 208) (i32.const 1) (i32.const 0))",
    ),
    (
        "`fd_pwrite`, 1,000 bytes over others",
        "",
        "(call $fd_pwrite (global.get $f) (i32.const 208) (i32.const 1) (i64.const 0) (i32.const 0))",
    ),
    (
        "`fd_pwrite`, two buffers, 1,100 bytes over others",
        "",
        "(call $fd_pwrite (global.get $f) (i32.const 200) (i32.const 2) (i64.const 0) (i32.const 0))",
    ),
    (
        "`fd_pread`, 100 bytes",
        "",
        "(call $fd_pread (global.get $f) (i32.const 200) (i32.const 1) (i64.const 0) (i32.const 0))",
    ),
    (
        "`fd_pread`, 1,000 bytes",
        "",
        "(call $fd_pread (global.get $f) (i32.const 208) (i32.const 1) (i64.const 0) (i32.const 0))",
    ),
    (
        "`fd_read`, 1,000 bytes",
        "(drop (call $fd_seek (global.get $f) (i64.const 0) (i32.const 0) (i32.const 0)))",
        "(call $fd_read (global.get $f) (i32.const 208) (i32.const 1) (i32.const 0))",
    ),
    (
        "`fd_read`, at the end",
        "(drop (call $fd_seek (global.get $f) (i64.const 0) (i32.const 2) (i32.const 0)))",
        "(call $fd_read (global.get $f) (i32.const 208) (i32.const 1) (i32.const 0))",
    ),
    (
        "`fd_seek` from the start",
        "",
        "(call $fd_seek (global.get $f) (i64.const 0) (i32.const 0) (i32.const 0))",
    ),
    (
        "`fd_seek` from the end",
        "",
        "(call $fd_seek (global.get $f) (i64.const 0) (i32.const 2) (i32.const 0))",
    ),
    (
        "`fd_tell`",
        "",
        "(call $fd_tell (global.get $f) (i32.const 0))",
    ),
    (
        "`fd_fdstat_get`",
        "",
        "(call $fd_fdstat_get (global.get $f) (i32.const 0))",
    ),
    (
        "`fd_filestat_get`",
        "",
        "(call $fd_filestat_get (global.get $f) (i32.const 0))",
    ),
    (
        "`fd_filestat_set_size`",
        "",
        "(call $fd_filestat_set_size (global.get $f) (i64.const 3000))",
    ),
    (
        "`fd_filestat_set_times`",
        "",
        "(call $fd_filestat_set_times (global.get $f) (i64.const 1) (i64.const 2) (i32.const 5))",
    ),
    (
        "`fd_allocate` of what is there",
        "",
        "(call $fd_allocate (global.get $f) (i64.const 0) (i64.const 1000))",
    ),
    ("`fd_sync`", "", "(call $fd_sync (global.get $f))"),
    (
        "`fd_readdir`, `.`, `..` and 4 entries",
        "",
        "(call $fd_readdir (i32.const 3) (i32.const 8192) (i32.const 4096) (i64.const 0) (i32.const 0))",
    ),
    (
        "`path_open` of a file, one component",
        "",
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))",
    ),
    (
        "`path_open`, four components",
        "",
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const 110) (i32.const 10) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0))",
    ),
    (
        "`fd_close`",
        "",
        "(call $fd_close (i32.load (i32.const 8)))",
    ),
    (
        "`path_open` that creates a file",
        "(drop (call $path_unlink_file (i32.const 3) (i32.const 130) (i32.const 3)))",
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const 130) (i32.const 3) (i32.const 1) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))",
    ),
    (
        "`path_unlink_file`",
        "(drop (call $fd_close (i32.load (i32.const 8)))) (drop (call $path_open (i32.const 3) (i32.const 1) (i32.const 130) (i32.const 3) (i32.const 1) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))) (drop (call $fd_close (i32.load (i32.const 8))))",
        "(call $path_unlink_file (i32.const 3) (i32.const 130) (i32.const 3))",
    ),
    (
        "`path_filestat_get`, one component",
        "",
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 4) (i32.const 0))",
    ),
    (
        "`path_filestat_get`, four components",
        "",
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 110) (i32.const 10) (i32.const 0))",
    ),
    (
        "`path_filestat_get`, nothing there",
        "",
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 140) (i32.const 3) (i32.const 0))",
    ),
    (
        "`path_create_directory` and `path_remove_directory`",
        "",
        "(i32.or (call $path_create_directory (i32.const 3) (i32.const 130) (i32.const 3)) (call $path_remove_directory (i32.const 3) (i32.const 130) (i32.const 3)))",
    ),
    (
        "`path_rename`, there and back",
        "",
        "(i32.or (call $path_rename (i32.const 3) (i32.const 100) (i32.const 4) (i32.const 3) (i32.const 130) (i32.const 3)) (call $path_rename (i32.const 3) (i32.const 130) (i32.const 3) (i32.const 3) (i32.const 100) (i32.const 4)))",
    ),
    (
        "`clock_time_get`, realtime",
        "",
        "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0))",
    ),
    (
        "`clock_time_get`, monotonic",
        "",
        "(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0))",
    ),
    (
        "`random_get`, 32 bytes",
        "",
        "(call $random_get (i32.const 8192) (i32.const 32))",
    ),
    (
        "`random_get`, 1,000 bytes",
        "",
        "(call $random_get (i32.const 8192) (i32.const 1000))",
    ),
    (
        "`environ_sizes_get`, no variables",
        "",
        "(call $environ_sizes_get (i32.const 0) (i32.const 4))",
    ),
    (
        "`fd_write` of a line of 100 bytes to stdout",
        "",
        "(call $fd_write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 0))",
    ),
];

const IMPORTS: [(&str, &str); 26] = [
    ("fd_write", "i32 i32 i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_tell", "i32 i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_filestat_set_size", "i32 i64"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_sync", "i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("fd_close", "i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("random_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("fd_advise", "i32 i64 i64 i32"),
    ("sched_yield", ""),
];

/// Where results are kept.
const RESULTS: usize = 16_384;

fn module() -> Vec<u8> {
    let mut text = String::from("(module\n");
    for (name, parameters) in IMPORTS {
        let _ = writeln!(
            text,
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {parameters}) (result i32)))"
        );
    }
    text += r#"
(import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
(memory (export "memory") 1)
(data (i32.const 100) "file")
(data (i32.const 110) "d/d/d/file")
(data (i32.const 130) "new")
(data (i32.const 140) "not")
;; 100 and 1,000 bytes at 1,024.
(data (i32.const 200) "\00\04\00\00\64\00\00\00\00\04\00\00\e8\03\00\00")
(data (i32.const 1123) "\0a")
(global $f (mut i32) (i32.const 0))
(func $must (param i32) (if (local.get 0) (then unreachable)))
(func (export "_start") (local $t i64)
  (call $must (call $path_create_directory (i32.const 3) (i32.const 110) (i32.const 1)))
  (call $must (call $path_create_directory (i32.const 3) (i32.const 110) (i32.const 3)))
  (call $must (call $path_create_directory (i32.const 3) (i32.const 110) (i32.const 5)))
  (call $must (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
    (i64.const 0x42) (i64.const 0) (i32.const 0) (i32.const 0)))
  (global.set $f (i32.load (i32.const 0)))
  (call $must (call $path_link (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
    (i32.const 3) (i32.const 110) (i32.const 10)))
  (call $must (call $path_link (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
    (i32.const 3) (i32.const 101) (i32.const 3)))
  (call $must (call $path_link (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
    (i32.const 3) (i32.const 102) (i32.const 2)))
"#;
    let empty = ("", "", "(i32.const 0)");
    for (at, (_, before, call)) in std::iter::once(&empty).chain(&CALLS).enumerate() {
        // Until the second time; errors are none, but `nothing there` is one.
        let call_and_check = match call {
            call if call.contains("(i32.const 140)") => format!("(drop {call})"),
            call => format!("(call $must {call})"),
        };
        let again = if call.contains("fd_close") {
            ""
        } else {
            &call_and_check
        };
        let _ = writeln!(
            text,
            "{before} {again} {before}
             (local.set $t (call $counter (i32.const 0)))
             {call_and_check}
             (i64.store (i32.const {}) (i64.sub (call $counter (i32.const 0)) (local.get $t)))",
            RESULTS + 8 * at
        );
    }
    let _ = write!(
        text,
        "(i32.store (i32.const 0) (i32.const {RESULTS})) (i32.store (i32.const 4) (i32.const {}))
         (call $must (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))",
        8 * (CALLS.len() + 1)
    );
    wat::parse_str(text).expect("is WAT")
}

fn measured() -> Vec<(&'static str, u64)> {
    let stderr = with_stack(|| {
        let mut canister = Canister::new(&module(), &LinkOptions::default())?;
        let result = canister.run(&ExecRequest::default())?;
        Ok(result.stderr.into_vec())
    });
    let stderr = stderr.expect("runs");
    let mut values = stderr
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
    let empty = values.next().expect("the empty call");
    CALLS
        .iter()
        .zip(values)
        .map(|((label, ..), value)| (*label, value - empty))
        .collect()
}

#[test]
fn costs_are_as_documented() {
    let measured = measured();
    assert_eq!(measured.len(), CALLS.len());
    if std::env::var_os("ICWASI_PRINT_COSTS").is_some() {
        for (label, value) in &measured {
            // Two digits.
            let digits = value.to_string().len().saturating_sub(2) as u32;
            let rounded = value.div_ceil(10_u64.pow(digits)) * 10_u64.pow(digits);
            println!("| {label} | {} |", grouped(rounded));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/WASI.md");
    let text = std::fs::read_to_string(path).expect("docs/WASI.md");
    // Functions have a table of their own before it.
    let (_, text) = text.split_once("## What calls cost").expect("the heading");
    for (label, value) in measured {
        let row = text.lines().find_map(|line| {
            line.strip_prefix(&format!("| {label} | "))?
                .strip_suffix(" |")
        });
        let row = row.unwrap_or_else(|| panic!("docs/WASI.md has no cost of {label}: {value}"));
        let documented: u64 = row.replace(',', "").parse().expect("a number");
        assert!(
            value <= documented + documented / 10 && documented <= 2 * value + 20,
            "{label}: {documented} documented, {value} measured"
        );
    }
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

//! A guest that calls every function of both modules with anything, in a canister: no trap, only
//! error numbers of WASI, and a file system that is sound afterwards.
//!
//! Its state is in globals, since the calls write all over its memory.

use std::fmt::Write as _;

use e2e_programs::canister::{Canister, with_stack};
use icwasi_cli::link::LinkOptions;
use icwasi_types::exec::ExecRequest;

/// Name and parameters: `f` a descriptor, `p` a pointer, `n` a length, `c` a count of structures,
/// `b` flags or another small number, `o` an offset or time (64 bits), `r` rights (64 bits).
const FUNCTIONS: [(&str, &str); 45] = [
    ("args_get", "pp"),
    ("args_sizes_get", "pp"),
    ("environ_get", "pp"),
    ("environ_sizes_get", "pp"),
    ("clock_res_get", "bp"),
    ("clock_time_get", "bop"),
    ("fd_advise", "foob"),
    ("fd_allocate", "foo"),
    ("fd_close", "f"),
    ("fd_datasync", "f"),
    ("fd_fdstat_get", "fp"),
    ("fd_fdstat_set_flags", "fb"),
    ("fd_fdstat_set_rights", "frr"),
    ("fd_filestat_get", "fp"),
    ("fd_filestat_set_size", "fo"),
    ("fd_filestat_set_times", "foob"),
    ("fd_pread", "fpcop"),
    ("fd_prestat_get", "fp"),
    ("fd_prestat_dir_name", "fpn"),
    ("fd_pwrite", "fpcop"),
    ("fd_read", "fpcp"),
    ("fd_readdir", "fpnop"),
    ("fd_renumber", "ff"),
    ("fd_seek", "fobp"),
    ("fd_sync", "f"),
    ("fd_tell", "fp"),
    ("fd_write", "fpcp"),
    ("path_create_directory", "fpn"),
    ("path_filestat_get", "fbpnp"),
    ("path_filestat_set_times", "fbpnoob"),
    ("path_link", "fbpnfpn"),
    ("path_open", "fbpnbrrbp"),
    ("path_readlink", "fpnpnp"),
    ("path_remove_directory", "fpn"),
    ("path_rename", "fpnfpn"),
    ("path_symlink", "pnfpn"),
    ("path_unlink_file", "fpn"),
    ("poll_oneoff", "ppcp"),
    ("proc_raise", "b"),
    ("sched_yield", ""),
    ("random_get", "pn"),
    ("sock_recv", "fpcbpp"),
    ("sock_send", "fpcbp"),
    ("sock_shutdown", "fb"),
    // Only in the newer module.
    ("sock_accept", "fbp"),
];

/// There are neither signals nor sockets.
const NEVER: [&str; 5] = [
    "proc_raise",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
    "sock_accept",
];

/// Called this many times as often as the others: without open files, most calls have no object,
/// and few combinations of names can be linked.
const OFTEN: [(&str, usize); 2] = [("path_open", 9), ("path_link", 9)];

const PATHS: [&str; 12] = [
    "a", "b", "a/b", "a/b/c", ".", "..", "a/../b", "/a", "a/", "l", "l/x", "f",
];

/// Bytes at the start of the memory that most pointers lead to.
const BLOCK: usize = 512;

const CALLS: u32 = 160_000;

/// All functions, of both modules.
fn functions() -> Vec<(&'static str, &'static str, &'static str)> {
    let of = |module, count| {
        FUNCTIONS[..count]
            .iter()
            .map(move |(n, p)| (module, *n, *p))
    };
    of("wasi_snapshot_preview1", 45)
        .chain(of("wasi_unstable", 44))
        .collect()
}

fn module(seed: u32) -> Vec<u8> {
    let mut text = String::from("(module\n");
    let functions = functions();
    for (at, (module, name, parameters)) in functions.iter().enumerate() {
        let types: String = parameters
            .chars()
            .map(|p| if "or".contains(p) { " i64" } else { " i32" })
            .collect();
        let _ = writeln!(
            text,
            "(import \"{module}\" \"{name}\" (func $f{at} (param{types}) (result i32)))"
        );
    }
    text += "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))\n";
    text += "(memory (export \"memory\") 8)\n";
    // Written again before each call: paths, and buffers of a few bytes.
    let mut block = vec![0; BLOCK];
    for (at, path) in PATHS.iter().enumerate() {
        block[16 * at..][..path.len()].copy_from_slice(path.as_bytes());
    }
    for (at, buffer) in block[16 * PATHS.len()..].chunks_exact_mut(8).enumerate() {
        buffer[..4].copy_from_slice(&(1000 + 7 * at as u32).to_le_bytes());
        buffer[4] = at as u8 % 5;
    }
    let bytes: String = block.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let _ = writeln!(text, "(data $block \"{bytes}\")");
    let _ = write!(
        text,
        r#"
(global $state (mut i32) (i32.const {seed}))
(func $random (param $below i32) (result i32)
  (global.set $state (i32.add (i32.mul (global.get $state) (i32.const 1664525)) (i32.const 1013904223)))
  (i32.rem_u (i32.shr_u (global.get $state) (i32.const 8)) (local.get $below)))
(func $f (result i32)
  (if (result i32) (call $random (i32.const 2))
    (then (i32.const 3))
    (else (if (result i32) (call $random (i32.const 8))
      (then (i32.add (i32.const 4) (call $random (i32.const 7))))
      (else (i32.sub (call $random (i32.const 300)) (i32.const 1)))))))
;; Never of stdio or the root: nothing would be left to try.
(func $own (result i32) (i32.add (i32.const 4) (call $random (i32.const 60))))
(func $p (result i32)
  (if (result i32) (call $random (i32.const 16))
    (then
      (if (result i32) (call $random (i32.const 3))
        (then (i32.mul (i32.const 16) (call $random (i32.const {paths}))))
        (else (call $random (i32.const 262144)))))
    (else (i32.sub (i32.const 64) (call $random (i32.const 70000))))))
(func $n (result i32)
  (if (result i32) (call $random (i32.const 16))
    (then (i32.add (i32.const 1) (call $random (i32.const 3))))
    (else (i32.sub (call $random (i32.const 65536)) (i32.const 64)))))
(func $c (result i32)
  (if (result i32) (call $random (i32.const 8))
    (then (call $random (i32.const 6)))
    (else (i32.sub (call $random (i32.const 6000)) (i32.const 1)))))
(func $b (result i32)
  (if (result i32) (call $random (i32.const 3))
    (then (call $random (i32.const 4)))
    (else (call $random (i32.const 40)))))
(func $o (result i64)
  (if (result i64) (call $random (i32.const 8))
    (then (i64.extend_i32_u (call $random (i32.const 100000))))
    (else (i64.shl (i64.extend_i32_s (i32.sub (call $random (i32.const 1000)) (i32.const 500)))
      (i64.extend_i32_u (call $random (i32.const 64)))))))
(func $r (result i64) (i64.extend_i32_u (i32.shl (call $random (i32.const 2048)) (call $random (i32.const 12)))))
(func $call (param $which i32) (result i32) (local $errno i32)
"#,
        paths = BLOCK / 16
    );
    let choices: Vec<usize> = functions
        .iter()
        .enumerate()
        .flat_map(|(at, (_, name, _))| {
            let often = OFTEN.iter().find(|(often, _)| often == name);
            std::iter::repeat_n(at, often.map_or(1, |(_, times)| *times))
        })
        .collect();
    let labels: String = choices.iter().map(|at| format!(" {at}")).collect();
    for _ in 0..functions.len() {
        text += "(block ";
    }
    let _ = writeln!(text, "(br_table{labels} (local.get $which))");
    for (at, (_, name, parameters)) in functions.iter().enumerate() {
        text += ")\n";
        for parameter in parameters.chars() {
            let parameter = match (*name, parameter) {
                ("fd_close" | "fd_renumber", _) => "own".to_owned(),
                (_, parameter) => parameter.to_string(),
            };
            let _ = write!(text, "(call ${parameter}) ");
        }
        let _ = writeln!(text, "(local.set $errno (call $f{at}))");
        // How often it succeeded.
        let _ = writeln!(
            text,
            "(if (i32.eqz (local.get $errno)) (then (global.set $n{at} (i32.add (global.get $n{at}) (i32.const 1)))))"
        );
        let _ = writeln!(text, "(return (local.get $errno))");
    }
    text += "(unreachable))\n";
    for at in 0..functions.len() {
        let _ = writeln!(text, "(global $n{at} (mut i32) (i32.const 0))");
    }
    let counts: String = (0..functions.len())
        .map(|at| {
            format!(
                "  (i32.store (i32.const {}) (global.get $n{at}))\n",
                2048 + 4 * at
            )
        })
        .collect();
    let _ = write!(
        text,
        r#"(func (export "_start") (local $left i32) (local $which i32) (local $errno i32)
  (local.set $left (i32.const {CALLS}))
  (loop $again
    (local.set $which (call $random (i32.const {count})))
    (memory.init $block (i32.const 0) (i32.const 0) (i32.const {BLOCK}))
    (local.set $errno (call $call (local.get $which)))
    (if (i32.gt_u (local.get $errno) (i32.const 76)) (then (call $exit (i32.const 99))))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $again (local.get $left)))
{counts}  (i32.store (i32.const 1040) (i32.const 2048))
  (i32.store (i32.const 1044) (i32.const {bytes}))
  (drop (call $f26 (i32.const 2) (i32.const 1040) (i32.const 1) (i32.const 1048)))
  (call $exit (i32.const 77))))
"#,
        count = choices.len(),
        bytes = 4 * functions.len(),
    );
    wat::parse_str(text).expect("is WAT")
}

#[test]
fn any_call_with_anything_in_a_canister() {
    let mut succeeded = vec![0; functions().len()];
    for seed in [1, 20_000, 300_000_007, 4_000_000_007] {
        let stderr = with_stack(move || {
            let options = LinkOptions {
                quota: Some(64 << 20),
                ..LinkOptions::default()
            };
            let mut canister = Canister::new(&module(seed), &options)?;
            // The second run meets what the first has left.
            let mut stderr = Vec::new();
            for _ in 0..2 {
                let result = canister.run(&ExecRequest::default())?;
                assert_eq!(result.exit_code, 77, "99: an errno that is none");
                stderr.push(result.stderr.into_vec());
            }
            // Checks it.
            canister.file_system()?;
            Ok(stderr)
        });
        for stderr in stderr.expect("does not trap") {
            // The program's own output comes last.
            let counts = &stderr[stderr.len() - 4 * succeeded.len()..];
            for (sum, count) in succeeded.iter_mut().zip(counts.chunks_exact(4)) {
                *sum += u32::from_le_bytes(count.try_into().expect("4 bytes"));
            }
        }
    }
    let never: Vec<_> = functions()
        .into_iter()
        .zip(&succeeded)
        .filter(|((_, name, _), count)| **count == 0 && !NEVER.contains(name))
        .map(|((module, name, _), _)| format!("{module}.{name}"))
        .collect();
    assert!(never.is_empty(), "never succeeded: {never:?}");
}

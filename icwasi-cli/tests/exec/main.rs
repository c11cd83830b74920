//! Commands in a canister: linked with the library that the linker carries, run in the replica's
//! execution core.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use candid::Principal;
use icwasi_cli::link::{ExecAccess, LinkError, LinkOptions, Preopen, link};
use icwasi_replica::core::{Core, CoreConfig, InstallMode, Settings, UserError};
use icwasi_types::exec::{ExecRequest, ExecResult, MAX_STDOUT};
use icwasi_types::{AdminError, Role};
use serde_bytes::ByteBuf;

mod admin;
mod callbacks;
mod methods;

fn compile(source: &str, compiler: &str, flags: &[&str]) -> Vec<u8> {
    let out = tempfile::tempdir().expect("a directory");
    let file = out.path().join("program.wasm");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/exec")
        .join(source);
    let status = Command::new(compiler)
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(&file)
        .status();
    assert!(status.expect("the compiler is installed").success());
    std::fs::read(file).expect("was written")
}

/// A canister that is no command, from C.
fn reactor(source: &str) -> Vec<u8> {
    let flags = [
        "--target=wasm32-wasi",
        "-Wno-deprecated",
        "--sysroot=/usr",
        "--no-wasm-opt",
        "-mexec-model=reactor",
        "-O1",
        "-fno-inline",
    ];
    compile(source, "clang-22", &flags)
}

fn c_program() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let flags = [
        "--target=wasm32-wasi",
        "-Wno-deprecated",
        "--sysroot=/usr",
        "--no-wasm-opt",
        "-O1",
        "-fno-inline",
    ];
    BUILT.get_or_init(|| compile("program.c", "clang-22", &flags))
}

fn rust_program() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let flags = [
        "--edition",
        "2024",
        "--target",
        "wasm32-wasip1",
        "-Copt-level=2",
    ];
    BUILT.get_or_init(|| compile("program.rs", "rustc", &flags))
}

fn operator() -> Principal {
    Principal::self_authenticating(b"operator")
}

struct Canister {
    core: Core,
    id: Principal,
}

impl Canister {
    fn new(module: &[u8], options: &LinkOptions) -> Self {
        let linked = link(module, options).expect("links");
        let mut core = Core::new(CoreConfig::default()).expect("a core");
        core.set_time(1_700_000_000_000_000_000);
        let settings = Settings::new(vec![operator(), Principal::anonymous()], core.limits());
        let id = core
            .create_canister(operator(), None, settings, 1 << 60)
            .expect("created");
        core.install_code(operator(), &id, InstallMode::Install, &linked.module, &[])
            .expect("installed");
        Canister { core, id }
    }

    fn request(&mut self, request: &ExecRequest) -> Result<ExecResult, UserError> {
        let arg = candid::encode_one(request).expect("encodes");
        let outcome = self.core.update(&self.id, operator(), "icwasi_exec", arg)?;
        Ok(candid::decode_one(&outcome.reply).expect("is candid"))
    }

    fn try_run(&mut self, args: &[&str], stdin: &[u8]) -> Result<ExecResult, UserError> {
        let args = std::iter::once("program").chain(args.iter().copied());
        self.request(&ExecRequest {
            args: args.map(str::to_owned).collect(),
            env: vec![("X".to_owned(), "y z".to_owned())],
            stdin: ByteBuf::from(stdin),
            cwd: None,
        })
    }

    /// Exit code and stdout.
    fn run(&mut self, args: &[&str]) -> (u32, String) {
        let result = self.try_run(args, b"").expect("does not trap");
        (
            result.exit_code,
            String::from_utf8(result.stdout.into_vec()).expect("is text"),
        )
    }
}

/// A thread with the stack that the core asks for.
fn with_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(test)
        .expect("starts");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn exits_unwind_and_keep_files() {
    with_stack(|| {
        let mut canister = Canister::new(c_program(), &LinkOptions::default());
        assert_eq!(canister.run(&["deep"]).0, 7);
        assert_eq!(
            canister.run(&["read", "/kept.txt"]),
            (0, "kept\n".to_owned())
        );
        assert_eq!(
            canister.run(&["read", "/farewell.txt"]),
            (0, "bye\n".to_owned())
        );
        assert_eq!(
            canister.run(&["read", "/wrong.txt"]).0,
            2,
            "a frame went on after the exit"
        );
        assert_eq!(canister.run(&["qsort"]).0, 9);
        assert_eq!(canister.run(&["double"]).0, 20);
        assert_eq!(canister.run(&["long"]).0, 21);
        assert_eq!(canister.run(&["atexit"]).0, 11);
        assert_eq!(
            canister.run(&["read", "/farewell.txt"]),
            (0, "bye\nearly\n".to_owned())
        );
        assert_eq!(canister.run(&[]).0, 99);
    });
}

#[test]
fn every_run_starts_from_the_initial_memory() {
    with_stack(|| {
        for headroom in [0, 4 << 20] {
            let options = LinkOptions {
                headroom: Some(headroom),
                ..LinkOptions::default()
            };
            let mut canister = Canister::new(c_program(), &options);
            let (code, first) = canister.run(&["fresh"]);
            assert!(code == 0 && first.starts_with("fresh "), "{first}");
            let pages = |canister: &mut Canister| {
                let arg = candid::encode_one(ExecRequest::default()).expect("encodes");
                let out = canister
                    .core
                    .update(&canister.id, operator(), "icwasi_exec", arg);
                out.expect("runs").stats.heap_pages
            };
            let before = pages(&mut canister);
            for _ in 0..3 {
                assert_eq!(canister.run(&["fresh"]), (0, first.clone()));
            }
            assert_eq!(
                pages(&mut canister),
                before,
                "pages of earlier runs are used again"
            );
            // Descriptors that a run leaves open are closed: the number is free again.
            let (_, fd) = canister.run(&["leak"]);
            assert_eq!(canister.run(&["leak"]).1, fd);
            // A trap rolls back, and the next run is as good as any.
            let error = canister.try_run(&["trap"], b"").expect_err("traps");
            assert!(error.message.contains("unreachable"), "{error}");
            assert_eq!(canister.run(&["read", "/lost.txt"]).0, 2);
            assert_eq!(canister.run(&["fresh"]), (0, first));
        }
    });
}

#[test]
fn input_arguments_and_environment_are_of_the_run() {
    with_stack(|| {
        let options = LinkOptions {
            args: vec!["linked".to_owned(), "args".to_owned()],
            env: vec![("X".to_owned(), "of the linker".to_owned())],
            ..LinkOptions::default()
        };
        let mut canister = Canister::new(c_program(), &options);
        let echoed = canister
            .try_run(&["echo"], b"one\ntwo\0three")
            .expect("runs");
        assert_eq!(echoed.stdout, b"one\ntwo\0three");
        assert_eq!(echoed.stderr, b"13 bytes");
        assert!(echoed.instructions > 1_000, "{}", echoed.instructions);
        assert_eq!(
            canister.run(&["echo"]),
            (0, String::new()),
            "input of another run"
        );
        assert_eq!(
            canister.run(&["args", "ä b", ""]).1,
            "[program][args][ä b][] X=y z PWD=none\n"
        );
        let linked = canister.request(&ExecRequest::default()).expect("runs");
        assert_eq!(linked.stdout, b"[linked][args] X=of the linker PWD=none\n");
        canister.run(&["write", "/a.txt", "first\n"]);
        canister.run(&["write", "/a.txt", "second\n"]);
        assert_eq!(canister.run(&["read", "/a.txt"]).1, "first\nsecond\n");
        assert!(canister.run(&["list"]).1.contains("a.txt"));
        let large = canister
            .try_run(&["large"], b"")
            .expect("fits into a reply")
            .stdout;
        assert!(large.len() <= MAX_STDOUT && large.ends_with(b"bytes were cut off\n"));
    });
}

#[test]
fn rust_programs_run() {
    with_stack(|| {
        let mut canister = Canister::new(rust_program(), &LinkOptions::default());
        assert_eq!(
            canister.run(&["exit"]),
            (5, "not a complete line".to_owned())
        );
        let sum = canister.try_run(&["sum"], b"1 2 3\n40").expect("runs");
        assert_eq!(sum.stdout, b"46\n");
        let error = canister.try_run(&["panic"], b"").expect_err("traps");
        assert!(
            error.message.contains("panic"),
            "names of functions are shown: {error}"
        );
        assert_eq!(canister.run(&["x"]).1, "unknown: Some(\"x\")\n");
    });
}

#[test]
fn only_those_may_run_it_who_are_allowed_to() {
    with_stack(|| {
        let arg = candid::encode_one(ExecRequest::default()).expect("encodes");
        let stranger = Principal::self_authenticating(b"stranger");
        let grantee = Principal::self_authenticating(b"grantee");
        for (access, admin, role) in [
            (ExecAccess::Controllers, false, None),
            (ExecAccess::Controllers, true, Some(Role::Writer)),
            (ExecAccess::Controllers, true, Some(Role::Admin)),
            (ExecAccess::Writers, true, Some(Role::Reader)),
            (ExecAccess::Writers, true, Some(Role::Writer)),
            (ExecAccess::Writers, true, Some(Role::Admin)),
            (ExecAccess::Public, false, None),
            (ExecAccess::Public, true, None),
        ] {
            let options = LinkOptions {
                exec_access: access,
                admin,
                ..LinkOptions::default()
            };
            let Canister { mut core, id } = Canister::new(c_program(), &options);
            // The anonymous principal is a controller here, and must not profit from it.
            let grant = |core: &mut Core, role: Role| {
                let arg = candid::encode_args((grantee, role)).expect("encodes");
                let granted = core.update(&id, operator(), "icwasi_access_grant", arg);
                let reply = granted.expect("is answered").reply;
                candid::decode_one::<Result<(), AdminError>>(&reply)
                    .expect("is candid")
                    .expect("is granted");
            };
            if let Some(role) = role {
                grant(&mut core, role);
            }
            let may = match access {
                ExecAccess::Controllers => role == Some(Role::Admin),
                ExecAccess::Writers => role >= Some(Role::Writer),
                ExecAccess::Public => true,
            };
            for (sender, allowed) in [
                (operator(), true),
                (grantee, may),
                (stranger, access == ExecAccess::Public),
                (Principal::anonymous(), access == ExecAccess::Public),
            ] {
                let inspected = core.inspect_message(&id, sender, "icwasi_exec", &arg);
                assert_eq!(
                    inspected.is_ok(),
                    allowed,
                    "{access:?} {sender}: {inspected:?}"
                );
                let called = core.update(&id, sender, "icwasi_exec", arg.clone());
                assert_eq!(called.is_ok(), allowed, "{access:?} {sender}");
            }
            if admin {
                assert!(
                    core.inspect_message(&id, stranger, "icwasi_mkdir", &[])
                        .is_err()
                );
            }
        }
    });
}

#[test]
fn the_method_has_a_name_and_an_interface() {
    let named = LinkOptions {
        exec_method: Some("run it".to_owned()),
        ..LinkOptions::default()
    };
    let linked = link(c_program(), &named).expect("links");
    assert_eq!(linked.methods, ["run it"]);
    let interface = linked.candid.expect("is known");
    assert!(
        interface.contains("\"run it\" : (IcwasiExecRequest)"),
        "{interface}"
    );
    let both = LinkOptions {
        admin: true,
        ..named
    };
    let interface = link(c_program(), &both)
        .expect("links")
        .candid
        .expect("is known");
    assert!(interface.contains("\"run it\"") && interface.contains("icwasi_upload_begin"));
    for bad in ["", "icwasi_read", "a\nb"] {
        let options = LinkOptions {
            exec_method: Some(bad.to_owned()),
            ..LinkOptions::default()
        };
        let error = link(c_program(), &options).expect_err("is refused");
        assert!(
            matches!(error, LinkError::Option { .. }),
            "{bad:?}: {error}"
        );
    }
    let reactor = wat::parse_str("(module (func (export \"canister_update f\")))").expect("valid");
    let options = LinkOptions {
        exec_method: Some("run".to_owned()),
        ..LinkOptions::default()
    };
    let error = link(&reactor, &options).expect_err("is refused");
    assert!(matches!(error, LinkError::NotACommand(_)), "{error}");
}

/// What is relative begins in the working directory, what is absolute does not.
#[test]
fn a_run_has_a_working_directory() {
    with_stack(|| {
        for program in [c_program(), rust_program()] {
            let mut canister = Canister::new(program, &LinkOptions::default());
            let mut run = |cwd: &str, args: &[&str]| {
                let args = std::iter::once(&"program").chain(args);
                let result = canister.request(&ExecRequest {
                    args: args.map(|arg| (*arg).to_owned()).collect(),
                    cwd: Some(cwd.to_owned()),
                    ..ExecRequest::default()
                })?;
                let text = String::from_utf8_lossy(&result.stdout).into_owned();
                Ok::<_, UserError>((result.exit_code, text))
            };
            let done = |text: &str| (0, text.to_owned());
            let text = run("/", &["mkdir", "/data/deep", "/etc"]).expect("runs");
            assert_eq!(text, done(""));
            run("/data/deep/", &["write", "here", "1"]).expect("runs");
            run("/data", &["write", "deep/there", "2"]).expect("runs");
            run("/data", &["write", "/etc/absolute", "3"]).expect("runs");
            for (cwd, path, text) in [
                ("/", "data/deep/here", "1"),
                ("/data", "./deep/here", "1"),
                ("/data/deep", "/data/deep/there", "2"),
                ("/data/deep", "there", "2"),
                ("/data", "/etc/absolute", "3"),
            ] {
                assert_eq!(
                    run(cwd, &["read", path]).expect("runs"),
                    done(text),
                    "{cwd} {path}"
                );
            }
            // The next run begins in `/` again.
            assert_eq!(run("/", &["read", "there"]).expect("runs").0, 2);
            for (cwd, reason) in [
                ("/nowhere", "no such directory"),
                ("/data/deep/here", "not a directory"),
                ("/data/deep/here/x", "not a directory"),
                ("data", "not an absolute path"),
                ("/data/../etc", "`..`"),
                ("", "not an absolute path"),
            ] {
                let error = run(cwd, &["write", "/data/no", "x"]).expect_err(cwd);
                assert!(error.message.contains(reason), "{reason}: {error}");
            }
            assert_eq!(run("/", &["read", "/data/no"]).expect("runs").0, 2);
        }
        // Where the program is given some directories only, it is in one of them.
        let directory = |path: &str, read_only| Preopen {
            path: path.to_owned(),
            read_only,
        };
        let options = LinkOptions {
            preopens: vec![directory("/a", false), directory("/a/ro", true)],
            ..LinkOptions::default()
        };
        let mut canister = Canister::new(c_program(), &options);
        let mut run = |cwd: &str| {
            canister.request(&ExecRequest {
                args: ["program", "try", "x"].map(str::to_owned).into(),
                cwd: Some(cwd.to_owned()),
                ..ExecRequest::default()
            })
        };
        assert_eq!(run("/a").expect("runs").exit_code, 0);
        // EROFS
        assert_eq!(run("/a/ro").expect("runs").exit_code, 69);
        let error = run("/b").expect_err("is outside");
        assert!(error.message.contains("in none"), "{error}");
    });
}

#[test]
fn data_outside_of_the_memory_is_refused() {
    let text = "(module (memory 1) (func (export \"_start\")) (data (i32.const 65535) \"ab\"))";
    let error = link(
        &wat::parse_str(text).expect("valid"),
        &LinkOptions::default(),
    );
    let error = error
        .map(|_| ())
        .expect_err("it would overwrite the library");
    assert!(error.to_string().contains("behind the end"), "{error}");
}

/// Results of all types, branches to the function's own label, tail calls, a start function,
/// globals, passive data; a program without `main`.
const SIGNATURES: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (type $many (func (param i32) (result i64 f32 v128 f64 funcref)))
  (memory (export "memory") 1 100)
  (table 4 funcref)
  (elem (i32.const 1) $leave $stay $tail)
  (global $count (mut i32) (i32.const 5))
  (global $wide (mut i64) (i64.const -3))
  (data (i32.const 16) "\08\00\00\00\02\00\00\00")
  (data $text "A\n")
  (data (i32.const 65530) "end")
  (func $leave (type $many)
    (call $exit (i32.add (local.get 0) (global.get $count)))
    (call $fault) (unreachable))
  (func $stay (type $many)
    (i64.const 1) (f32.const 2) (v128.const i64x2 3 4) (f64.const 5) (ref.null func))
  (func $tail (type $many) (return_call $leave (i32.add (local.get 0) (i32.const 1))))
  (func $through (type $many)
    (local $n i32)
    (block
      (block
        (br_table 0 1 (i32.gt_u (local.get 0) (i32.const 3))))
      (return (call_indirect (type $many) (local.get 0) (local.get 0))))
    (i64.const 1) (f32.const 2) (v128.const i64x2 3 4) (f64.const 5) (ref.null func)
    (br_if 0 (i32.const 1)))
  (func $void (param i32)
    (loop
      (br_if 1 (i32.eq (local.get 0) (i32.const 9)))
      (br_table 1 0 1 (call $number (local.get 0)))))
  (func $number (param i32) (result i32)
    (block (result i32)
      (i32.const 7) ;; below what the call leaves
      (call $through (local.get 0))
      (drop) (drop) (drop) (drop)
      (i32.wrap_i64)
      (br 1 (i32.add))))
  (func $fault (i32.store (i32.const -4) (i32.const 0)))
  (func $start (global.set $count (i32.add (global.get $count) (i32.const 1))))
  (start $start)
  (func (export "_start")
    (if (i32.ne (global.get $count) (i32.const 6)) (then (call $fault)))
    (if (i64.ne (global.get $wide) (i64.const -3)) (then (call $fault)))
    (if (i32.ne (i32.load (i32.const 65528)) (i32.const 0x6e650000)) (then (call $fault)))
    (if (i32.load (i32.const 30000)) (then (call $fault)))
    (if (i32.ne (memory.grow (i32.const 1)) (memory.size)) (then (nop)))
    (global.set $wide (i64.const 8))
    (i32.store (i32.const 30000) (i32.const -1))
    (i32.store (i32.const 65528) (i32.const -1))
    (memory.init $text (i32.const 8) (i32.const 0) (i32.const 2))
    (data.drop $text)
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 0)))
    (call $void (i32.const 9))
    (call $void (i32.const 2))
    (call $void (i32.const 5))
    (call $void (i32.const 3))
    (call $fault)))"#;

#[test]
fn unwinding_fits_every_signature() {
    with_stack(|| {
        let module = wat::parse_str(SIGNATURES).expect("is valid");
        let mut canister = Canister::new(&module, &LinkOptions::default());
        for _ in 0..3 {
            // $void 3 -> $tail -> $leave with 4, plus the counter's 6.
            assert_eq!(canister.run(&[]), (10, "A\n".to_owned()));
        }
    });
}

//! `icwasi run` as users call it.

use std::path::Path;

use assert_cmd::Command;

/// Says hello on both streams, copies /data/in.txt to /data/sub/out.txt, and exits with 3.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
static void work(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "trap")) { puts("so far"); fflush(stdout); __builtin_trap(); }
    char line[100] = "";
    if (fgets(line, sizeof line, stdin)) printf("read %s", line);
    fprintf(stderr, "%s %s\n", argv[0], getenv("V"));
    FILE *in = fopen("/data/in.txt", "r");
    if (!in) exit(4);
    mkdir("/data/sub", 0777);
    FILE *out = fopen("/data/sub/out.txt", "w");
    for (int c; (c = getc(in)) != EOF;) putc(c, out);
    exit(3);
}
int main(int argc, char **argv) { work(argc, argv); return 1; }
"#;

fn icwasi(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icwasi"));
    command
        .current_dir(dir)
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .arg("run");
    command
}

#[test]
fn programs_run_with_files_and_their_exit_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("p.c"), PROGRAM).expect("written");
    let compiled = std::process::Command::new("clang-22")
        .args(["--target=wasm32-wasi", "-Wno-deprecated", "--sysroot=/usr"])
        .args(["--no-wasm-opt", "-O1", "-fno-inline", "-o"])
        .args([path("p.wasm"), path("p.c")])
        .status();
    assert!(compiled.expect("clang-22 is installed").success());
    std::fs::create_dir(path("files")).expect("made");
    std::fs::write(path("files/in.txt"), "content").expect("written");

    // Nothing is copied back without --out, or from a directory that is read-only.
    for flags in [
        &["--dir", "files::/data"][..],
        &["--dir", "files::/data::ro"],
    ] {
        let run = icwasi(dir.path()).args(flags).arg("p.wasm").assert();
        run.code(3).stderr("p.wasm (null)\n");
        assert!(!path("files/sub").exists());
    }
    let run = icwasi(dir.path())
        .args([
            "--out", "--stats", "--env", "V=1", "--argv0", "name", "--stdin", "-",
        ])
        .args(["--dir", "files::/data", "p.wasm"])
        .write_stdin("a line\n")
        .assert();
    let run = run.code(3).stdout("read a line\n");
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(
        stderr.starts_with("name 1\n") && stderr.contains("instructions"),
        "{stderr}"
    );
    let copied = std::fs::read_to_string(path("files/sub/out.txt")).expect("copied back");
    assert_eq!(copied, "content");

    icwasi(dir.path()).arg("p.wasm").assert().code(4);
    let run = icwasi(dir.path())
        .args(["p.wasm", "--", "trap"])
        .assert()
        .code(134);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    for part in ["so far", "unreachable", "work"] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let refused = |text: &str, flags: &[&str], reason: &str| {
        let module = wat::parse_str(text).expect("valid");
        std::fs::write(dir.path().join("m.wasm"), module).expect("written");
        let run = icwasi(dir.path()).args(flags).arg("m.wasm").assert();
        let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(stderr.contains(reason), "{reason} in {stderr}");
        run.get_output().status.code()
    };
    let start = "(func (export \"_start\"))";
    assert_eq!(refused("(module)", &[], "no `_start`"), Some(1));
    let threads = format!("(module (memory 1 1 shared) {start})");
    assert_eq!(refused(&threads, &[], "the IC has no threads"), Some(1));
    let import = format!("(module (import \"env\" \"f\" (func)) {start})");
    assert_eq!(refused(&import, &[], "env.f"), Some(1));
    let plain = format!("(module {start})");
    assert_eq!(
        refused(&plain, &["--dir", "nowhere::/x"], "nowhere"),
        Some(1)
    );
    assert_eq!(
        refused(&plain, &["--dir", "/tmp::relative"], "HOST::GUEST"),
        Some(2)
    );
    assert_eq!(refused(&plain, &["--out"], "--dir"), Some(2));
}

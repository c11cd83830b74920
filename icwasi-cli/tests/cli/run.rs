//! `icwasi run` as users call it.

use std::path::Path;

use assert_cmd::Command;

/// Says hello on both streams, copies /data/in.txt to /data/sub/out.txt, and exits with 3.
const PROGRAM: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
static void work(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "trap")) { puts("so far"); fflush(stdout); __builtin_trap(); }
    char line[100] = "";
    if (argc > 2 && !strcmp(argv[1], "cat")) {
        FILE *file = fopen(argv[2], "r");
        if (!file) { printf("%s", strerror(errno)); exit(0); }
        while (fgets(line, sizeof line, file)) fputs(line, stdout);
        exit(0);
    }
    if (argc > 3 && !strcmp(argv[1], "put")) {
        FILE *file = fopen(argv[2], "w");
        if (!file) exit(errno);
        printf("%d", fputs(argv[3], file) < 0);
        exit(0);
    }
    if (fgets(line, sizeof line, stdin)) printf("read %s", line);
    fprintf(stderr, "%s %s\n", argv[0], getenv("V"));
    FILE *in = fopen("/data/in.txt", "r");
    if (!in) exit(4);
    if (mkdir("/data/sub", 0777) && errno != EEXIST) exit(errno);
    FILE *out = fopen("/data/sub/out.txt", "w");
    if (!out) exit(errno);
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

/// Leaves the program as `p.wasm`.
fn compile(dir: &Path) {
    let path = |name: &str| dir.join(name);
    std::fs::write(path("p.c"), PROGRAM).expect("written");
    let compiled = std::process::Command::new("clang-22")
        .args(["--target=wasm32-wasi", "-Wno-deprecated", "--sysroot=/usr"])
        .args(["--no-wasm-opt", "-O1", "-fno-inline", "-o"])
        .args([path("p.wasm"), path("p.c")])
        .status();
    assert!(compiled.expect("clang-22 is installed").success());
}

#[test]
fn programs_run_with_files_and_their_exit_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    compile(dir.path());
    std::fs::create_dir(path("files")).expect("made");
    std::fs::write(path("files/in.txt"), "content").expect("written");

    // Nothing is copied back without --out, and nothing can be written where it is read-only: EROFS.
    for (flags, code) in [
        (&["--dir", "files::/data"][..], 3),
        (&["--dir", "files::/data::ro"], 69),
        (
            &["--out", "--dir", "files::/data::ro", "--dir", ".::/x"],
            69,
        ),
    ] {
        let run = icwasi(dir.path()).args(flags).arg("p.wasm").assert();
        run.code(code).stderr("p.wasm (null)\n");
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

/// Links lead nowhere but within what was mapped; what cannot be copied back is said.
#[test]
fn directories_are_all_that_there_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    compile(dir.path());
    std::fs::create_dir_all(path("files/sub")).expect("made");
    std::fs::create_dir(path("inner")).expect("made");
    std::fs::write(path("secret"), "secret").expect("written");
    std::fs::write(path("files/in"), "in").expect("written");
    std::fs::write(path("inner/in"), "inner").expect("written");
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, path(name)).expect("made");
    };
    link("../secret", "files/out");
    link(path("secret").to_str().expect("is text"), "files/absolute");
    link("in", "files/link");
    link("../in", "files/sub/up");
    let run = |flags: &[&str], args: &[&str]| {
        let mut run = icwasi(dir.path());
        let run = run.args(flags).args(["p.wasm", "--"]).args(args).assert();
        let output = run.get_output();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("ends");
        (code, text(&output.stdout), text(&output.stderr))
    };
    let says = |flags: &[&str], args: &[&str]| {
        let (code, stdout, stderr) = run(flags, args);
        assert_eq!((code, &stderr[..]), (0, ""), "{args:?}");
        stdout
    };
    let data = ["--dir", "files::/data"];
    for (file, text) in [
        ("/data/link", "in"),
        ("/data/sub/up", "in"),
        ("/data/out", "Operation not permitted"),
        ("/data/absolute", "Operation not permitted"),
        ("/secret", "Capabilities insufficient"),
    ] {
        assert_eq!(says(&data, &["cat", file]), text, "{file}");
    }
    let both = ["--dir", "inner::/data/sub", "--dir", "files::/data"];
    assert_eq!(says(&both, &["cat", "/data/sub/in"]), "inner");
    let inside = ["--dir", "files::/data", "--cwd", "/data/sub"];
    assert_eq!(says(&inside, &["cat", "../in"]), "Operation not permitted");
    assert_eq!(says(&inside, &["cat", "up"]), "Operation not permitted");
    let inside = ["--dir", "files::/data", "--cwd", "/data"];
    assert_eq!(says(&inside, &["cat", "sub/up"]), "in");
    let (code, _, stderr) = run(&["--cwd", "/nowhere"], &["cat", "x"]);
    assert!(
        code == 1 && stderr.contains("no such directory"),
        "{stderr}"
    );

    // Through a link, the file that it leads to.
    let out = ["--out", "--dir", "files::/data"];
    assert_eq!(says(&out, &["put", "/data/link", "new"]), "0");
    assert_eq!(
        std::fs::read_to_string(path("files/in")).expect("is there"),
        "new"
    );
    assert!(path("files/link").is_symlink());
    assert_eq!(
        std::fs::read_to_string(path("secret")).expect("is there"),
        "secret"
    );
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
    std::fs::create_dir(dir.path().join("d")).expect("made");
    for bad in [
        "d::relative",
        "d::",
        "d::/a/../b",
        "::/a",
        "d",
        "d::/a::rw",
        "d::/a::ro::ro",
    ] {
        assert_eq!(refused(&plain, &["--dir", bad], "d"), Some(2), "{bad}");
    }
    for (flags, reason) in [
        (["--dir=d::/a", "--dir=d::/a/"], "given twice"),
        (["--dir=m.wasm::/a", "--dir=d::/b"], "ot a directory"),
    ] {
        assert_eq!(refused(&plain, &flags, reason), Some(1), "{flags:?}");
    }
    let overlap = ["--out", "--dir=d::/a", "--dir=.::/b"];
    assert_eq!(refused(&plain, &overlap, "::ro"), Some(1));
    std::fs::write(dir.path().join("d/secret"), "x").expect("written");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(dir.path().join("d/secret"), mode).expect("set");
    };
    mode(0);
    // Root reads everything.
    if std::fs::read(dir.path().join("d/secret")).is_err() {
        assert_eq!(refused(&plain, &["--dir=d::/a"], "d/secret"), Some(1));
    }
    assert_eq!(refused(&plain, &["--out"], "--dir"), Some(2));
    // It never ends.
    let endless = ["--stdin", "/dev/zero"];
    assert_eq!(refused(&plain, &endless, "60000000 bytes"), Some(1));
}

/// `check` gives the reason for what `link` and `run` refuse.
#[test]
fn check_gives_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    for (module, reason) in [
        (b"\0asm\x0d\0\x01\0".to_vec(), "component"),
        (
            wat::parse_str("(module (tag))").expect("is valid"),
            "exceptions",
        ),
    ] {
        std::fs::write(dir.path().join("m.wasm"), module).expect("written");
        let check = Command::new(env!("CARGO_BIN_EXE_icwasi"))
            .current_dir(dir.path())
            .args(["check", "m.wasm"])
            .assert()
            .code(3);
        let stdout = String::from_utf8_lossy(&check.get_output().stdout).into_owned();
        assert!(
            stdout.starts_with("File:       m.wasm\nProblem: ") && stdout.contains(reason),
            "{stdout}"
        );
    }
}

//! `icwasi link` as users call it: what it writes, and where it must not.

use std::path::Path;

use assert_cmd::Command;

const PROGRAM: &str = r#"(module (func (export "_start")))"#;
const INTERFACE: &str = "service : { f : () -> () query }\n";

/// Standard error of `icwasi link` with these arguments, and its exit code.
fn link(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icwasi"));
    let run = command.current_dir(dir).arg("link").args(args).assert();
    let output = run.get_output();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

/// `in.wasm` and `in.did`, `link.wasm` that leads to it and `hard.wasm` that is it, `sub/` and
/// `elsewhere` that leads here.
fn directory() -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let program = wat::parse_str(PROGRAM).expect("is valid");
    std::fs::write(path("in.wasm"), &program).expect("written");
    std::fs::write(path("in.did"), INTERFACE).expect("written");
    std::fs::create_dir(path("sub")).expect("made");
    std::os::unix::fs::symlink("in.wasm", path("link.wasm")).expect("made");
    std::os::unix::fs::symlink("sub/..", path("elsewhere")).expect("made");
    std::fs::hard_link(path("in.wasm"), path("hard.wasm")).expect("made");
    (dir, program)
}

#[test]
fn the_output_is_never_an_input() {
    let (dir, program) = directory();
    let path = |name: &str| dir.path().join(name);
    let absolute = path("in.wasm").display().to_string();
    let did = &["--admin", "--candid", "in.did"][..];
    for (output, more, names) in [
        ("in.wasm", &[][..], ["--output", "the input"]),
        ("./sub/../in.wasm", &[], ["--output", "the input"]),
        ("elsewhere/in.wasm", &[], ["--output", "the input"]),
        (&absolute, &[], ["--output", "the input"]),
        ("link.wasm", &[], ["--output", "the input"]),
        ("hard.wasm", &[], ["--output", "the input"]),
        ("sub/../in.did", did, ["--output", "--candid"]),
        (
            "out.wasm",
            &["--admin", "--candid-out", "in.wasm"],
            ["--candid-out", "the input"],
        ),
        (
            "out.wasm",
            &["--admin", "--candid", "in.did", "--candid-out", "./in.did"],
            ["--candid-out", "--candid"],
        ),
        // Nor are two outputs one, though nothing is there yet.
        (
            "out.wasm",
            &["--admin", "--candid-out", "elsewhere/out.wasm"],
            ["--candid-out", "--output"],
        ),
    ] {
        let args = [&["in.wasm", "-o", output], more].concat();
        let (code, stderr) = link(dir.path(), &args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        for part in names.into_iter().chain(["same file", "another name"]) {
            assert!(stderr.contains(part), "{part} in {stderr}");
        }
        assert!(!path("out.wasm").exists(), "{args:?}");
        assert!(std::fs::read(path("in.wasm")).expect("is there") == program);
        assert_eq!(
            std::fs::read_to_string(path("in.did")).expect("is there"),
            INTERFACE
        );
        assert!(path("link.wasm").is_symlink());
    }
}

/// An older output is replaced, through a link too; what is no file is written into.
#[test]
fn outputs_are_written_where_they_were_asked_for() {
    let (dir, _) = directory();
    let path = |name: &str| dir.path().join(name);
    let (code, stderr) = link(dir.path(), &["in.wasm", "-o", "out.wasm"]);
    assert_eq!(code, Some(0), "{stderr}");
    let linked = std::fs::read(path("out.wasm")).expect("written");

    std::fs::write(path("sub/target.wasm"), "old").expect("written");
    std::os::unix::fs::symlink("sub/target.wasm", path("again.wasm")).expect("made");
    let (code, stderr) = link(dir.path(), &["in.wasm", "-o", "again.wasm"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(path("again.wasm").is_symlink());
    assert!(std::fs::read(path("sub/target.wasm")).expect("written") == linked);

    let status = std::process::Command::new("mkfifo")
        .arg(path("pipe"))
        .status();
    assert!(status.expect("mkfifo is installed").success());
    let pipe = path("pipe");
    let reader = std::thread::spawn(move || std::fs::read(pipe).expect("reads"));
    let (code, stderr) = link(dir.path(), &["in.wasm", "-o", "pipe"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(reader.join().expect("ends") == linked);

    let (code, stderr) = link(dir.path(), &["in.wasm", "-o", "sub"]);
    assert!(code == Some(1) && stderr.contains("directory"), "{stderr}");
    assert!(path("sub").is_dir());

    let (code, stderr) = link(dir.path(), &["in.wasm", "-o", "none/out.wasm"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("error: cannot write none/out.wasm: No such file"),
        "{stderr}"
    );
    assert!(!stderr.contains(".icwasi-link"), "{stderr}");
}

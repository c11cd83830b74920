//! The program as its users meet it: exit codes, errors, output.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// The program in an empty directory, with nothing configured.
fn icwasi(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icwasi"));
    command.current_dir(dir).env_clear().env("HOME", dir);
    command
}

fn output(dir: &Path, args: &[&str]) -> Output {
    icwasi(dir).args(args).output().expect("runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

#[test]
fn usage_errors_are_2() {
    let dir = empty();
    let long = format!("app:/{}", "x".repeat(256));
    for args in [
        &[][..],
        &["nonsense"],
        &["push", "file"],
        &["push", "file", "no-colon"],
        &["pull", "app:/../x", "."],
        &["ls", "app:/./x"],
        &["stat", &long],
        &["rm", "app:/"],
        &["mv", "app:/a"],
        &["stat", "app:/a", "other:/b"],
        &["quota", "app", "much"],
        &["env", "app", "set", "novalue"],
        &["access", "grant", "app", "nobody", "reader"],
        &["access", "grant", "app", "2vxsx-fae", "owner"],
        &["image", "ls", "file", "relative/../path"],
        &["push", "--concurrency", "0", "f", "app:/"],
        &["--json", "cat", "app:/a"],
        &["ls", "app:", "--identity", "a", "--pem", "b"],
    ] {
        let out = output(dir.path(), args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert!(out.stdout.is_empty(), "{args:?}");
        assert!(!out.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["push", "--help"]] {
        let out = output(dir.path(), args);
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        assert!(!out.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn failures_are_1_and_say_what_to_do() {
    let dir = empty();
    // Nobody listens on this port: it was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    drop(listener);
    let id = "bkyz2-fmaaa-aaaaa-qaaaq-cai:/";
    std::fs::write(dir.path().join("bad.pem"), "x").expect("write");
    std::fs::write(dir.path().join("text"), "x").expect("write");
    for (args, kind, hint) in [
        (
            &["ls", id, "-n", &url][..],
            "unreachable",
            "icwasi replica start",
        ),
        (
            &["ls", id, "-n", "nowhere"],
            "connect",
            "dfx.json or icp.yaml",
        ),
        (
            &["ls", id, "-n", "https://example.com"],
            "connect",
            "--root-key",
        ),
        (&["ls", id, "--identity", "bob"], "identity", "bob"),
        (&["ls", id, "--pem", "bad.pem"], "identity", "PRIVATE KEY"),
        (&["ls", id, "-n", "ic"], "identity", "--pem"),
        (
            &["replica", "status"],
            "not_running",
            "no replica is running",
        ),
        (&["replica", "stop"], "not_running", "no replica is running"),
        (&["image", "fsck", "text"], "image", "does not begin with"),
        (&["image", "ls", "none"], "image", "No such file"),
    ] {
        let out = output(dir.path(), args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", stderr(&out));
        assert!(out.stdout.is_empty(), "{args:?}");
        assert!(stderr(&out).contains(hint), "{args:?}: {}", stderr(&out));
        let mut json = vec!["--json"];
        json.extend_from_slice(args);
        let out = output(dir.path(), &json);
        let last = stderr(&out).lines().last().expect("a line").to_owned();
        let error: serde_json::Value = serde_json::from_str(&last).expect("JSON");
        assert_eq!(error["version"], 1, "{args:?}");
        assert_eq!(error["error"]["kind"], kind, "{args:?}: {last}");
    }
}

#[test]
fn environment_chooses_the_network() {
    let dir = empty();
    for name in ["ICWASI_NETWORK", "ICP_NETWORK", "DFX_NETWORK"] {
        let mut command = icwasi(dir.path());
        let out = command
            .args(["ls", "aaaaa-aa:"])
            .env(name, "chosen")
            .output()
            .expect("runs");
        assert!(
            stderr(&out).contains("\"chosen\""),
            "{name}: {}",
            stderr(&out)
        );
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let dir = empty();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_icwasi"))
        .arg("markdown-help")
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let out = child.wait_with_output().expect("ends");
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(out.stderr.is_empty(), "{}", stderr(&out));
}

#[test]
fn the_documentation_is_up_to_date() {
    let dir = empty();
    let out = output(dir.path(), &["markdown-help"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let documented = std::fs::read_to_string(path).expect("docs/cli.md");
    let actual = String::from_utf8_lossy(&out.stdout);
    assert!(
        actual == documented,
        "run: cargo run -p icwasi-cli -- markdown-help > docs/cli.md"
    );
}

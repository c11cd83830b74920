//! The background replica: one per directory, found, read, ended and reset reliably.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icwasi"));
    command
        .args(["--json", "replica"])
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .stdin(Stdio::null());
    command
}

fn output(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().expect("runs")
}

/// Exit code, and what stdout holds as JSON.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let output = output(dir, args);
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), json)
}

/// The message of a command that has to fail, with exit code `code`.
fn failure(dir: &Path, args: &[&str], code: i32) -> String {
    let output = output(dir, args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(output.stdout.is_empty() || args == ["status"], "{args:?}");
    let error: Value = serde_json::from_str(text.trim()).expect("one JSON object on stderr");
    error["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}

/// Ends the replica even if the test fails.
struct Stop<'a>(&'a Path);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        run(self.0, &["stop"]);
    }
}

const START: [&str; 4] = ["start", "--background", "--port", "0"];

#[test]
fn start_status_stop_and_a_killed_one() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = temp.path();
    let _stop = Stop(dir);
    let (code, first) = run(dir, &START);
    assert_eq!(code, Some(0));
    let url = first["url"].as_str().expect("a URL");
    assert!(url.starts_with("http://127.0.0.1:"), "loopback only: {url}");
    let (code, status) = run(dir, &["status"]);
    assert_eq!(
        (code, &status["url"], &status["pid"]),
        (Some(0), &first["url"], &first["pid"])
    );
    let second = failure(dir, &START, 1);
    assert!(
        second.contains("running") && second.contains(url),
        "{second}"
    );
    // In the foreground it is the same.
    let third = failure(dir, &["start", "--port", "0"], 1);
    assert!(third.contains("running"), "{third}");

    let pid = first["pid"].as_i64().expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
    for _ in 0..100 {
        if run(dir, &["status"]).0 == Some(1) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let record = dir.join(".icwasi/replica/run.json");
    assert!(record.is_file(), "a killed one leaves its record behind");
    let gone = failure(dir, &["stop"], 1);
    assert!(gone.contains("no replica is running"), "{gone}");
    let (code, second) = run(dir, &START);
    assert_eq!(code, Some(0), "a killed one is no obstacle");
    assert_eq!(first["root_key"], second["root_key"], "the same network");
    assert_eq!(run(dir, &["stop"]).0, Some(0));
    assert_eq!(run(dir, &["status"]).0, Some(1));
}

#[test]
fn a_port_in_use_and_a_damaged_state_are_explained() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = temp.path();
    let _stop = Stop(dir);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for how in [&["--background"][..], &[]] {
        let args = [&["start", "--port", &port][..], how].concat();
        let error = failure(dir, &args, 1);
        assert!(error.contains(&port), "names the port: {error}");
        assert!(error.contains("choose another"), "{error}");
    }

    let (_, first) = run(dir, &START);
    assert_eq!(run(dir, &["stop"]).0, Some(0));
    let state = dir.join(".icwasi/replica/state");
    for (file, content) in [("keys", "no keys"), ("VERSION", "something else")] {
        let path = state.join(file);
        let before = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, content).expect("write");
        let error = failure(dir, &["start", "--port", "0"], 1);
        assert!(error.contains("replica reset"), "says a way out: {error}");
        let error = failure(dir, &START, 1);
        assert!(error.contains("replica reset"), "also from behind: {error}");
        std::fs::write(&path, before).expect("write");
    }
    let (code, again) = run(dir, &START);
    assert_eq!(code, Some(0), "nothing was lost");
    assert_eq!(first["root_key"], again["root_key"]);

    // A file where the directory should be.
    let file = dir.join("file");
    std::fs::write(&file, "").expect("write");
    let path = file.to_str().expect("UTF-8");
    let args = ["start", "--port", "0", "--state-dir", path];
    let error = failure(dir, &args, 1);
    assert!(error.contains("state directory"), "{error}");
}

#[test]
fn reset_removes_the_state_when_it_is_told_to() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = temp.path();
    let _stop = Stop(dir);
    assert_eq!(run(dir, &["reset"]).1["removed"], false, "nothing there");
    let (_, first) = run(dir, &START);
    let refused = failure(dir, &["reset", "--yes"], 1);
    assert!(refused.contains("running"), "{refused}");
    assert_eq!(run(dir, &["status"]).0, Some(0), "and it runs on");
    assert_eq!(run(dir, &["stop"]).0, Some(0));
    let refused = failure(dir, &["reset"], 2);
    assert!(refused.contains("--yes"), "{refused}");
    assert!(dir.join(".icwasi/replica/state/keys").is_file());

    std::fs::write(dir.join(".icwasi/replica/state/keys"), "damaged").expect("write");
    let (code, reset) = run(dir, &["reset", "--yes"]);
    assert_eq!((code, &reset["removed"]), (Some(0), &Value::Bool(true)));
    let (code, second) = run(dir, &START);
    assert_eq!(code, Some(0));
    assert_ne!(first["root_key"], second["root_key"], "another network");
}

#[test]
fn logs_are_shown_and_followed_to_the_end() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = temp.path();
    let _stop = Stop(dir);
    let none = failure(dir, &["logs"], 1);
    assert!(none.contains("--background"), "{none}");
    let (_, started) = run(dir, &START);
    let url = started["url"].as_str().expect("a URL");
    let shown = output(dir, &["logs"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains(url), "{text}");

    let mut follower = command(dir, &["logs", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let first: Value =
        serde_json::from_str(&lines.next().expect("a line").expect("UTF-8")).expect("JSON");
    assert!(first["line"].is_string(), "{first}");
    // What a canister prints while it watches.
    let module = r#"(module
        (import "ic0" "debug_print" (func $print (param i32 i32)))
        (memory 1)
        (data (i32.const 0) "printed by a canister")
        (func (export "canister_init") (call $print (i32.const 0) (i32.const 21))))"#;
    std::fs::write(dir.join("app.wasm"), wat::parse_str(module).expect("valid")).expect("write");
    let deployed = Command::new(env!("CARGO_BIN_EXE_icwasi"))
        .args(["deploy", "app", "--wasm", "app.wasm", "--network", url])
        .current_dir(dir)
        .env("HOME", dir)
        .output()
        .expect("runs");
    assert!(deployed.status.success(), "{deployed:?}");
    assert_eq!(run(dir, &["stop"]).0, Some(0));
    let end = Instant::now() + Duration::from_secs(20);
    while follower.try_wait().expect("it is a child").is_none() {
        if Instant::now() > end {
            follower.kill().expect("it runs");
            panic!("it goes on after the replica has ended");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = lines.any(|line| line.is_ok_and(|line| line.contains("printed by a canister")));
    assert!(seen, "what the canister printed was shown");
    // A log can be read after the end.
    for lines in [0, 1] {
        let rest = output(dir, &["logs", "--lines", &lines.to_string()]);
        let shown = String::from_utf8_lossy(&rest.stdout).lines().count();
        assert!(rest.status.success() && shown == lines, "{rest:?}");
    }
}

#[test]
fn a_deterministic_network_is_always_the_same() {
    let keys = [&["--deterministic"][..], &["--deterministic"], &[]].map(|how| {
        let temp = tempfile::tempdir().expect("temporary directory");
        let _stop = Stop(temp.path());
        let (code, started) = run(temp.path(), &[&START[..], how].concat());
        assert_eq!(code, Some(0));
        started["root_key"].as_str().expect("a key").to_owned()
    });
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
}

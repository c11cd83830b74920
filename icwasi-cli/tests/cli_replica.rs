//! The background replica: one per directory, found and ended reliably.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Exit code, and what stdout holds as JSON.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icwasi"));
    command
        .args(["--json", "replica"])
        .args(args)
        .current_dir(dir)
        .env("HOME", dir);
    let output = command.output().expect("runs");
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), json)
}

/// Ends the replica even if the test fails.
struct Stop<'a>(&'a Path);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        run(self.0, &["stop"]);
    }
}

#[test]
fn start_status_stop_and_a_killed_one() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = temp.path();
    let _stop = Stop(dir);
    let start = ["start", "--background", "--port", "0"];
    let (code, first) = run(dir, &start);
    assert_eq!(code, Some(0));
    let (code, status) = run(dir, &["status"]);
    assert_eq!(
        (code, &status["url"], &status["pid"]),
        (Some(0), &first["url"], &first["pid"])
    );
    assert_eq!(run(dir, &start).0, Some(1), "one is running");

    let pid = first["pid"].as_i64().expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
    for _ in 0..100 {
        if run(dir, &["status"]).0 == Some(1) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(run(dir, &["stop"]).0, Some(1), "it is gone");
    let (code, second) = run(dir, &start);
    assert_eq!(code, Some(0), "a killed one is no obstacle");
    assert_eq!(first["root_key"], second["root_key"], "the same network");
    assert_eq!(run(dir, &["stop"]).0, Some(0));
    assert_eq!(run(dir, &["status"]).0, Some(1));
}

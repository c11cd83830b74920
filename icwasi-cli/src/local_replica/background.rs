//! Starting a replica in the background, and ending it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::run_file::{is_locked, read};
use super::{LocalReplicaError, RunRecord};

const READY_SECONDS: u64 = 60;
const STOP_SECONDS: u64 = 30;

/// How to start one.
pub struct Launch {
    /// The program and its arguments; it has to [`super::acquire`] `state_dir` and publish.
    pub command: Command,
    /// Its state directory.
    pub state_dir: PathBuf,
}

/// Starts a detached process and waits until it has published where it serves. Its output goes
/// to `replica.log` in the state directory.
pub async fn launch(launch: Launch) -> Result<RunRecord, LocalReplicaError> {
    let Launch {
        mut command,
        state_dir,
    } = launch;
    let dir = &state_dir;
    let log = super::log_file(dir);
    let fail = |path: &Path, source| LocalReplicaError::StateDir {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(|e| fail(dir, e))?;
    if is_locked(dir) {
        return Err(LocalReplicaError::Running {
            path: dir.clone(),
            record: read(dir),
        });
    }
    let output = std::fs::File::create(&log).map_err(|e| fail(&log, e))?;
    let errors = output.try_clone().map_err(|e| fail(&log, e))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let program = PathBuf::from(command.get_program());
    let mut child = command.spawn().map_err(|source| LocalReplicaError::Spawn {
        path: program,
        source,
    })?;
    wait_until_ready(&mut child, dir, &log).await
}

async fn wait_until_ready(
    child: &mut Child,
    dir: &Path,
    log: &Path,
) -> Result<RunRecord, LocalReplicaError> {
    let start = Instant::now();
    loop {
        if let Some(record) = super::running(dir)
            && record.pid == child.id()
        {
            return Ok(record);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(LocalReplicaError::Died {
                status,
                log: tail(log),
            });
        }
        if start.elapsed() > Duration::from_secs(READY_SECONDS) {
            // It is our own child: its id can't have been reused while we have not waited for it.
            let _ = child.kill();
            let _ = child.wait();
            return Err(LocalReplicaError::NotReady {
                seconds: READY_SECONDS,
                log: tail(log),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Ends the replica that runs on `dir`: exactly that process, never another one that got its id.
/// Waits until it has gone.
pub async fn stop(dir: &Path) -> Result<RunRecord, LocalReplicaError> {
    let not_running = || LocalReplicaError::NotRunning {
        path: dir.to_owned(),
    };
    let record = super::running(dir).ok_or_else(not_running)?;
    let pid = record.pid;
    let fail = |e: rustix::io::Errno| LocalReplicaError::Signal {
        pid,
        source: e.into(),
    };
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(raw) = raw.filter(|_| pid > 1) else {
        return Err(fail(rustix::io::Errno::SRCH));
    };
    terminate(raw, dir).map_err(fail)?;
    let start = Instant::now();
    while is_locked(dir) {
        if start.elapsed() > Duration::from_secs(STOP_SECONDS) {
            return Err(LocalReplicaError::StillRunning {
                pid,
                seconds: STOP_SECONDS,
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(record)
}

/// A descriptor pins the process: if the lock is still held by then, the id was not reused
/// before, and can't be reused for the signal.
#[cfg(target_os = "linux")]
fn terminate(pid: Pid, dir: &Path) -> rustix::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let same = super::running(dir).is_some_and(|r| Some(pid) == Pid::from_raw(r.pid as i32));
    if same {
        pidfd_send_signal(process, Signal::TERM)
    } else {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
fn terminate(pid: Pid, dir: &Path) -> rustix::io::Result<()> {
    if is_locked(dir) {
        rustix::process::kill_process(pid, Signal::TERM)
    } else {
        Ok(())
    }
}

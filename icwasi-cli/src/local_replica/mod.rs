//! The process of `icwasi replica`: which one is running, starting it in the background,
//! ending it, its log and its state.
//!
//! A replica holds an exclusive lock on `run.lock` in its state directory for as long as it
//! lives, and says in `run.json` where it is. A process id alone proves nothing, since ids are
//! used again; the lock does.

mod background;
mod log;
mod reset;
mod run_file;

pub use background::{Launch, launch, stop};
pub use log::{Log, log_file};
pub use reset::{reset, state_path};
pub use run_file::{RunGuard, RunRecord, acquire, running};

use std::path::PathBuf;

use thiserror::Error;

/// Why the background process can't be handled.
#[derive(Debug, Error)]
pub enum LocalReplicaError {
    /// The state directory can't be used.
    #[error("cannot use the state directory {}: {source}", path.display())]
    StateDir {
        /// A file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One is running already.
    #[error(
        "a replica is running on {} already: {}", path.display(),
        record.as_ref().map_or("it has not finished starting".to_owned(),
            |r| format!("{} (process {})", r.url, r.pid))
    )]
    Running {
        /// The state directory.
        path: PathBuf,
        /// Where it is.
        record: Option<RunRecord>,
    },
    /// None is running.
    #[error("no replica is running on {}", path.display())]
    NotRunning {
        /// The state directory.
        path: PathBuf,
    },
    /// None has been started in the background.
    #[error(
        "there is no log: no replica has been started on {} with --background since the last reset",
        path.display()
    )]
    NoLog {
        /// The state directory.
        path: PathBuf,
    },
    /// Something else is where the state should be.
    #[error("{} is not the state of a replica: it is left alone", path.display())]
    NotState {
        /// What is there.
        path: PathBuf,
    },
    /// The process could not be started.
    #[error("cannot start {}: {source}", path.display())]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It ended before it answered.
    #[error("the replica ended with {status} before it was ready. Its last words:\n{log}")]
    Died {
        /// Exit status.
        status: std::process::ExitStatus,
        /// End of its log.
        log: String,
    },
    /// It did not answer in time.
    #[error("the replica did not get ready within {seconds} s. Its last words:\n{log}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// End of its log.
        log: String,
    },
    /// It can't be told to end.
    #[error("cannot end process {pid}: {source}")]
    Signal {
        /// The process.
        pid: u32,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("process {pid} did not end within {seconds} s")]
    StillRunning {
        /// The process.
        pid: u32,
        /// How long was waited.
        seconds: u64,
    },
}

//! `run.lock` and `run.json` of a state directory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::LocalReplicaError;

/// What a running replica says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this record.
    pub version: u32,
    /// Process id.
    pub pid: u32,
    /// HTTP interface.
    pub url: String,
    /// Port of the HTTP interface.
    pub port: u16,
    /// DER, in hexadecimal.
    pub root_key: String,
}

/// Holds the lock of a state directory; takes the record away when it is dropped.
pub struct RunGuard {
    dir: PathBuf,
    _lock: File,
}

fn lock_file(dir: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("run.lock"))
}

/// Claims the state directory `dir` for this process; creates it if it is missing.
pub fn acquire(dir: &Path) -> Result<RunGuard, LocalReplicaError> {
    let fail = |source| LocalReplicaError::StateDir {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    let lock = lock_file(dir).map_err(fail)?;
    // Whoever only asks whether a replica runs holds the lock for an instant.
    let mut attempts = 20;
    let locked = loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if attempts > 0 => {
                attempts -= 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            result => break result,
        }
    };
    match locked {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let record = read(dir);
            return Err(LocalReplicaError::Running {
                path: dir.to_owned(),
                record,
            });
        }
        Err(e) => return Err(fail(e.into())),
    }
    // What a killed process left behind is not true any more.
    remove(dir);
    Ok(RunGuard {
        dir: dir.to_owned(),
        _lock: lock,
    })
}

impl RunGuard {
    /// Publishes where this process serves.
    pub fn publish(&self, record: &RunRecord) -> Result<(), LocalReplicaError> {
        let path = self.dir.join("run.json");
        let fail = |source| LocalReplicaError::StateDir {
            path: path.clone(),
            source,
        };
        let text = serde_json::to_string_pretty(record).map_err(|e| fail(e.into()))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir).map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        file.persist(&path).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

fn remove(dir: &Path) {
    // Nothing depends on it being gone: without the lock it isn't believed.
    let _ = std::fs::remove_file(dir.join("run.json"));
}

pub(super) fn read(dir: &Path) -> Option<RunRecord> {
    let text = std::fs::read_to_string(dir.join("run.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// True if some process holds the lock.
pub(super) fn is_locked(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join("run.lock")) else {
        return false;
    };
    // A shared lock is enough to find out, and two who ask don't see each other.
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => false,
        Err(e) => e == rustix::io::Errno::WOULDBLOCK,
    }
}

/// The replica that runs on the state directory `dir`, if one does.
pub fn running(dir: &Path) -> Option<RunRecord> {
    if is_locked(dir) { read(dir) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_its_process_is_not_believed() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let dir = temp.path().join("replica");
        assert_eq!(running(&dir), None);
        let record = RunRecord {
            version: 1,
            pid: std::process::id(),
            url: "http://127.0.0.1:1".into(),
            port: 1,
            root_key: "00".into(),
        };
        let guard = acquire(&dir).expect("free");
        guard.publish(&record).expect("published");
        assert_eq!(running(&dir), Some(record.clone()));
        assert!(matches!(
            acquire(&dir),
            Err(LocalReplicaError::Running {
                record: Some(_),
                ..
            })
        ));
        drop(guard);
        assert_eq!(running(&dir), None);
        // As after kill -9: the record stays, the lock is gone.
        std::fs::write(
            dir.join("run.json"),
            serde_json::to_string(&record).expect("json"),
        )
        .expect("write");
        assert_eq!(running(&dir), None);
        let _guard = acquire(&dir).expect("free again");
        assert!(read(&dir).is_none(), "the old record is gone");
    }
}

//! Removing the state of a replica.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::run_file::acquire;
use super::{LocalReplicaError, log_file};

/// Where, in the directory that the commands call state directory, the replica keeps its state.
pub fn state_path(state_dir: &Path) -> PathBuf {
    state_dir.join("state")
}

/// Removes all canisters, their files, and the keys of the network that was kept in `state_dir`;
/// the next start makes a new one. `false` if there was nothing. The state may be damaged: all that
/// is looked at is whether it is one.
///
/// Fails if a replica runs there, and if the directory does not look like one of a replica.
pub fn reset(state_dir: &Path) -> Result<bool, LocalReplicaError> {
    let state = state_path(state_dir);
    let fail = |path: &Path, source| LocalReplicaError::StateDir {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(&state) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(LocalReplicaError::NotState { path: state }),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(fail(&state, e)),
    }
    // Before the first lock file is made: a directory with this name may be anybody's.
    let ours = icwasi_replica::persist::is_state(&state);
    if !ours || !state_dir.join("run.lock").is_file() {
        return Err(LocalReplicaError::NotState { path: state });
    }
    let guard = acquire(state_dir)?;
    // Under another name first: a reset that is cut short leaves no half of a state to be started.
    let leaving = state_dir.join("state.removed");
    let clear = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(fail(path, e)),
        _ => Ok(()),
    };
    clear(&leaving)?;
    std::fs::rename(&state, &leaving).map_err(|e| fail(&state, e))?;
    clear(&leaving)?;
    match std::fs::remove_file(log_file(state_dir)) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(fail(&log_file(state_dir), e)),
        _ => {}
    }
    drop(guard);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_of_a_replica_that_does_not_run_is_removed() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let dir = temp.path();
        assert!(!reset(dir).expect("nothing there"));
        let kept = dir.join("kept");
        let state = state_path(dir);
        std::fs::create_dir_all(state.join("canisters")).expect("create");
        std::fs::write(&kept, "mine").expect("write");
        assert!(
            matches!(reset(dir), Err(LocalReplicaError::NotState { .. })),
            "no replica has ever run here"
        );
        let guard = acquire(dir).expect("free");
        assert!(matches!(reset(dir), Err(LocalReplicaError::Running { .. })));
        assert!(state.join("canisters").is_dir(), "nothing was removed");
        drop(guard);
        std::fs::write(state.join("letter"), "mine").expect("write");
        assert!(
            matches!(reset(dir), Err(LocalReplicaError::NotState { .. })),
            "a start that failed leaves its lock behind, in anybody's directory"
        );
        std::fs::write(state.join("VERSION"), "damaged").expect("write");
        assert!(reset(dir).expect("removed"));
        assert!(!state.exists() && kept.is_file());
        assert!(!reset(dir).expect("nothing left"));
    }
}

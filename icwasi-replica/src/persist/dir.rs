//! The state directory: layout, version, lock, keys.
//!
//! ```text
//! VERSION                 "icwasi replica state 2"
//! LOCK                    held while a replica uses the directory; holds its process id
//! keys                    CBOR of the secret keys; readable by the owner only
//! log                     messages since the last checkpoint
//! ingress                 CBOR: outcomes of calls at the last checkpoint, next canister id, time
//! canisters/ID/state      CBOR of the small state at the last checkpoint
//! canisters/ID/heap       heap, a sparse file
//! canisters/ID/stable     stable memory, a sparse file
//! blobs/SHA256            modules and chunks
//! snapshots/ID/N/         snapshots of canisters
//! compiled/               compiled modules, may be removed
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use candid::Principal;

use crate::certificate::SecretKeys;

const VERSION: &str = "icwasi replica state 2\n";

/// Why a state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("state directory: cannot {what} {}: {source}", path.display())]
    Io {
        /// What was done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another replica uses it.
    #[error(
        "the state directory {} is in use by another replica (process {pid}); stop that one, or \
         choose another directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// From the lock file; may be empty.
        pid: String,
    },
    /// It holds something else.
    #[error(
        "{} is not empty and not a state directory of a replica; choose another directory",
        .0.display()
    )]
    Foreign(PathBuf),
    /// It was written by another version.
    #[error(
        "the state directory {} has format {found:?}, this replica reads {VERSION:?}; use the \
         version that wrote it, or start with an empty directory",
        path.display()
    )]
    Version {
        /// The directory.
        path: PathBuf,
        /// What its VERSION says.
        found: String,
    },
    /// A file has been damaged.
    #[error("state directory: {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
}

/// Adds what was done, and with which file, to an error.
pub fn io_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StateError + 'a {
    move |source| StateError::Io {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// A state directory that this process has locked.
pub struct StateDir {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl StateDir {
    /// Opens or makes the directory, and locks it.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(io_error("create", root))?;
        let version = root.join("VERSION");
        let fresh = match fs::read_to_string(&version) {
            Ok(text) if text == VERSION => false,
            Ok(found) => {
                return Err(StateError::Version {
                    path: root.to_path_buf(),
                    found,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(io_error("read", &version)(error)),
        };
        if fresh && !is_empty(root)? {
            return Err(StateError::Foreign(root.to_path_buf()));
        }
        let lock = lock(root)?;
        for sub in ["canisters", "blobs", "compiled"] {
            let path = root.join(sub);
            // Compiled code is used only from where nobody else can write, whatever the umask.
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(io_error("create", &path))?;
        }
        if fresh {
            write_atomic(&version, VERSION.as_bytes())?;
        }
        Ok(Self {
            root: root.to_path_buf(),
            _lock: lock,
        })
    }

    /// The keys; made from `seed` the first time.
    pub fn keys(&self, seed: [u8; 32]) -> Result<SecretKeys, StateError> {
        let path = self.root.join("keys");
        match fs::read(&path) {
            Ok(bytes) => serde_cbor::from_slice(&bytes).map_err(|error| StateError::Damaged {
                path,
                why: error.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keys = SecretKeys::from_seed(seed);
                write_atomic(&path, &crate::http::cbor::encode(&keys))?;
                Ok(keys)
            }
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// A file or directory in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory of a canister.
    pub fn canister(&self, id: &Principal) -> PathBuf {
        self.root.join("canisters").join(id.to_text())
    }

    /// The file of a blob.
    pub fn blob(&self, hash: &[u8; 32]) -> PathBuf {
        self.root.join("blobs").join(hex::encode(hash))
    }
}

/// Whether a directory is the state directory of a replica of whatever version, or was to become
/// one: nobody else's files are in it.
pub fn is_state(root: &Path) -> bool {
    root.join("VERSION").is_file() || is_empty(root).unwrap_or(false)
}

/// Empty but for what a start that was cut short may have left.
fn is_empty(root: &Path) -> Result<bool, StateError> {
    for entry in fs::read_dir(root).map_err(io_error("list", root))? {
        let entry = entry.map_err(io_error("list", root))?;
        let ours = ["LOCK", "VERSION.tmp", "canisters", "blobs", "compiled"]
            .iter()
            .any(|name| entry.file_name() == *name);
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(root: &Path) -> Result<File, StateError> {
    use rustix::fs::{FlockOperation, flock};
    let path = root.join("LOCK");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open", &path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        return Err(StateError::InUse {
            path: root.to_path_buf(),
            pid: pid.trim().to_string(),
        });
    }
    file.set_len(0).map_err(io_error("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(io_error("write", &path))?;
    Ok(file)
}

/// Replaces a file: it has the old content or the new one, whenever the process dies.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io_error("create", &temporary))?;
    file.write_all(bytes)
        .map_err(io_error("write", &temporary))?;
    file.sync_data().map_err(io_error("write", &temporary))?;
    fs::rename(&temporary, path).map_err(io_error("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_not_ours_or_in_use_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("state");
        let first = StateDir::open(&root).expect("a fresh directory");
        assert!(matches!(
            StateDir::open(&root),
            Err(StateError::InUse { .. })
        ));
        let keys = first.keys([1; 32]).expect("makes keys");
        drop(first);
        let again = StateDir::open(&root).expect("it is free again");
        assert_eq!(again.keys([2; 32]).expect("reads keys").root, keys.root);
        fs::write(again.path("keys"), b"rubbish").expect("writes");
        assert!(matches!(
            again.keys([2; 32]),
            Err(StateError::Damaged { .. })
        ));
        drop(again);
        fs::write(root.join("VERSION"), "icwasi replica state 9\n").expect("writes");
        assert!(matches!(
            StateDir::open(&root),
            Err(StateError::Version { .. })
        ));

        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).expect("creates");
        fs::write(foreign.join("thesis.txt"), "text").expect("writes");
        assert!(matches!(
            StateDir::open(&foreign),
            Err(StateError::Foreign(_))
        ));
        assert_eq!(
            fs::read_dir(&foreign).expect("lists").count(),
            1,
            "nothing was written"
        );
    }
}

//! Directories of this computer in the canister of a run.
//!
//! They are copied into a file system that is made here, which becomes the canister's stable
//! memory; after the run they are copied back from it. Symbolic links are copied as they are, and
//! followed in neither direction: directories are held open and entered one name at a time.

mod copy_in;
mod copy_out;
mod error;
mod memory;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use icwasi::fs::{Ino, Stat};

pub(super) use copy_in::copy_in;
pub(super) use copy_out::copy_out;
pub use error::FilesError;
pub(super) use memory::Scratch;

/// A directory of this computer and its place in the canister.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The directory here.
    pub host: PathBuf,
    /// Absolute path in the canister.
    pub guest: String,
    /// The program cannot change it, and it is not copied back.
    pub read_only: bool,
}

/// Deeper trees are refused: each level holds a directory open.
const MAX_DEPTH: usize = 200;
/// Bytes that are copied at a time; those that are all zero are left out.
const PIECE: usize = 1 << 20;

/// What was copied in, by path in the canister.
pub(super) type Seen = HashMap<String, State>;

/// The state of a file as it was copied in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    ino: Ino,
    version: u64,
    /// A number may be that of a file that was removed, after as many changes.
    ctime: u64,
}

impl State {
    fn of(stat: &Stat) -> Self {
        Self {
            ino: stat.ino,
            version: stat.version,
            ctime: stat.ctime,
        }
    }
}

/// The places of mappings in plain form, such as `/a/b`, and `/`.
struct Places(Vec<String>);

impl Places {
    fn of(mappings: &[Mapping]) -> Self {
        Self(mappings.iter().map(|m| plain(&m.guest)).collect())
    }

    /// Whether a mapping lies at `path`, and so over what another one has there.
    fn covers(&self, path: &str) -> bool {
        self.0.iter().any(|place| place == path)
    }
}

fn plain(path: &str) -> String {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    format!("/{}", names.join("/"))
}

/// `directory/name`
fn below(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// Refuses what cannot be copied, before anything is: hosts that are no directories, and, if they
/// are `copied_back`, two writable ones of which one holds the other.
pub(super) fn check(mappings: &[Mapping], copied_back: bool) -> Result<(), FilesError> {
    let mut writable: Vec<(&Path, PathBuf)> = Vec::new();
    for mapping in mappings {
        let host = mapping.host.as_path();
        let fail = |source| FilesError::io("use", host, source);
        let found = std::fs::metadata(host).map_err(fail)?;
        if !found.is_dir() {
            return Err(fail(std::io::ErrorKind::NotADirectory.into()));
        }
        if mapping.read_only || !copied_back {
            continue;
        }
        let real = host.canonicalize().map_err(fail)?;
        for (other, other_real) in &writable {
            if real.starts_with(other_real) || other_real.starts_with(&real) {
                return Err(FilesError::Overlap {
                    one: (*other).to_owned(),
                    other: host.to_owned(),
                });
            }
        }
        writable.push((host, real));
    }
    Ok(())
}

/// A name of this computer as the canister's file system has names.
fn text<'n>(name: &'n OsStr, path: &Path) -> Result<&'n str, FilesError> {
    std::str::from_utf8(name.as_bytes()).map_err(|_| FilesError::NotUtf8 {
        path: path.to_owned(),
    })
}

/// The parts of `data`, which is at `offset`, that are not all zero.
fn filled(data: &[u8], offset: u64) -> impl Iterator<Item = (u64, &[u8])> {
    const GRAIN: usize = 4_096;
    let is_zero = |at: usize| data[at..data.len().min(at + GRAIN)].iter().all(|b| *b == 0);
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < data.len() && is_zero(at) {
            at += GRAIN;
        }
        let start = at;
        while at < data.len() && !is_zero(at) {
            at += GRAIN;
        }
        let part = data.get(start..data.len().min(at))?;
        (!part.is_empty()).then_some((offset + start as u64, part))
    })
}

#[cfg(test)]
mod tests;

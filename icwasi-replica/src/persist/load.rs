//! Reading a state directory at the start: files first, then the log over them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use candid::Principal;

use super::dir::{StateDir, StateError, io_error};
use super::meta::CanisterMeta;
use super::wal::Wal;
use super::{Calls, Record, SharedStore, Store, counter, lock, open_memory, remove_canister};
use crate::core::{Core, CoreError, SavedMemory};
use crate::executor::Shared;
use crate::ingress::history::{IngressEntry, IngressStatus, Reject};

/// What was found at the start, besides canisters.
#[derive(Default)]
pub struct Recovered {
    /// Outcomes of calls.
    pub calls: Vec<([u8; 32], IngressEntry)>,
    /// The first counter that no canister id has used; 0 if none has.
    pub next_canister: u64,
    /// The latest time that anything saw.
    pub now: u64,
}

impl Store {
    /// Replays the log into the files, and reads what they hold.
    pub fn open(
        dir: StateDir,
        shared: Arc<Shared>,
        sync: bool,
    ) -> Result<(Self, Recovered), StateError> {
        let mut canisters = read_canisters(&dir)?;
        let calls = read_calls(&dir)?;
        let mut recovered = Recovered {
            calls: Vec::new(),
            next_canister: calls.next_canister,
            now: calls.now,
        };
        let mut finished: BTreeMap<[u8; 32], IngressEntry> = calls.finished.into_iter().collect();
        let mut dirty = BTreeSet::new();
        let path = dir.path("log");
        let wal = Wal::open(&path, |header, payload| {
            let record: Record = serde_cbor::from_slice(header).map_err(io::Error::other)?;
            match record {
                Record::Commit {
                    meta,
                    now,
                    ingress,
                    reset_heap,
                    reset_stable,
                    heap,
                    stable,
                } => {
                    let base = dir.canister(&meta.id);
                    fs::create_dir_all(&base)?;
                    let rest = replay(
                        &base.join("heap"),
                        reset_heap,
                        meta.heap_bytes,
                        &heap,
                        payload,
                    )?;
                    replay(
                        &base.join("stable"),
                        reset_stable,
                        meta.stable_bytes,
                        &stable,
                        rest,
                    )?;
                    recovered.now = recovered.now.max(now);
                    recovered.next_canister = recovered.next_canister.max(counter(&meta.id) + 1);
                    if let Some((id, entry)) = ingress {
                        finished.entry(id).or_insert_with(|| interrupted(entry));
                    }
                    dirty.insert(meta.id);
                    canisters.insert(meta.id, *meta);
                }
                Record::Outcome { id, entry } => {
                    recovered.now = recovered.now.max(entry.changed);
                    finished.insert(id, entry);
                }
                Record::Delete { id } => {
                    canisters.remove(&id);
                    remove_canister(&dir, &id)?;
                }
            }
            Ok(())
        })?;
        recovered.calls = finished.into_iter().collect();
        let latest = canisters.values().map(CanisterMeta::latest_time).max();
        recovered.now = recovered.now.max(latest.unwrap_or(0));
        let blobs = list_blobs(&dir)?;
        let next_canister = recovered.next_canister;
        let store = Self {
            dir,
            wal,
            shared,
            canisters,
            dirty,
            heaps: HashMap::new(),
            blobs,
            next_canister,
            running: HashMap::new(),
            behind: false,
            sync,
        };
        Ok((store, recovered))
    }
}

/// Puts all canisters of `store` into `core`. The store must not be locked: the core asks for the
/// files of stable memories meanwhile.
pub fn restore(store: &SharedStore, core: &mut Core) -> Result<(), RestoreError> {
    let canisters: Vec<CanisterMeta> = lock(store).canisters.values().cloned().collect();
    for meta in canisters {
        let base = lock(store).dir.canister(&meta.id);
        let mut chunks = BTreeMap::new();
        for hash in &meta.chunks {
            chunks.insert(*hash, lock(store).read_blob(hash)?);
        }
        let globals = meta.globals();
        let module = meta
            .module
            .map(|hash| lock(store).read_blob(&hash))
            .transpose()?;
        let (heap_bytes, stable_bytes) = (meta.heap_bytes, meta.stable_bytes);
        let record = meta.into_record(chunks);
        let Some(module) = module else {
            core.restore_canister(record, None)?;
            continue;
        };
        let heap = whole_memory(&base.join("heap"), heap_bytes)?;
        whole_memory(&base.join("stable"), stable_bytes)?;
        let mut read = |at: u64, out: &mut [u8]| heap.read_exact_at(out, at);
        let memory = SavedMemory {
            module: &module,
            globals: &globals,
            heap_bytes,
            heap: &mut read,
            stable_bytes,
            stable: None,
        };
        core.restore_canister(record, Some(memory))?;
    }
    Ok(())
}

/// Opens a memory's file, which must have at least `bytes` unless there is no memory.
fn whole_memory(path: &Path, bytes: u64) -> Result<File, StateError> {
    let found = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(io_error("open", path)(error)),
    };
    if found < bytes {
        return Err(StateError::Damaged {
            path: path.to_path_buf(),
            why: format!("it has {found} bytes, the memory in it {bytes}"),
        });
    }
    open_memory(path, bytes).map_err(io_error("open", path))
}

/// Why the state could not be put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The core.
    #[error(transparent)]
    Core(#[from] CoreError),
}

/// Writes ranges from the front of `payload` into a memory's file; returns the rest of it.
fn replay<'a>(
    path: &Path,
    reset: bool,
    bytes: u64,
    ranges: &[(u64, u64)],
    mut payload: &'a [u8],
) -> io::Result<&'a [u8]> {
    if !reset && ranges.is_empty() && bytes == 0 {
        return Ok(payload);
    }
    let file = open_memory(path, 0)?;
    if reset {
        file.set_len(0)?;
    }
    for (at, len) in ranges {
        let (now, rest) = usize::try_from(*len)
            .ok()
            .and_then(|len| payload.split_at_checked(len))
            .ok_or_else(|| io::Error::other("a record of the log is shorter than its ranges"))?;
        file.write_all_at(now, *at)?;
        payload = rest;
    }
    if file.metadata()?.len() < bytes {
        file.set_len(bytes)?;
    }
    Ok(payload)
}

/// The status of a call that had begun, and whose end is not on record.
pub(super) fn interrupted(mut entry: IngressEntry) -> IngressEntry {
    entry.status = IngressStatus::Rejected(Reject {
        code: 2,
        message: "the replica was stopped while this call ran; what it did may have taken effect \
                  in part"
            .to_string(),
        error_code: "IC0202".to_string(),
    });
    entry
}

fn read_calls(dir: &StateDir) -> Result<Calls, StateError> {
    let path = dir.path("ingress");
    match fs::read(&path) {
        Ok(bytes) => serde_cbor::from_slice(&bytes).map_err(|error| StateError::Damaged {
            path,
            why: error.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Calls::default()),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

fn read_canisters(dir: &StateDir) -> Result<BTreeMap<Principal, CanisterMeta>, StateError> {
    let root = dir.path("canisters");
    let mut canisters = BTreeMap::new();
    for entry in fs::read_dir(&root).map_err(io_error("list", &root))? {
        let path = entry.map_err(io_error("list", &root))?.path().join("state");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            // Made since the last checkpoint: the log has it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let meta: CanisterMeta =
            serde_cbor::from_slice(&bytes).map_err(|error| StateError::Damaged {
                path,
                why: error.to_string(),
            })?;
        canisters.insert(meta.id, meta);
    }
    Ok(canisters)
}

fn list_blobs(dir: &StateDir) -> Result<HashSet<[u8; 32]>, StateError> {
    let root = dir.path("blobs");
    let mut blobs = HashSet::new();
    for entry in fs::read_dir(&root).map_err(io_error("list", &root))? {
        let name = entry.map_err(io_error("list", &root))?.file_name();
        let mut hash = [0u8; 32];
        // What is not named by a hash is a blob that was not finished.
        if hex::decode_to_slice(name.as_encoded_bytes(), &mut hash).is_ok() {
            blobs.insert(hash);
        }
    }
    Ok(blobs)
}

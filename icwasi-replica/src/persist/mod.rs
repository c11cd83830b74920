//! State on disk: whatever a client was told survives the process.
//!
//! Every message goes to a log first (`wal`), then into one file per memory; a checkpoint writes
//! the small states and empties the log. After a crash the log is replayed: its records hold whole
//! ranges of bytes and whole small states, so doing it again over files that have them already
//! changes nothing.

pub mod dir;
mod load;
mod meta;
mod wal;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use candid::Principal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::core::{Commit, Journal};
use crate::executor::Shared;
use crate::ingress::history::IngressEntry;

pub use dir::{StateDir, StateError, io_error, is_state};
pub use load::{Recovered, RestoreError, restore};
use meta::CanisterMeta;
use wal::Wal;

/// Size of the log at which a checkpoint is made.
const CHECKPOINT_BYTES: u64 = 128 << 20;

/// The header of a record in the log.
#[derive(Serialize, Deserialize)]
enum Record {
    /// A message of a canister; the payload holds the ranges, heap first.
    Commit {
        meta: Box<CanisterMeta>,
        /// Time of the replica.
        now: u64,
        /// The call from outside in whose course it happened.
        ingress: Option<([u8; 32], IngressEntry)>,
        reset_heap: bool,
        reset_stable: bool,
        /// Offset and length.
        heap: Vec<(u64, u64)>,
        stable: Vec<(u64, u64)>,
    },
    /// The outcome of a call.
    Outcome { id: [u8; 32], entry: IngressEntry },
    /// A canister is gone.
    Delete { id: Principal },
}

/// What the file `ingress` holds.
#[derive(Serialize, Deserialize, Default)]
struct Calls {
    finished: Vec<([u8; 32], IngressEntry)>,
    next_canister: u64,
    now: u64,
}

/// The open state directory.
pub struct Store {
    dir: StateDir,
    wal: Wal,
    shared: Arc<Shared>,
    /// Small states, as of the last message.
    canisters: BTreeMap<Principal, CanisterMeta>,
    /// Whose small state is newer than its file.
    dirty: BTreeSet<Principal>,
    heaps: HashMap<Principal, File>,
    blobs: HashSet<[u8; 32]>,
    next_canister: u64,
    /// Calls from outside that have begun, by their numbers.
    running: HashMap<u64, ([u8; 32], IngressEntry)>,
    /// A heap file lacks what the log has: the log must not be emptied before the next start.
    behind: bool,
    sync: bool,
}

/// A store that the core's journal and the executor share.
pub type SharedStore = Arc<Mutex<Store>>;

/// Locks a store. A panic inside leaves it in a state that the next start repairs from the log.
pub fn lock(store: &SharedStore) -> MutexGuard<'_, Store> {
    store
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Store {
    /// Notes that a call from outside begins, so that a crash does not let it run twice.
    pub fn begin(&mut self, call: u64, id: [u8; 32], entry: IngressEntry) {
        self.running.insert(call, (id, entry));
    }

    /// Notes that a call is answered. What it still causes belongs to nobody.
    pub fn end(&mut self, call: u64) {
        self.running.remove(&call);
    }

    /// Writes the outcome of a call; after that the client may be told.
    pub fn finish(&mut self, id: [u8; 32], entry: &IngressEntry) -> io::Result<()> {
        let header = encode(&Record::Outcome {
            id,
            entry: entry.clone(),
        })?;
        self.wal.append(&header, &[], self.sync)
    }

    /// Forgets a canister.
    pub fn delete(&mut self, id: &Principal) -> io::Result<()> {
        let header = encode(&Record::Delete { id: *id })?;
        self.wal.append(&header, &[], self.sync)?;
        self.canisters.remove(id);
        self.dirty.remove(id);
        self.heaps.remove(id);
        remove_canister(&self.dir, id)
    }

    /// Writes the small states to their files and empties the log.
    ///
    /// Only between messages: the core must have applied what it journalled.
    pub fn checkpoint(&mut self) -> Result<(), StateError> {
        if self.behind {
            let why = "an earlier write failed; make room on the disk and restart the replica";
            return Err(io_error("write", &self.dir.path("canisters"))(
                io::Error::other(why),
            ));
        }
        for id in std::mem::take(&mut self.dirty) {
            if let Some(meta) = self.canisters.get(&id) {
                let path = self.dir.canister(&id).join("state");
                let written = encode(meta)
                    .map_err(io_error("encode", &path))
                    .and_then(|bytes| dir::write_atomic(&path, &bytes));
                if let Err(error) = written {
                    self.dirty.insert(id);
                    return Err(error);
                }
            }
            if self.sync {
                self.sync_memories(&id)?;
            }
        }
        let calls = {
            let history = self.shared.history();
            let finished = history.finished().map(|(id, entry)| (*id, entry.clone()));
            // Should nothing more be heard of those that run, they were cut off.
            let running = self.running.values().cloned();
            let cut_off = running.map(|(id, entry)| (id, load::interrupted(entry)));
            Calls {
                finished: cut_off.chain(finished).collect(),
                next_canister: self.next_canister,
                now: self.shared.clock.latest(),
            }
        };
        let path = self.dir.path("ingress");
        let bytes = encode(&calls).map_err(io_error("encode", &path))?;
        dir::write_atomic(&path, &bytes)?;
        let path = self.dir.path("log");
        self.wal.clear().map_err(io_error("empty", &path))?;
        self.drop_blobs()
    }

    fn sync_memories(&self, id: &Principal) -> Result<(), StateError> {
        for name in ["heap", "stable"] {
            let path = self.dir.canister(id).join(name);
            if let Ok(file) = File::open(&path) {
                file.sync_data().map_err(io_error("write", &path))?;
            }
        }
        Ok(())
    }

    /// Removes blobs that nothing names any more.
    fn drop_blobs(&mut self) -> Result<(), StateError> {
        let mut named = HashSet::new();
        for meta in self.canisters.values() {
            named.extend(meta.module);
            named.extend(&meta.chunks);
        }
        for hash in self.blobs.difference(&named) {
            let path = self.dir.blob(hash);
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        self.blobs.retain(|hash| named.contains(hash));
        Ok(())
    }

    fn read_blob(&self, hash: &[u8; 32]) -> Result<Vec<u8>, StateError> {
        let path = self.dir.blob(hash);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        if Sha256::digest(&bytes)[..] != hash[..] {
            return Err(StateError::Damaged {
                path,
                why: "its hash is not its name".to_string(),
            });
        }
        Ok(bytes)
    }

    fn put_blob(&mut self, hash: [u8; 32], bytes: &[u8]) -> io::Result<()> {
        if !self.blobs.contains(&hash) {
            dir::write_atomic(&self.dir.blob(&hash), bytes).map_err(io::Error::other)?;
            self.blobs.insert(hash);
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit<'_>) -> io::Result<()> {
        if self.wal.len() > CHECKPOINT_BYTES {
            self.checkpoint().map_err(io::Error::other)?;
        }
        let canister = commit.canister;
        if let (Some(hash), Some(module)) = (canister.module_hash(), canister.module()) {
            self.put_blob(hash, module)?;
        }
        for (hash, bytes) in &canister.chunk_store {
            self.put_blob(*hash, bytes)?;
        }
        let base = self.dir.canister(&canister.id);
        if !self.canisters.contains_key(&canister.id) {
            fs::create_dir_all(&base)?;
        }
        let lengths = |ranges: &[(u64, &[u8])]| -> Vec<(u64, u64)> {
            ranges
                .iter()
                .map(|(at, bytes)| (*at, bytes.len() as u64))
                .collect()
        };
        let meta = CanisterMeta::new(commit);
        let header = encode(&Record::Commit {
            meta: Box::new(meta.clone()),
            now: self.shared.clock.latest(),
            ingress: commit
                .call
                .and_then(|call| self.running.get(&call).cloned()),
            reset_heap: commit.reset_heap,
            reset_stable: commit.reset_stable,
            heap: lengths(&commit.heap),
            stable: lengths(&commit.stable),
        })?;
        let payload: Vec<&[u8]> = commit
            .heap
            .iter()
            .chain(&commit.stable)
            .map(|(_, bytes)| *bytes)
            .collect();
        self.wal.append(&header, &payload, self.sync)?;
        // From here on the message has happened, as the log has it.
        self.next_canister = self.next_canister.max(counter(&canister.id) + 1);
        self.canisters.insert(canister.id, meta);
        self.dirty.insert(canister.id);
        if let Err(error) = self.apply_heap(commit) {
            tracing::error!(
                "the heap file of {} could not be written: {error}",
                canister.id
            );
            self.behind = true;
        }
        Ok(())
    }

    fn apply_heap(&mut self, commit: &Commit<'_>) -> io::Result<()> {
        let id = commit.canister.id;
        if commit.heap.is_empty() && !commit.reset_heap && commit.heap_bytes == 0 {
            return Ok(());
        }
        let file = match self.heaps.entry(id) {
            std::collections::hash_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let path = self.dir.canister(&id).join("heap");
                free.insert(open_memory(&path, 0)?)
            }
        };
        if commit.reset_heap {
            file.set_len(0)?;
        }
        for (at, bytes) in &commit.heap {
            file.write_all_at(bytes, *at)?;
        }
        if file.metadata()?.len() < commit.heap_bytes {
            file.set_len(commit.heap_bytes)?;
        }
        Ok(())
    }
}

/// The core's view of a store.
pub struct StoreJournal(pub SharedStore);

impl Journal for StoreJournal {
    fn commit(&mut self, commit: &Commit<'_>) -> io::Result<()> {
        lock(&self.0).commit(commit)
    }

    fn stable_file(&mut self, id: &Principal) -> io::Result<Option<PathBuf>> {
        let base = lock(&self.0).dir.canister(id);
        fs::create_dir_all(&base)?;
        Ok(Some(base.join("stable")))
    }
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_cbor::to_vec(value).map_err(io::Error::other)
}

/// The number in a canister id; 0 for ids of another form.
fn counter(id: &Principal) -> u64 {
    match id.as_slice() {
        [number @ .., 1, 1] if number.len() == 8 => {
            u64::from_be_bytes(number.try_into().expect("eight bytes"))
        }
        _ => 0,
    }
}

/// Opens a memory's file, at least `bytes` long.
fn open_memory(path: &std::path::Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if file.metadata()?.len() < bytes {
        file.set_len(bytes)?;
    }
    Ok(file)
}

fn remove_canister(dir: &StateDir, id: &Principal) -> io::Result<()> {
    match fs::remove_dir_all(dir.canister(id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! Handing changes to the [`Journal`](super::Journal) and taking saved states back.

use std::fs::File;
use std::io;
use std::sync::Arc;

use candid::Principal;
use ic_error_types::ErrorCode;
use sha2::{Digest, Sha256};

use super::canister::{Canister, CanisterStatus, Code};
use super::execute::{self, Live};
use super::heap::Heap;
use super::limits::WASM_PAGE;
use super::stable::{StableMemory, scratch_file};
use super::types::{CoreError, UserError};
use super::{CanisterRecord, Commit, Core, SavedMemory, validate};

/// Bytes that are read at a time from saved memory.
const PIECE: u64 = 1 << 20;

fn not_saved(id: &Principal, e: &io::Error) -> UserError {
    UserError::new(
        ErrorCode::CanisterWasmEngineError,
        format!("The change of canister {id} could not be saved and was undone: {e}"),
    )
}

impl Core {
    /// Journals a canister of which only public fields changed (settings, chunks, cycles...).
    pub fn save(&mut self, id: &Principal) -> Result<(), UserError> {
        self.commit(id, false, false)
    }

    /// Journals what changed since the last commit, then makes it the state to which later
    /// messages roll back. On an error nothing was kept by the journal, and the caller undoes.
    pub(super) fn commit(
        &mut self,
        id: &Principal,
        reset_heap: bool,
        reset_stable: bool,
    ) -> Result<(), UserError> {
        let canister = self
            .canisters
            .get_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        let call = self.scheduler.call();
        if let Some(journal) = &mut self.journal {
            let globals = match &mut canister.live {
                Some(live) => live.globals(),
                None => canister.globals.clone(),
            };
            let canister = &*canister;
            let commit = Commit {
                canister,
                call,
                globals: &globals,
                reset_heap,
                reset_stable,
                heap_bytes: canister.heap_bytes(),
                stable_bytes: canister.stable_bytes(),
                heap: canister
                    .heap
                    .as_ref()
                    .map(Heap::changes)
                    .unwrap_or_default(),
                stable: canister.stable.changes(),
            };
            journal.commit(&commit).map_err(|e| not_saved(id, &e))?;
        }
        self.apply(id).map_err(|e| not_saved(id, &e))
    }

    fn apply(&mut self, id: &Principal) -> io::Result<()> {
        let named = self
            .canisters
            .get(id)
            .is_some_and(|c| c.stable.is_changed() && !c.stable.has_file());
        let file = if named {
            Some(self.stable_file(id, true)?)
        } else {
            None
        };
        let Some(canister) = self.canisters.get_mut(id) else {
            return Ok(());
        };
        if let Some(file) = file {
            canister.stable.set_file(file)?;
        }
        execute::commit(canister)
    }

    /// The file for a canister's stable memory. `fresh`: what it held is dropped.
    fn stable_file(&mut self, id: &Principal, fresh: bool) -> io::Result<File> {
        let path = match &mut self.journal {
            Some(journal) => journal.stable_file(id)?,
            None => None,
        };
        match path {
            Some(path) => {
                if fresh {
                    // A new file, not an emptied one: memory that is being replaced may have to
                    // be put back, and its mapping is of the old file.
                    match std::fs::remove_file(&path) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                        _ => {}
                    }
                }
                File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)
            }
            None => scratch_file(&self.scratch_dir),
        }
    }

    /// Puts back a canister that was saved. Its memory is taken from `memory`; nothing is
    /// journalled.
    pub fn restore_canister(
        &mut self,
        record: CanisterRecord,
        memory: Option<SavedMemory<'_>>,
    ) -> Result<(), CoreError> {
        let id = record.id;
        let mut canister = Canister::new(id, record.settings, record.cycles, record.created_at);
        canister.status = match record.status {
            // The calls that it waited for are gone.
            CanisterStatus::Stopping => CanisterStatus::Stopped,
            status => status,
        };
        canister.version = record.version;
        canister.certified_data = record.certified_data;
        canister.log = record.log;
        canister.chunk_store = record.chunk_store;
        canister.history = record.history;
        canister.installed_at = record.installed_at;
        canister.global_timer = record.global_timer;
        if let Some(memory) = memory {
            let bad = |e: UserError| CoreError::BadState { id, why: e.message };
            self.fill(&mut canister, memory).map_err(bad)?;
        }
        self.canisters.insert(id, canister);
        self.apply(&id).map_err(|e| {
            self.canisters.remove(&id);
            CoreError::BadState {
                id,
                why: e.to_string(),
            }
        })
    }

    /// Makes the number of the next new canister at least `n`.
    pub fn reserve_canister_numbers(&mut self, n: u64) {
        self.next_canister = self.next_canister.max(n);
    }

    /// Replaces code and memory of an existing canister (a snapshot is loaded), journalled as one
    /// change. On an error nothing has changed.
    pub fn load_state(
        &mut self,
        id: &Principal,
        memory: SavedMemory<'_>,
        certified_data: Vec<u8>,
    ) -> Result<(), UserError> {
        let old = self
            .canisters
            .remove(id)
            .ok_or_else(|| UserError::not_found(id))?;
        let mut new = Canister::new(*id, old.settings.clone(), old.cycles, old.created_at);
        new.status = old.status;
        new.version = old.version + 1;
        new.certified_data = certified_data;
        new.log = old.log.clone();
        new.chunk_store = old.chunk_store.clone();
        new.history = old.history.clone();
        new.installed_at = old.installed_at;
        new.global_timer = 0;
        let filled = self.fill(&mut new, memory);
        self.canisters.insert(*id, new);
        match filled.and_then(|()| self.commit(id, true, true)) {
            Ok(()) => Ok(()),
            Err(e) => {
                self.canisters.insert(*id, old);
                Err(e)
            }
        }
    }

    /// Gives a canister code and memory, uncommitted.
    fn fill(&mut self, canister: &mut Canister, memory: SavedMemory<'_>) -> Result<(), UserError> {
        let id = canister.id;
        let bad = |why: String| {
            UserError::new(
                ErrorCode::InvalidManagementPayload,
                format!("The saved state of canister {id} cannot be used: {why}"),
            )
        };
        let plain = validate::decode(memory.module, &self.limits)?;
        let (compiled, _) = self.engine.compile(&plain, &self.limits)?;
        let maximum = if compiled.info.wasm64 {
            self.limits.wasm64_memory_bytes
        } else {
            self.limits.wasm32_memory_bytes
        };
        if memory.heap_bytes > maximum
            || !memory.heap_bytes.is_multiple_of(WASM_PAGE)
            || memory.heap_bytes < compiled.memory_bytes.unwrap_or(0)
        {
            return Err(bad(format!(
                "a heap of {} bytes does not fit",
                memory.heap_bytes
            )));
        }
        if !memory.stable_bytes.is_multiple_of(WASM_PAGE)
            || memory.stable_bytes / WASM_PAGE > self.limits.stable_pages
        {
            return Err(bad(format!(
                "stable memory of {} bytes is not possible",
                memory.stable_bytes
            )));
        }
        if compiled.memory_bytes.is_some() {
            let heap = Heap::new(maximum).map_err(|e| bad(e.to_string()))?;
            if !heap.grow_to(memory.heap_bytes) {
                return Err(bad("the heap cannot be made".into()));
            }
            copy(memory.heap_bytes, memory.heap, |offset, piece| {
                heap.write(offset, piece)
            })
            .map_err(|e| bad(e.to_string()))?;
            canister.heap = Some(heap);
        }
        let pages = memory.stable_bytes / WASM_PAGE;
        match memory.stable {
            None if pages > 0 => {
                let file = self
                    .stable_file(&id, false)
                    .map_err(|e| bad(e.to_string()))?;
                canister.stable =
                    StableMemory::open(file, pages).map_err(|e| bad(e.to_string()))?;
            }
            None => {}
            Some(read) => {
                let stable = &mut canister.stable;
                stable.grow(pages);
                copy(memory.stable_bytes, read, |offset, piece| {
                    stable.write(offset, piece).is_ok()
                })
                .map_err(|e| bad(e.to_string()))?;
            }
        }
        let code = Code {
            uploaded: Arc::from(memory.module),
            hash: Sha256::digest(memory.module).into(),
            compiled,
        };
        let live = Live::new(&self.engine, &code, canister.heap.as_ref(), memory.globals)
            .map_err(|e| bad(format!("{e:#}")))?;
        canister.globals = memory.globals.to_vec();
        canister.live = Some(live);
        canister.code = Some(code);
        Ok(())
    }
}

/// Copies `len` bytes in pieces, leaving out those that are zero.
fn copy(
    len: u64,
    read: super::ReadAt<'_>,
    mut write: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE.min(len) as usize];
    let mut offset = 0;
    while offset < len {
        let n = (len - offset).min(PIECE) as usize;
        read(offset, &mut piece[..n])?;
        for (i, page) in piece[..n].chunks(1 << 14).enumerate() {
            if page.iter().any(|b| *b != 0) && !write(offset + (i << 14) as u64, page) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        offset += n as u64;
    }
    Ok(())
}

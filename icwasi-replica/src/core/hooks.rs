//! What the owner of a [`Core`] gives it: configuration, hooks, saved states.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use candid::Principal;

use super::Core;
use super::canister::{Canister, CanisterLog, CanisterStatus, Change, GlobalValue, Settings};
use super::limits::Limits;
use super::types::UserError;

/// What a core is made with.
#[derive(Clone, Debug, Default)]
pub struct CoreConfig {
    /// Limits and fees.
    pub limits: Limits,
    /// Where compiled code is kept between runs. Must be writable by this user only: what lies
    /// there is executed.
    pub compile_cache: Option<PathBuf>,
    /// Compiles what is not in the cache in about three quarters of the time, to code that is
    /// slower; what is used again is compiled well then, in the background. No effect without a
    /// cache. What messages cost in instructions stays the same.
    pub quick_compile: bool,
    /// Where stable memories lie while they are in use, as files that have no name. The system's
    /// directory for temporary files if `None`.
    pub scratch_dir: Option<PathBuf>,
    /// First canister id to be given out; the counter in an id `counter.to_be_bytes() ++ 01 01`.
    pub first_canister: u64,
}

/// Answers calls to `aaaaa-aa` that canisters make, and to stand-ins of canisters.
pub trait ManagementHandler: Send {
    /// Runs `method` for the canister `sender`. `cycles` came with the call; what is not listed
    /// in [`ManagementReply::refund`] is gone.
    fn call(
        &mut self,
        core: &mut Core,
        sender: Principal,
        method: &str,
        arg: &[u8],
        cycles: u128,
    ) -> ManagementReply;

    /// Whether calls to `id`, which no canister has, go to [`ManagementHandler::call_stand_in`].
    fn stands_in(&self, id: &Principal) -> bool {
        let _ = id;
        false
    }

    /// Like [`ManagementHandler::call`], for a stand-in of a canister.
    fn call_stand_in(
        &mut self,
        core: &mut Core,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: &[u8],
        cycles: u128,
    ) -> ManagementReply {
        let _ = (core, sender, method, arg);
        ManagementReply {
            result: Err(UserError::not_found(id)),
            refund: cycles,
        }
    }
}

/// What a [`ManagementHandler`] answers.
pub struct ManagementReply {
    /// Bytes of the reply, or why not.
    pub result: Result<Vec<u8>, UserError>,
    /// Cycles to give back.
    pub refund: u128,
}

/// What one message changed in one canister, before it is applied.
pub struct Commit<'a> {
    /// The call from outside in whose course it happened, by its number.
    pub call: Option<u64>,
    /// The canister, as it is after the message, memory excepted.
    pub canister: &'a Canister,
    /// Mutable globals after the message.
    pub globals: &'a [GlobalValue],
    /// All heap and stable memory before this message is to be forgotten (install, reinstall,
    /// snapshot loaded); the ranges below are then complete but for zeros.
    pub reset_heap: bool,
    /// The same for stable memory.
    pub reset_stable: bool,
    /// Size of the heap, bytes.
    pub heap_bytes: u64,
    /// Size of stable memory, bytes.
    pub stable_bytes: u64,
    /// Ranges of the heap that may have changed, ascending.
    pub heap: Vec<(u64, &'a [u8])>,
    /// Ranges of stable memory that may have changed, ascending.
    pub stable: Vec<(u64, &'a [u8])>,
}

/// Makes changes durable. One call is one message: all of it or nothing may be found after a
/// crash. When it fails, the message is rolled back and its caller gets an error.
pub trait Journal: Send {
    /// Writes `commit` down.
    fn commit(&mut self, commit: &Commit<'_>) -> io::Result<()>;
    /// The file that holds the canister's stable memory and is written by the core after
    /// [`Journal::commit`]; `None`: an unnamed temporary file. Asked when a canister first needs
    /// stable memory; must be at least as long as stable memory when a state is restored.
    fn stable_file(&mut self, id: &Principal) -> io::Result<Option<PathBuf>>;
}

/// A canister that was saved, to be put back by [`Core::restore_canister`] or
/// [`Core::load_state`].
pub struct SavedMemory<'a> {
    /// Module as it was uploaded.
    pub module: &'a [u8],
    /// Mutable globals, as [`Canister::globals`] gave them.
    pub globals: &'a [GlobalValue],
    /// Size of the heap, bytes.
    pub heap_bytes: u64,
    /// Reads the heap.
    pub heap: &'a mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    /// Size of stable memory, bytes.
    pub stable_bytes: u64,
    /// Reads stable memory; `None`: the file of [`Journal::stable_file`] holds it already.
    pub stable: Option<ReadAt<'a>>,
}

/// Fills the buffer from an offset.
pub type ReadAt<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>;

/// Gives the certificate for a canister's certified data, when a query asks for it.
pub type DataCertificate = Arc<dyn Fn(&Principal, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Tells the time, nanoseconds since 1970.
pub type ClockHook = Box<dyn FnMut() -> u64 + Send>;

/// Is told what canisters print: canister, time, text.
pub type PrintHook = Arc<dyn Fn(&Principal, u64, &[u8]) + Send + Sync>;

/// The public fields of a [`Canister`], to restore it.
pub struct CanisterRecord {
    /// Its id.
    pub id: Principal,
    /// Settings.
    pub settings: Settings,
    /// Balance.
    pub cycles: u128,
    /// Running or stopped.
    pub status: CanisterStatus,
    /// `canister_version`.
    pub version: u64,
    /// Certified data.
    pub certified_data: Vec<u8>,
    /// Log.
    pub log: CanisterLog,
    /// Chunks by SHA-256.
    pub chunk_store: BTreeMap<[u8; 32], Vec<u8>>,
    /// Changes, oldest first.
    pub history: Vec<Change>,
    /// Nanoseconds.
    pub created_at: u64,
    /// Nanoseconds.
    pub installed_at: Option<u64>,
    /// `global_timer_set`.
    pub global_timer: u64,
}

//! The execution core: canisters, their code and memory, and how messages run in them.
//!
//! Knows nothing of HTTP, certificates, candid or the management canister's methods; those reach
//! it through [`Core`] and the hooks [`ManagementHandler`], [`Journal`] and
//! [`Core::set_data_certificate`].

mod canister;
pub mod limits;
mod types;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use candid::Principal;

pub use canister::{
    Canister, CanisterLog, CanisterStatus, Change, ChangeDetails, GlobalValue, LogRecord, Metadata,
    Settings, Visibility,
};
pub use limits::{Fees, Limits};
pub use types::{
    CallOutcome, CoreError, ErrorCode, ExecutionStats, InstallMode, RejectCode, UpgradeOptions,
    UserError,
};

/// What a core is made with.
#[derive(Clone, Debug, Default)]
pub struct CoreConfig {
    /// Limits and fees.
    pub limits: Limits,
    /// Where compiled code is kept between runs. Must be writable by this user only: what lies
    /// there is executed.
    pub compile_cache: Option<PathBuf>,
    /// Where stable memories lie while they are in use, as files that have no name. The system's
    /// directory for temporary files if `None`.
    pub scratch_dir: Option<PathBuf>,
    /// First canister id to be given out; the counter in an id `counter.to_be_bytes() ++ 01 01`.
    pub first_canister: u64,
}

/// Answers calls to `aaaaa-aa` that canisters make.
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

/// Is told what canisters print: canister, time, text.
pub type PrintHook = Arc<dyn Fn(&Principal, u64, &[u8]) + Send + Sync>;

/// All canisters and their execution. One thread at a time; `Send`, so that an owner may put it
/// behind a mutex or a thread with a channel.
pub struct Core {
    config: CoreConfig,
    canisters: BTreeMap<Principal, Canister>,
    next_canister: u64,
    time: u64,
}

impl Core {
    /// An empty core.
    pub fn new(config: CoreConfig) -> Result<Core, CoreError> {
        let next_canister = config.first_canister;
        Ok(Core { config, canisters: BTreeMap::new(), next_canister, time: 0 })
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Sets the time that the next messages see, nanoseconds since 1970. Never goes backwards.
    pub fn set_time(&mut self, nanos: u64) {
        self.time = self.time.max(nanos);
    }

    /// The time that messages see.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Sets who answers calls to `aaaaa-aa`.
    pub fn set_management(&mut self, _handler: Box<dyn ManagementHandler>) {}

    /// Sets who makes changes durable.
    pub fn set_journal(&mut self, _journal: Box<dyn Journal>) {}

    /// Sets who certifies for `data_certificate_copy`.
    pub fn set_data_certificate(&mut self, _provider: DataCertificate) {}

    /// Sets who is told what canisters print.
    pub fn set_print(&mut self, _print: PrintHook) {}

    /// Sets what `subnet_self` and `root_key` give.
    pub fn set_subnet(&mut self, _subnet: Principal, _root_key: Vec<u8>) {}

    /// A canister without code. Fails if `specified` exists.
    pub fn create_canister(
        &mut self,
        sender: Principal,
        specified: Option<Principal>,
        settings: Settings,
        cycles: u128,
    ) -> Result<Principal, UserError> {
        let _ = (sender, specified, settings, cycles, self.next_canister);
        Err(unfinished())
    }

    /// Puts `module` (gzip or plain) into a canister. Checks nothing about the sender's rights:
    /// that is the management canister's work. Fails without any change if anything traps.
    pub fn install_code(
        &mut self,
        sender: Principal,
        id: &Principal,
        mode: InstallMode,
        module: &[u8],
        arg: &[u8],
    ) -> Result<ExecutionStats, UserError> {
        let _ = (sender, id, mode, module, arg);
        Err(unfinished())
    }

    /// Removes code and memory; open calls are rejected.
    pub fn uninstall_code(&mut self, sender: Principal, id: &Principal) -> Result<(), UserError> {
        let _ = (sender, id);
        Err(unfinished())
    }

    /// Makes it run again.
    pub fn start_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        let _ = id;
        Err(unfinished())
    }

    /// Stops it; there are no open calls between messages of [`Core::update`], so at once.
    pub fn stop_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        let _ = id;
        Err(unfinished())
    }

    /// Removes a stopped canister for good.
    pub fn delete_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        let _ = id;
        Err(unfinished())
    }

    /// Whether the canister takes the ingress message: runs `canister_inspect_message` if it has
    /// one. `Err` is the refusal to be sent.
    pub fn inspect_message(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<(), UserError> {
        let _ = (id, sender, method, arg);
        Err(unfinished())
    }

    /// Runs an update (or a query as an update) to completion, with all calls that it makes.
    pub fn update(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        let _ = (id, sender, method, arg);
        Err(unfinished())
    }

    /// Runs a query or composite query; what it changes is discarded.
    pub fn query(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        let _ = (id, sender, method, arg);
        Err(unfinished())
    }

    /// Runs heartbeats and timers that are due. Returns how many messages ran.
    pub fn run_timers(&mut self) -> usize {
        0
    }

    /// Puts back a canister that was saved: everything in `canister` that is public, and memory.
    pub fn restore_canister(
        &mut self,
        canister: CanisterRecord,
        memory: Option<SavedMemory<'_>>,
    ) -> Result<(), CoreError> {
        let _ = (canister, memory);
        Ok(())
    }

    /// Replaces code and memory of an existing canister (a snapshot is loaded), journalled as one
    /// change.
    pub fn load_state(
        &mut self,
        id: &Principal,
        memory: SavedMemory<'_>,
        certified_data: Vec<u8>,
    ) -> Result<(), UserError> {
        let _ = (id, memory, certified_data);
        Err(unfinished())
    }

    /// Journals a canister of which only public fields changed (settings, chunks, cycles...).
    pub fn save(&mut self, id: &Principal) -> io::Result<()> {
        let _ = id;
        Ok(())
    }

    /// A canister.
    pub fn canister(&self, id: &Principal) -> Option<&Canister> {
        self.canisters.get(id)
    }

    /// A canister, to change its settings, chunk store and the like; call [`Core::save`] after.
    pub fn canister_mut(&mut self, id: &Principal) -> Option<&mut Canister> {
        self.canisters.get_mut(id)
    }

    /// Ids of all canisters, ascending.
    pub fn canister_ids(&self) -> impl Iterator<Item = &Principal> {
        self.canisters.keys()
    }
}

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

fn unfinished() -> UserError {
    UserError::new(ErrorCode::CanisterWasmEngineError, "not written yet")
}

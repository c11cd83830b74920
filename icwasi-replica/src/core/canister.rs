//! A canister as the platform keeps it: settings, cycles, code, log, call contexts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use candid::Principal;

use super::engine::CompiledModule;
use super::execute::Live;
use super::heap::Heap;
use super::limits::{Limits, WASM_PAGE};
use super::stable::StableMemory;
use super::validate::MethodKind;

/// Running, or on the way to being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanisterStatus {
    /// Takes messages.
    Running,
    /// Takes no new messages; waits for its outstanding calls.
    Stopping,
    /// Takes none and has none outstanding.
    Stopped,
}

/// Who may read a canister's log, or its snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Controllers only.
    Controllers,
    /// Everybody.
    Public,
    /// Controllers and these.
    AllowedViewers(Vec<Principal>),
}

impl Visibility {
    /// Whether `who` may see it, of `canister`.
    pub fn shows_to(&self, canister: &Canister, who: &Principal) -> bool {
        canister.is_controller(who)
            || match self {
                Visibility::Controllers => false,
                Visibility::Public => true,
                Visibility::AllowedViewers(list) => list.contains(who),
            }
    }
}

/// What `update_settings` sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who may manage the canister; at most `Limits::controllers`.
    pub controllers: Vec<Principal>,
    /// Percent of a core.
    pub compute_allocation: u64,
    /// Bytes reserved; 0 for none.
    pub memory_allocation: u64,
    /// Seconds.
    pub freezing_threshold: u64,
    /// Cycles.
    pub reserved_cycles_limit: u128,
    /// Bytes of heap above which updates trap with IC0539; 0 for none.
    pub wasm_memory_limit: u64,
    /// Bytes below the limit at which `canister_on_low_wasm_memory` runs.
    pub wasm_memory_threshold: u64,
    /// Who reads the log.
    pub log_visibility: Visibility,
    /// Bytes of log that are kept.
    pub log_memory_limit: u64,
    /// Who reads snapshots.
    pub snapshot_visibility: Visibility,
    /// Who reads the status.
    pub status_visibility: Visibility,
    /// Cycles that a call of another canister has to bring; 0 for none.
    pub minimum_call_cycles: u128,
    /// In order of their names.
    pub environment_variables: BTreeMap<String, String>,
}

impl Settings {
    /// Settings of a new canister.
    pub fn new(controllers: Vec<Principal>, limits: &Limits) -> Self {
        Settings {
            controllers,
            compute_allocation: 0,
            memory_allocation: 0,
            freezing_threshold: 2_592_000,
            reserved_cycles_limit: 5_000_000_000_000,
            wasm_memory_limit: limits.default_wasm_memory_limit,
            wasm_memory_threshold: 0,
            log_visibility: Visibility::Controllers,
            log_memory_limit: limits.log_bytes as u64,
            snapshot_visibility: Visibility::Controllers,
            status_visibility: Visibility::Controllers,
            minimum_call_cycles: 0,
            environment_variables: BTreeMap::new(),
        }
    }
}

/// One line of a canister's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Grows by one from 0, over the canister's whole life.
    pub idx: u64,
    /// Nanoseconds.
    pub timestamp_nanos: u64,
    /// What was printed, or why a message trapped.
    pub content: Vec<u8>,
}

/// The last lines that a canister printed. The oldest make room for new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanisterLog {
    records: VecDeque<LogRecord>,
    next_idx: u64,
    used: usize,
}

/// Bytes that a record takes besides its content.
const LOG_RECORD_OVERHEAD: usize = 24;

impl CanisterLog {
    /// A log that was saved.
    pub fn restore(next_idx: u64, records: Vec<LogRecord>) -> Self {
        let used = records
            .iter()
            .map(|r| r.content.len() + LOG_RECORD_OVERHEAD)
            .sum();
        CanisterLog {
            records: records.into(),
            next_idx,
            used,
        }
    }

    /// Adds a line, cut to `capacity` bytes, and drops the oldest that no longer fit.
    pub fn push(&mut self, timestamp_nanos: u64, mut content: Vec<u8>, capacity: usize) {
        let idx = self.next_idx;
        self.next_idx += 1;
        let room = capacity.saturating_sub(LOG_RECORD_OVERHEAD);
        if capacity == 0 {
            return;
        }
        content.truncate(room);
        self.used += content.len() + LOG_RECORD_OVERHEAD;
        self.records.push_back(LogRecord {
            idx,
            timestamp_nanos,
            content,
        });
        self.shrink(capacity);
    }

    /// Drops the oldest lines until at most `capacity` bytes are used.
    pub fn shrink(&mut self, capacity: usize) {
        while self.used > capacity {
            match self.records.pop_front() {
                Some(record) => self.used -= record.content.len() + LOG_RECORD_OVERHEAD,
                None => break,
            }
        }
    }

    /// Lines, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &LogRecord> {
        self.records.iter()
    }

    /// Index that the next line gets.
    pub fn next_idx(&self) -> u64 {
        self.next_idx
    }

    /// Bytes used.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Forgets the lines, not the index.
    pub fn clear(&mut self) {
        self.records.clear();
        self.used = 0;
    }
}

/// A mutable or immutable global of a module, by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalValue {
    /// `i32`
    I32(i32),
    /// `i64`
    I64(i64),
    /// `f32`, as bits
    F32(u32),
    /// `f64`, as bits
    F64(u64),
    /// `v128`
    V128(u128),
}

/// A `icp:public NAME` or `icp:private NAME` section of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Readable by everybody.
    pub public: bool,
    /// Content.
    pub content: Vec<u8>,
}

/// Why a canister changed, for `canister_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeDetails {
    /// It was created with these controllers.
    Creation(Vec<Principal>),
    /// Its code was removed.
    CodeUninstall,
    /// Code with this hash was put in.
    CodeDeployment(super::types::InstallMode, [u8; 32]),
    /// Its controllers became these.
    ControllersChange(Vec<Principal>),
    /// A snapshot was loaded: its id, its canister version, when it was taken.
    LoadSnapshot(Vec<u8>, u64, u64),
}

/// An entry of a canister's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Nanoseconds.
    pub timestamp_nanos: u64,
    /// `canister_version` after the change.
    pub canister_version: u64,
    /// Who asked for it.
    pub origin: Principal,
    /// What it was.
    pub details: ChangeDetails,
}

/// A canister. Fields that nothing but management reads are public; code and memory are reached
/// through methods and changed by [`super::Core`] only.
pub struct Canister {
    /// Its id.
    pub id: Principal,
    /// What its controllers set.
    pub settings: Settings,
    /// Balance.
    pub cycles: u128,
    /// Running or stopped.
    pub status: CanisterStatus,
    /// `canister_version` of the spec: grows with each change.
    pub version: u64,
    /// `certified_data_set`.
    pub certified_data: Vec<u8>,
    /// What it printed.
    pub log: CanisterLog,
    /// Chunks by SHA-256.
    pub chunk_store: BTreeMap<[u8; 32], Vec<u8>>,
    /// Changes, oldest first.
    pub history: Vec<Change>,
    /// When it was created, nanoseconds.
    pub created_at: u64,
    /// When its code was last installed, nanoseconds.
    pub installed_at: Option<u64>,
    /// `global_timer_set`; 0 is off.
    pub global_timer: u64,
    /// `canister_on_low_wasm_memory` ran and memory is still low.
    pub(super) low_memory_seen: bool,
    /// What it runs.
    pub(super) code: Option<Code>,
    /// Its heap, if the code has one.
    pub(super) heap: Option<Heap>,
    /// Mutable globals after the last message.
    pub(super) globals: Vec<GlobalValue>,
    /// Its stable memory.
    pub(super) stable: StableMemory,
    /// An instance on the heap, made when it is needed.
    pub(super) live: Option<Live>,
}

/// A canister's code.
#[derive(Clone)]
pub(super) struct Code {
    /// As uploaded.
    pub uploaded: Arc<[u8]>,
    /// SHA-256 of that.
    pub hash: [u8; 32],
    /// Ready to run.
    pub compiled: Arc<CompiledModule>,
}

impl Canister {
    /// A canister without code.
    pub(super) fn new(id: Principal, settings: Settings, cycles: u128, now: u64) -> Canister {
        Canister {
            id,
            settings,
            cycles,
            status: CanisterStatus::Running,
            version: 0,
            certified_data: Vec::new(),
            log: CanisterLog::default(),
            chunk_store: BTreeMap::new(),
            history: Vec::new(),
            created_at: now,
            installed_at: None,
            global_timer: 0,
            low_memory_seen: false,
            code: None,
            heap: None,
            globals: Vec::new(),
            stable: StableMemory::default(),
            live: None,
        }
    }

    /// SHA-256 of the module as it was uploaded (compressed, if it was).
    pub fn module_hash(&self) -> Option<[u8; 32]> {
        self.code.as_ref().map(|c| c.hash)
    }

    /// The module as it was uploaded.
    pub fn module(&self) -> Option<&Arc<[u8]>> {
        self.code.as_ref().map(|c| &c.uploaded)
    }

    /// `icp:` sections of the module.
    pub fn metadata(&self) -> Option<&BTreeMap<String, Metadata>> {
        self.code.as_ref().map(|c| &c.compiled.info.metadata)
    }

    /// What kind of method `name` is, if the module exports it.
    pub fn method(&self, name: &str) -> Option<MethodKind> {
        self.code.as_ref()?.compiled.info.methods.get(name).copied()
    }

    /// Size of the heap in bytes.
    pub fn heap_bytes(&self) -> u64 {
        self.heap.as_ref().map_or(0, Heap::len)
    }

    /// Size of stable memory in bytes.
    pub fn stable_bytes(&self) -> u64 {
        self.stable.pages() * WASM_PAGE
    }

    /// Whether its memory has 64-bit addresses.
    pub(super) fn is_wasm64(&self) -> bool {
        self.code.as_ref().is_some_and(|c| c.compiled.info.wasm64)
    }

    /// Bytes that storage is paid for: heap, stable memory, module, chunks, log, certified data.
    /// Snapshots are kept, and billed, by their owner.
    pub fn billed_bytes(&self) -> u64 {
        let module = self.module().map_or(0, |m| m.len());
        let chunks: usize = self.chunk_store.values().map(Vec::len).sum();
        let small = module + chunks + self.log.used() + self.certified_data.len();
        self.heap_bytes() + self.stable_bytes() + small as u64
    }

    /// Copies from the heap; `false` if the range is not within it.
    pub fn heap_read(&self, offset: u64, out: &mut [u8]) -> bool {
        self.heap
            .as_ref()
            .is_some_and(|heap| heap.read(offset, out))
    }

    /// Copies from stable memory; `false` if the range is not within it.
    pub fn stable_read(&self, offset: u64, out: &mut [u8]) -> bool {
        self.stable.peek(offset, out).is_ok()
    }

    /// Mutable globals, in the order of the module.
    pub fn globals(&self) -> &[GlobalValue] {
        &self.globals
    }

    /// Whether less than `wasm_memory_threshold` is left below `wasm_memory_limit`, or below 4 GiB
    /// if there is none.
    pub(super) fn is_low_on_memory(&self) -> bool {
        let s = &self.settings;
        let limit = match s.wasm_memory_limit {
            0 => 4 << 30,
            limit => limit,
        };
        // Callbacks are not bound by the limit, so more than it may be in use.
        s.wasm_memory_threshold > 0 && limit < self.heap_bytes() + s.wasm_memory_threshold
    }

    /// Whether `principal` is a controller.
    pub fn is_controller(&self, principal: &Principal) -> bool {
        self.settings.controllers.contains(principal)
    }
}

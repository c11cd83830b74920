//! What goes in and out of the execution core: errors, outcomes, measurements.

use candid::Principal;
pub use ic_error_types::{ErrorCode, RejectCode};

/// How code is put into a canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallMode {
    /// Into an empty canister; runs `start` and `canister_init`.
    Install,
    /// Drops code, heap and stable memory, then installs.
    Reinstall,
    /// Keeps stable memory; runs `canister_pre_upgrade`, `start`, `canister_post_upgrade`.
    Upgrade(UpgradeOptions),
}

/// Options of [`InstallMode::Upgrade`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpgradeOptions {
    /// Do not run `canister_pre_upgrade`.
    pub skip_pre_upgrade: bool,
    /// What becomes of the heap. Must be said where the old module expects to keep it.
    pub main_memory: Option<MainMemory>,
}

/// The heap in an upgrade (`wasm_memory_persistence`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MainMemory {
    /// It stays (Motoko's enhanced orthogonal persistence).
    Keep,
    /// It is replaced by the new module's.
    Replace,
}

/// What one message (with the calls that it made, for an update) consumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionStats {
    /// Instructions as the IC counts them.
    pub instructions: u64,
    /// Size of the heap after the message, in 64 KiB pages.
    pub heap_pages: u64,
    /// Size of stable memory after the message, in 64 KiB pages.
    pub stable_pages: u64,
    /// 4 KiB pages of stable memory that the message wrote for the first time.
    pub stable_dirty_os_pages: u64,
    /// 4 KiB pages of stable memory that the message read or wrote.
    pub stable_accessed_os_pages: u64,
    /// Bytes of the heap that were saved for a rollback (a measure of heap pages touched).
    pub heap_dirty_bytes: u64,
    /// Calls of System API functions.
    pub system_api_calls: u64,
    /// Messages executed: 1, and more when other canisters were called.
    pub messages: u64,
    /// Instructions that an installation is charged for compiling the module, in
    /// `instructions` too.
    pub compile_instructions: u64,
}

impl ExecutionStats {
    /// Adds what a further message of the same call consumed; sizes are those of `self`.
    pub fn add(&mut self, other: &ExecutionStats) {
        self.instructions += other.instructions;
        self.stable_dirty_os_pages += other.stable_dirty_os_pages;
        self.stable_accessed_os_pages += other.stable_accessed_os_pages;
        self.heap_dirty_bytes += other.heap_dirty_bytes;
        self.system_api_calls += other.system_api_calls;
        self.messages += other.messages;
        self.compile_instructions += other.compile_instructions;
    }
}

/// A call that was replied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    /// Bytes of the reply.
    pub reply: Vec<u8>,
    /// What it consumed.
    pub stats: ExecutionStats,
}

/// A call that was not replied to, with the code that the IC gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct UserError {
    /// The IC's code; displays as `ICxxxx`.
    pub code: ErrorCode,
    /// Text for people.
    pub message: String,
    /// What was consumed, when something ran.
    pub stats: Option<ExecutionStats>,
}

impl UserError {
    /// An error for something that did not run.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        UserError {
            code,
            message: message.into(),
            stats: None,
        }
    }

    /// The same error with what was consumed.
    pub fn with_stats(mut self, stats: ExecutionStats) -> Self {
        self.stats = Some(stats);
        self
    }

    /// The reject code (1 to 6) that belongs to the error code.
    pub fn reject_code(&self) -> RejectCode {
        RejectCode::from(self.code)
    }

    /// No canister has this id.
    pub fn not_found(id: &Principal) -> Self {
        Self::new(
            ErrorCode::CanisterNotFound,
            format!("Canister {id} not found"),
        )
    }
}

/// The core itself could not do its work (disk, compiler): not the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// wasmtime refused its configuration.
    #[error("cannot set up the wasm engine: {0}")]
    Engine(String),
    /// A file of the state directory.
    #[error("{what}: {source}")]
    Io {
        /// What was done, with the path.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A saved state that this version cannot take.
    #[error("saved state of canister {id}: {why}")]
    BadState {
        /// Whose state.
        id: Principal,
        /// What is wrong.
        why: String,
    },
}

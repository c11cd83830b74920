//! The execution core: canisters, their code and memory, and how messages run in them.
//!
//! Knows nothing of HTTP, certificates, candid or the management canister's methods; those reach
//! it through [`Core`] and the hooks [`ManagementHandler`], [`Journal`] and
//! [`Core::set_data_certificate`].

mod canister;
pub mod costs;
mod engine;
mod execute;
mod heap;
mod install;
mod instrument;
pub mod limits;
mod persistence;
mod scheduler;
mod stable;
mod system_api;
mod types;
mod validate;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use candid::Principal;

use engine::WasmEngine;
use execute::{Entry, Ran};
use scheduler::Scheduler;
use system_api::{Message, Subnet, context};

pub use canister::{
    Canister, CanisterLog, CanisterStatus, Change, ChangeDetails, GlobalValue, LogRecord, Metadata,
    Settings, Visibility,
};
pub use limits::{Fees, Limits};
pub use validate::MethodKind;
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

/// All canisters and their execution. One thread at a time; `Send`, so that an owner may put it
/// behind a mutex or a thread with a channel. The thread needs `Limits::wasm_stack_bytes` of
/// stack and half a MiB more.
pub struct Core {
    limits: Arc<Limits>,
    scratch_dir: PathBuf,
    engine: WasmEngine,
    canisters: BTreeMap<Principal, Canister>,
    next_canister: u64,
    time: u64,
    scheduler: Scheduler,
    subnet: Arc<Subnet>,
    management: Option<Box<dyn ManagementHandler>>,
    journal: Option<Box<dyn Journal>>,
    certificate: Option<DataCertificate>,
    print: Option<PrintHook>,
}

impl Core {
    /// An empty core.
    pub fn new(config: CoreConfig) -> Result<Core, CoreError> {
        let engine = WasmEngine::new(&config.limits, config.compile_cache.as_deref())?;
        Ok(Core {
            limits: Arc::new(config.limits),
            scratch_dir: config.scratch_dir.unwrap_or_else(std::env::temp_dir),
            engine,
            canisters: BTreeMap::new(),
            next_canister: config.first_canister,
            time: 0,
            scheduler: Scheduler::default(),
            subnet: Arc::new(Subnet {
                id: Principal::management_canister(),
                root_key: Vec::new(),
            }),
            management: None,
            journal: None,
            certificate: None,
            print: None,
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
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
    pub fn set_management(&mut self, handler: Box<dyn ManagementHandler>) {
        self.management = Some(handler);
    }

    /// Sets who makes changes durable.
    pub fn set_journal(&mut self, journal: Box<dyn Journal>) {
        self.journal = Some(journal);
    }

    /// Sets who certifies for `data_certificate_copy`.
    pub fn set_data_certificate(&mut self, provider: DataCertificate) {
        self.certificate = Some(provider);
    }

    /// Sets who is told what canisters print.
    pub fn set_print(&mut self, print: PrintHook) {
        self.print = Some(print);
    }

    /// Sets what `subnet_self` and `root_key` give.
    pub fn set_subnet(&mut self, id: Principal, root_key: Vec<u8>) {
        self.subnet = Arc::new(Subnet { id, root_key });
    }

    /// Number in the id of the next canister that is created without a specified id.
    pub fn next_canister(&self) -> u64 {
        self.next_canister
    }

    /// A canister without code. Fails if `specified` exists.
    pub fn create_canister(
        &mut self,
        sender: Principal,
        specified: Option<Principal>,
        settings: Settings,
        cycles: u128,
    ) -> Result<Principal, UserError> {
        let id = match specified {
            Some(id) if self.canisters.contains_key(&id) => {
                return Err(UserError::new(
                    ErrorCode::CanisterIdAlreadyExists,
                    format!("Canister {id} is already installed."),
                ));
            }
            Some(id) => id,
            None => loop {
                let id = canister_id(self.next_canister);
                self.next_canister += 1;
                if !self.canisters.contains_key(&id) {
                    break id;
                }
            },
        };
        let controllers = settings.controllers.clone();
        let mut canister = Canister::new(id, settings, cycles, self.time);
        canister.version = 1;
        canister.history.push(Change {
            timestamp_nanos: self.time,
            canister_version: 1,
            origin: sender,
            details: ChangeDetails::Creation(controllers),
        });
        self.canisters.insert(id, canister);
        if let Err(e) = self.commit(&id, true, true) {
            self.canisters.remove(&id);
            return Err(e);
        }
        Ok(id)
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
        self.run_install(sender, id, mode, module, arg)
    }

    /// Removes code, memory, chunks and log; open calls are rejected.
    pub fn uninstall_code(&mut self, sender: Principal, id: &Principal) -> Result<(), UserError> {
        self.run_uninstall(sender, id)
    }

    /// Makes it run again.
    pub fn start_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        self.set_status(id, CanisterStatus::Running)
    }

    /// Stops it; there are no open calls between messages of [`Core::update`], so at once.
    pub fn stop_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        self.set_status(id, CanisterStatus::Stopped)
    }

    fn set_status(&mut self, id: &Principal, status: CanisterStatus) -> Result<(), UserError> {
        let canister = self.canisters.get_mut(id).ok_or_else(|| UserError::not_found(id))?;
        if canister.status == status {
            return Ok(());
        }
        canister.status = status;
        canister.version += 1;
        self.commit(id, false, false)
    }

    /// Removes a stopped canister for good. The owner of the state removes what it saved.
    pub fn delete_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        let canister = self.canisters.get(id).ok_or_else(|| UserError::not_found(id))?;
        if canister.status != CanisterStatus::Stopped {
            return Err(UserError::new(
                ErrorCode::CanisterNotStopped,
                format!("Canister {id} must be stopped before it is deleted."),
            ));
        }
        self.drop_contexts(id, &UserError::not_found(id));
        self.canisters.remove(id);
        Ok(())
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
        const HOOK: &str = "canister_inspect_message";
        self.find_method(id, method)?;
        let has_hook = self
            .canisters
            .get(id)
            .and_then(|c| c.code.as_ref())
            .is_some_and(|c| c.compiled.info.hooks.contains(HOOK));
        if !has_hook {
            return Ok(());
        }
        let mut message =
            self.message(id, context::INSPECT, self.limits.inspect_instructions);
        message.caller = sender;
        message.method = method.into();
        message.arg = arg.to_vec();
        let ran = self.run_on(id, message, Entry::Export(HOOK));
        if let Some(canister) = self.canisters.get_mut(id) {
            execute::rollback(canister);
        }
        match ran.result {
            Err(e) => Err(e.with_stats(ran.stats)),
            Ok(()) if ran.message.accepted => Ok(()),
            Ok(()) => Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!("Error from Canister {id}: Canister rejected the message"),
            )
            .with_stats(ran.stats)),
        }
    }

    /// Runs an update (or a query as an update) to completion, with all calls that it makes.
    pub fn update(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        self.run_update(id, sender, method, arg)
    }

    /// Runs a query or composite query; what it changes is discarded.
    pub fn query(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        self.run_query(id, sender, method, arg, 0, &mut Vec::new())
    }

    /// Runs heartbeats and timers that are due. Returns how many were run.
    pub fn run_timers(&mut self) -> usize {
        let due: Vec<(Principal, bool, bool)> = self
            .canisters
            .values()
            .filter(|c| c.status == CanisterStatus::Running)
            .filter_map(|c| {
                let hooks = &c.code.as_ref()?.compiled.info.hooks;
                let timer = c.global_timer != 0
                    && c.global_timer <= self.time
                    && hooks.contains("canister_global_timer");
                let heartbeat = hooks.contains("canister_heartbeat");
                (timer || heartbeat).then_some((c.id, timer, heartbeat))
            })
            .collect();
        let mut count = 0;
        for (id, timer, heartbeat) in due {
            if heartbeat {
                self.run_system(&id, "canister_heartbeat");
                count += 1;
            }
            if timer && let Some(canister) = self.canisters.get_mut(&id) {
                // It fires once, even if it traps.
                canister.global_timer = 0;
                self.run_system(&id, "canister_global_timer");
                count += 1;
            }
        }
        count
    }

    /// When the next timer is due, nanoseconds; 0 if a canister has a heartbeat.
    pub fn next_timer(&self) -> Option<u64> {
        self.canisters
            .values()
            .filter(|c| c.status == CanisterStatus::Running)
            .filter_map(|c| {
                let hooks = &c.code.as_ref()?.compiled.info.hooks;
                if hooks.contains("canister_heartbeat") {
                    return Some(0);
                }
                let set = c.global_timer != 0 && hooks.contains("canister_global_timer");
                set.then_some(c.global_timer)
            })
            .min()
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

    /// A message for a canister that exists, with everything that follows from its kind.
    fn message(&self, id: &Principal, bits: context::Contexts, limit: u64) -> Box<Message> {
        let canister = self.canisters.get(id);
        let settings = canister.map(|c| &c.settings);
        let query = bits
            & (context::QUERY
                | context::COMPOSITE_QUERY
                | context::COMPOSITE_CALLBACK
                | context::INSPECT)
            != 0;
        let limits = &self.limits;
        let stable_bytes = if query {
            limits.stable_access_query_bytes
        } else {
            limits.stable_access_update_bytes
        };
        // The setting binds what is not somebody's answer: updates, timers, installation.
        let limited = bits & (context::UPDATE | context::SYSTEM | context::INIT) != 0;
        let wasm64 = canister
            .and_then(|c| c.code.as_ref())
            .is_some_and(|c| c.compiled.info.wasm64);
        Box::new(Message {
            context: bits,
            replicated: !query,
            canister: *id,
            caller: Principal::management_canister(),
            method: String::new(),
            arg: Vec::new(),
            reject: None,
            deadline: 0,
            time: self.time,
            limit,
            context_instructions: 0,
            status: canister.map_or(CanisterStatus::Running, |c| c.status),
            version: canister.map_or(0, |c| c.version),
            controllers: settings.map(|s| s.controllers.clone()).unwrap_or_default(),
            environment: settings
                .map(|s| s.environment_variables.clone())
                .unwrap_or_default(),
            limits: limits.clone(),
            subnet: self.subnet.clone(),
            balance: canister.map_or(0, |c| c.cycles),
            available: 0,
            refunded: 0,
            answered: false,
            reply: Vec::new(),
            response: None,
            reply_limit: if query { limits.query_reply_bytes } else { limits.reply_bytes },
            accepted: false,
            pending: None,
            calls: Vec::new(),
            call_capacity: limits.queue_capacity,
            certified_data: None,
            certified_before: canister.map(|c| c.certified_data.clone()).unwrap_or_default(),
            certificate: if query { self.certificate.clone() } else { None },
            certificate_bytes: None,
            timer: None,
            timer_before: canister.map_or(0, |c| c.global_timer),
            stable: Default::default(),
            stable_page_limit: stable_bytes / limits::OS_PAGE,
            heap_maximum: if wasm64 {
                limits.wasm64_memory_bytes
            } else {
                limits.wasm32_memory_bytes
            },
            wasm_memory_limit: settings
                .map(|s| s.wasm_memory_limit)
                .filter(|l| limited && *l != 0),
            api_calls: 0,
            log: Vec::new(),
            log_capacity: settings.map_or(0, |s| s.log_memory_limit),
            log_used: 0,
            print: self.print.clone(),
        })
    }

    /// Runs a message, keeping nothing and undoing nothing.
    fn run_on(&mut self, id: &Principal, message: Box<Message>, entry: Entry<'_>) -> Ran {
        match self.canisters.get_mut(id) {
            Some(canister) => execute::run(&self.engine, canister, message, entry),
            None => Ran {
                message,
                result: Err(UserError::not_found(id)),
                stats: ExecutionStats::default(),
            },
        }
    }

    /// Keeps what a message did if it ended well and `keep` is set; undoes it otherwise.
    fn finish(
        &mut self,
        id: &Principal,
        ran: Ran,
        keep: bool,
    ) -> (Result<(), UserError>, Box<Message>, ExecutionStats) {
        let Ran { mut message, mut result, stats } = ran;
        self.keep_log(id, &mut message, true);
        let Some(canister) = self.canisters.get_mut(id) else {
            return (result, message, stats);
        };
        if self.limits.fees.charge {
            let fees = &self.limits.fees;
            let fee = fees.update + fees.ten_instructions * u128::from(stats.instructions) / 10;
            canister.cycles = canister.cycles.saturating_sub(fee);
            message.balance = message.balance.saturating_sub(fee);
        }
        if result.is_ok() && keep {
            let before = (
                canister.cycles,
                canister.version,
                canister.certified_data.clone(),
                canister.global_timer,
            );
            canister.cycles = message.balance;
            canister.version += 1;
            if let Some(data) = message.certified_data.take() {
                canister.certified_data = data;
            }
            if let Some(timer) = message.timer {
                canister.global_timer = timer;
            }
            result = self.commit(id, false, false);
            if result.is_err()
                && let Some(canister) = self.canisters.get_mut(id)
            {
                (canister.cycles, canister.version, canister.certified_data, canister.global_timer) =
                    before;
                execute::rollback(canister);
            }
        } else {
            if result.is_ok() {
                canister.cycles = message.balance;
            }
            execute::rollback(canister);
        }
        (result, message, stats)
    }

    /// Moves what a message printed into the canister's log. Queries only print.
    fn keep_log(&mut self, id: &Principal, message: &mut Message, keep: bool) {
        let Some(canister) = self.canisters.get_mut(id) else { return };
        let capacity = canister.settings.log_memory_limit as usize;
        for line in message.log.drain(..) {
            if keep {
                canister.log.push(message.time, line, capacity);
            }
        }
    }
}

/// The id that a local network gives to its `n`th canister.
pub fn canister_id(n: u64) -> Principal {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes[8..].copy_from_slice(&[1, 1]);
    Principal::from_slice(&bytes)
}

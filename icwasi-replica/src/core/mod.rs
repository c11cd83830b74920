//! The execution core: canisters, their code and memory, and how messages run in them.
//!
//! Knows nothing of HTTP, certificates, candid or the management canister's methods; those reach
//! it through [`Core`] and the hooks [`ManagementHandler`], [`Journal`] and
//! [`Core::set_data_certificate`].

mod canister;
mod code_cache;
pub mod costs;
mod cycles;
mod deliver;
mod engine;
mod execute;
mod heap;
mod hooks;
mod install;
mod instrument;
pub mod limits;
mod metering;
mod pause;
mod persistence;
mod query;
mod scheduler;
mod sections;
mod stable;
mod system_api;
mod types;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use candid::Principal;

use engine::WasmEngine;
use execute::Entry;
use pause::Paused;
use scheduler::Scheduler;
use system_api::{Subnet, context};

pub use canister::{
    Canister, CanisterLog, CanisterStatus, Change, ChangeDetails, GlobalValue, LogRecord, Metadata,
    Settings, Visibility,
};
pub use hooks::{
    CanisterRecord, ClockHook, Commit, CoreConfig, DataCertificate, Journal, ManagementHandler,
    ManagementReply, PrintHook, ReadAt, SavedMemory,
};
pub use limits::{Fees, Limits, ManagementLimits};
pub use pause::PauseHook;
pub use types::{
    CallOutcome, CoreError, ErrorCode, ExecutionStats, InstallMode, MainMemory, RejectCode,
    UpgradeOptions, UserError,
};
pub use validate::{MethodKind, ModuleInfo, validate};

/// All canisters and their execution. One thread at a time; `Send`, so that an owner may put it
/// behind a mutex or a thread with a channel. The thread needs `Limits::wasm_stack_bytes` of
/// stack and half a MiB more.
pub struct Core {
    limits: Arc<Limits>,
    scratch_dir: PathBuf,
    engine: Arc<WasmEngine>,
    canisters: BTreeMap<Principal, Canister>,
    next_canister: u64,
    time: u64,
    scheduler: Scheduler,
    subnet: Arc<Subnet>,
    management: Option<Box<dyn ManagementHandler>>,
    journal: Option<Box<dyn Journal>>,
    certificate: Option<DataCertificate>,
    print: Option<PrintHook>,
    /// Until when storage was charged.
    storage_paid_until: u64,
    /// Answers queries while messages run.
    pause: Option<PauseHook>,
    /// Tells the time between the messages of one call.
    clock: Option<ClockHook>,
    /// The message in whose pause this core is used.
    paused: Option<Paused>,
}

impl Core {
    /// An empty core.
    pub fn new(config: CoreConfig) -> Result<Core, CoreError> {
        let engine = WasmEngine::new(&config)?;
        Ok(Core {
            limits: Arc::new(config.limits),
            scratch_dir: config.scratch_dir.unwrap_or_else(std::env::temp_dir),
            engine: Arc::new(engine),
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
            storage_paid_until: 0,
            pause: None,
            clock: None,
            paused: None,
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the time that the next messages see, nanoseconds since 1970. Never goes backwards.
    pub fn set_time(&mut self, nanos: u64) {
        if self.time == 0 {
            self.storage_paid_until = nanos;
        }
        self.time = self.time.max(nanos);
    }

    /// Sets what tells the time between the messages of one call, so that calls which wait for a
    /// bounded time can end. Without it time stands still until the call is answered.
    pub fn set_clock(&mut self, clock: ClockHook) {
        self.clock = Some(clock);
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

    /// The subnet that canisters are on.
    pub fn subnet_id(&self) -> Principal {
        self.subnet.id
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

    /// Removes a stopped canister for good. The owner of the state removes what it saved.
    pub fn delete_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        let canister = self
            .canisters
            .get(id)
            .ok_or_else(|| UserError::not_found(id))?;
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
        let mut message = self.message(id, context::INSPECT, self.limits.inspect_instructions);
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

    /// Runs a query or composite query; what it changes is discarded.
    pub fn query(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        self.run_query(id, sender, method, arg)
    }

    /// Runs heartbeats and timers that are due; their calls run in the next rounds. Returns how
    /// many were run.
    pub fn start_timers(&mut self) -> usize {
        self.charge_storage();
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
                // It fires once, even if it traps; so it must not come back after a crash.
                canister.global_timer = 0;
                if !self.run_system(&id, "canister_global_timer")
                    && let Err(e) = self.save(&id)
                {
                    tracing::warn!("the timer of {id} may fire again after a restart: {e}");
                }
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
}

/// The id that a local network gives to its `n`th canister.
pub fn canister_id(n: u64) -> Principal {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes[8..].copy_from_slice(&[1, 1]);
    Principal::from_slice(&bytes)
}

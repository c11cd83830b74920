//! Putting code into a canister: install, reinstall, upgrade, each one message that is undone as
//! a whole when any part of it fails.

use std::sync::Arc;

use candid::Principal;
use ic_error_types::ErrorCode;
use sha2::{Digest, Sha256};

use super::canister::{Canister, Change, ChangeDetails, Code, GlobalValue};
use super::engine::CompiledModule;
use super::execute::{self, Entry, Live};
use super::heap::Heap;
use super::stable::StableMemory;
use super::system_api::context;
use super::types::{ExecutionStats, InstallMode, MainMemory, UpgradeOptions, UserError};
use super::{Core, costs, validate};

/// What a canister had before, to be put back.
struct Before {
    code: Option<Code>,
    heap: Option<Heap>,
    globals: Vec<GlobalValue>,
    live: Option<Live>,
    /// Only where stable memory is replaced.
    stable: Option<StableMemory>,
    certified_data: Vec<u8>,
    timer: u64,
}

impl Core {
    /// See [`Core::install_code`].
    pub(super) fn run_install(
        &mut self,
        sender: Principal,
        id: &Principal,
        mode: InstallMode,
        module: &[u8],
        arg: &[u8],
    ) -> Result<ExecutionStats, UserError> {
        let canister = self
            .canisters
            .get(id)
            .ok_or_else(|| UserError::not_found(id))?;
        match mode {
            InstallMode::Install if canister.code.is_some() => {
                return Err(UserError::new(
                    ErrorCode::CanisterNonEmpty,
                    format!(
                        "Canister {id} cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
                    ),
                ));
            }
            InstallMode::Upgrade(_) if canister.code.is_none() => {
                return Err(UserError::new(
                    ErrorCode::CanisterWasmModuleNotFound,
                    format!(
                        "Error from Canister {id}: Attempted to execute a message, but the canister contains no Wasm module"
                    ),
                ));
            }
            _ => {}
        }
        let plain = validate::decode(module, &self.limits)?;
        let (compiled, cached) = self.compile(&plain)?;
        if let InstallMode::Upgrade(options) = mode {
            self.check_main_memory(id, options, &compiled)?;
        }
        let mut charge = compiled.charged_operators * costs::COMPILE_PER_OPERATOR;
        if cached {
            charge /= costs::COMPILE_CACHED_DIVISOR;
        }
        let mut stats = ExecutionStats {
            instructions: charge,
            compile_instructions: charge,
            ..ExecutionStats::default()
        };
        let code = Code {
            uploaded: Arc::from(module),
            hash: Sha256::digest(module).into(),
            compiled,
        };
        let hash = code.hash;
        let paid = self.prepayment(id, self.limits.install_instructions);
        self.withdraw(id, paid)?;
        let mut before = None;
        let result = self.replace(sender, id, mode, code, arg, &mut stats, &mut before);
        let result = result.and_then(|()| {
            let now = self.time;
            let canister = self
                .canisters
                .get_mut(id)
                .ok_or_else(|| UserError::not_found(id))?;
            canister.version += 1;
            canister.history.push(Change {
                timestamp_nanos: now,
                canister_version: canister.version,
                origin: sender,
                details: ChangeDetails::CodeDeployment(mode, hash),
            });
            let installed = canister.installed_at.replace(now);
            let reset_stable = !matches!(mode, InstallMode::Upgrade(_));
            self.commit(id, true, reset_stable).inspect_err(|_| {
                if let Some(canister) = self.canisters.get_mut(id) {
                    canister.version -= 1;
                    canister.history.pop();
                    canister.installed_at = installed;
                }
            })
        });
        let fee = self.prepayment(id, stats.instructions);
        if let Some(canister) = self.canisters.get_mut(id) {
            canister.cycles = canister.cycles.saturating_add(paid.saturating_sub(fee));
        }
        match result {
            Ok(()) => Ok(stats),
            Err(e) => {
                if let (Some(before), Some(canister)) = (before, self.canisters.get_mut(id)) {
                    before.restore(canister);
                }
                Err(e.with_stats(stats))
            }
        }
    }

    /// Refuses an upgrade that would lose, or misunderstand, a heap that is meant to be kept.
    fn check_main_memory(
        &self,
        id: &Principal,
        options: UpgradeOptions,
        new: &CompiledModule,
    ) -> Result<(), UserError> {
        const SECTION: &str = "enhanced-orthogonal-persistence";
        let old = self.canisters.get(id).and_then(Canister::metadata);
        let old_keeps = old.is_some_and(|metadata| metadata.contains_key(SECTION));
        let why = match options.main_memory {
            None if old_keeps => {
                "Missing upgrade option: Enhanced orthogonal persistence requires the \
                 `wasm_memory_persistence` upgrade option."
            }
            Some(MainMemory::Keep) if !new.info.metadata.contains_key(SECTION) => {
                "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option \
                 requires that the new canister module supports enhanced orthogonal persistence."
            }
            _ => return Ok(()),
        };
        Err(UserError::new(ErrorCode::CanisterContractViolation, why))
    }

    /// Runs the hooks and puts the new code in place, uncommitted. `before` is set as soon as
    /// there is something to restore.
    #[allow(clippy::too_many_arguments, reason = "one call, from above")]
    fn replace(
        &mut self,
        sender: Principal,
        id: &Principal,
        mode: InstallMode,
        code: Code,
        arg: &[u8],
        stats: &mut ExecutionStats,
        before: &mut Option<Before>,
    ) -> Result<(), UserError> {
        // Compiling is a part of the message.
        let total = self.limits.install_instructions;
        let mut left = total.saturating_sub(stats.compile_instructions);
        let upgrade = match mode {
            InstallMode::Upgrade(options) => Some(options),
            _ => None,
        };
        let has = |c: &CompiledModule, hook: &str| c.info.hooks.contains(hook);
        let old_has_pre = self
            .canisters
            .get(id)
            .and_then(|c| c.code.as_ref())
            .is_some_and(|c| has(&c.compiled, "canister_pre_upgrade"));
        if upgrade.is_some_and(|o| !o.skip_pre_upgrade) && old_has_pre {
            let entry = Entry::Export("canister_pre_upgrade");
            let ran = self.hook(
                sender,
                id,
                context::PRE_UPGRADE,
                &[],
                entry,
                &mut left,
                stats,
            );
            if let Err(e) = ran {
                if let Some(canister) = self.canisters.get_mut(id) {
                    execute::rollback(canister);
                }
                return Err(e);
            }
        }
        let compiled = code.compiled.clone();
        let keep = upgrade.is_some_and(|o| o.main_memory == Some(MainMemory::Keep));
        *before = Some(self.swap(id, code, upgrade.is_some(), keep)?);
        if has(&compiled, "canister_start") {
            let entry = Entry::Export("canister_start");
            self.hook(sender, id, context::START, &[], entry, &mut left, stats)?;
        }
        let hook = if upgrade.is_some() {
            "canister_post_upgrade"
        } else {
            "canister_init"
        };
        if has(&compiled, hook) {
            let entry = Entry::Export(hook);
            self.hook(sender, id, context::INIT, arg, entry, &mut left, stats)?;
        }
        let canister = self
            .canisters
            .get_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        stats.heap_pages = canister.heap_bytes() / super::limits::WASM_PAGE;
        stats.stable_pages = canister.stable.pages();
        stats.messages = 1;
        execute::check_wasm_memory_limit(canister)
    }

    /// Takes the old code out and the new one in.
    fn swap(
        &mut self,
        id: &Principal,
        code: Code,
        upgrade: bool,
        keep_heap: bool,
    ) -> Result<Before, UserError> {
        let internal = |why: String| {
            UserError::new(
                ErrorCode::CanisterWasmEngineError,
                format!("Error from Canister {id}: cannot set up the module: {why}"),
            )
        };
        let limits = self.limits.clone();
        let canister = self
            .canisters
            .get_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        let kept = if keep_heap {
            canister.heap.clone()
        } else {
            None
        };
        let heap = match (&code.compiled.memory_bytes, kept) {
            (None, _) => None,
            (Some(bytes), Some(heap)) => {
                if heap.len() < *bytes && !heap.grow_to(*bytes) {
                    return Err(internal("the heap cannot grow".into()));
                }
                Some(heap)
            }
            (Some(bytes), None) => {
                let maximum = if code.compiled.info.wasm64 {
                    limits.wasm64_memory_bytes
                } else {
                    limits.wasm32_memory_bytes
                };
                if *bytes > maximum {
                    return Err(internal(format!(
                        "{bytes} bytes of memory exceed the limit"
                    )));
                }
                let heap = Heap::new(maximum).map_err(|e| internal(e.to_string()))?;
                if !heap.grow_to(*bytes) {
                    return Err(internal(format!("cannot make a heap of {bytes} bytes")));
                }
                for (offset, data) in &code.compiled.data {
                    if !heap.write(*offset, data) {
                        return Err(internal("a data segment does not fit".into()));
                    }
                }
                Some(heap)
            }
        };
        let mut live = Live::new(&self.engine, &code, heap.as_ref(), &[])
            .map_err(|e| internal(format!("{e:#}")))?;
        let before = Before {
            globals: std::mem::replace(&mut canister.globals, live.globals()),
            code: canister.code.replace(code),
            heap: std::mem::replace(&mut canister.heap, heap),
            live: canister.live.replace(live),
            stable: (!upgrade).then(|| std::mem::take(&mut canister.stable)),
            certified_data: canister.certified_data.clone(),
            timer: std::mem::take(&mut canister.global_timer),
        };
        if !upgrade {
            canister.certified_data.clear();
        }
        Ok(before)
    }

    /// Runs one of an installation's parts; what it changes stays uncommitted.
    #[allow(clippy::too_many_arguments, reason = "three calls, from above")]
    fn hook(
        &mut self,
        sender: Principal,
        id: &Principal,
        bits: context::Contexts,
        arg: &[u8],
        entry: Entry<'_>,
        left: &mut u64,
        stats: &mut ExecutionStats,
    ) -> Result<(), UserError> {
        let mut message = self.message(id, bits, *left);
        message.caller = sender;
        message.arg = arg.to_vec();
        message.stable_page_limit =
            self.limits.stable_access_install_bytes / super::limits::OS_PAGE;
        let mut ran = self.run_on(id, message, entry);
        *left = left.saturating_sub(ran.stats.instructions);
        stats.add(&ran.stats);
        self.keep_log(id, &mut ran.message, true);
        ran.result?;
        if let Some(canister) = self.canisters.get_mut(id) {
            canister.cycles = ran.message.balance;
            if let Some(data) = ran.message.certified_data.take() {
                canister.certified_data = data;
            }
            if let Some(timer) = ran.message.timer {
                canister.global_timer = timer;
            }
        }
        Ok(())
    }

    /// See [`Core::uninstall_code`].
    pub(super) fn run_uninstall(
        &mut self,
        sender: Principal,
        id: &Principal,
    ) -> Result<(), UserError> {
        let now = self.time;
        let canister = self
            .canisters
            .get_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        canister.code = None;
        canister.heap = None;
        canister.live = None;
        canister.globals.clear();
        canister.stable = StableMemory::default();
        canister.certified_data.clear();
        canister.chunk_store.clear();
        canister.log.clear();
        canister.global_timer = 0;
        canister.version += 1;
        canister.history.push(Change {
            timestamp_nanos: now,
            canister_version: canister.version,
            origin: sender,
            details: ChangeDetails::CodeUninstall,
        });
        let error = UserError::new(
            ErrorCode::CanisterRejectedMessage,
            "Canister has been uninstalled.",
        );
        self.drop_contexts(id, &error);
        self.commit(id, true, true)
    }
}

impl Before {
    fn restore(self, canister: &mut Canister) {
        match self.stable {
            Some(stable) => canister.stable = stable,
            None => canister.stable.rollback(),
        }
        // The old heap may have been changed by pre_upgrade, or kept by the new code.
        canister.code = self.code;
        canister.heap = self.heap;
        canister.globals = self.globals;
        canister.live = self.live;
        canister.certified_data = self.certified_data;
        canister.global_timer = self.timer;
        execute::rollback(canister);
    }
}

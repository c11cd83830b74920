//! Messages that nobody sent: heartbeats, timers, the hook for low memory.

use candid::Principal;

use super::super::Core;
use super::super::execute::Entry;
use super::super::system_api::context;
use super::{CallContext, Origin};

impl Core {
    /// Runs `canister_on_low_wasm_memory` when memory has become low.
    pub(super) fn low_memory(&mut self, id: &Principal) {
        const HOOK: &str = "canister_on_low_wasm_memory";
        let Some(canister) = self.canisters.get_mut(id) else {
            return;
        };
        let low = canister.is_low_on_memory();
        let seen = std::mem::replace(&mut canister.low_memory_seen, low);
        let has_hook = canister
            .code
            .as_ref()
            .is_some_and(|c| c.compiled.info.hooks.contains(HOOK));
        if low && !seen && has_hook {
            self.system_message(id, HOOK);
        }
    }

    /// Runs a heartbeat or timer; its calls are queued. `false` if it was undone.
    pub(in super::super) fn run_system(&mut self, id: &Principal, export: &str) -> bool {
        self.in_call(0, |core| core.system_message(id, export))
    }

    /// Runs heartbeats and timers that are due, with all calls that they make. Returns how many.
    pub fn run_timers(&mut self) -> usize {
        let count = self.start_timers();
        self.drain();
        count
    }

    pub(super) fn system_message(&mut self, id: &Principal, export: &str) -> bool {
        let message = self.message(id, context::SYSTEM, self.limits.update_instructions);
        let open = CallContext {
            canister: *id,
            origin: Origin::System,
            call: self.scheduler.current,
            caller: Principal::management_canister(),
            available: 0,
            answered: true,
            outstanding: 0,
            instructions: 0,
            deadline: 0,
            error: None,
        };
        let context = self.open(open);
        let kept = self.execute(context, message, Entry::Export(export), None);
        self.close(context);
        kept
    }
}

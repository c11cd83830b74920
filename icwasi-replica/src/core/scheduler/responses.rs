//! Responses: refunds, callbacks, and the cleanup when one of them traps.

use candid::Principal;

use super::super::Core;
use super::super::execute::Entry;
use super::super::system_api::{Callback, context};
use super::Answer;

impl Core {
    /// Hands an answer to who waits for it: cycles in any case, a callback if it can still run.
    pub(super) fn respond(
        &mut self,
        caller: &Principal,
        context: u64,
        callback: Callback,
        answer: Answer,
        refund: u128,
    ) {
        let unused = match self.scheduler.contexts.contains_key(&context) {
            true => refund,
            false => refund.saturating_add(callback.paid_execution),
        };
        self.refund(caller, &callback, &answer, unused);
        self.response(context, callback, answer, refund);
    }

    /// Gives a caller back what its callee did not take and what it paid too much ahead, whether
    /// or not its callback can still run.
    fn refund(&mut self, caller: &Principal, callback: &Callback, answer: &Answer, refund: u128) {
        let bytes = match answer {
            Ok(reply) => reply.len(),
            Err(e) => e.message.len(),
        };
        let used = self.limits.fees.xnet_byte * bytes as u128;
        let back = refund.saturating_add(callback.paid_response.saturating_sub(used));
        if let Some(canister) = self.canisters.get_mut(caller) {
            canister.cycles = canister.cycles.saturating_add(back);
        }
    }

    pub(super) fn give_back(&mut self, id: &Principal, cycles: u128) {
        if let Some(canister) = self.canisters.get_mut(id) {
            canister.cycles = canister.cycles.saturating_add(cycles);
        }
    }

    fn response(&mut self, id: u64, callback: Callback, answer: Answer, refund: u128) {
        let Some(open) = self.scheduler.contexts.get_mut(&id) else {
            return;
        };
        open.outstanding -= 1;
        let (canister, caller, available, deadline) =
            (open.canister, open.caller, open.available, open.deadline);
        if !self.canisters.contains_key(&canister) {
            self.scheduler.contexts.remove(&id);
            return;
        }
        let (bits, closure) = match &answer {
            Ok(_) => (context::REPLY, callback.reply),
            Err(_) => (context::REJECT, callback.reject),
        };
        let is_nothing = |f: u64| f == u64::MAX || f == u64::from(u32::MAX);
        if is_nothing(closure.function) {
            self.scheduler.stats.messages += 1;
            self.give_back(&canister, callback.paid_execution);
            return self.close(id);
        }
        let prepare = |core: &Core, bits, limit| {
            let mut message = core.message(&canister, bits, limit);
            message.caller = caller;
            message.available = available;
            message.refunded = refund;
            message.deadline = deadline;
            message
        };
        let limit = self.limits.update_instructions;
        let mut message = prepare(self, bits, limit);
        let reject = match answer {
            Ok(bytes) => {
                message.arg = bytes;
                None
            }
            Err(e) => Some((e.reject_code() as u32, e.message)),
        };
        message.reject = reject.clone();
        let before = self.scheduler.stats.instructions;
        let paid = Some(callback.paid_execution);
        let kept = self.execute(id, message, Entry::Closure(closure), paid);
        if !kept && let Some(cleanup) = callback.cleanup {
            let used = self.scheduler.stats.instructions - before;
            let failure = self
                .scheduler
                .contexts
                .get(&id)
                .and_then(|c| c.error.clone());
            let mut message = prepare(self, context::CLEANUP, limit.saturating_sub(used));
            message.reject = reject;
            // Out of what the callback gave back; it runs even if that is not enough.
            let paid = self.prepayment(&canister, message.limit);
            let paid = match self.canisters.get_mut(&canister) {
                Some(c) => {
                    let paid = paid.min(c.cycles);
                    c.cycles -= paid;
                    paid
                }
                None => 0,
            };
            self.execute(id, message, Entry::Closure(cleanup), Some(paid));
            // The call failed, whatever the cleanup did.
            if let Some(open) = self.scheduler.contexts.get_mut(&id) {
                open.error = failure;
            }
        }
        self.close(id);
    }
}

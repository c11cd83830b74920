//! Setting up one message, and settling it: keeping or undoing what it did.

use candid::Principal;

use super::Core;
use super::canister::{Canister, CanisterStatus};
use super::cycles;
use super::execute::{self, Entry, Ran};
use super::limits;
use super::system_api::{Message, context};
use super::types::{ExecutionStats, UserError};

impl Core {
    /// A message for a canister that exists, with everything that follows from its kind.
    pub(super) fn message(
        &self,
        id: &Principal,
        bits: context::Contexts,
        limit: u64,
    ) -> Box<Message> {
        let canister = self.canisters.get(id);
        let settings = canister.map(|c| &c.settings);
        let query = bits
            & (context::QUERY
                | context::COMPOSITE_QUERY
                | context::COMPOSITE_CALLBACK
                | context::COMPOSITE_CLEANUP
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
        let wasm64 = canister.is_some_and(Canister::is_wasm64);
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
            frozen_below: canister.map_or(0, |c| cycles::threshold(c, limits)),
            frozen_per_byte: canister.map_or(0, |c| cycles::threshold_per_byte(c, limits)),
            available: 0,
            refunded: 0,
            answered: false,
            reply: Vec::new(),
            response: None,
            reply_limit: if query {
                limits.query_reply_bytes
            } else {
                limits.reply_bytes
            },
            accepted: false,
            pending: None,
            calls: Vec::new(),
            waiting: Default::default(),
            certified_data: None,
            certified_before: canister
                .map(|c| c.certified_data.clone())
                .unwrap_or_default(),
            certificate: if query {
                self.certificate.clone()
            } else {
                None
            },
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
    pub(super) fn run_on(
        &mut self,
        id: &Principal,
        message: Box<Message>,
        entry: Entry<'_>,
    ) -> Ran {
        let Some(canister) = self.canisters.get_mut(id) else {
            return Ran {
                message,
                result: Err(UserError::not_found(id)),
                stats: ExecutionStats::default(),
            };
        };
        let ready = match execute::prepare(&self.engine, canister, message) {
            Ok(ready) => ready,
            Err(ran) => return *ran,
        };
        let lent = self.lend(&ready.message);
        let mut ended = execute::run(ready, &entry, lent);
        if let Some(lent) = ended.lent.take() {
            self.take_back(lent);
        }
        match self.canisters.get_mut(id) {
            Some(canister) => execute::settle(canister, ended),
            // Queries, which are all that ran meanwhile, remove no canisters.
            None => unreachable!("the canister was there when the message began"),
        }
    }

    /// Keeps what a message did if it ended well and `keep` is set; undoes it otherwise. What is
    /// left of the cycles that were paid ahead for executing it goes back to the canister.
    pub(super) fn finish(
        &mut self,
        id: &Principal,
        ran: Ran,
        keep: bool,
        paid: u128,
    ) -> (Result<(), UserError>, Box<Message>, ExecutionStats) {
        let Ran {
            mut message,
            mut result,
            stats,
        } = ran;
        self.keep_log(id, &mut message, true);
        let Some(canister) = self.canisters.get_mut(id) else {
            return (result, message, stats);
        };
        if self.limits.fees.charge {
            let fees = &self.limits.fees;
            let fee = fees.execution(stats.instructions, canister.is_wasm64());
            let refund = paid.saturating_sub(fee);
            canister.cycles = canister.cycles.saturating_add(refund);
            message.balance = message.balance.saturating_add(refund);
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
                (
                    canister.cycles,
                    canister.version,
                    canister.certified_data,
                    canister.global_timer,
                ) = before;
                execute::rollback(canister);
            }
        } else {
            // A query that is executed as an update may accept cycles.
            let changed = result.is_ok() && canister.cycles != message.balance;
            if changed {
                canister.cycles = message.balance;
                canister.version += 1;
            }
            execute::rollback(canister);
            if changed {
                result = self.save(id);
            }
        }
        (result, message, stats)
    }

    /// Moves what a message printed into the canister's log. Queries only print.
    pub(super) fn keep_log(&mut self, id: &Principal, message: &mut Message, keep: bool) {
        let Some(canister) = self.canisters.get_mut(id) else {
            return;
        };
        let capacity = canister.settings.log_memory_limit as usize;
        for line in message.log.drain(..) {
            if keep {
                canister.log.push(message.time, line, capacity);
            }
        }
    }
}

//! Messages between canisters: call contexts, the queue, and who is answered with what.
//!
//! Calls from outside and between canisters share one queue. Each message is atomic; a callback
//! that traps is undone alone, and its cleanup runs.

mod requests;
mod responses;
mod rounds;
mod stopping;
mod system;

use std::collections::{BTreeMap, VecDeque};

use candid::Principal;
use ic_error_types::ErrorCode;

use super::Core;
use super::execute::Entry;
use super::system_api::{Callback, Message, OutgoingCall, Response, context};
use super::types::{ExecutionStats, UserError};
use rounds::OutsideCall;
use stopping::StopRequest;

/// Who is waiting for the answer.
#[derive(Clone, Copy)]
pub enum Origin {
    /// A call from outside, by its number.
    Ingress(u64),
    /// A canister's call context.
    Call {
        /// Who called.
        caller: Principal,
        /// The caller's context.
        context: u64,
        /// What runs there.
        callback: Callback,
        /// Until when it waits, if not for ever.
        expiry: Option<Expiry>,
    },
    /// Nobody.
    System,
}

/// When a best-effort call ends without an answer: the time, and a number that tells calls apart.
type Expiry = (u64, u64);

/// What is open between a request and its answer.
struct CallContext {
    canister: Principal,
    origin: Origin,
    /// The call from outside in whose course it was opened; 0: none.
    call: u64,
    caller: Principal,
    available: u128,
    answered: bool,
    outstanding: usize,
    instructions: u64,
    deadline: u64,
    error: Option<UserError>,
}

struct Request {
    origin: Origin,
    /// The call from outside in whose course it is sent; 0: none.
    call: u64,
    callee: Principal,
    caller: Principal,
    method: String,
    arg: Vec<u8>,
    cycles: u128,
    deadline: u64,
}

type Answer = Result<Vec<u8>, UserError>;

enum Task {
    Request(Request),
    Response {
        caller: Principal,
        callee: Principal,
        context: u64,
        callback: Callback,
        expiry: Option<Expiry>,
        answer: Answer,
        refund: u128,
    },
    /// Instead of a response.
    Expired {
        caller: Principal,
        context: u64,
        callback: Callback,
    },
}

/// A best-effort call that waits for its answer.
struct Expiring {
    caller: Principal,
    callee: Principal,
    context: u64,
    callback: Callback,
}

/// Open calls and what is to be run.
#[derive(Default)]
pub struct Scheduler {
    contexts: BTreeMap<u64, CallContext>,
    queue: VecDeque<Task>,
    next: u64,
    /// Calls from outside.
    calls: BTreeMap<u64, OutsideCall>,
    /// Those with an answer.
    answered: Vec<u64>,
    /// The one in whose course the present message runs; 0: none.
    current: u64,
    /// Who waits for a canister to stop.
    stops: Vec<StopRequest>,
    /// The canister that the present call of the management canister has begun to stop.
    stopping: Option<Principal>,
    /// Requests without an answer, by caller and callee.
    waiting: BTreeMap<Principal, BTreeMap<Principal, usize>>,
    /// Best-effort calls without an answer.
    expiring: BTreeMap<Expiry, Expiring>,
    /// Of the call from outside in whose course the present message runs.
    stats: ExecutionStats,
}

impl Scheduler {
    /// The call from outside in whose course the present message runs.
    pub fn call(&self) -> Option<u64> {
        (self.current != 0).then_some(self.current)
    }

    /// Whether nothing is to be run, and nothing waits for a bounded time.
    fn rests(&self) -> bool {
        self.queue.is_empty() && self.expiring.is_empty() && self.stops.is_empty()
    }
}

impl Core {
    fn open(&mut self, context: CallContext) -> u64 {
        self.scheduler.next += 1;
        self.scheduler.contexts.insert(self.scheduler.next, context);
        self.scheduler.next
    }

    /// Runs a message of a call context, keeps or undoes it, sends its calls and its answer.
    /// `false` if it was undone. `paid`: cycles that were taken for it before.
    fn execute(
        &mut self,
        id: u64,
        mut message: Box<Message>,
        entry: Entry<'_>,
        paid: Option<u128>,
    ) -> bool {
        let canister = message.canister;
        let paid = match paid {
            Some(paid) => paid,
            None => {
                let paid = self.prepayment(&canister, message.limit);
                if let Err(e) = self.withdraw(&canister, paid) {
                    self.scheduler.stats.messages += 1;
                    if let Some(open) = self.scheduler.contexts.get_mut(&id) {
                        open.error = Some(e);
                    }
                    return false;
                }
                paid
            }
        };
        let Some(open) = self.scheduler.contexts.get(&id) else {
            return false;
        };
        message.balance = self.canisters.get(&canister).map_or(0, |c| c.cycles);
        message.answered = open.answered;
        message.context_instructions = open.instructions;
        if let Some(waiting) = self.scheduler.waiting.get(&canister) {
            message.waiting.clone_from(waiting);
        }
        let keep = message.context != context::REPLICATED_QUERY;
        let ran = self.run_on(&canister, message, entry);
        let (result, mut message, stats) = self.finish(&canister, ran, keep, paid);
        self.scheduler.stats.add(&stats);
        self.scheduler.stats.heap_pages = stats.heap_pages;
        self.scheduler.stats.stable_pages = stats.stable_pages;
        let Some(open) = self.scheduler.contexts.get_mut(&id) else {
            return false;
        };
        open.instructions += stats.instructions;
        if let Err(e) = result {
            open.error = Some(e);
            return false;
        }
        open.available = message.available;
        open.error = None;
        let origin = open.origin;
        let answer = message.response.take().map(|response| {
            open.answered = true;
            (response, std::mem::take(&mut open.available))
        });
        open.outstanding += message.calls.len();
        if let Some((response, refund)) = answer {
            let answer = match response {
                Response::Reply(bytes) => Ok(bytes),
                Response::Reject(text) => {
                    Err(UserError::new(ErrorCode::CanisterRejectedMessage, text))
                }
            };
            self.answer(origin, &canister, answer, refund);
        }
        for call in message.calls.drain(..) {
            self.send(id, canister, call);
        }
        if keep && stats.heap_pages > 0 {
            self.low_memory(&canister);
        }
        true
    }

    fn send(&mut self, context: u64, caller: Principal, call: OutgoingCall) {
        let expiry = call.timeout.map(|seconds| {
            self.scheduler.next += 1;
            let nanos = u64::from(seconds) * 1_000_000_000;
            (self.time.saturating_add(nanos), self.scheduler.next)
        });
        if let Some(expiry) = expiry {
            let expiring = Expiring {
                caller,
                callee: call.callee,
                context,
                callback: call.callback,
            };
            self.scheduler.expiring.insert(expiry, expiring);
        }
        let waiting = self.scheduler.waiting.entry(caller).or_default();
        *waiting.entry(call.callee).or_default() += 1;
        let call_outside = self.scheduler.current;
        self.scheduler.queue.push_back(Task::Request(Request {
            call: call_outside,
            origin: Origin::Call {
                caller,
                context,
                callback: call.callback,
                expiry,
            },
            callee: call.callee,
            caller,
            method: call.method,
            arg: call.arg,
            cycles: call.cycles,
            deadline: expiry.map_or(0, |(time, _)| time),
        }));
    }

    /// Ends a call context from which nothing more can come; answers if nobody did.
    fn close(&mut self, id: u64) {
        let Some(open) = self.scheduler.contexts.get(&id) else {
            return;
        };
        if open.outstanding > 0 {
            return;
        }
        let Some(open) = self.scheduler.contexts.remove(&id) else {
            return;
        };
        if !open.answered {
            let error = open.error.unwrap_or_else(|| {
                UserError::new(
                    ErrorCode::CanisterDidNotReply,
                    format!(
                        "Error from Canister {}: Canister did not reply to the call",
                        open.canister
                    ),
                )
            });
            self.answer(open.origin, &open.canister, Err(error), open.available);
        }
        self.stop_if_done(&open.canister);
    }

    /// One request less is waiting.
    fn arrived(&mut self, caller: &Principal, callee: &Principal) {
        if let Some(waiting) = self.scheduler.waiting.get_mut(caller)
            && let Some(count) = waiting.get_mut(callee)
        {
            *count -= 1;
            if *count == 0 {
                waiting.remove(callee);
            }
            if waiting.is_empty() {
                self.scheduler.waiting.remove(caller);
            }
        }
    }

    /// Forgets open calls of a canister that lost its code; who waits for it is told.
    pub(super) fn drop_contexts(&mut self, id: &Principal, error: &UserError) {
        let open: Vec<u64> = self
            .scheduler
            .contexts
            .iter()
            .filter(|(_, c)| c.canister == *id)
            .map(|(n, _)| *n)
            .collect();
        for n in open {
            if let Some(context) = self.scheduler.contexts.remove(&n)
                && !context.answered
            {
                let (origin, refund) = (context.origin, context.available);
                self.answer(origin, id, Err(error.clone()), refund);
            }
        }
        self.stop_if_done(id);
    }
}

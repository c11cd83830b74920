//! Messages between canisters: call contexts, the queue, and who is answered with what.
//!
//! One call from outside is run to completion with all calls that it causes. Each message is
//! atomic; a callback that traps is undone alone, and its cleanup runs.

mod requests;
mod responses;
mod system;

use std::collections::{BTreeMap, VecDeque};

use candid::Principal;
use ic_error_types::ErrorCode;

use super::Core;
use super::execute::Entry;
use super::system_api::{Callback, Message, OutgoingCall, Response, context};
use super::types::{CallOutcome, ExecutionStats, UserError};

/// Messages that one call from outside may cause before it is given up.
const MAX_MESSAGES: u64 = 100_000;

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
    /// Answers to calls from outside.
    answers: BTreeMap<u64, Answer>,
    /// Requests without an answer, by caller and callee.
    waiting: BTreeMap<Principal, BTreeMap<Principal, usize>>,
    /// Best-effort calls without an answer.
    expiring: BTreeMap<Expiry, Expiring>,
    stats: ExecutionStats,
}

impl Core {
    /// See [`Core::update`].
    pub(super) fn run_update(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        let fee = self.limits.fees.ingress_message(method.len() + arg.len());
        self.withdraw(id, fee)?;
        self.scheduler.next += 1;
        let ticket = self.scheduler.next;
        self.scheduler.stats = ExecutionStats::default();
        self.scheduler.queue.push_back(Task::Request(Request {
            origin: Origin::Ingress(ticket),
            callee: *id,
            caller: sender,
            method: method.into(),
            arg,
            cycles: 0,
            deadline: 0,
        }));
        self.drain();
        let stats = std::mem::take(&mut self.scheduler.stats);
        match self.scheduler.answers.remove(&ticket) {
            Some(Ok(reply)) => Ok(CallOutcome { reply, stats }),
            Some(Err(e)) => Err(e.with_stats(stats)),
            None => Err(UserError::new(
                ErrorCode::IngressMessageTimeout,
                format!(
                    "the call was not answered after {} messages",
                    stats.messages
                ),
            )
            .with_stats(stats)),
        }
    }

    /// Runs what is queued until nothing is left, or too much was run.
    fn drain(&mut self) {
        let end = self.scheduler.stats.messages + MAX_MESSAGES;
        while self.scheduler.stats.messages < end {
            if let Some(clock) = &mut self.clock {
                let now = clock();
                self.set_time(now);
            }
            self.expire();
            match self.scheduler.queue.pop_front() {
                Some(Task::Request(request)) => self.request(request),
                Some(Task::Response {
                    caller,
                    callee,
                    context,
                    callback,
                    expiry,
                    answer,
                    refund,
                }) => {
                    if expiry.is_some_and(|e| self.scheduler.expiring.remove(&e).is_none()) {
                        // Too late: the caller was told something else.
                        self.give_back(&caller, refund);
                        continue;
                    }
                    self.arrived(&caller, &callee);
                    self.respond(&caller, context, callback, answer, refund);
                }
                Some(Task::Expired {
                    caller,
                    context,
                    callback,
                }) => {
                    let expired = "Call deadline has expired.";
                    let answer = Err(UserError::new(ErrorCode::DeadlineExpired, expired));
                    self.respond(&caller, context, callback, answer, 0);
                }
                None => break,
            }
            self.between_messages();
        }
    }

    /// Ends best-effort calls whose time is up.
    fn expire(&mut self) {
        while let Some(first) = self.scheduler.expiring.first_entry()
            && first.key().0 <= self.time
        {
            let call = first.remove();
            self.arrived(&call.caller, &call.callee);
            self.scheduler.queue.push_back(Task::Expired {
                caller: call.caller,
                context: call.context,
                callback: call.callback,
            });
        }
    }

    fn answer(&mut self, origin: Origin, callee: &Principal, answer: Answer, refund: u128) {
        match origin {
            Origin::Ingress(ticket) => {
                self.scheduler.answers.insert(ticket, answer);
            }
            Origin::Call {
                caller,
                context,
                callback,
                expiry,
            } => {
                self.scheduler.queue.push_back(Task::Response {
                    caller,
                    callee: *callee,
                    context,
                    callback,
                    expiry,
                    answer,
                    refund,
                });
            }
            Origin::System => {}
        }
    }

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
        self.scheduler.queue.push_back(Task::Request(Request {
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
    }
}

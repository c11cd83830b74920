//! Messages between canisters: call contexts, the queue, and who is answered with what.
//!
//! One call from outside is run to completion with all calls that it causes. Each message is
//! atomic; a callback that traps is undone alone, and its cleanup runs.

use std::collections::{BTreeMap, VecDeque};

use candid::Principal;
use ic_error_types::ErrorCode;

use super::canister::CanisterStatus;
use super::execute::{self, Entry};
use super::system_api::{Callback, Message, OutgoingCall, Response, context};
use super::types::{CallOutcome, ExecutionStats, UserError};
use super::validate::MethodKind;
use super::{Core, ManagementReply};

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
    },
    /// Nobody.
    System,
}

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
        answer: Answer,
        refund: u128,
    },
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

    /// Runs `canister_on_low_wasm_memory` when memory has become low.
    fn low_memory(&mut self, id: &Principal) {
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

    /// Runs what is queued until nothing is left, or too much was run.
    fn drain(&mut self) {
        let end = self.scheduler.stats.messages + MAX_MESSAGES;
        while self.scheduler.stats.messages < end {
            match self.scheduler.queue.pop_front() {
                Some(Task::Request(request)) => self.request(request),
                Some(Task::Response {
                    caller,
                    callee,
                    context,
                    callback,
                    answer,
                    refund,
                }) => {
                    self.arrived(&caller, &callee);
                    let unused = match self.scheduler.contexts.contains_key(&context) {
                        true => refund,
                        false => refund.saturating_add(callback.paid_execution),
                    };
                    self.refund(&caller, &callback, &answer, unused);
                    self.response(context, callback, answer, refund);
                }
                None => break,
            }
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
            } => {
                self.scheduler.queue.push_back(Task::Response {
                    caller,
                    callee: *callee,
                    context,
                    callback,
                    answer,
                    refund,
                });
            }
            Origin::System => {}
        }
    }

    fn request(&mut self, request: Request) {
        let management = Principal::management_canister();
        let stands_in = || {
            !self.canisters.contains_key(&request.callee)
                && self
                    .management
                    .as_ref()
                    .is_some_and(|handler| handler.stands_in(&request.callee))
        };
        if request.callee == management || stands_in() {
            return self.management_request(request);
        }
        let checked = self
            .check_cycles(&request)
            .and_then(|()| self.check_request(&request.callee, &request.method));
        let kind = match checked {
            Ok(kind) => kind,
            Err(e) => {
                // A refused call must not keep the loop alive for ever.
                self.scheduler.stats.messages += 1;
                return self.answer(request.origin, &request.callee, Err(e), request.cycles);
            }
        };
        let (bits, export) = match kind {
            MethodKind::Update => (
                context::UPDATE,
                format!("canister_update {}", request.method),
            ),
            _ => (
                context::REPLICATED_QUERY,
                format!("canister_query {}", request.method),
            ),
        };
        let mut message = self.message(&request.callee, bits, self.limits.update_instructions);
        message.caller = request.caller;
        message.method = request.method;
        message.arg = request.arg;
        message.available = request.cycles;
        message.deadline = request.deadline;
        let open = CallContext {
            canister: request.callee,
            origin: request.origin,
            caller: request.caller,
            available: request.cycles,
            answered: false,
            outstanding: 0,
            instructions: 0,
            deadline: request.deadline,
            error: None,
        };
        let id = self.open(open);
        self.execute(id, message, Entry::Export(&export), None);
        self.close(id);
    }

    /// Whether a call of another canister brings as many cycles as the callee wants.
    fn check_cycles(&self, request: &Request) -> Result<(), UserError> {
        let wanted = self
            .canisters
            .get(&request.callee)
            .map_or(0, |c| c.settings.minimum_call_cycles);
        let from_another =
            matches!(request.origin, Origin::Call { .. }) && request.caller != request.callee;
        if !from_another || request.cycles >= wanted {
            return Ok(());
        }
        Err(UserError::new(
            ErrorCode::InsufficientCyclesInCall,
            format!(
                "Canister {} takes calls of other canisters with at least {wanted} cycles, {} \
                 came with this one",
                request.callee, request.cycles
            ),
        ))
    }

    /// Whether a canister can take a request, and what kind of method it is.
    fn check_request(&self, id: &Principal, method: &str) -> Result<MethodKind, UserError> {
        let kind = self.find_method(id, method)?;
        match kind {
            Some(MethodKind::CompositeQuery) => Err(UserError::new(
                ErrorCode::CompositeQueryCalledInReplicatedMode,
                "Composite query cannot be called in replicated mode",
            )),
            Some(MethodKind::Update) => {
                self.check_wasm_memory_limit(id)?;
                Ok(MethodKind::Update)
            }
            Some(kind) => Ok(kind),
            None => Err(UserError::new(
                ErrorCode::CanisterMethodNotFound,
                format!("Error from Canister {id}: Canister has no update method '{method}'."),
            )),
        }
    }

    /// Refuses updates of a canister whose heap is beyond its own limit.
    fn check_wasm_memory_limit(&self, id: &Principal) -> Result<(), UserError> {
        match self.canisters.get(id) {
            Some(c) => execute::check_wasm_memory_limit(c),
            None => Err(UserError::not_found(id)),
        }
    }

    /// The method's kind, if the canister exists, runs and has code.
    pub(super) fn find_method(
        &self,
        id: &Principal,
        method: &str,
    ) -> Result<Option<MethodKind>, UserError> {
        let canister = self
            .canisters
            .get(id)
            .ok_or_else(|| UserError::not_found(id))?;
        match canister.status {
            CanisterStatus::Running => {}
            CanisterStatus::Stopping => {
                return Err(UserError::new(
                    ErrorCode::CanisterStopping,
                    format!("Canister {id} is not running"),
                ));
            }
            CanisterStatus::Stopped => {
                return Err(UserError::new(
                    ErrorCode::CanisterStopped,
                    format!("Canister {id} is stopped"),
                ));
            }
        }
        if canister.code.is_none() {
            return Err(UserError::new(
                ErrorCode::CanisterWasmModuleNotFound,
                format!(
                    "Error from Canister {id}: Attempted to execute a message, but the canister \
                     contains no Wasm module"
                ),
            ));
        }
        Ok(canister.method(method))
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
        let deadline = call.timeout.map_or(0, |s| {
            self.time.saturating_add(u64::from(s) * 1_000_000_000)
        });
        let waiting = self.scheduler.waiting.entry(caller).or_default();
        *waiting.entry(call.callee).or_default() += 1;
        self.scheduler.queue.push_back(Task::Request(Request {
            origin: Origin::Call {
                caller,
                context,
                callback: call.callback,
            },
            callee: call.callee,
            caller,
            method: call.method,
            arg: call.arg,
            cycles: call.cycles,
            deadline,
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

    fn give_back(&mut self, id: &Principal, cycles: u128) {
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

    fn management_request(&mut self, request: Request) {
        self.scheduler.stats.messages += 1;
        let reply = match self.management.take() {
            Some(mut handler) => {
                let (caller, cycles) = (request.caller, request.cycles);
                let (method, arg) = (&request.method, &request.arg);
                let reply = if request.callee == Principal::management_canister() {
                    handler.call(self, caller, method, arg, cycles)
                } else {
                    handler.call_stand_in(self, &request.callee, caller, method, arg, cycles)
                };
                self.management = Some(handler);
                reply
            }
            None => ManagementReply {
                result: Err(UserError::new(
                    ErrorCode::CanisterMethodNotFound,
                    format!("Management canister has no method '{}'", request.method),
                )),
                refund: request.cycles,
            },
        };
        self.answer(request.origin, &request.callee, reply.result, reply.refund);
    }

    /// Runs a heartbeat or timer with the calls that it makes. `false` if it was undone.
    pub(super) fn run_system(&mut self, id: &Principal, export: &str) -> bool {
        let kept = self.system_message(id, export);
        self.drain();
        kept
    }

    fn system_message(&mut self, id: &Principal, export: &str) -> bool {
        let message = self.message(id, context::SYSTEM, self.limits.update_instructions);
        let open = CallContext {
            canister: *id,
            origin: Origin::System,
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

//! Calls from outside, and the rounds in which messages run.
//!
//! A round runs what was queued when it began; what those messages send runs in the next one. So
//! while a call waits for an answer other calls go on, as on the IC, and each message finds what
//! they left behind.

use candid::Principal;
use ic_error_types::ErrorCode;

use super::super::Core;
use super::super::types::{CallOutcome, ExecutionStats, UserError};
use super::{Answer, Origin, Request, Task};

/// Messages that [`Core::update`] and [`Core::run_timers`] run before they give up.
const MAX_MESSAGES: u64 = 100_000;

/// A call from outside whose outcome was not fetched yet.
#[derive(Default)]
pub(super) struct OutsideCall {
    /// What its messages, and those that they caused, have consumed.
    stats: ExecutionStats,
    answer: Option<Answer>,
}

impl Core {
    /// Begins a call from outside; its number. Its work is given by [`Core::submit`], or done
    /// between [`Core::enter_call`] and [`Core::leave_call`].
    pub fn open_call(&mut self) -> u64 {
        self.scheduler.next += 1;
        let call = self.scheduler.next;
        self.scheduler.calls.insert(call, OutsideCall::default());
        call
    }

    /// Queues an update (or a query as an update) as the work of `call`.
    pub fn submit(
        &mut self,
        call: u64,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) {
        let origin = Origin::Ingress(call);
        let fee = self.limits.fees.ingress_message(method.len() + arg.len());
        if let Err(error) = self.withdraw(id, fee) {
            return self.answer(origin, id, Err(error), 0);
        }
        self.scheduler.queue.push_back(Task::Request(Request {
            origin,
            call,
            callee: *id,
            caller: sender,
            method: method.into(),
            arg,
            cycles: 0,
            deadline: 0,
        }));
    }

    /// What is committed from here on belongs to `call`.
    pub fn enter_call(&mut self, call: u64) {
        self.scheduler.current = call;
        self.scheduler.stopping = None;
    }

    /// Answers the call that was entered, unless it waits for a canister to stop.
    pub fn leave_call(&mut self, answer: Result<Vec<u8>, UserError>) {
        let call = std::mem::take(&mut self.scheduler.current);
        self.answer_or_wait(
            Origin::Ingress(call),
            &Principal::management_canister(),
            answer,
            0,
        );
    }

    /// Outcomes of calls from outside that were answered since the last time, in that order.
    pub fn outcomes(&mut self) -> Vec<(u64, Result<CallOutcome, UserError>)> {
        let answered = std::mem::take(&mut self.scheduler.answered);
        answered
            .into_iter()
            .filter_map(|call| Some((call, self.outcome(call)?)))
            .collect()
    }

    fn outcome(&mut self, call: u64) -> Option<Result<CallOutcome, UserError>> {
        let OutsideCall { stats, answer } = self.scheduler.calls.remove(&call)?;
        Some(match answer {
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
        })
    }

    /// Whether no message waits to be run.
    pub fn is_idle(&self) -> bool {
        self.scheduler.queue.is_empty()
    }

    /// Runs a round, whose messages all see the same time, and ends what has waited for too long.
    pub fn advance(&mut self) {
        self.look_at_the_clock();
        for _ in 0..self.scheduler.queue.len() {
            self.run_next();
        }
    }

    /// Runs an update (or a query as an update) to completion, with all calls that it makes, and
    /// everything else that is queued. Owners that serve many callers use [`Core::submit`] and
    /// [`Core::advance`].
    pub fn update(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        let call = self.open_call();
        self.submit(call, id, sender, method, arg);
        self.drain();
        self.scheduler.answered.retain(|answered| *answered != call);
        self.outcome(call)
            .unwrap_or_else(|| unreachable!("it was opened above, and nobody else fetched it"))
    }

    /// Runs what is queued until nothing is left, or too much was run.
    pub(super) fn drain(&mut self) {
        for _ in 0..MAX_MESSAGES {
            self.look_at_the_clock();
            if !self.run_next() {
                break;
            }
        }
    }

    /// Runs the first message of the queue; `false` if there is none.
    fn run_next(&mut self) -> bool {
        let Some(task) = self.scheduler.queue.pop_front() else {
            return false;
        };
        let call = match &task {
            Task::Request(request) => request.call,
            Task::Response { context, .. } | Task::Expired { context, .. } => {
                let open = self.scheduler.contexts.get(context);
                open.map_or(0, |open| open.call)
            }
        };
        self.in_call(call, |core| core.run_task(task));
        self.between_messages();
        true
    }

    /// Does `work` in the name of a call from outside; 0: of none.
    pub(super) fn in_call<R>(&mut self, call: u64, work: impl FnOnce(&mut Core) -> R) -> R {
        let scheduler = &mut self.scheduler;
        scheduler.stats = match scheduler.calls.get_mut(&call) {
            Some(open) => std::mem::take(&mut open.stats),
            None => ExecutionStats::default(),
        };
        let before = std::mem::replace(&mut scheduler.current, call);
        let done = work(self);
        let scheduler = &mut self.scheduler;
        scheduler.current = before;
        let stats = std::mem::take(&mut scheduler.stats);
        if let Some(open) = scheduler.calls.get_mut(&call) {
            open.stats = stats;
        }
        done
    }

    fn run_task(&mut self, task: Task) {
        match task {
            Task::Request(request) => self.request(request),
            Task::Response {
                caller,
                callee,
                context,
                callback,
                expiry,
                answer,
                refund,
            } => {
                if expiry.is_some_and(|e| self.scheduler.expiring.remove(&e).is_none()) {
                    // Too late: the caller was told something else.
                    return self.give_back(&caller, refund);
                }
                self.arrived(&caller, &callee);
                self.respond(&caller, context, callback, answer, refund);
            }
            Task::Expired {
                caller,
                context,
                callback,
            } => {
                let expired = "Call deadline has expired.";
                let answer = Err(UserError::new(ErrorCode::DeadlineExpired, expired));
                self.respond(&caller, context, callback, answer, 0);
            }
        }
    }

    /// Lets time pass, and ends what has waited for too long.
    fn look_at_the_clock(&mut self) {
        if self.scheduler.rests() {
            return;
        }
        if let Some(clock) = &mut self.clock {
            let now = clock();
            self.set_time(now);
        }
        self.expire();
        self.give_up_stopping();
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

    pub(super) fn answer(
        &mut self,
        origin: Origin,
        callee: &Principal,
        answer: Answer,
        refund: u128,
    ) {
        match origin {
            Origin::Ingress(call) => {
                if let Some(open) = self.scheduler.calls.get_mut(&call)
                    && open.answer.is_none()
                {
                    open.answer = Some(answer);
                    self.scheduler.answered.push(call);
                }
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
}

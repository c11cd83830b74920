//! Stopping a canister: it takes no new messages, and is stopped when its open calls have ended.

use candid::Principal;
use ic_error_types::ErrorCode;

use super::super::Core;
use super::super::canister::CanisterStatus;
use super::super::types::UserError;
use super::{Answer, Origin};

/// How long a request to stop waits; the canister goes on stopping after that. The same as on the
/// IC.
const PATIENCE_NANOS: u64 = 300 * 1_000_000_000;

/// Who waits for a canister to stop.
pub(super) struct StopRequest {
    canister: Principal,
    origin: Origin,
    reply: Vec<u8>,
    refund: u128,
    deadline: u64,
}

impl Core {
    /// Lets a canister take no more messages. It is stopped when its open calls have ended, which
    /// is at once if it has none; who asked by a call is answered then.
    pub fn stop_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        let open = self.has_open_calls(id);
        let status = match open {
            true => CanisterStatus::Stopping,
            false => CanisterStatus::Stopped,
        };
        self.set_status(id, status)?;
        self.scheduler.stopping = open.then_some(*id);
        Ok(())
    }

    /// Makes it run again. Who waits for it to stop is told that it does not.
    pub fn start_canister(&mut self, id: &Principal) -> Result<(), UserError> {
        self.set_status(id, CanisterStatus::Running)?;
        self.end_stop_requests(id, |_| {
            Err(UserError::new(
                ErrorCode::CanisterStoppingCancelled,
                format!("Canister {id}'s stop request was cancelled."),
            ))
        });
        Ok(())
    }

    fn has_open_calls(&self, id: &Principal) -> bool {
        self.scheduler.contexts.values().any(|c| c.canister == *id)
    }

    /// Answers a call of the management canister; later, if it has begun to stop a canister.
    pub(super) fn answer_or_wait(
        &mut self,
        origin: Origin,
        callee: &Principal,
        answer: Answer,
        refund: u128,
    ) {
        match (answer, self.scheduler.stopping.take()) {
            (Ok(reply), Some(canister)) => self.scheduler.stops.push(StopRequest {
                canister,
                origin,
                reply,
                refund,
                deadline: self.time.saturating_add(PATIENCE_NANOS),
            }),
            (answer, _) => self.answer(origin, callee, answer, refund),
        }
    }

    /// A call of the canister has ended: if it is stopping and that was the last one, it is
    /// stopped.
    pub(super) fn stop_if_done(&mut self, id: &Principal) {
        let stopping = self
            .canisters
            .get(id)
            .is_some_and(|c| c.status == CanisterStatus::Stopping);
        if !stopping || self.has_open_calls(id) {
            return;
        }
        match self.set_status(id, CanisterStatus::Stopped) {
            Ok(()) => self.end_stop_requests(id, Ok),
            Err(e) => self.end_stop_requests(id, |_| Err(e.clone())),
        }
    }

    fn end_stop_requests(&mut self, id: &Principal, answer: impl Fn(Vec<u8>) -> Answer) {
        let management = Principal::management_canister();
        let ended: Vec<StopRequest> = self
            .scheduler
            .stops
            .extract_if(.., |stop| stop.canister == *id)
            .collect();
        for stop in ended {
            self.answer(stop.origin, &management, answer(stop.reply), stop.refund);
        }
    }

    /// Tells those who have waited for too long.
    pub(super) fn give_up_stopping(&mut self) {
        let now = self.time;
        let late: Vec<StopRequest> = self
            .scheduler
            .stops
            .extract_if(.., |stop| stop.deadline <= now)
            .collect();
        for stop in late {
            let error = UserError::new(
                ErrorCode::StopCanisterRequestTimeout,
                format!("Stop canister request of {} timed out", stop.canister),
            );
            let management = Principal::management_canister();
            self.answer(stop.origin, &management, Err(error), stop.refund);
        }
    }

    fn set_status(&mut self, id: &Principal, status: CanisterStatus) -> Result<(), UserError> {
        let canister = self
            .canisters
            .get_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        let before = (canister.status, canister.version);
        canister.status = status;
        canister.version += 1;
        self.save(id).inspect_err(|_| {
            if let Some(canister) = self.canisters.get_mut(id) {
                (canister.status, canister.version) = before;
            }
        })
    }
}

//! Queries, and the tree of queries that a composite query asks.

use std::collections::VecDeque;

use candid::Principal;
use ic_error_types::ErrorCode;

use super::Core;
use super::execute::{self, Entry, Ran};
use super::system_api::{OutgoingCall, Response, WasmClosure, context};
use super::types::{CallOutcome, ExecutionStats, UserError};
use super::validate::MethodKind;

impl Core {
    /// Runs a query. Composite queries call others, each of which is discarded on its own.
    pub(super) fn run_query(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
        depth: usize,
        path: &mut Vec<Principal>,
    ) -> Result<CallOutcome, UserError> {
        let composite = match self.find_method(id, method)? {
            Some(MethodKind::Query) => false,
            Some(MethodKind::CompositeQuery) => true,
            _ => {
                return Err(UserError::new(
                    ErrorCode::CanisterMethodNotFound,
                    format!("Error from Canister {id}: Canister has no query method '{method}'."),
                ));
            }
        };
        if depth > self.limits.composite_query_depth {
            return Err(UserError::new(
                ErrorCode::QueryCallGraphTooDeep,
                "Composite query call tree exceeded the maximum depth",
            ));
        }
        if path.contains(id) {
            return Err(UserError::new(
                ErrorCode::QueryCallGraphLoopDetected,
                format!("Canister {id} is called twice in one composite query"),
            ));
        }
        let (bits, export) = if composite {
            (
                context::COMPOSITE_QUERY,
                format!("canister_composite_query {method}"),
            )
        } else {
            (context::QUERY, format!("canister_query {method}"))
        };
        let mut message = self.message(id, bits, self.limits.query_instructions);
        message.caller = sender;
        message.method = method.into();
        message.arg = arg;
        let mut stats = ExecutionStats::default();
        let ran = self.run_on(id, message, Entry::Export(&export));
        path.push(*id);
        let result = self.query_result(id, sender, ran, depth, path, &mut stats);
        path.pop();
        if let Some(canister) = self.canisters.get_mut(id) {
            execute::rollback(canister);
        }
        match result {
            Ok(reply) => Ok(CallOutcome { reply, stats }),
            Err(e) => Err(e.with_stats(stats)),
        }
    }

    /// Follows a query's calls until it is answered. What the canister changed stays in place
    /// for its callbacks; if one of them traps the query fails at once (the IC would run its
    /// cleanup first, which nobody can observe).
    fn query_result(
        &mut self,
        id: &Principal,
        sender: Principal,
        first: Ran,
        depth: usize,
        path: &mut Vec<Principal>,
        stats: &mut ExecutionStats,
    ) -> Result<Vec<u8>, UserError> {
        let mut calls: VecDeque<OutgoingCall> = VecDeque::new();
        let mut answer = None;
        let mut next = Some(first);
        loop {
            if let Some(ran) = next.take() {
                stats.add(&ran.stats);
                stats.heap_pages = ran.stats.heap_pages;
                stats.stable_pages = ran.stats.stable_pages;
                let mut message = ran.message;
                self.keep_log(id, &mut message, false);
                ran.result?;
                calls.extend(message.calls.drain(..));
                if answer.is_none() {
                    answer = message.response.take();
                }
            }
            let Some(call) = calls.pop_front() else { break };
            let reply = self.run_query(&call.callee, *id, &call.method, call.arg, depth + 1, path);
            let (bits, closure): (_, WasmClosure) = match &reply {
                Ok(_) => (context::COMPOSITE_REPLY, call.callback.reply),
                Err(_) => (context::COMPOSITE_REJECT, call.callback.reject),
            };
            let left = self
                .limits
                .query_instructions
                .saturating_sub(stats.instructions);
            let mut message = self.message(id, bits, left);
            message.caller = sender;
            message.answered = answer.is_some();
            message.context_instructions = stats.instructions;
            match reply {
                Ok(outcome) => {
                    stats.add(&outcome.stats);
                    message.arg = outcome.reply;
                }
                Err(e) => {
                    if let Some(s) = &e.stats {
                        stats.add(s);
                    }
                    message.reject = Some((e.reject_code() as u32, e.message));
                }
            }
            next = Some(self.run_on(id, message, Entry::Closure(closure)));
        }
        match answer {
            Some(Response::Reply(bytes)) => Ok(bytes),
            Some(Response::Reject(text)) => {
                Err(UserError::new(ErrorCode::CanisterRejectedMessage, text))
            }
            None => Err(UserError::new(
                ErrorCode::CanisterDidNotReply,
                format!("Error from Canister {id}: Canister did not reply to the call"),
            )),
        }
    }
}

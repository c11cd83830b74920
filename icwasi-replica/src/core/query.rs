//! Queries, and the tree of queries that a composite query asks.
//!
//! Nodes are visited depth first, one call at a time. A node that has answered is not followed
//! further. Limits of the whole tree (depth, instructions, no canister twice on a path) end the
//! query that was asked from outside; everything else is an answer to the node that called.

use std::collections::VecDeque;

use candid::Principal;
use ic_error_types::ErrorCode;

use super::Core;
use super::execute::{self, Entry, Ran, Savepoint};
use super::system_api::{Message, OutgoingCall, Response, context};
use super::types::{CallOutcome, ExecutionStats, UserError};
use super::validate::MethodKind;

/// What the nodes of one tree share.
struct Tree {
    /// Canisters between the root and the current node.
    path: Vec<Principal>,
    /// Instructions that all nodes together may still use.
    left: u64,
    stats: ExecutionStats,
}

/// A limit of the tree was reached.
struct Abort(UserError);

type Answer = Result<Vec<u8>, UserError>;

/// A query of a node.
struct Asked<'a> {
    id: Principal,
    sender: Principal,
    method: &'a str,
    arg: Vec<u8>,
}

/// What the messages of one node share.
struct Node {
    id: Principal,
    sender: Principal,
    instructions: u64,
    calls: VecDeque<OutgoingCall>,
}

impl Core {
    /// See [`Core::query`].
    pub(super) fn run_query(
        &mut self,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<CallOutcome, UserError> {
        let mut tree = Tree {
            path: Vec::new(),
            left: self.limits.composite_query_instructions,
            stats: ExecutionStats::default(),
        };
        let asked = Asked {
            id: *id,
            sender,
            method,
            arg,
        };
        let answer = self.node(asked, &mut tree).unwrap_or_else(|e| Err(e.0));
        match answer {
            Ok(reply) => Ok(CallOutcome {
                reply,
                stats: tree.stats,
            }),
            Err(e) if tree.stats.messages == 0 => Err(e),
            Err(e) => Err(e.with_stats(tree.stats)),
        }
    }

    /// Runs a query and what follows from it; what it changed is discarded.
    fn node(&mut self, asked: Asked<'_>, tree: &mut Tree) -> Result<Answer, Abort> {
        let id = asked.id;
        let composite = match self.find_method(&id, asked.method) {
            Ok(Some(MethodKind::Query)) => false,
            Ok(Some(MethodKind::CompositeQuery)) => true,
            Ok(_) => {
                return Ok(Err(UserError::new(
                    ErrorCode::CanisterMethodNotFound,
                    format!(
                        "Error from Canister {id}: Canister has no query method '{}'.",
                        asked.method
                    ),
                )));
            }
            Err(e) => return Ok(Err(e)),
        };
        if let Err(e) = self.check_not_frozen(&id) {
            return Ok(Err(e));
        }
        // Before anything is rolled back that is not the query's.
        if let Err(e) = self.step_aside(&id) {
            return Ok(Err(e));
        }
        let (bits, kind) = if composite {
            (context::COMPOSITE_QUERY, "composite_query")
        } else {
            (context::QUERY, "query")
        };
        let export = format!("canister_{kind} {}", asked.method);
        let mut node = Node {
            id,
            sender: asked.sender,
            instructions: 0,
            calls: VecDeque::new(),
        };
        let mut message = self.query_message(&node, bits, tree);
        message.method = asked.method.into();
        message.arg = asked.arg;
        if !tree.path.is_empty() {
            // A certificate is only made for the canister that was asked from outside.
            message.certificate = None;
        }
        let ran = self.run_on(&id, message, Entry::Export(&export));
        let settled = self.settle(&mut node, ran, tree);
        if !tree.path.is_empty() {
            let overhead = self.limits.composite_query_call_overhead;
            tree.left = tree.left.saturating_sub(overhead);
        }
        let result = match settled {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => self.follow(&mut node, tree),
            Err(trapped) => Ok(Err(trapped)),
        };
        if let Some(canister) = self.canisters.get_mut(&id) {
            execute::rollback(canister);
        }
        result
    }

    /// Makes a node's calls until it is answered.
    fn follow(&mut self, node: &mut Node, tree: &mut Tree) -> Result<Answer, Abort> {
        loop {
            self.check_tree(tree)?;
            let Some(call) = node.calls.pop_front() else {
                return Ok(Err(no_reply(&node.id)));
            };
            if call.callee == node.id || tree.path.contains(&call.callee) {
                return Err(Abort(UserError::new(
                    ErrorCode::QueryCallGraphLoopDetected,
                    format!(
                        "Composite query calls re-entering the same canister {} are not allowed.",
                        call.callee
                    ),
                )));
            }
            tree.path.push(node.id);
            let asked = Asked {
                id: call.callee,
                sender: node.id,
                method: &call.method,
                arg: call.arg.clone(),
            };
            let answer = self.node(asked, tree);
            tree.path.pop();
            let answer = answer?;
            self.check_tree(tree)?;
            if let Some(answer) = self.callback(node, &call, answer, tree) {
                return Ok(answer);
            }
        }
    }

    fn check_tree(&self, tree: &Tree) -> Result<(), Abort> {
        if tree.path.len() >= self.limits.composite_query_depth {
            return Err(Abort(UserError::new(
                ErrorCode::QueryCallGraphTooDeep,
                format!(
                    "Composite query calls exceeded the maximum call depth of {}.",
                    self.limits.composite_query_depth
                ),
            )));
        }
        if tree.left == 0 {
            return Err(Abort(UserError::new(
                ErrorCode::QueryCallGraphTotalInstructionLimitExceeded,
                format!(
                    "Composite query calls exceeded the limit of {} instructions.",
                    self.limits.composite_query_instructions
                ),
            )));
        }
        Ok(())
    }

    /// Runs the callback of a call, and its cleanup if it traps. The node's answer, if it has one
    /// now.
    fn callback(
        &mut self,
        node: &mut Node,
        call: &OutgoingCall,
        answer: Answer,
        tree: &mut Tree,
    ) -> Option<Answer> {
        let (bits, closure) = match &answer {
            Ok(_) => (context::COMPOSITE_REPLY, call.callback.reply),
            Err(_) => (context::COMPOSITE_REJECT, call.callback.reject),
        };
        let mut message = self.query_message(node, bits, tree);
        match answer {
            Ok(bytes) => message.arg = bytes,
            Err(e) => message.reject = Some((e.reject_code() as u32, e.message)),
        }
        let limit = message.limit;
        let reject = message.reject.clone();
        let saved = self.save_point(&node.id);
        let before = node.instructions;
        let ran = self.run_on(&node.id, message, Entry::Closure(closure));
        match self.settle(node, ran, tree) {
            Ok(Some(answer)) => Some(answer),
            Ok(None) => node.calls.is_empty().then(|| Err(no_reply(&node.id))),
            Err(trapped) => {
                self.restore_point(&node.id, &saved);
                if let Some(cleanup) = call.callback.cleanup {
                    let used = node.instructions - before;
                    let mut message = self.query_message(node, context::COMPOSITE_CLEANUP, tree);
                    message.limit = limit.saturating_sub(used);
                    message.reject = reject;
                    let ran = self.run_on(&node.id, message, Entry::Closure(cleanup));
                    if self.settle(node, ran, tree).is_err() {
                        self.restore_point(&node.id, &saved);
                    }
                }
                // Other calls may still bring an answer.
                node.calls.is_empty().then_some(Err(trapped))
            }
        }
    }

    fn query_message(&self, node: &Node, bits: context::Contexts, tree: &Tree) -> Box<Message> {
        let limit = self.limits.query_instructions.min(tree.left);
        let mut message = self.message(&node.id, bits, limit);
        message.caller = node.sender;
        message.context_instructions = node.instructions;
        message
    }

    /// Counts what a message of a node used and takes its calls. `None`: it did not answer;
    /// `Err`: it trapped.
    fn settle(
        &mut self,
        node: &mut Node,
        ran: Ran,
        tree: &mut Tree,
    ) -> Result<Option<Answer>, UserError> {
        let mut message = ran.message;
        self.keep_log(&node.id, &mut message, false);
        tree.left = tree.left.saturating_sub(ran.stats.instructions);
        node.instructions += ran.stats.instructions;
        tree.stats.add(&ran.stats);
        if tree.path.is_empty() {
            tree.stats.heap_pages = ran.stats.heap_pages;
            tree.stats.stable_pages = ran.stats.stable_pages;
        }
        ran.result?;
        node.calls.extend(message.calls.drain(..));
        Ok(message.response.take().map(|response| match response {
            Response::Reply(bytes) => Ok(bytes),
            Response::Reject(text) => Err(UserError::new(ErrorCode::CanisterRejectedMessage, text)),
        }))
    }

    fn save_point(&mut self, id: &Principal) -> Option<Savepoint> {
        let canister = self.canisters.get_mut(id)?;
        execute::save_point(&self.engine, canister)
    }

    fn restore_point(&mut self, id: &Principal, saved: &Option<Savepoint>) {
        if let (Some(canister), Some(saved)) = (self.canisters.get_mut(id), saved) {
            execute::restore_point(&self.engine, canister, saved);
        }
    }
}

fn no_reply(id: &Principal) -> UserError {
    UserError::new(
        ErrorCode::CanisterDidNotReply,
        format!("Error from Canister {id}: Canister did not reply to the call"),
    )
}

//! Requests: who may be called, and what runs then.

use candid::Principal;
use ic_error_types::ErrorCode;

use super::super::canister::CanisterStatus;
use super::super::execute::{self, Entry};
use super::super::system_api::context;
use super::super::types::UserError;
use super::super::validate::MethodKind;
use super::super::{Core, ManagementReply};
use super::{CallContext, Origin, Request};

impl Core {
    pub(super) fn request(&mut self, request: Request) {
        if let Origin::Call {
            expiry: Some(expiry),
            ..
        } = request.origin
            && !self.scheduler.expiring.contains_key(&expiry)
        {
            // The caller waits no longer, and nothing has begun yet.
            return self.give_back(&request.caller, request.cycles);
        }
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
            call: request.call,
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
    pub(in super::super) fn find_method(
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

    fn management_request(&mut self, request: Request) {
        self.scheduler.stats.messages += 1;
        self.scheduler.stopping = None;
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
        self.answer_or_wait(request.origin, &request.callee, reply.result, reply.refund);
    }
}

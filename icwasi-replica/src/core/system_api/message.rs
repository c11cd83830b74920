//! What one message sees and what it does, apart from its heap.

use std::collections::BTreeMap;
use std::sync::Arc;

use candid::Principal;

use super::super::canister::CanisterStatus;
use super::super::limits::Limits;
use super::super::stable::StableMemory;
use super::super::{DataCertificate, PrintHook};
use super::context::Contexts;

/// A function of the table and its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WasmClosure {
    /// Index in table 0.
    pub function: u64,
    /// Passed to it.
    pub env: u64,
}

/// What runs when a call is answered. `u64::MAX` (or `u32::MAX`) as a function means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callback {
    /// On a reply.
    pub reply: WasmClosure,
    /// On a rejection.
    pub reject: WasmClosure,
    /// When one of the two trapped.
    pub cleanup: Option<WasmClosure>,
    /// Cycles that were paid ahead for executing the callback.
    pub paid_execution: u128,
    /// Cycles that were paid ahead for the bytes of the response.
    pub paid_response: u128,
}

/// A call that a message makes.
#[derive(Clone, Debug)]
pub struct OutgoingCall {
    /// Who is called.
    pub callee: Principal,
    /// Which method.
    pub method: String,
    /// With what.
    pub arg: Vec<u8>,
    /// Cycles attached, already taken from the balance.
    pub cycles: u128,
    /// What runs on the answer.
    pub callback: Callback,
    /// Seconds of a best-effort call.
    pub timeout: Option<u32>,
}

/// How a message answered its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// `msg_reply`
    Reply(Vec<u8>),
    /// `msg_reject`
    Reject(String),
}

/// The subnet that is emulated.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its id.
    pub id: Principal,
    /// Its public key, DER.
    pub root_key: Vec<u8>,
}

/// A message while it executes.
pub struct Message {
    /// Kind of execution: exactly one bit.
    pub context: Contexts,
    /// Whether all nodes would execute it.
    pub replicated: bool,
    /// Who executes.
    pub canister: Principal,
    /// Who called.
    pub caller: Principal,
    /// Method, for `inspect_message` and errors.
    pub method: String,
    /// Argument, or the reply in a reply callback.
    pub arg: Vec<u8>,
    /// Reject code and message in a reject callback.
    pub reject: Option<(u32, String)>,
    /// Nanoseconds, or 0.
    pub deadline: u64,
    /// Nanoseconds.
    pub time: u64,
    /// Instructions that the counter started with.
    pub limit: u64,
    /// Instructions of earlier messages of the same call context.
    pub context_instructions: u64,
    /// Running, stopping, stopped.
    pub status: CanisterStatus,
    /// `canister_version`.
    pub version: u64,
    /// For `is_controller`.
    pub controllers: Vec<Principal>,
    /// For `env_var_*`.
    pub environment: BTreeMap<String, String>,
    /// Limits and fees.
    pub limits: Arc<Limits>,
    /// For `subnet_self_*`, `root_key_*`.
    pub subnet: Arc<Subnet>,

    /// Cycles of the canister.
    pub balance: u128,
    /// Cycles that it may not spend: the freezing threshold.
    pub frozen_below: u128,
    /// What a byte of memory adds to that, times 2^30.
    pub frozen_per_byte: u128,
    /// Cycles of the call that may still be accepted.
    pub available: u128,
    /// Cycles that came back with a response.
    pub refunded: u128,
    /// Whether the call was answered before this message.
    pub answered: bool,

    /// Bytes appended so far.
    pub reply: Vec<u8>,
    /// The answer given in this message.
    pub response: Option<Response>,
    /// Largest reply.
    pub reply_limit: usize,
    /// `accept_message` was called.
    pub accepted: bool,
    /// Between `call_new` and `call_perform`.
    pub pending: Option<OutgoingCall>,
    /// Calls performed.
    pub calls: Vec<OutgoingCall>,
    /// Calls that are waiting for their answers, by callee; those of this message as well.
    pub waiting: BTreeMap<Principal, usize>,

    /// `certified_data_set`.
    pub certified_data: Option<Vec<u8>>,
    /// Certified data before this message.
    pub certified_before: Vec<u8>,
    /// Gives the certificate, in queries.
    pub certificate: Option<DataCertificate>,
    /// What it gave.
    pub certificate_bytes: Option<Vec<u8>>,
    /// `global_timer_set`.
    pub timer: Option<u64>,
    /// Timer before this message.
    pub timer_before: u64,

    /// Stable memory, lent by the canister.
    pub stable: StableMemory,
    /// 4 KiB pages that may be dirtied, and as many accessed.
    pub stable_page_limit: u64,
    /// Largest heap.
    pub heap_maximum: u64,
    /// `wasm_memory_limit`, where it applies.
    pub wasm_memory_limit: Option<u64>,

    /// System API calls made.
    pub api_calls: u64,
    /// Lines printed.
    pub log: Vec<Vec<u8>>,
    /// Bytes that the log holds.
    pub log_capacity: u64,
    /// Bytes logged by this message.
    pub log_used: u64,
    /// Told at once what is printed.
    pub print: Option<PrintHook>,
}

impl Message {
    /// Cycles that may be spent.
    pub fn liquid(&self) -> u128 {
        self.balance.saturating_sub(self.frozen_below)
    }

    /// Whether the canister can keep `bytes` more of memory without being frozen; if not, how
    /// many cycles it lacks.
    pub fn afford_bytes(&mut self, bytes: u64) -> Result<(), u128> {
        let more = (self.frozen_per_byte * u128::from(bytes)) >> 30;
        let needed = self.frozen_below + more;
        if more > 0 && self.balance < needed {
            return Err(needed - self.balance);
        }
        self.frozen_below = needed;
        Ok(())
    }

    /// Notes a line for the log.
    pub fn print_line(&mut self, text: &[u8]) {
        if let Some(print) = &self.print {
            print(&self.canister, self.time, text);
        }
        let keep = text.len().min(self.log_capacity as usize);
        self.log_used = (self.log_used + keep as u64).min(self.log_capacity);
        self.log.push(text[..keep].to_vec());
    }

    /// Charge for printing `len` bytes.
    pub fn print_cost(&self, len: u64) -> u64 {
        use super::super::costs::{LOG_FORMAT_PER_BYTE, LOG_STORE_PER_BYTE};
        let room = self.log_capacity.saturating_sub(self.log_used);
        LOG_FORMAT_PER_BYTE * len.min(self.log_capacity) + LOG_STORE_PER_BYTE * len.min(room)
    }
}

//! A canister that makes the calls that it is told to.

use candid::{Encode, Principal};
use ic_agent::Agent;
use ic_management_canister_types as types;

use crate::support::{install, manage};

/// `forward` (update): length and bytes of the callee, length and bytes of the method, eight bytes
/// of cycles, payload. Replies the reject code (0 for a reply), sixteen bytes of refunded cycles,
/// and the reply or the message. `balance` (query): sixteen bytes.
const PROXY: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reject_code" (func $code (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $message_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $message_copy (param i32 i32 i32)))
  (import "ic0" "msg_cycles_refunded128" (func $refunded (param i32)))
  (import "ic0" "canister_cycle_balance128" (func $balance (param i32)))
  (import "ic0" "call_new" (func $new
    (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $cycles (param i64 i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 64)
  (table 1 funcref)
  (elem (i32.const 0) $answer)
  (func $answer (param i32)
    (i32.store8 (i32.const 100) (call $code))
    (call $refunded (i32.const 101))
    (call $append (i32.const 100) (i32.const 17))
    (if (call $code)
      (then
        (call $message_copy (i32.const 4096) (i32.const 0) (call $message_size))
        (call $append (i32.const 4096) (call $message_size)))
      (else
        (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
        (call $append (i32.const 4096) (call $arg_size))))
    (call $reply))
  (func (export "canister_update forward") (local $n i32) (local $p i32)
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (local.set $n (i32.load8_u (i32.const 4096)))
    (local.set $p (i32.add (i32.const 4098) (local.get $n)))
    (call $new
      (i32.const 4097) (local.get $n)
      (local.get $p) (i32.load8_u (i32.sub (local.get $p) (i32.const 1)))
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (local.set $p (i32.add (local.get $p) (i32.load8_u (i32.sub (local.get $p) (i32.const 1)))))
    (call $cycles (i64.const 0) (i64.load (local.get $p)))
    (local.set $p (i32.add (local.get $p) (i32.const 8)))
    (call $data (local.get $p)
      (i32.sub (i32.add (i32.const 4096) (call $arg_size)) (local.get $p)))
    (if (call $perform) (then unreachable)))
  (func (export "canister_query balance")
    (call $balance (i32.const 0))
    (call $append (i32.const 0) (i32.const 16))
    (call $reply)))"#;

/// The answer to a call that a canister made.
#[derive(Debug)]
pub struct Answer {
    /// Reject code and message, or the reply.
    pub result: Result<Vec<u8>, (u8, String)>,
    /// Cycles that came back.
    pub refunded: u128,
}

impl Answer {
    /// The reply; panics with the message if there is none.
    pub fn reply(self) -> Vec<u8> {
        self.result.expect("a reply")
    }

    /// The reject code and message.
    pub fn rejection(self) -> (u8, String) {
        self.result.expect_err("a rejection")
    }
}

/// An installed proxy.
pub struct Proxy<'a> {
    /// Speaks for its controller.
    pub agent: &'a Agent,
    /// Its id.
    pub id: Principal,
}

impl<'a> Proxy<'a> {
    /// Installs one.
    pub async fn new(agent: &'a Agent) -> Self {
        let id = install(agent, &wat::parse_str(PROXY).expect("valid")).await;
        Self { agent, id }
    }

    /// Makes it call.
    pub async fn call(&self, callee: Principal, method: &str, cycles: u64, arg: &[u8]) -> Answer {
        let mut message = vec![callee.as_slice().len() as u8];
        message.extend(callee.as_slice());
        message.push(method.len() as u8);
        message.extend(method.as_bytes());
        message.extend(cycles.to_le_bytes());
        message.extend(arg);
        let answer = self
            .agent
            .update(&self.id, "forward")
            .with_arg(message)
            .call_and_wait()
            .await
            .expect("the proxy answers");
        let (head, rest) = answer.split_at(17);
        Answer {
            result: match head[0] {
                0 => Ok(rest.to_vec()),
                code => Err((code, String::from_utf8_lossy(rest).into_owned())),
            },
            refunded: u128::from_le_bytes(head[1..].try_into().expect("sixteen bytes")),
        }
    }

    /// Makes it call the management canister.
    pub async fn manage(&self, method: &str, cycles: u64, arg: &impl candid::CandidType) -> Answer {
        let arg = Encode!(arg).expect("candid");
        let management = Principal::management_canister();
        self.call(management, method, cycles, &arg).await
    }

    /// Its cycles.
    pub async fn balance(&self) -> u128 {
        let bytes = self
            .agent
            .query(&self.id, "balance")
            .with_arg([])
            .call()
            .await
            .expect("a reply");
        u128::from_le_bytes(bytes.try_into().expect("sixteen bytes"))
    }
}

/// Sets one thing of a canister.
pub async fn set(agent: &Agent, canister_id: Principal, settings: types::CanisterSettings) {
    let arg = types::UpdateSettingsArgs {
        canister_id,
        settings,
        sender_canister_version: None,
    };
    manage(agent, canister_id, "update_settings", &arg)
        .await
        .expect("valid settings");
}

//! Stand-ins for canisters of the IC's own subnets that client tools expect on every network: the
//! ICP ledger, the cycles ledger, the cycles minting canister.
//!
//! They are there so that tools which pay for things work here; the money is play money. They
//! deviate from the originals: the anonymous principal's money has no end, nothing is kept
//! over a restart, blocks and duplicates are not recorded. A canister that is installed under one
//! of these ids takes the stand-in's place.

mod account;
mod cycles;
mod icp;
mod ledger;
mod minting;

use std::sync::Mutex;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use serde::de::DeserializeOwned;

use crate::core::{Core, ErrorCode, UserError};
use crate::executor::State;
use crate::management::Management;
use ledger::Ledger;

/// `ryjl3-tyaaa-aaaaa-aaaba-cai`
const ICP_LEDGER: Principal = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 2, 1, 1]);
/// `rkp4c-7iaaa-aaaaa-aaaca-cai`
const CYCLES_MINTING: Principal = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 4, 1, 1]);
/// `um5iw-rqaaa-aaaaq-qaaba-cai`
const CYCLES_LEDGER: Principal = Principal::from_slice(&[0, 0, 0, 0, 2, 16, 0, 2, 1, 1]);

/// What the stand-ins remember.
pub struct Fakes {
    icp: Ledger,
    cycles: Ledger,
}

impl Default for Fakes {
    fn default() -> Self {
        Self {
            icp: Ledger::new("Internet Computer", "ICP", 8, 10_000),
            cycles: Ledger::new("Trillion Cycles", "TCYCLES", 12, 100_000_000),
        }
    }
}

/// Whether there is a stand-in of the canister `id`.
pub fn stands_in(id: &Principal) -> bool {
    [ICP_LEDGER, CYCLES_MINTING, CYCLES_LEDGER].contains(id)
}

/// Whether calls to `id` go to a stand-in.
pub fn serves(core: &Core, id: &Principal) -> bool {
    stands_in(id) && core.canister(id).is_none()
}

/// What a call works on.
pub struct Stage<'a> {
    /// Canisters.
    pub core: &'a mut Core,
    /// Creates them.
    pub management: &'a Mutex<Management>,
    /// Money.
    pub fakes: &'a mut Fakes,
    /// Cycles that came with the call and were not taken yet.
    pub cycles: &'a mut u128,
}

/// How a method is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing may change.
    Query,
    /// An update, or a query in the place of one.
    Update,
}

/// Runs a method of the stand-in `id` for a client.
pub fn from_outside(
    state: &mut State,
    id: &Principal,
    kind: Kind,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, UserError> {
    let stage = Stage {
        core: &mut state.core,
        management: &state.management,
        fakes: &mut state.fakes.lock().unwrap_or_else(|e| e.into_inner()),
        cycles: &mut 0,
    };
    call(stage, id, kind, sender, method, arg)
}

/// Runs a method of the stand-in `id`.
pub fn call(
    mut stage: Stage<'_>,
    id: &Principal,
    kind: Kind,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, UserError> {
    let reply = match *id {
        ICP_LEDGER => icp::call(&mut stage.fakes.icp, kind, sender, method, arg)?,
        CYCLES_LEDGER => cycles::call(&mut stage, kind, sender, method, arg)?,
        CYCLES_MINTING => minting::query(stage.core, method)?,
        _ => None,
    };
    reply.ok_or_else(|| {
        UserError::new(
            ErrorCode::CanisterMethodNotFound,
            format!(
                "Canister {id} has no {} method '{method:.200}' (the local replica has a small \
                 stand-in in its place)",
                match kind {
                    Kind::Query => "query",
                    Kind::Update => "update",
                }
            ),
        )
    })
}

fn decode<T: CandidType + DeserializeOwned>(arg: &[u8]) -> Result<T, UserError> {
    let mut config = candid::DecoderConfig::new();
    config
        .set_skipping_quota(10_000)
        .set_full_error_message(false);
    candid::utils::decode_args_with_config::<(T,)>(arg, &config)
        .map(|(value,)| value)
        .map_err(|error| {
            UserError::new(
                ErrorCode::CanisterCalledTrap,
                format!("Error decoding candid: {error:.1000}"),
            )
        })
}

fn encode<T: ArgumentEncoder>(value: T) -> Result<Option<Vec<u8>>, UserError> {
    match candid::utils::encode_args(value) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => Err(UserError::new(
            ErrorCode::CanisterContractViolation,
            format!("candid: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_originals() {
        assert_eq!(ICP_LEDGER.to_text(), "ryjl3-tyaaa-aaaaa-aaaba-cai");
        assert_eq!(CYCLES_MINTING.to_text(), "rkp4c-7iaaa-aaaaa-aaaca-cai");
        assert_eq!(CYCLES_LEDGER.to_text(), "um5iw-rqaaa-aaaaq-qaaba-cai");
    }
}

//! What canisters pay, when [`super::limits::Fees::charge`] is set: prepayment and refund of
//! execution, messages, storage over time, and the freezing threshold that keeps some back.

use candid::Principal;
use ic_error_types::ErrorCode;

use super::Core;
use super::canister::Canister;
use super::limits::{Fees, Limits};
use super::types::UserError;

const NANOS: u128 = 1_000_000_000;

impl Fees {
    /// Storing `bytes` for a second, times 2^30, so that small sizes are not lost to rounding.
    fn storage_second_gib(&self, bytes: u64) -> u128 {
        self.gib_second * u128::from(bytes)
    }

    /// Executing a message of `instructions`.
    pub fn execution(&self, instructions: u64, wasm64: bool) -> u128 {
        let factor = if wasm64 { self.wasm64_factor } else { 1 };
        self.update + self.ten_instructions * factor * u128::from(instructions) / 10
    }

    /// Sending `bytes` to another canister.
    pub fn request(&self, bytes: usize) -> u128 {
        self.xnet_call + self.xnet_byte * bytes as u128
    }

    /// An ingress message of `bytes`.
    pub fn ingress_message(&self, bytes: usize) -> u128 {
        self.ingress + self.ingress_byte * bytes as u128
    }
}

/// Cycles below which a canister with `extra` more bytes of memory is frozen.
fn threshold_with(canister: &Canister, fees: &Fees, extra: u64) -> u128 {
    if !fees.charge {
        return 0;
    }
    let bytes = canister
        .billed_bytes()
        .saturating_add(extra)
        .max(canister.settings.memory_allocation);
    let compute = fees.compute_percent_second * u128::from(canister.settings.compute_allocation);
    let second_gib = fees.storage_second_gib(bytes) + (compute << 30);
    (second_gib * u128::from(canister.settings.freezing_threshold)) >> 30
}

/// Cycles below which a canister is frozen; 0 when nothing is charged.
pub(super) fn threshold(canister: &Canister, limits: &Limits) -> u128 {
    threshold_with(canister, &limits.fees, 0)
}

/// How much a canister's threshold goes up per byte of memory, times 2^30.
pub(super) fn threshold_per_byte(canister: &Canister, limits: &Limits) -> u128 {
    if limits.fees.charge {
        limits.fees.storage_second_gib(1) * u128::from(canister.settings.freezing_threshold)
    } else {
        0
    }
}

fn out_of_cycles(id: &Principal, missing: u128) -> UserError {
    UserError::new(
        ErrorCode::CanisterOutOfCycles,
        format!(
            "Canister {id} is out of cycles: please top up the canister with at least {missing} \
             additional cycles"
        ),
    )
}

impl Core {
    /// Refuses queries of a frozen canister.
    pub(super) fn check_not_frozen(&self, id: &Principal) -> Result<(), UserError> {
        match self.canisters.get(id) {
            Some(c) if c.cycles < threshold(c, &self.limits) => Err(UserError::new(
                ErrorCode::CanisterOutOfCycles,
                format!(
                    "Canister {id} is unable to process query calls because it's frozen. Please \
                     top up the canister with cycles and try again."
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Takes cycles that are above the freezing threshold.
    pub(super) fn withdraw(&mut self, id: &Principal, amount: u128) -> Result<(), UserError> {
        if !self.limits.fees.charge {
            return Ok(());
        }
        let limits = self.limits.clone();
        let canister = self
            .canisters
            .get_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        let needed = amount.saturating_add(threshold(canister, &limits));
        match needed.checked_sub(canister.cycles) {
            None | Some(0) => {
                canister.cycles -= amount;
                Ok(())
            }
            Some(missing) => Err(out_of_cycles(id, missing)),
        }
    }

    /// What a message that may use `instructions` pays ahead; 0 when nothing is charged.
    pub(super) fn prepayment(&self, id: &Principal, instructions: u64) -> u128 {
        if !self.limits.fees.charge {
            return 0;
        }
        let wasm64 = self.canisters.get(id).is_some_and(Canister::is_wasm64);
        self.limits.fees.execution(instructions, wasm64)
    }

    /// Charges every canister for storage and allocations since this was last done. One that
    /// cannot pay loses its code and memory.
    pub(super) fn charge_storage(&mut self) {
        let elapsed = u128::from(self.time.saturating_sub(self.storage_paid_until));
        // As rarely as the reference, so that small canisters do not pay by rounding.
        if !self.limits.fees.charge || elapsed < 10 * NANOS {
            return;
        }
        self.storage_paid_until = self.time;
        let fees = self.limits.fees.clone();
        let mut broke = Vec::new();
        for canister in self.canisters.values_mut() {
            let bytes = canister
                .billed_bytes()
                .max(canister.settings.memory_allocation);
            let compute =
                fees.compute_percent_second * u128::from(canister.settings.compute_allocation);
            let second_gib = fees.storage_second_gib(bytes) + (compute << 30);
            let fee = (second_gib * elapsed / NANOS) >> 30;
            match canister.cycles.checked_sub(fee) {
                Some(left) => canister.cycles = left,
                None => {
                    canister.cycles = 0;
                    broke.push(canister.id);
                }
            }
        }
        for id in broke {
            let by = Principal::management_canister();
            if let Err(e) = self.run_uninstall(by, &id) {
                tracing::warn!("canister {id} cannot pay for its memory and stays: {e}");
            }
        }
    }
}

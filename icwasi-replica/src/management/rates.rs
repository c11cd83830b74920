//! How fast a canister may be changed, and what that costs it.
//!
//! Both are off unless asked for: [`ManagementLimits::rate_limited`] and
//! [`Fees::charge`](crate::core::Fees). Debts are not kept over a restart of the replica.

use std::collections::BTreeMap;

use candid::Principal;

use super::Call;
use crate::core::{ErrorCode, ManagementLimits, UserError};

const SECOND: u128 = 1_000_000_000;

/// What a canister has used up and what time has not drained yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Debt {
    install_instructions: u64,
    heap_delta_bytes: u64,
    /// When it was so much, nanoseconds.
    at: u64,
}

impl Debt {
    /// What is left at `now`.
    fn drained(self, now: u64, limits: &ManagementLimits) -> Self {
        let passed = u128::from(now.saturating_sub(self.at));
        let left = |debt: u64, per_second: u64| {
            let drained = passed * u128::from(per_second) / SECOND;
            debt.saturating_sub(u64::try_from(drained).unwrap_or(u64::MAX))
        };
        Self {
            install_instructions: left(
                self.install_instructions,
                limits.install_instructions_per_second,
            ),
            heap_delta_bytes: left(self.heap_delta_bytes, limits.heap_delta_bytes_per_second),
            at: now.max(self.at),
        }
    }
}

/// Debts of all canisters.
#[derive(Debug, Default)]
pub struct Rates(BTreeMap<Principal, Debt>);

impl Rates {
    fn now(&mut self, id: &Principal, now: u64, limits: &ManagementLimits) -> Debt {
        let debt = self.0.get(id).copied().unwrap_or_default();
        let debt = debt.drained(now, limits);
        if debt.install_instructions == 0 && debt.heap_delta_bytes == 0 {
            self.0.remove(id);
        }
        debt
    }

    /// Fails while an earlier installation is not paid off.
    fn check_install(
        &mut self,
        id: &Principal,
        now: u64,
        limits: &ManagementLimits,
    ) -> Result<(), UserError> {
        let debt = self.now(id, now, limits).install_instructions;
        if debt == 0 {
            return Ok(());
        }
        Err(UserError::new(
            ErrorCode::CanisterInstallCodeRateLimited,
            format!(
                "Canister {id} is rate limited because it executed too many instructions in the \
                 previous install_code messages. Please retry installation after {} s.",
                debt.div_ceil(limits.install_instructions_per_second.max(1))
            ),
        ))
    }

    /// Fails while a second's worth of bytes and more is waiting.
    fn check_bytes(
        &mut self,
        id: &Principal,
        now: u64,
        limits: &ManagementLimits,
    ) -> Result<(), UserError> {
        let debt = self.now(id, now, limits).heap_delta_bytes;
        if debt < limits.heap_delta_bytes_per_second {
            return Ok(());
        }
        Err(UserError::new(
            ErrorCode::CanisterHeapDeltaRateLimited,
            format!(
                "Canister {id} is heap delta rate limited: current delta debit: {debt} bytes, \
                 limit: {} bytes",
                limits.heap_delta_bytes_per_second
            ),
        ))
    }

    fn add(
        &mut self,
        id: &Principal,
        now: u64,
        limits: &ManagementLimits,
        (instructions, bytes): (u64, u64),
    ) {
        let mut debt = self.now(id, now, limits);
        debt.install_instructions = debt.install_instructions.saturating_add(instructions);
        debt.heap_delta_bytes = debt.heap_delta_bytes.saturating_add(bytes);
        self.0.insert(*id, debt);
    }

    /// Forgets a canister that is gone.
    pub fn forget(&mut self, id: &Principal) {
        self.0.remove(id);
    }
}

impl Call<'_> {
    /// Before an installation.
    pub(super) fn may_install(&mut self, id: &Principal) -> Result<(), UserError> {
        let (now, limits) = (self.core.time(), &self.core.limits().management);
        if !limits.rate_limited {
            return Ok(());
        }
        self.management.rates.check_install(id, now, limits)
    }

    /// After an installation, also one that failed: it ran.
    pub(super) fn installed(&mut self, id: &Principal, instructions: u64) -> Result<(), UserError> {
        let (now, limits) = (self.core.time(), &self.core.limits().management);
        if limits.rate_limited {
            self.management
                .rates
                .add(id, now, limits, (instructions, 0));
        }
        let fee = self.fee(instructions);
        if fee == 0 {
            return Ok(());
        }
        self.change(id, |canister| {
            canister.cycles = canister.cycles.saturating_sub(fee);
        })
    }

    /// Takes from a canister what work of `instructions` costs that writes `bytes` for it; fails
    /// if it does not hold that much, or has to wait. Before the work.
    pub(super) fn pay(
        &mut self,
        id: &Principal,
        instructions: u64,
        bytes: u64,
    ) -> Result<(), UserError> {
        let (now, limits) = (self.core.time(), &self.core.limits().management);
        if limits.rate_limited {
            self.management.rates.check_bytes(id, now, limits)?;
        }
        let fee = self.fee(instructions);
        let held = self.canister(id)?.cycles;
        if held < fee {
            return Err(UserError::new(
                ErrorCode::CanisterOutOfCycles,
                format!("Canister {id} is out of cycles: this costs {fee} cycles, it holds {held}"),
            ));
        }
        if fee > 0 {
            self.change(id, |canister| canister.cycles -= fee)?;
        }
        let limits = &self.core.limits().management;
        if limits.rate_limited {
            self.management.rates.add(id, now, limits, (0, bytes));
        }
        Ok(())
    }

    /// Cycles for a message of so many instructions.
    fn fee(&self, instructions: u64) -> u128 {
        let fees = &self.core.limits().fees;
        if !fees.charge {
            return 0;
        }
        fees.update + fees.ten_instructions * u128::from(instructions) / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Limits;

    #[test]
    fn debts_drain_with_time() {
        let limits = &Limits::default().management;
        let id = Principal::from_slice(&[1]);
        let mut rates = Rates::default();
        let second = SECOND as u64;
        assert!(rates.check_install(&id, 0, limits).is_ok());
        rates.add(&id, 0, limits, (5_000_000_000, 200 << 20));
        let error = rates.check_install(&id, second, limits).unwrap_err();
        assert_eq!(error.code, ErrorCode::CanisterInstallCodeRateLimited);
        assert!(error.message.contains("after 2 s"), "{error}");
        assert!(rates.check_install(&id, 5 * second / 2, limits).is_ok());
        let error = rates.check_bytes(&id, second, limits).unwrap_err();
        assert_eq!(error.code, ErrorCode::CanisterHeapDeltaRateLimited);
        assert!(rates.check_bytes(&id, 2 * second, limits).is_ok());
        assert!(
            rates
                .check_bytes(&Principal::from_slice(&[2]), 0, limits)
                .is_ok()
        );
        assert!(rates.check_install(&id, 9 * second, limits).is_ok());
        assert!(rates.0.is_empty(), "what is paid off is forgotten");
    }
}

//! Creating, starting, stopping, deleting canisters; cycles.

use candid::{Nat, Principal};
use ic_management_canister_types as types;

use super::{Call, Via, persist};
use crate::core::{Change, ChangeDetails, ErrorCode, Settings, UserError};

/// What a canister gets when no amount is given: 100 T cycles.
const DEFAULT_CYCLES: u128 = 100_000_000_000_000;

/// A natural number that has to fit.
pub(super) fn to_u128(value: &Nat, what: &str) -> Result<u128, UserError> {
    u128::try_from(&value.0).map_err(|_| {
        UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!("{what} is larger than 2^128 - 1"),
        )
    })
}

impl Call<'_> {
    pub(super) fn create(
        &mut self,
        arg: types::CreateCanisterArgs,
    ) -> Result<types::CanisterIdRecord, UserError> {
        let fees = &self.core.limits().fees;
        let fee = if fees.charge { fees.create_canister } else { 0 };
        if self.cycles < fee {
            return Err(UserError::new(
                ErrorCode::InsufficientCyclesForCreateCanister,
                format!(
                    "Creating a canister requires a fee of {fee} that is deducted from the \
                     canister's initial balance but only {} cycles were received with the \
                     create_canister request.",
                    self.cycles
                ),
            ));
        }
        let balance = self.cycles - fee;
        let canister_id = self.make(None, arg.settings, balance)?;
        self.cycles = 0;
        Ok(types::CanisterIdRecord { canister_id })
    }

    pub(super) fn provisional(
        &mut self,
        arg: types::ProvisionalCreateCanisterWithCyclesArgs,
    ) -> Result<types::CanisterIdRecord, UserError> {
        let cycles = match &arg.amount {
            Some(amount) => to_u128(amount, "amount")?,
            None => DEFAULT_CYCLES,
        };
        let canister_id = self.make(arg.specified_id, arg.settings, cycles)?;
        Ok(types::CanisterIdRecord { canister_id })
    }

    fn make(
        &mut self,
        specified: Option<Principal>,
        settings: Option<types::CanisterSettings>,
        cycles: u128,
    ) -> Result<Principal, UserError> {
        if let Some(id) = specified {
            let opaque = id.as_slice().len() == 10 && id.as_slice().ends_with(&[1, 1]);
            if !opaque {
                return Err(UserError::new(
                    ErrorCode::CanisterNotHostedBySubnet,
                    format!(
                        "The specified canister_id {id} is not a canister id: ten bytes that end in 01 01"
                    ),
                ));
            }
            if self.core.canister(&id).is_some() {
                return Err(UserError::new(
                    ErrorCode::CanisterIdAlreadyExists,
                    format!("Canister {id} is already installed."),
                ));
            }
        }
        let mut all = Settings::new(vec![self.sender], self.core.limits());
        if let Some(settings) = settings {
            self.apply_settings(&mut all, settings)?;
        }
        self.core
            .create_canister(self.sender, specified, all, cycles)
    }

    pub(super) fn top_up(
        &mut self,
        arg: types::ProvisionalTopUpCanisterArgs,
    ) -> Result<(), UserError> {
        let amount = to_u128(&arg.amount, "amount")?;
        self.canister(&arg.canister_id)?;
        self.change(&arg.canister_id, |canister| {
            canister.cycles = canister.cycles.saturating_add(amount);
        })
    }

    pub(super) fn deposit(&mut self, arg: types::DepositCyclesArgs) -> Result<(), UserError> {
        if self.via != Via::Canister {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                "deposit_cycles can be called by a canister only",
            ));
        }
        self.canister(&arg.canister_id)?;
        let amount = std::mem::take(&mut self.cycles);
        self.change(&arg.canister_id, |canister| {
            canister.cycles = canister.cycles.saturating_add(amount);
        })
    }

    pub(super) fn start(&mut self, arg: types::CanisterIdRecord) -> Result<(), UserError> {
        self.controlled(&arg.canister_id)?;
        self.core.start_canister(&arg.canister_id)
    }

    pub(super) fn stop(&mut self, arg: types::CanisterIdRecord) -> Result<(), UserError> {
        self.controlled(&arg.canister_id)?;
        self.core.stop_canister(&arg.canister_id)
    }

    pub(super) fn delete(&mut self, arg: types::CanisterIdRecord) -> Result<(), UserError> {
        self.controlled(&arg.canister_id)?;
        if self.via == Via::Canister && self.sender == arg.canister_id {
            return Err(UserError::new(
                ErrorCode::CanisterInvalidController,
                format!("Canister {} cannot delete itself.", arg.canister_id),
            ));
        }
        self.core.delete_canister(&arg.canister_id)?;
        self.management.rates.forget(&arg.canister_id);
        let numbers: Vec<u64> = self
            .management
            .snapshots
            .of(&arg.canister_id)
            .map(|meta| meta.number)
            .collect();
        for number in numbers {
            self.management
                .snapshots
                .remove(&arg.canister_id, number)
                .map_err(|error| super::disk_error(&error))?;
        }
        match &self.management.store {
            Some(store) => persist::lock(store)
                .delete(&arg.canister_id)
                .map_err(|error| super::disk_error(&error)),
            None => Ok(()),
        }
    }

    pub(super) fn update_settings(
        &mut self,
        arg: types::UpdateSettingsArgs,
    ) -> Result<(), UserError> {
        let mut settings = self.controlled(&arg.canister_id)?.settings.clone();
        let controllers_given = arg.settings.controllers.is_some();
        self.apply_settings(&mut settings, arg.settings)?;
        let (now, sender) = (self.core.time(), self.sender);
        self.change(&arg.canister_id, |canister| {
            let log_limit = settings.log_memory_limit;
            canister.version += 1;
            if controllers_given {
                canister.history.push(Change {
                    timestamp_nanos: now,
                    canister_version: canister.version,
                    origin: sender,
                    details: ChangeDetails::ControllersChange(settings.controllers.clone()),
                });
            }
            canister.settings = settings;
            canister
                .log
                .shrink(usize::try_from(log_limit).unwrap_or(usize::MAX));
        })
    }
}

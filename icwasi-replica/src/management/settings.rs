//! Settings: from candid with every limit checked, and back.

use std::collections::BTreeMap;

use candid::Nat;
use ic_management_canister_types as types;

use super::Call;
use super::lifecycle::to_u128;
use crate::core::{ErrorCode, Settings, UserError, Visibility};

const MAX_ALLOCATION: u128 = 1 << 48;
/// Smallest log other than none.
const MIN_LOG_BYTES: u128 = 4_096;
const MAX_VIEWERS: usize = 10;

fn invalid(text: String) -> UserError {
    UserError::new(ErrorCode::InvalidManagementPayload, text)
}

fn bounded(value: &Nat, max: u128, what: &str) -> Result<u64, UserError> {
    let number = to_u128(value, what)?;
    if number > max {
        return Err(invalid(format!(
            "{what} must be at most {max}, {number} was given"
        )));
    }
    u64::try_from(number).map_err(|_| invalid(format!("{what} must be below 2^64")))
}

fn visibility(
    viewers: Option<Vec<candid::Principal>>,
    public: bool,
) -> Result<Visibility, UserError> {
    match viewers {
        Some(list) if list.len() > MAX_VIEWERS => Err(invalid(format!(
            "{} allowed viewers given, at most {MAX_VIEWERS}",
            list.len()
        ))),
        Some(list) => Ok(Visibility::AllowedViewers(list)),
        None if public => Ok(Visibility::Public),
        None => Ok(Visibility::Controllers),
    }
}

impl Call<'_> {
    /// Puts what is given in `new` into `held`; on an error `held` may be half changed.
    pub(super) fn apply_settings(
        &self,
        held: &mut Settings,
        new: types::CanisterSettings,
    ) -> Result<(), UserError> {
        let limits = self.core.limits();
        if let Some(mut controllers) = new.controllers {
            controllers.sort();
            controllers.dedup();
            if controllers.len() > limits.controllers {
                return Err(invalid(format!(
                    "Invalid settings: {} controllers given, at most {}",
                    controllers.len(),
                    limits.controllers
                )));
            }
            held.controllers = controllers;
        }
        if let Some(value) = &new.compute_allocation {
            held.compute_allocation = bounded(value, 100, "compute_allocation")?;
        }
        if let Some(value) = &new.memory_allocation {
            held.memory_allocation = bounded(value, MAX_ALLOCATION, "memory_allocation")?;
        }
        if let Some(value) = &new.freezing_threshold {
            held.freezing_threshold = bounded(value, u64::MAX.into(), "freezing_threshold")?;
        }
        if let Some(value) = &new.reserved_cycles_limit {
            held.reserved_cycles_limit = to_u128(value, "reserved_cycles_limit")?;
        }
        if let Some(value) = &new.wasm_memory_limit {
            held.wasm_memory_limit = bounded(value, MAX_ALLOCATION, "wasm_memory_limit")?;
        }
        if let Some(value) = &new.wasm_memory_threshold {
            held.wasm_memory_threshold = bounded(value, MAX_ALLOCATION, "wasm_memory_threshold")?;
        }
        if let Some(value) = &new.log_memory_limit {
            let bytes = to_u128(value, "log_memory_limit")?;
            if bytes != 0 && bytes < MIN_LOG_BYTES {
                return Err(invalid(format!(
                    "log_memory_limit must be 0 or at least {MIN_LOG_BYTES}, {bytes} was given"
                )));
            }
            held.log_memory_limit =
                bounded(value, limits.log_bytes_max as u128, "log_memory_limit")?;
        }
        if let Some(value) = new.log_visibility {
            held.log_visibility = match value {
                types::LogVisibility::Controllers => visibility(None, false)?,
                types::LogVisibility::Public => visibility(None, true)?,
                types::LogVisibility::AllowedViewers(list) => visibility(Some(list), false)?,
            };
        }
        if let Some(value) = new.snapshot_visibility {
            held.snapshot_visibility = match value {
                types::SnapshotVisibility::Controllers => visibility(None, false)?,
                types::SnapshotVisibility::Public => visibility(None, true)?,
                types::SnapshotVisibility::AllowedViewers(list) => visibility(Some(list), false)?,
            };
        }
        if let Some(value) = new.status_visibility {
            held.status_visibility = match value {
                types::StatusVisibility::Controllers => visibility(None, false)?,
                types::StatusVisibility::Public => visibility(None, true)?,
                types::StatusVisibility::AllowedViewers(list) => visibility(Some(list), false)?,
            };
        }
        if let Some(value) = &new.minimum_incoming_canister_call_cycles {
            held.minimum_call_cycles = to_u128(value, "minimum_incoming_canister_call_cycles")?;
        }
        if let Some(list) = new.environment_variables {
            held.environment_variables = environment(list, limits.env_vars, limits.env_var_bytes)?;
        }
        Ok(())
    }
}

fn environment(
    list: Vec<types::EnvironmentVariable>,
    most: usize,
    longest: usize,
) -> Result<BTreeMap<String, String>, UserError> {
    if list.len() > most {
        return Err(invalid(format!(
            "{} environment variables given, at most {most}",
            list.len()
        )));
    }
    let mut map = BTreeMap::new();
    for variable in list {
        if variable.name.len() > longest || variable.value.len() > longest {
            return Err(invalid(format!(
                "name and value of an environment variable have at most {longest} bytes"
            )));
        }
        if let Some(_held) = map.insert(variable.name.clone(), variable.value) {
            return Err(invalid(format!(
                "environment variable {} given twice",
                variable.name
            )));
        }
    }
    Ok(map)
}

/// All settings, as `canister_status` shows them.
pub(super) fn definite(settings: &Settings) -> types::DefiniteCanisterSettings {
    types::DefiniteCanisterSettings {
        controllers: settings.controllers.clone(),
        compute_allocation: Nat::from(settings.compute_allocation),
        memory_allocation: Nat::from(settings.memory_allocation),
        freezing_threshold: Nat::from(settings.freezing_threshold),
        reserved_cycles_limit: Nat::from(settings.reserved_cycles_limit),
        minimum_incoming_canister_call_cycles: Nat::from(settings.minimum_call_cycles),
        log_visibility: match &settings.log_visibility {
            Visibility::Controllers => types::LogVisibility::Controllers,
            Visibility::Public => types::LogVisibility::Public,
            Visibility::AllowedViewers(list) => types::LogVisibility::AllowedViewers(list.clone()),
        },
        log_memory_limit: Nat::from(settings.log_memory_limit),
        snapshot_visibility: match &settings.snapshot_visibility {
            Visibility::Controllers => types::SnapshotVisibility::Controllers,
            Visibility::Public => types::SnapshotVisibility::Public,
            Visibility::AllowedViewers(list) => {
                types::SnapshotVisibility::AllowedViewers(list.clone())
            }
        },
        status_visibility: match &settings.status_visibility {
            Visibility::Controllers => types::StatusVisibility::Controllers,
            Visibility::Public => types::StatusVisibility::Public,
            Visibility::AllowedViewers(list) => {
                types::StatusVisibility::AllowedViewers(list.clone())
            }
        },
        wasm_memory_limit: Nat::from(settings.wasm_memory_limit),
        wasm_memory_threshold: Nat::from(settings.wasm_memory_threshold),
        environment_variables: settings
            .environment_variables
            .iter()
            .map(|(name, value)| types::EnvironmentVariable {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
    }
}

//! What admins set: the quota, environment variables, who has which role.

use candid::Principal;
use ic_stable_structures::Memory;
use icwasi_types::limits::MAX_VARIABLES;
use icwasi_types::{AdminError, Grant, Quota, Role, Variable, VariableChange};

use super::error::fs_error;
use crate::fs::Fs;
use crate::settings::Settings;

/// Changes the settings, on stable memory and here, or nothing.
fn change<M: Memory>(
    fs: &mut Fs<M>,
    settings: &mut Settings,
    edit: impl FnOnce(&mut Settings) -> Result<(), AdminError>,
) -> Result<(), AdminError> {
    let mut changed = settings.clone();
    edit(&mut changed)?;
    if let Some(excess) = changed.excess() {
        return Err(AdminError::InvalidArgument(excess));
    }
    changed
        .save(fs)
        .map_err(|error| fs_error(error, "the settings"))?;
    *settings = changed;
    Ok(())
}

/// Sets the quota. `linked` is what the link configuration says.
///
/// It is lifted while the settings are stored, so that a file system that is full to its quota
/// can be given more.
pub fn quota_set<M: Memory>(
    fs: &mut Fs<M>,
    settings: &mut Settings,
    quota: Quota,
    linked: Option<u64>,
) -> Result<(), AdminError> {
    let bytes = match quota {
        Quota::Linked => linked,
        Quota::Unlimited => None,
        // The superblock has this for no quota.
        Quota::Bytes(u64::MAX) => None,
        Quota::Bytes(bytes) => Some(bytes),
    };
    let before = fs.usage().quota_bytes;
    fs.set_quota(None)
        .map_err(|error| fs_error(error, "the quota"))?;
    let changed = change(fs, settings, |settings| {
        settings.quota_set = quota != Quota::Linked;
        Ok(())
    });
    let quota = if changed.is_ok() { bytes } else { before };
    fs.set_quota(quota).expect("it was writable just now");
    changed
}

/// The environment variables that admins have set.
pub fn env_list(settings: &Settings) -> Vec<Variable> {
    let variables = settings.env().iter();
    variables
        .map(|(name, value)| Variable {
            name: name.clone(),
            value: value.clone(),
        })
        .collect()
}

/// Sets and removes environment variables: all or none.
pub fn env_set<M: Memory>(
    fs: &mut Fs<M>,
    settings: &mut Settings,
    changes: &[VariableChange],
) -> Result<(), AdminError> {
    if changes.len() > 2 * MAX_VARIABLES {
        return Err(AdminError::InvalidArgument(format!(
            "{} changes; at most {} are possible at a time",
            changes.len(),
            2 * MAX_VARIABLES
        )));
    }
    change(fs, settings, |settings| {
        for change in changes {
            settings
                .set_variable(&change.name, change.value.as_deref())
                .map_err(AdminError::InvalidArgument)?;
        }
        Ok(())
    })
}

/// Who has which role.
pub fn access_list(settings: &Settings) -> Vec<Grant> {
    let grants = settings.grants().iter();
    grants
        .map(|&(grantee, role)| Grant { grantee, role })
        .collect()
}

/// Grants `role` to `grantee`, instead of the one that it had.
pub fn access_grant<M: Memory>(
    fs: &mut Fs<M>,
    settings: &mut Settings,
    grantee: Principal,
    role: Role,
) -> Result<(), AdminError> {
    if grantee == Principal::anonymous() {
        return Err(AdminError::InvalidArgument(
            "the anonymous principal is everybody: it can have no role".into(),
        ));
    }
    if grantee == Principal::management_canister() {
        return Err(AdminError::InvalidArgument(
            "the management canister calls no methods: it can have no role".into(),
        ));
    }
    change(fs, settings, |settings| {
        settings.set_role(grantee, Some(role));
        Ok(())
    })
}

/// Takes the role of `grantee` away; `NotFound` if it has none.
pub fn access_revoke<M: Memory>(
    fs: &mut Fs<M>,
    settings: &mut Settings,
    grantee: Principal,
) -> Result<(), AdminError> {
    change(fs, settings, |settings| {
        match settings.set_role(grantee, None) {
            Some(_) => Ok(()),
            None => Err(AdminError::NotFound(grantee.to_text())),
        }
    })
}

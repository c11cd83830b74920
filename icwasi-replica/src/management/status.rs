//! Reading about a canister: status, history, metadata, log.

use candid::{Nat, Principal};
use ic_management_canister_types as types;

use super::{Call, Via, must_control, settings};
use crate::core::{Canister, CanisterStatus, ChangeDetails, ErrorCode, InstallMode, UserError};

/// Most changes that `canister_info` shows, and that are kept.
const MAX_CHANGES: usize = 20;
/// Bytes that an entry of the history is counted as.
const CHANGE_BYTES: usize = 200;

impl Call<'_> {
    pub(super) fn status(
        &mut self,
        arg: types::CanisterIdRecord,
    ) -> Result<types::CanisterStatusResult, UserError> {
        let canister = self.canister(&arg.canister_id)?;
        let shown = canister
            .settings
            .status_visibility
            .shows_to(canister, &self.sender);
        if !shown && self.sender != arg.canister_id {
            must_control(canister, self.sender)?;
        }
        let snapshots = self
            .management
            .snapshots
            .of(&arg.canister_id)
            .map(|s| s.total())
            .sum();
        let metrics = memory(canister, snapshots);
        let total = [
            &metrics.wasm_memory_size,
            &metrics.stable_memory_size,
            &metrics.global_memory_size,
            &metrics.wasm_binary_size,
            &metrics.custom_sections_size,
            &metrics.canister_history_size,
            &metrics.wasm_chunk_store_size,
            &metrics.snapshots_size,
            &metrics.log_memory_store_size,
        ]
        .into_iter()
        .fold(Nat::from(0u8), |sum, part| sum + part.clone());
        let fees = &self.core.limits().fees;
        let bytes = u128::try_from(&total.0).unwrap_or(u128::MAX);
        let idle = bytes.saturating_mul(fees.gib_second * 86_400) >> 30;
        Ok(types::CanisterStatusResult {
            status: match canister.status {
                CanisterStatus::Running => types::CanisterStatusType::Running,
                CanisterStatus::Stopping => types::CanisterStatusType::Stopping,
                CanisterStatus::Stopped => types::CanisterStatusType::Stopped,
            },
            ready_for_migration: false,
            version: canister.version,
            settings: settings::definite(&canister.settings),
            module_hash: canister.module_hash().map(|hash| hash.to_vec()),
            memory_size: total,
            memory_metrics: metrics,
            cycles: Nat::from(canister.cycles),
            reserved_cycles: Nat::from(0u8),
            idle_cycles_burned_per_day: Nat::from(idle),
            query_stats: types::QueryStats {
                num_calls_total: Nat::from(0u8),
                num_instructions_total: Nat::from(0u8),
                request_payload_bytes_total: Nat::from(0u8),
                response_payload_bytes_total: Nat::from(0u8),
            },
        })
    }

    pub(super) fn subnet_info(
        &mut self,
        arg: types::SubnetInfoArgs,
    ) -> Result<types::SubnetInfoResult, UserError> {
        if arg.subnet_id != self.core.subnet_id() {
            return Err(UserError::new(
                ErrorCode::SubnetNotFound,
                format!("there is no subnet {} in this network", arg.subnet_id),
            ));
        }
        Ok(types::SubnetInfoResult {
            replica_version: concat!("icwasi-replica ", env!("CARGO_PKG_VERSION")).to_owned(),
            registry_version: 1,
        })
    }

    pub(super) fn info(
        &mut self,
        arg: types::CanisterInfoArgs,
    ) -> Result<types::CanisterInfoResult, UserError> {
        let canister = self.canister(&arg.canister_id)?;
        let wanted = arg
            .num_requested_changes
            .unwrap_or(0)
            .min(MAX_CHANGES as u64) as usize;
        let from = canister.history.len().saturating_sub(wanted);
        let exists = |id: &Principal| self.core.canister(id).is_some();
        Ok(types::CanisterInfoResult {
            total_num_changes: canister.history.len() as u64,
            recent_changes: canister.history[from..]
                .iter()
                .map(|change| change_to_candid(change, &exists))
                .collect(),
            module_hash: canister.module_hash().map(|hash| hash.to_vec()),
            controllers: canister.settings.controllers.clone(),
        })
    }

    pub(super) fn metadata(
        &mut self,
        arg: types::CanisterMetadataArgs,
    ) -> Result<types::CanisterMetadataResult, UserError> {
        let canister = self.canister(&arg.canister_id)?;
        let section = canister
            .metadata()
            .and_then(|all| all.get(&arg.name))
            .ok_or_else(|| {
                UserError::new(
                    ErrorCode::CanisterRejectedMessage,
                    format!(
                        "Canister {} has no metadata section {:.100}",
                        arg.canister_id, arg.name
                    ),
                )
            })?;
        if !section.public {
            must_control(canister, self.sender)?;
        }
        Ok(types::CanisterMetadataResult {
            value: section.content.clone(),
        })
    }

    pub(super) fn logs(
        &mut self,
        arg: types::FetchCanisterLogsArgs,
    ) -> Result<types::FetchCanisterLogsResult, UserError> {
        let canister = self.canister(&arg.canister_id)?;
        if !canister
            .settings
            .log_visibility
            .shows_to(canister, &self.sender)
        {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!(
                    "Caller {} is not allowed to access canister logs",
                    self.sender
                ),
            ));
        }
        if self.via == Via::Ingress {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                "fetch_canister_logs can be called as a query or by a canister only",
            ));
        }
        let wanted = |record: &&crate::core::LogRecord| match &arg.filter {
            None => true,
            Some(types::CanisterLogFilter::ByIdx { start, end }) => {
                (*start..*end).contains(&record.idx)
            }
            Some(types::CanisterLogFilter::ByTimestampNanos { start, end }) => {
                (*start..*end).contains(&record.timestamp_nanos)
            }
        };
        Ok(types::FetchCanisterLogsResult {
            canister_log_records: canister
                .log
                .records()
                .filter(wanted)
                .map(|record| types::CanisterLogRecord {
                    idx: record.idx,
                    timestamp_nanos: record.timestamp_nanos,
                    content: record.content.clone(),
                })
                .collect(),
        })
    }
}

fn memory(canister: &Canister, snapshots: u64) -> types::MemoryMetrics {
    let sections: usize = canister
        .metadata()
        .map(|all| {
            all.iter()
                .map(|(name, section)| name.len() + section.content.len())
                .sum()
        })
        .unwrap_or(0);
    let chunks: usize = canister.chunk_store.values().map(Vec::len).sum();
    types::MemoryMetrics {
        wasm_memory_size: Nat::from(canister.heap_bytes()),
        stable_memory_size: Nat::from(canister.stable_bytes()),
        global_memory_size: Nat::from(canister.globals().len() * 8),
        wasm_binary_size: Nat::from(canister.module().map_or(0, |module| module.len())),
        custom_sections_size: Nat::from(sections),
        canister_history_size: Nat::from(canister.history.len() * CHANGE_BYTES),
        wasm_chunk_store_size: Nat::from(chunks),
        snapshots_size: Nat::from(snapshots),
        log_memory_store_size: Nat::from(canister.log.used()),
    }
}

fn change_to_candid(
    change: &crate::core::Change,
    is_canister: &dyn Fn(&Principal) -> bool,
) -> types::Change {
    let origin = if is_canister(&change.origin) {
        types::ChangeOrigin::FromCanister(types::FromCanisterRecord {
            canister_id: change.origin,
            canister_version: None,
        })
    } else {
        types::ChangeOrigin::FromUser(types::FromUserRecord {
            user_id: change.origin,
        })
    };
    let details = match &change.details {
        ChangeDetails::Creation(controllers) => {
            types::ChangeDetails::Creation(types::CreationRecord {
                controllers: controllers.clone(),
                environment_variables_hash: None,
            })
        }
        ChangeDetails::CodeUninstall => types::ChangeDetails::CodeUninstall,
        ChangeDetails::CodeDeployment(mode, hash) => {
            types::ChangeDetails::CodeDeployment(types::CodeDeploymentRecord {
                mode: match mode {
                    InstallMode::Install => types::CodeDeploymentMode::Install,
                    InstallMode::Reinstall => types::CodeDeploymentMode::Reinstall,
                    InstallMode::Upgrade(_) => types::CodeDeploymentMode::Upgrade,
                },
                module_hash: hash.to_vec(),
            })
        }
        ChangeDetails::ControllersChange(controllers) => {
            types::ChangeDetails::ControllersChange(types::ControllersChangeRecord {
                controllers: controllers.clone(),
            })
        }
        ChangeDetails::LoadSnapshot(id, version, taken_at) => {
            types::ChangeDetails::LoadSnapshot(types::LoadSnapshotRecord {
                from_canister_id: None,
                snapshot_id: id.clone(),
                canister_version: *version,
                taken_at_timestamp: *taken_at,
                source: types::SnapshotSource::TakenFromCanister(candid::Reserved),
            })
        }
    };
    types::Change {
        timestamp_nanos: change.timestamp_nanos,
        canister_version: change.canister_version,
        origin,
        details: Some(details),
    }
}

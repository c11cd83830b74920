//! Small state of a canister as it is written to disk.

use std::collections::BTreeMap;

use candid::Principal;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::core::{
    Canister, CanisterLog, CanisterRecord, CanisterStatus, Change, ChangeDetails, Commit,
    GlobalValue, InstallMode, LogRecord, MainMemory, Settings, UpgradeOptions, Visibility,
};

/// Everything about a canister but its memories, its module and the bytes of its chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CanisterMeta {
    pub id: Principal,
    settings: SettingsMeta,
    cycles: Wide,
    status: u8,
    version: u64,
    certified_data: ByteBuf,
    log_next: u64,
    log: Vec<(u64, u64, ByteBuf)>,
    history: Vec<ChangeMeta>,
    created_at: u64,
    installed_at: Option<u64>,
    global_timer: u64,
    globals: Vec<GlobalMeta>,
    /// Names the module among the blobs.
    pub module: Option<[u8; 32]>,
    /// Name the chunks among the blobs.
    pub chunks: Vec<[u8; 32]>,
    /// Size of the heap, bytes.
    pub heap_bytes: u64,
    /// Size of stable memory, bytes.
    pub stable_bytes: u64,
}

/// 128 bits, which CBOR's integers do not have: high half, low half.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Wide(u64, u64);

impl From<u128> for Wide {
    fn from(value: u128) -> Self {
        Self((value >> 64) as u64, value as u64)
    }
}

impl From<Wide> for u128 {
    fn from(value: Wide) -> Self {
        (u128::from(value.0) << 64) | u128::from(value.1)
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
enum VisibilityMeta {
    #[default]
    Controllers,
    Public,
    Viewers(Vec<Principal>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SettingsMeta {
    controllers: Vec<Principal>,
    compute_allocation: u64,
    memory_allocation: u64,
    freezing_threshold: u64,
    reserved_cycles_limit: Wide,
    wasm_memory_limit: u64,
    wasm_memory_threshold: u64,
    log_visibility: VisibilityMeta,
    log_memory_limit: u64,
    snapshot_visibility: VisibilityMeta,
    // States that were written before there was such a setting lack it.
    #[serde(default)]
    status_visibility: VisibilityMeta,
    #[serde(default)]
    minimum_call_cycles: Wide,
    environment_variables: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum GlobalMeta {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(Wide),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum DetailsMeta {
    Creation(Vec<Principal>),
    CodeUninstall,
    Install([u8; 32]),
    Reinstall([u8; 32]),
    Upgrade([u8; 32], bool, bool),
    Controllers(Vec<Principal>),
    LoadSnapshot(ByteBuf, u64, u64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ChangeMeta {
    at: u64,
    version: u64,
    origin: Principal,
    details: DetailsMeta,
}

impl From<&Visibility> for VisibilityMeta {
    fn from(value: &Visibility) -> Self {
        match value {
            Visibility::Controllers => Self::Controllers,
            Visibility::Public => Self::Public,
            Visibility::AllowedViewers(list) => Self::Viewers(list.clone()),
        }
    }
}

impl From<VisibilityMeta> for Visibility {
    fn from(value: VisibilityMeta) -> Self {
        match value {
            VisibilityMeta::Controllers => Self::Controllers,
            VisibilityMeta::Public => Self::Public,
            VisibilityMeta::Viewers(list) => Self::AllowedViewers(list),
        }
    }
}

impl From<&Settings> for SettingsMeta {
    fn from(s: &Settings) -> Self {
        Self {
            controllers: s.controllers.clone(),
            compute_allocation: s.compute_allocation,
            memory_allocation: s.memory_allocation,
            freezing_threshold: s.freezing_threshold,
            reserved_cycles_limit: s.reserved_cycles_limit.into(),
            wasm_memory_limit: s.wasm_memory_limit,
            wasm_memory_threshold: s.wasm_memory_threshold,
            log_visibility: (&s.log_visibility).into(),
            log_memory_limit: s.log_memory_limit,
            snapshot_visibility: (&s.snapshot_visibility).into(),
            status_visibility: (&s.status_visibility).into(),
            minimum_call_cycles: s.minimum_call_cycles.into(),
            environment_variables: s.environment_variables.clone(),
        }
    }
}

impl From<SettingsMeta> for Settings {
    fn from(s: SettingsMeta) -> Self {
        Self {
            controllers: s.controllers,
            compute_allocation: s.compute_allocation,
            memory_allocation: s.memory_allocation,
            freezing_threshold: s.freezing_threshold,
            reserved_cycles_limit: s.reserved_cycles_limit.into(),
            wasm_memory_limit: s.wasm_memory_limit,
            wasm_memory_threshold: s.wasm_memory_threshold,
            log_visibility: s.log_visibility.into(),
            log_memory_limit: s.log_memory_limit,
            snapshot_visibility: s.snapshot_visibility.into(),
            status_visibility: s.status_visibility.into(),
            minimum_call_cycles: s.minimum_call_cycles.into(),
            environment_variables: s.environment_variables,
        }
    }
}

impl From<GlobalValue> for GlobalMeta {
    fn from(value: GlobalValue) -> Self {
        match value {
            GlobalValue::I32(v) => Self::I32(v),
            GlobalValue::I64(v) => Self::I64(v),
            GlobalValue::F32(v) => Self::F32(v),
            GlobalValue::F64(v) => Self::F64(v),
            GlobalValue::V128(v) => Self::V128(v.into()),
        }
    }
}

impl From<GlobalMeta> for GlobalValue {
    fn from(value: GlobalMeta) -> Self {
        match value {
            GlobalMeta::I32(v) => Self::I32(v),
            GlobalMeta::I64(v) => Self::I64(v),
            GlobalMeta::F32(v) => Self::F32(v),
            GlobalMeta::F64(v) => Self::F64(v),
            GlobalMeta::V128(v) => Self::V128(v.into()),
        }
    }
}

impl From<&Change> for ChangeMeta {
    fn from(change: &Change) -> Self {
        let details = match &change.details {
            ChangeDetails::Creation(list) => DetailsMeta::Creation(list.clone()),
            ChangeDetails::CodeUninstall => DetailsMeta::CodeUninstall,
            ChangeDetails::CodeDeployment(mode, hash) => match mode {
                InstallMode::Install => DetailsMeta::Install(*hash),
                InstallMode::Reinstall => DetailsMeta::Reinstall(*hash),
                InstallMode::Upgrade(o) => {
                    let kept = o.main_memory == Some(MainMemory::Keep);
                    DetailsMeta::Upgrade(*hash, o.skip_pre_upgrade, kept)
                }
            },
            ChangeDetails::ControllersChange(list) => DetailsMeta::Controllers(list.clone()),
            ChangeDetails::LoadSnapshot(id, version, at) => {
                DetailsMeta::LoadSnapshot(ByteBuf::from(id.clone()), *version, *at)
            }
        };
        Self {
            at: change.timestamp_nanos,
            version: change.canister_version,
            origin: change.origin,
            details,
        }
    }
}

impl From<ChangeMeta> for Change {
    fn from(meta: ChangeMeta) -> Self {
        let details = match meta.details {
            DetailsMeta::Creation(list) => ChangeDetails::Creation(list),
            DetailsMeta::CodeUninstall => ChangeDetails::CodeUninstall,
            DetailsMeta::Install(hash) => ChangeDetails::CodeDeployment(InstallMode::Install, hash),
            DetailsMeta::Reinstall(hash) => {
                ChangeDetails::CodeDeployment(InstallMode::Reinstall, hash)
            }
            DetailsMeta::Upgrade(hash, skip_pre_upgrade, kept) => {
                let options = UpgradeOptions {
                    skip_pre_upgrade,
                    main_memory: kept.then_some(MainMemory::Keep),
                };
                ChangeDetails::CodeDeployment(InstallMode::Upgrade(options), hash)
            }
            DetailsMeta::Controllers(list) => ChangeDetails::ControllersChange(list),
            DetailsMeta::LoadSnapshot(id, version, at) => {
                ChangeDetails::LoadSnapshot(id.into_vec(), version, at)
            }
        };
        Self {
            timestamp_nanos: meta.at,
            canister_version: meta.version,
            origin: meta.origin,
            details,
        }
    }
}

impl CanisterMeta {
    /// What `commit` leaves.
    pub fn new(commit: &Commit<'_>) -> Self {
        let canister: &Canister = commit.canister;
        Self {
            id: canister.id,
            settings: (&canister.settings).into(),
            cycles: canister.cycles.into(),
            status: match canister.status {
                CanisterStatus::Running => 0,
                CanisterStatus::Stopping => 1,
                CanisterStatus::Stopped => 2,
            },
            version: canister.version,
            certified_data: ByteBuf::from(canister.certified_data.clone()),
            log_next: canister.log.next_idx(),
            log: canister
                .log
                .records()
                .map(|r| (r.idx, r.timestamp_nanos, ByteBuf::from(r.content.clone())))
                .collect(),
            history: canister.history.iter().map(ChangeMeta::from).collect(),
            created_at: canister.created_at,
            installed_at: canister.installed_at,
            global_timer: canister.global_timer,
            globals: commit.globals.iter().map(|value| (*value).into()).collect(),
            module: canister.module_hash(),
            chunks: canister.chunk_store.keys().copied().collect(),
            heap_bytes: commit.heap_bytes,
            stable_bytes: commit.stable_bytes,
        }
    }

    /// Mutable globals of the module.
    pub fn globals(&self) -> Vec<GlobalValue> {
        self.globals.iter().map(|value| (*value).into()).collect()
    }

    /// Latest time that this canister has seen, as far as is known.
    pub fn latest_time(&self) -> u64 {
        let logged = self.log.last().map_or(0, |record| record.1);
        let changed = self.history.last().map_or(0, |change| change.at);
        logged
            .max(changed)
            .max(self.created_at)
            .max(self.installed_at.unwrap_or(0))
    }

    /// For [`crate::core::Core::restore_canister`].
    pub fn into_record(self, chunk_store: BTreeMap<[u8; 32], Vec<u8>>) -> CanisterRecord {
        let records = self
            .log
            .into_iter()
            .map(|(idx, timestamp_nanos, content)| LogRecord {
                idx,
                timestamp_nanos,
                content: content.into_vec(),
            })
            .collect();
        CanisterRecord {
            id: self.id,
            settings: self.settings.into(),
            cycles: self.cycles.into(),
            status: match self.status {
                0 => CanisterStatus::Running,
                1 => CanisterStatus::Stopping,
                _ => CanisterStatus::Stopped,
            },
            version: self.version,
            certified_data: self.certified_data.into_vec(),
            log: CanisterLog::restore(self.log_next, records),
            chunk_store,
            history: self.history.into_iter().map(Change::from).collect(),
            created_at: self.created_at,
            installed_at: self.installed_at,
            global_timer: self.global_timer,
        }
    }
}

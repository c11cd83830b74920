//! Snapshots of canisters: take, load, list, delete, and their data in slices.

use std::io;
use std::os::unix::fs::FileExt;

use candid::{Nat, Principal};
use ic_management_canister_types as types;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::lifecycle::to_u128;
use super::snapshot_files::{SnapshotMeta, global_from_parts, global_to_parts, save_canister};
use super::{Call, disk_error};
use crate::core::{
    Canister, Change, ChangeDetails, ErrorCode, GlobalValue, SavedMemory, UserError,
};

/// Largest slice that is read or written at once.
const MAX_SLICE: u64 = 2_000_000;

fn snapshot_id(canister: &Principal, number: u64) -> Vec<u8> {
    let mut id = number.to_be_bytes().to_vec();
    id.extend_from_slice(canister.as_slice());
    id
}

fn refused(text: impl Into<String>) -> UserError {
    UserError::new(ErrorCode::InvalidManagementPayload, text)
}

impl Call<'_> {
    /// The snapshot that `id` names. It may belong to another canister than `canister`.
    fn find(
        &self,
        canister: &Principal,
        id: &[u8],
    ) -> Result<(Principal, SnapshotMeta), UserError> {
        let missing = || {
            UserError::new(
                ErrorCode::CanisterSnapshotNotFound,
                format!(
                    "Could not find the snapshot ID {} for canister {canister}",
                    hex::encode(id)
                ),
            )
        };
        let (number, owner) = id.split_at_checked(8).ok_or_else(missing)?;
        let owner = Principal::try_from_slice(owner).map_err(|_| missing())?;
        let number = u64::from_be_bytes(number.try_into().expect("eight bytes"));
        let meta = self
            .management
            .snapshots
            .get(&owner, number)
            .ok_or_else(missing)?;
        Ok((owner, meta.clone()))
    }

    /// The snapshot `id` of `canister` itself.
    fn own(&self, canister: &Principal, id: &[u8]) -> Result<SnapshotMeta, UserError> {
        let (owner, meta) = self.find(canister, id)?;
        if owner == *canister {
            return Ok(meta);
        }
        Err(UserError::new(
            ErrorCode::CanisterRejectedMessage,
            format!(
                "The snapshot {} does not belong to canister {canister}",
                hex::encode(id)
            ),
        ))
    }

    fn readable(&self, id: &Principal) -> Result<&Canister, UserError> {
        let canister = self.canister(id)?;
        let visibility = &canister.settings.snapshot_visibility;
        if visibility.shows_to(canister, &self.sender) {
            return Ok(canister);
        }
        self.controlled(id)
    }

    /// Checks that there is room for one more; `replaced` makes room.
    fn room(&self, id: &Principal, replaced: Option<&[u8]>) -> Result<Option<u64>, UserError> {
        let replaced = replaced.map(|old| self.own(id, old)).transpose()?;
        let held = self.management.snapshots.of(id).count();
        let most = self.core.limits().snapshots;
        if held - usize::from(replaced.is_some()) >= most {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!(
                    "Canister {id} has reached the maximum number of snapshots allowed: {most}; \
                     delete one, or replace it"
                ),
            ));
        }
        Ok(replaced.map(|meta| meta.number))
    }

    fn drop_replaced(&mut self, id: &Principal, number: Option<u64>) -> Result<(), UserError> {
        match number {
            Some(number) => self
                .management
                .snapshots
                .remove(id, number)
                .map_err(|error| disk_error(&error)),
            None => Ok(()),
        }
    }

    pub(super) fn take_snapshot(
        &mut self,
        arg: types::TakeCanisterSnapshotArgs,
    ) -> Result<types::Snapshot, UserError> {
        let id = arg.canister_id;
        self.controlled(&id)?;
        let replaced = self.room(&id, arg.replace_snapshot.as_deref())?;
        let number = self.management.snapshots.next_number(&id);
        let now = self.core.time();
        let canister = self.canister(&id)?;
        let Some(module) = canister.module().cloned() else {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!("Failed to create snapshot for empty canister {id}"),
            ));
        };
        let meta = SnapshotMeta {
            number,
            taken_at: now,
            uploaded: false,
            version: canister.version,
            globals: canister
                .globals()
                .iter()
                .map(|value| global_to_parts(*value))
                .collect(),
            certified_data: ByteBuf::from(canister.certified_data.clone()),
            global_timer: canister.global_timer,
            module_bytes: module.len() as u64,
            heap_bytes: canister.heap_bytes(),
            stable_bytes: canister.stable_bytes(),
            chunks: canister
                .chunk_store
                .iter()
                .map(|(hash, bytes)| (*hash, bytes.len() as u64))
                .collect(),
        };
        let total_size = meta.total();
        let cost = self.core.limits().management.snapshot_instructions;
        self.pay(&id, cost + total_size, total_size)?;
        let canister = self
            .core
            .canister(&id)
            .ok_or_else(|| UserError::not_found(&id))?;
        self.management
            .snapshots
            .create(&id, meta, |dir| save_canister(canister, &module, dir))
            .map_err(|error| disk_error(&error))?;
        self.drop_replaced(&id, replaced)?;
        if arg.uninstall_code == Some(true) {
            self.core.uninstall_code(self.sender, &id)?;
        }
        Ok(types::Snapshot {
            id: snapshot_id(&id, number),
            taken_at_timestamp: now,
            total_size,
        })
    }

    pub(super) fn load_snapshot(
        &mut self,
        arg: types::LoadCanisterSnapshotArgs,
    ) -> Result<(), UserError> {
        let id = arg.canister_id;
        self.controlled(&id)?;
        let (owner, meta) = self.find(&id, &arg.snapshot_id)?;
        if owner != id {
            // A snapshot of another canister may be loaded by who may read it there.
            self.readable(&owner)?;
        }
        let cost = self.core.limits().management.snapshot_instructions;
        self.pay(&id, cost + meta.total(), meta.total())?;
        let disk = |error: io::Error| disk_error(&error);
        let open = |name: &str| self.management.snapshots.file(&owner, meta.number, name);
        let mut module = vec![0; usize::try_from(meta.module_bytes).unwrap_or(usize::MAX)];
        open("module")
            .and_then(|file| file.read_exact_at(&mut module, 0))
            .map_err(disk)?;
        let (heap, stable) = (open("heap").map_err(disk)?, open("stable").map_err(disk)?);
        let mut chunks = std::collections::BTreeMap::new();
        for (hash, bytes) in &meta.chunks {
            let mut chunk = vec![0; usize::try_from(*bytes).unwrap_or(usize::MAX)];
            open(&hex::encode(hash))
                .and_then(|file| file.read_exact_at(&mut chunk, 0))
                .map_err(disk)?;
            chunks.insert(*hash, chunk);
        }
        let globals: Vec<GlobalValue> = meta
            .globals
            .iter()
            .map(|parts| global_from_parts(*parts))
            .collect();
        let memory = SavedMemory {
            module: &module,
            globals: &globals,
            heap_bytes: meta.heap_bytes,
            heap: &mut |at, out| heap.read_exact_at(out, at),
            stable_bytes: meta.stable_bytes,
            stable: Some(&mut |at, out| stable.read_exact_at(out, at)),
        };
        self.core
            .load_state(&id, memory, meta.certified_data.clone().into_vec())?;
        let (now, sender) = (self.core.time(), self.sender);
        self.change(&id, |canister| {
            canister.chunk_store = chunks;
            canister.global_timer = meta.global_timer;
            canister.history.push(Change {
                timestamp_nanos: now,
                canister_version: canister.version,
                origin: sender,
                details: ChangeDetails::LoadSnapshot(
                    arg.snapshot_id.clone(),
                    meta.version,
                    meta.taken_at,
                ),
            });
        })
    }

    pub(super) fn list_snapshots(
        &mut self,
        arg: types::CanisterIdRecord,
    ) -> Result<Vec<types::Snapshot>, UserError> {
        let id = arg.canister_id;
        self.readable(&id)?;
        Ok(self
            .management
            .snapshots
            .of(&id)
            .map(|meta| types::Snapshot {
                id: snapshot_id(&id, meta.number),
                taken_at_timestamp: meta.taken_at,
                total_size: meta.total(),
            })
            .collect())
    }

    pub(super) fn delete_snapshot(
        &mut self,
        arg: types::DeleteCanisterSnapshotArgs,
    ) -> Result<(), UserError> {
        self.controlled(&arg.canister_id)?;
        let meta = self.own(&arg.canister_id, &arg.snapshot_id)?;
        self.drop_replaced(&arg.canister_id, Some(meta.number))
    }

    pub(super) fn snapshot_metadata(
        &mut self,
        arg: types::ReadCanisterSnapshotMetadataArgs,
    ) -> Result<types::ReadCanisterSnapshotMetadataResult, UserError> {
        self.readable(&arg.canister_id)?;
        let meta = self.own(&arg.canister_id, &arg.snapshot_id)?;
        Ok(types::ReadCanisterSnapshotMetadataResult {
            source: Some(if meta.uploaded {
                types::SnapshotSource::MetadataUpload(candid::Reserved)
            } else {
                types::SnapshotSource::TakenFromCanister(candid::Reserved)
            }),
            taken_at_timestamp: meta.taken_at,
            wasm_module_size: meta.module_bytes,
            globals: meta
                .globals
                .iter()
                .map(|parts| Some(global_to_candid(global_from_parts(*parts))))
                .collect(),
            wasm_memory_size: meta.heap_bytes,
            stable_memory_size: meta.stable_bytes,
            wasm_chunk_store: meta
                .chunks
                .iter()
                .map(|(hash, _)| types::ChunkHash {
                    hash: hash.to_vec(),
                })
                .collect(),
            canister_version: meta.version,
            certified_data: meta.certified_data.into_vec(),
            global_timer: Some(match meta.global_timer {
                0 => types::CanisterTimer::Inactive,
                at => types::CanisterTimer::Active(at),
            }),
            on_low_wasm_memory_hook_status: None,
        })
    }

    pub(super) fn snapshot_data(
        &mut self,
        arg: types::ReadCanisterSnapshotDataArgs,
    ) -> Result<types::ReadCanisterSnapshotDataResult, UserError> {
        use types::SnapshotDataKind as Kind;
        self.readable(&arg.canister_id)?;
        let meta = self.own(&arg.canister_id, &arg.snapshot_id)?;
        let (name, total, offset, size) = match arg.kind {
            Kind::WasmModule { offset, size } => ("module".into(), meta.module_bytes, offset, size),
            Kind::WasmMemory { offset, size } => ("heap".into(), meta.heap_bytes, offset, size),
            Kind::StableMemory { offset, size } => {
                ("stable".into(), meta.stable_bytes, offset, size)
            }
            Kind::WasmChunk { hash } => {
                let held = meta.chunks.iter().find(|(held, _)| held[..] == hash[..]);
                let (hash, size) =
                    held.ok_or_else(|| refused("The snapshot has no chunk with this hash"))?;
                (hex::encode(hash), *size, 0, *size)
            }
        };
        check_slice(offset, size, total)?;
        let cost = self.core.limits().management.snapshot_slice_instructions;
        self.pay(&arg.canister_id, cost + size, 0)?;
        let mut chunk = vec![0; size as usize];
        self.management
            .snapshots
            .file(&arg.canister_id, meta.number, &name)
            .and_then(|file| file.read_exact_at(&mut chunk, offset))
            .map_err(|error| disk_error(&error))?;
        Ok(types::ReadCanisterSnapshotDataResult { chunk })
    }

    pub(super) fn new_snapshot(
        &mut self,
        arg: types::UploadCanisterSnapshotMetadataArgs,
    ) -> Result<types::UploadCanisterSnapshotMetadataResult, UserError> {
        let id = arg.canister_id;
        self.controlled(&id)?;
        let limits = self.core.limits();
        let page = 65_536;
        if arg.wasm_module_size > limits.module_bytes as u64
            || arg.wasm_memory_size > limits.wasm64_memory_bytes
            || arg.stable_memory_size > limits.stable_pages * page
            || arg.certified_data.len() > limits.certified_data_bytes
            || arg.globals.len() > limits.globals
        {
            return Err(refused("the snapshot is larger than a canister may be"));
        }
        let replaced = self.room(&id, arg.replace_snapshot.as_deref())?;
        let number = self.management.snapshots.next_number(&id);
        let meta = SnapshotMeta {
            number,
            taken_at: self.core.time(),
            uploaded: true,
            version: self.canister(&id)?.version,
            globals: arg
                .globals
                .iter()
                .map(|value| global_from_candid(value).map(global_to_parts))
                .collect::<Result<_, _>>()?,
            certified_data: ByteBuf::from(arg.certified_data),
            global_timer: match arg.global_timer {
                Some(types::CanisterTimer::Active(at)) => at,
                _ => 0,
            },
            module_bytes: arg.wasm_module_size,
            heap_bytes: arg.wasm_memory_size,
            stable_bytes: arg.stable_memory_size,
            chunks: Vec::new(),
        };
        let sizes = [
            ("module", meta.module_bytes),
            ("heap", meta.heap_bytes),
            ("stable", meta.stable_bytes),
        ];
        self.management
            .snapshots
            .create(&id, meta, |dir| {
                for (name, bytes) in sizes {
                    std::fs::File::create(dir.join(name))?.set_len(bytes)?;
                }
                Ok(())
            })
            .map_err(|error| disk_error(&error))?;
        self.drop_replaced(&id, replaced)?;
        Ok(types::UploadCanisterSnapshotMetadataResult {
            snapshot_id: snapshot_id(&id, number),
        })
    }

    pub(super) fn upload_snapshot(
        &mut self,
        arg: types::UploadCanisterSnapshotDataArgs,
    ) -> Result<(), UserError> {
        use types::SnapshotDataOffset as Kind;
        let id = arg.canister_id;
        self.controlled(&id)?;
        let mut meta = self.own(&id, &arg.snapshot_id)?;
        if !meta.uploaded {
            return Err(UserError::new(
                ErrorCode::CanisterSnapshotImmutable,
                "Only data of a snapshot that was created by uploading its metadata can be written",
            ));
        }
        let (name, offset, total) = match arg.kind {
            Kind::WasmModule { offset } => ("module".into(), offset, meta.module_bytes),
            Kind::WasmMemory { offset } => ("heap".into(), offset, meta.heap_bytes),
            Kind::StableMemory { offset } => ("stable".into(), offset, meta.stable_bytes),
            Kind::WasmChunk => {
                let limits = self.core.limits();
                let hash: [u8; 32] = Sha256::digest(&arg.chunk).into();
                let held = meta.chunks.iter().any(|(held, _)| *held == hash);
                if arg.chunk.len() > limits.chunk_bytes
                    || (!held && meta.chunks.len() >= limits.chunk_store_chunks)
                {
                    return Err(refused("the chunk, or the chunk store, is too large"));
                }
                if !held {
                    meta.chunks.push((hash, arg.chunk.len() as u64));
                    meta.chunks.sort_unstable();
                }
                (hex::encode(hash), 0, arg.chunk.len() as u64)
            }
        };
        check_slice(offset, arg.chunk.len() as u64, total)?;
        let size = arg.chunk.len() as u64;
        let cost = self.core.limits().management.snapshot_slice_instructions;
        self.pay(&id, cost + size, size)?;
        let snapshots = &mut self.management.snapshots;
        snapshots
            .file(&id, meta.number, &name)
            .and_then(|file| file.write_all_at(&arg.chunk, offset))
            .and_then(|()| snapshots.update(&id, meta))
            .map_err(|error| disk_error(&error))
    }
}

fn check_slice(offset: u64, size: u64, total: u64) -> Result<(), UserError> {
    if size > MAX_SLICE {
        return Err(refused(format!(
            "a slice has at most {MAX_SLICE} bytes, {size} were asked for"
        )));
    }
    match offset.checked_add(size) {
        Some(end) if end <= total => Ok(()),
        _ => Err(refused(format!(
            "the slice of {size} bytes at {offset} goes beyond the end at {total}"
        ))),
    }
}

fn global_to_candid(value: GlobalValue) -> types::SnapshotMetadataGlobal {
    use types::SnapshotMetadataGlobal as Global;
    match value {
        GlobalValue::I32(v) => Global::I32(v),
        GlobalValue::I64(v) => Global::I64(v),
        GlobalValue::F32(v) => Global::F32(f32::from_bits(v)),
        GlobalValue::F64(v) => Global::F64(f64::from_bits(v)),
        GlobalValue::V128(v) => Global::V128(Nat::from(v)),
    }
}

fn global_from_candid(value: &types::SnapshotMetadataGlobal) -> Result<GlobalValue, UserError> {
    use types::SnapshotMetadataGlobal as Global;
    Ok(match value {
        Global::I32(v) => GlobalValue::I32(*v),
        Global::I64(v) => GlobalValue::I64(*v),
        Global::F32(v) => GlobalValue::F32(v.to_bits()),
        Global::F64(v) => GlobalValue::F64(v.to_bits()),
        Global::V128(v) => GlobalValue::V128(to_u128(v, "a v128 global")?),
    })
}

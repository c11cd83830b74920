//! Installing code, in one message or from the chunk store.

use candid::{CandidType, Principal};
use ic_management_canister_types as types;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::Call;
use crate::core::{ErrorCode, InstallMode, MainMemory, UpgradeOptions, UserError};

fn mode(mode: types::CanisterInstallMode) -> InstallMode {
    match mode {
        types::CanisterInstallMode::Install => InstallMode::Install,
        types::CanisterInstallMode::Reinstall => InstallMode::Reinstall,
        types::CanisterInstallMode::Upgrade(flags) => {
            let flags = flags.unwrap_or_default();
            InstallMode::Upgrade(UpgradeOptions {
                skip_pre_upgrade: flags.skip_pre_upgrade.unwrap_or(false),
                main_memory: flags.wasm_memory_persistence.map(|flag| match flag {
                    types::WasmMemoryPersistence::Keep => MainMemory::Keep,
                    types::WasmMemoryPersistence::Replace => MainMemory::Replace,
                }),
            })
        }
    }
}

/// The argument of `install_code`; unlike the type of the library it takes the module in one piece.
#[derive(CandidType, Deserialize)]
pub(super) struct InstallCode {
    mode: types::CanisterInstallMode,
    pub(super) canister_id: Principal,
    wasm_module: ByteBuf,
    arg: ByteBuf,
}

impl Call<'_> {
    pub(super) fn install(&mut self, arg: InstallCode) -> Result<(), UserError> {
        self.controlled(&arg.canister_id)?;
        self.put(&arg.canister_id, arg.mode, &arg.wasm_module, &arg.arg)
    }

    fn put(
        &mut self,
        id: &Principal,
        how: types::CanisterInstallMode,
        module: &[u8],
        arg: &[u8],
    ) -> Result<(), UserError> {
        self.may_install(id)?;
        let result = self
            .core
            .install_code(self.sender, id, mode(how), module, arg);
        let stats = match &result {
            Ok(stats) => Some(stats.clone()),
            Err(error) => error.stats.clone(),
        };
        let instructions = stats.as_ref().map_or(0, |stats| stats.instructions);
        self.management.installed = stats.map(|stats| (*id, stats));
        if instructions > 0 {
            self.installed(id, instructions)?;
        }
        result.map(|_| ())
    }

    pub(super) fn uninstall(&mut self, arg: types::UninstallCodeArgs) -> Result<(), UserError> {
        self.controlled(&arg.canister_id)?;
        self.core.uninstall_code(self.sender, &arg.canister_id)
    }

    pub(super) fn upload_chunk(
        &mut self,
        arg: types::UploadChunkArgs,
    ) -> Result<types::ChunkHash, UserError> {
        let id = arg.canister_id;
        let canister = self.controlled_or_self(&id)?;
        let limits = self.core.limits();
        if arg.chunk.len() > limits.chunk_bytes {
            return Err(UserError::new(
                ErrorCode::CanisterContractViolation,
                format!(
                    "Wasm chunk size {} exceeds the maximum chunk size of {}",
                    arg.chunk.len(),
                    limits.chunk_bytes
                ),
            ));
        }
        let hash: [u8; 32] = Sha256::digest(&arg.chunk).into();
        if !canister.chunk_store.contains_key(&hash) {
            if canister.chunk_store.len() >= limits.chunk_store_chunks {
                return Err(UserError::new(
                    ErrorCode::CanisterContractViolation,
                    format!(
                        "Wasm chunk store has already reached maximum capacity of {} chunks; \
                         call clear_chunk_store",
                        limits.chunk_store_chunks
                    ),
                ));
            }
            let cost = limits.management.upload_chunk_instructions;
            self.pay(&id, cost, arg.chunk.len() as u64)?;
            self.change(&id, |canister| {
                canister.chunk_store.insert(hash, arg.chunk);
            })?;
        }
        Ok(types::ChunkHash {
            hash: hash.to_vec(),
        })
    }

    pub(super) fn clear_chunks(&mut self, arg: types::CanisterIdRecord) -> Result<(), UserError> {
        self.controlled_or_self(&arg.canister_id)?;
        self.change(&arg.canister_id, |canister| canister.chunk_store.clear())
    }

    pub(super) fn stored_chunks(
        &mut self,
        arg: types::CanisterIdRecord,
    ) -> Result<Vec<types::ChunkHash>, UserError> {
        let canister = self.controlled_or_self(&arg.canister_id)?;
        Ok(canister
            .chunk_store
            .keys()
            .map(|hash| types::ChunkHash {
                hash: hash.to_vec(),
            })
            .collect())
    }

    pub(super) fn install_chunked(
        &mut self,
        arg: types::InstallChunkedCodeArgs,
    ) -> Result<(), UserError> {
        self.controlled(&arg.target_canister)?;
        let store = arg.store_canister.unwrap_or(arg.target_canister);
        let store = self.controlled_or_self(&store)?;
        let limit = self.core.limits().module_bytes;
        let mut module = Vec::new();
        for chunk in &arg.chunk_hashes_list {
            let held = <[u8; 32]>::try_from(chunk.hash.as_slice())
                .ok()
                .and_then(|hash| store.chunk_store.get(&hash));
            let Some(bytes) = held else {
                return Err(UserError::new(
                    ErrorCode::CanisterContractViolation,
                    format!(
                        "Error from Wasm chunk store: Chunk hash {} was not found",
                        hex::encode(&chunk.hash)
                    ),
                ));
            };
            // The list may name a chunk many times; it is small, what it stands for need not be.
            if module.len() + bytes.len() > limit {
                return Err(UserError::new(
                    ErrorCode::CanisterInvalidWasm,
                    format!("the chunks make a module of more than {limit} bytes"),
                ));
            }
            module.extend_from_slice(bytes);
        }
        let hash = Sha256::digest(&module);
        if hash[..] != arg.wasm_module_hash[..] {
            return Err(UserError::new(
                ErrorCode::CanisterContractViolation,
                format!(
                    "Error from Wasm chunk store: Actual module hash {} does not match {}",
                    hex::encode(hash),
                    hex::encode(&arg.wasm_module_hash)
                ),
            ));
        }
        self.put(&arg.target_canister, arg.mode, &module, &arg.arg)
    }

    /// The canister `id`, if the sender controls it or is it.
    fn controlled_or_self(&self, id: &Principal) -> Result<&crate::core::Canister, UserError> {
        if self.sender == *id {
            self.canister(id)
        } else {
            self.controlled(id)
        }
    }
}

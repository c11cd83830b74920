//! The admin interface of a canister in this process.

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use icwasi_types::{
    AdminError, Info, ListPage, ReadReply, Removed, Stat, Upload, UploadId, UploadRequest, methods,
};
use serde::de::DeserializeOwned;
use serde_bytes::Bytes;

use super::core_thread::CoreThread;
use crate::remote::{AdminApi, RemoteError};

/// Calls the canister's methods directly.
pub(super) struct LocalAdmin {
    core: CoreThread,
    canister: Principal,
    caller: Principal,
}

impl LocalAdmin {
    pub fn new(core: CoreThread, canister: Principal, caller: Principal) -> Self {
        LocalAdmin {
            core,
            canister,
            caller,
        }
    }

    /// Updates run the same way as queries here, and what queries change is discarded.
    async fn call<T>(
        &self,
        method: &'static str,
        query: bool,
        args: impl ArgumentEncoder,
    ) -> Result<T, RemoteError>
    where
        T: CandidType + DeserializeOwned,
    {
        let other = |message: String| RemoteError::Other {
            method: method.to_owned(),
            message,
        };
        let arg = candid::encode_args(args).map_err(|e| other(e.to_string()))?;
        let (canister, caller) = (self.canister, self.caller);
        let answer = self.core.run(move |core| {
            if query {
                core.query(&canister, caller, method, arg)
            } else {
                core.update(&canister, caller, method, arg)
            }
        });
        let answer = answer.await.map_err(|e| other(e.to_string()))?;
        let outcome = answer.map_err(|e| other(e.to_string()))?;
        match candid::decode_one::<Result<T, AdminError>>(&outcome.reply) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(RemoteError::Admin {
                method: method.to_owned(),
                error,
            }),
            Err(e) => Err(RemoteError::Decode {
                canister,
                method: method.to_owned(),
                message: e.to_string(),
            }),
        }
    }
}

impl AdminApi for LocalAdmin {
    async fn info(&self) -> Result<Info, RemoteError> {
        self.call(methods::INFO, true, ()).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, RemoteError> {
        self.call(methods::STAT, true, (path,)).await
    }

    async fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<ListPage, RemoteError> {
        self.call(methods::LIST, true, (path, cursor, limit)).await
    }

    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<ReadReply, RemoteError> {
        self.call(methods::READ, true, (path, offset, length)).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<Upload, RemoteError> {
        self.call(methods::UPLOAD_BEGIN, false, (request,)).await
    }

    async fn upload_chunk(
        &self,
        id: UploadId,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RemoteError> {
        let args = (id, offset, Bytes::new(data));
        self.call(methods::UPLOAD_CHUNK, false, args).await
    }

    async fn upload_commit(&self, id: UploadId) -> Result<Stat, RemoteError> {
        self.call(methods::UPLOAD_COMMIT, false, (id,)).await
    }

    async fn upload_abort(&self, id: UploadId) -> Result<(), RemoteError> {
        self.call(methods::UPLOAD_ABORT, false, (id,)).await
    }

    async fn mkdir(&self, path: &str, parents: bool) -> Result<(), RemoteError> {
        self.call(methods::MKDIR, false, (path, parents)).await
    }

    async fn remove(&self, path: &str, recursive: bool) -> Result<Removed, RemoteError> {
        self.call(methods::REMOVE, false, (path, recursive)).await
    }

    async fn rename(&self, source: &str, target: &str, overwrite: bool) -> Result<(), RemoteError> {
        self.call(methods::RENAME, false, (source, target, overwrite))
            .await
    }
}

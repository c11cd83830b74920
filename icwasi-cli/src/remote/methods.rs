//! The admin interface of `candid/icwasi.did` as typed calls.

use std::future::Future;
use std::sync::Arc;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use ic_agent::Agent;
use icwasi_types::{
    AdminError, Info, ListPage, ReadReply, Removed, Stat, Upload, UploadId, UploadRequest, methods,
};
use serde::de::DeserializeOwned;

use super::RemoteError;

/// The admin interface of one canister. Implemented by [`AgentAdmin`] over the network and by
/// `Double` of the tests in memory; [`super::Retrying`] wraps either.
///
/// Every method is one call; what it does is said in `candid/icwasi.did`.
pub trait AdminApi: Send + Sync {
    /// `icwasi_info`
    fn info(&self) -> impl Future<Output = Result<Info, RemoteError>> + Send;
    /// `icwasi_stat`
    fn stat(&self, path: &str) -> impl Future<Output = Result<Stat, RemoteError>> + Send;
    /// `icwasi_list`
    fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Result<ListPage, RemoteError>> + Send;
    /// `icwasi_read`
    fn read(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> impl Future<Output = Result<ReadReply, RemoteError>> + Send;
    /// `icwasi_upload_begin`
    fn upload_begin(
        &self,
        request: &UploadRequest,
    ) -> impl Future<Output = Result<Upload, RemoteError>> + Send;
    /// `icwasi_upload_chunk`
    fn upload_chunk(
        &self,
        id: UploadId,
        offset: u64,
        data: &[u8],
    ) -> impl Future<Output = Result<(), RemoteError>> + Send;
    /// `icwasi_upload_commit`
    fn upload_commit(&self, id: UploadId)
    -> impl Future<Output = Result<Stat, RemoteError>> + Send;
    /// `icwasi_upload_abort`
    fn upload_abort(&self, id: UploadId) -> impl Future<Output = Result<(), RemoteError>> + Send;
    /// `icwasi_mkdir`
    fn mkdir(
        &self,
        path: &str,
        parents: bool,
    ) -> impl Future<Output = Result<(), RemoteError>> + Send;
    /// `icwasi_remove`
    fn remove(
        &self,
        path: &str,
        recursive: bool,
    ) -> impl Future<Output = Result<Removed, RemoteError>> + Send;
    /// `icwasi_rename`
    fn rename(
        &self,
        source: &str,
        target: &str,
        overwrite: bool,
    ) -> impl Future<Output = Result<(), RemoteError>> + Send;
}

/// [`AdminApi`] of a canister on a network.
#[derive(Clone)]
pub struct AgentAdmin {
    agent: Arc<Agent>,
    canister: Principal,
    caller: Principal,
    network: String,
}

impl AgentAdmin {
    /// The admin interface of `canister` as seen by the agent's identity `caller`; `network` is
    /// the URL, for messages.
    pub fn new(agent: Arc<Agent>, canister: Principal, caller: Principal, network: String) -> Self {
        AgentAdmin {
            agent,
            canister,
            caller,
            network,
        }
    }

    /// The canister.
    pub fn canister(&self) -> Principal {
        self.canister
    }

    pub(super) async fn query<T>(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, RemoteError>
    where
        T: CandidType + DeserializeOwned,
    {
        let arg = encode(method, args)?;
        let call = self.agent.query(&self.canister, method).with_arg(arg);
        let reply = call.call().await.map_err(|e| self.error(e, method))?;
        self.decode(method, &reply)
    }

    pub(super) async fn update<T>(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, RemoteError>
    where
        T: CandidType + DeserializeOwned,
    {
        let arg = encode(method, args)?;
        let call = self.agent.update(&self.canister, method).with_arg(arg);
        let reply = call
            .call_and_wait()
            .await
            .map_err(|e| self.error(e, method))?;
        self.decode(method, &reply)
    }

    fn error(&self, error: ic_agent::AgentError, method: &str) -> RemoteError {
        RemoteError::from_agent(error, self.caller, self.canister, method, &self.network)
    }

    fn decode<T>(&self, method: &str, reply: &[u8]) -> Result<T, RemoteError>
    where
        T: CandidType + DeserializeOwned,
    {
        match candid::decode_one::<Result<T, AdminError>>(reply) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(AdminError::NotAuthorized)) => Err(RemoteError::NotAuthorized {
                caller: self.caller,
                canister: self.canister,
            }),
            Ok(Err(error)) => Err(RemoteError::Admin {
                method: method.to_owned(),
                error,
            }),
            Err(e) => Err(RemoteError::Decode {
                canister: self.canister,
                method: method.to_owned(),
                message: e.to_string(),
            }),
        }
    }
}

fn encode(method: &str, args: impl ArgumentEncoder) -> Result<Vec<u8>, RemoteError> {
    candid::encode_args(args).map_err(|e| RemoteError::Other {
        method: method.to_owned(),
        message: e.to_string(),
    })
}

impl AdminApi for AgentAdmin {
    async fn info(&self) -> Result<Info, RemoteError> {
        self.query(methods::INFO, ()).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, RemoteError> {
        self.query(methods::STAT, (path,)).await
    }

    async fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<ListPage, RemoteError> {
        self.query(methods::LIST, (path, cursor, limit)).await
    }

    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<ReadReply, RemoteError> {
        self.query(methods::READ, (path, offset, length)).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<Upload, RemoteError> {
        self.update(methods::UPLOAD_BEGIN, (request,)).await
    }

    async fn upload_chunk(
        &self,
        id: UploadId,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RemoteError> {
        self.update(
            methods::UPLOAD_CHUNK,
            (id, offset, serde_bytes::Bytes::new(data)),
        )
        .await
    }

    async fn upload_commit(&self, id: UploadId) -> Result<Stat, RemoteError> {
        self.update(methods::UPLOAD_COMMIT, (id,)).await
    }

    async fn upload_abort(&self, id: UploadId) -> Result<(), RemoteError> {
        self.update(methods::UPLOAD_ABORT, (id,)).await
    }

    async fn mkdir(&self, path: &str, parents: bool) -> Result<(), RemoteError> {
        self.update(methods::MKDIR, (path, parents)).await
    }

    async fn remove(&self, path: &str, recursive: bool) -> Result<Removed, RemoteError> {
        self.update(methods::REMOVE, (path, recursive)).await
    }

    async fn rename(&self, source: &str, target: &str, overwrite: bool) -> Result<(), RemoteError> {
        self.update(methods::RENAME, (source, target, overwrite))
            .await
    }
}

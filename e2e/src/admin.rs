//! The admin interface of a canister, called directly.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use ic_agent::Agent;
use icwasi_types::{
    AdminError, FileType, Info, ListPage, Quota, ReadReply, Role, Stat, Upload, UploadRequest,
    VariableChange, methods,
};
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};

use crate::sqlite_app::{query, update};

/// What a method answered, once the call itself went well.
pub type Answer<T> = Result<T, AdminError>;

/// A canister's admin interface, seen by one identity.
pub struct Admin<'a> {
    /// Who calls.
    pub agent: &'a Agent,
    /// The canister.
    pub id: Principal,
}

/// What is at a path: type, size, content version and, for a regular file, BLAKE3 of the content.
pub type Node = (FileType, u64, u64, Option<[u8; 32]>);

impl Admin<'_> {
    async fn query<A: ArgumentEncoder, R>(&self, method: &str, args: A) -> Result<Answer<R>>
    where
        R: CandidType + DeserializeOwned,
    {
        let (answer,): (Answer<R>,) = query(self.agent, self.id, method, args).await?;
        Ok(answer)
    }

    async fn update<A: ArgumentEncoder, R>(&self, method: &str, args: A) -> Result<Answer<R>>
    where
        R: CandidType + DeserializeOwned,
    {
        let (answer,): (Answer<R>,) = update(self.agent, self.id, method, args).await?;
        Ok(answer)
    }

    /// `icwasi_info`
    ///
    /// # Errors
    /// Of the call; so in all methods here.
    pub async fn info(&self) -> Result<Answer<Info>> {
        self.query(methods::INFO, ()).await
    }

    /// `icwasi_stat`
    ///
    /// # Errors
    /// Of the call.
    pub async fn stat(&self, path: &str) -> Result<Answer<Stat>> {
        self.query(methods::STAT, (path,)).await
    }

    /// `icwasi_list`
    ///
    /// # Errors
    /// Of the call.
    pub async fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<Answer<ListPage>> {
        self.query(methods::LIST, (path, cursor, limit)).await
    }

    /// `icwasi_read`
    ///
    /// # Errors
    /// Of the call.
    pub async fn read(&self, path: &str, offset: u64, length: u64) -> Result<Answer<ReadReply>> {
        self.query(methods::READ, (path, offset, length)).await
    }

    /// `icwasi_upload_begin`
    ///
    /// # Errors
    /// Of the call.
    pub async fn begin(
        &self,
        path: &str,
        content: &[u8],
        overwrite: bool,
    ) -> Result<Answer<Upload>> {
        let request = UploadRequest {
            path: path.to_owned(),
            size: content.len() as u64,
            hash: ByteBuf::from(blake3::hash(content).as_bytes().to_vec()),
            overwrite,
            parents: false,
            modified: None,
        };
        self.begin_with(&request).await
    }

    /// `icwasi_upload_begin`
    ///
    /// # Errors
    /// Of the call.
    pub async fn begin_with(&self, request: &UploadRequest) -> Result<Answer<Upload>> {
        self.update(methods::UPLOAD_BEGIN, (request,)).await
    }

    /// `icwasi_upload_chunk`
    ///
    /// # Errors
    /// Of the call.
    pub async fn chunk(&self, id: u64, offset: u64, data: &[u8]) -> Result<Answer<()>> {
        self.update(methods::UPLOAD_CHUNK, (id, offset, Bytes::new(data)))
            .await
    }

    /// `icwasi_upload_commit`
    ///
    /// # Errors
    /// Of the call.
    pub async fn commit(&self, id: u64) -> Result<Answer<Stat>> {
        self.update(methods::UPLOAD_COMMIT, (id,)).await
    }

    /// `icwasi_upload_abort`
    ///
    /// # Errors
    /// Of the call.
    pub async fn abort(&self, id: u64) -> Result<Answer<()>> {
        self.update(methods::UPLOAD_ABORT, (id,)).await
    }

    /// `icwasi_mkdir`
    ///
    /// # Errors
    /// Of the call.
    pub async fn mkdir(&self, path: &str, parents: bool) -> Result<Answer<()>> {
        self.update(methods::MKDIR, (path, parents)).await
    }

    /// The whole content of a file, by several reads of one version.
    ///
    /// # Errors
    /// Of the calls, and if the file changes in between.
    pub async fn content(&self, path: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut version = None;
        loop {
            let reply = self
                .read(path, content.len() as u64, icwasi_types::limits::MAX_READ)
                .await?;
            let reply = reply.map_err(|error| anyhow::anyhow!("read {path}: {error:?}"))?;
            ensure!(
                *version.get_or_insert(reply.version) == reply.version,
                "{path} changed"
            );
            content.extend_from_slice(&reply.data);
            if content.len() as u64 >= reply.size {
                return Ok(content);
            }
            ensure!(
                !reply.data.is_empty(),
                "{path}: nothing read before the end"
            );
        }
    }

    /// Everything that is in the file system: to see that something changed nothing.
    ///
    /// # Errors
    /// Of the calls.
    pub async fn tree(&self) -> Result<BTreeMap<String, Node>> {
        let mut nodes = BTreeMap::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let path = if directory.is_empty() {
                "/"
            } else {
                &directory
            };
            let mut cursor = None;
            loop {
                let page = self.list(path, cursor, 100).await?;
                let page = page.map_err(|error| anyhow::anyhow!("list {path}: {error:?}"))?;
                for entry in page.entries {
                    let child = format!("{directory}/{}", entry.name);
                    let hash = match entry.stat.file_type {
                        FileType::Regular => {
                            let content = self.content(&child).await.context("content")?;
                            Some(*blake3::hash(&content).as_bytes())
                        }
                        _ => None,
                    };
                    let stat = entry.stat;
                    if stat.file_type == FileType::Directory {
                        directories.push(child.clone());
                    }
                    nodes.insert(child, (stat.file_type, stat.size, stat.version, hash));
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(nodes)
    }
}

/// Every method of the service in `candid/icwasi.did`, so that none is forgotten, with arguments
/// that would do something if the caller were allowed.
///
/// # Errors
/// If the interface has a method that is not known here.
pub fn arguments_of_all_methods() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let did = std::fs::read_to_string(xtask::process::root().join("candid/icwasi.did"))?;
    let (_, service) = did
        .split_once("service :")
        .context("the interface has no service")?;
    let names = service
        .lines()
        .filter_map(|line| line.trim().split_once(" :"));
    let names = names
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(methods::PREFIX));
    names.map(arguments).collect()
}

fn arguments(method: &str) -> Result<(&'static str, Vec<u8>)> {
    use candid::encode_args as encode;
    use methods as m;
    let path = "/data/canister.log";
    Ok(match method {
        m::INFO => (m::INFO, encode(())?),
        m::STAT => (m::STAT, encode((path,))?),
        m::LIST => (m::LIST, encode(("/", None::<u64>, 10u32))?),
        m::READ => (m::READ, encode((path, 0u64, 10u64))?),
        m::UPLOAD_BEGIN => {
            let request = UploadRequest {
                path: "/mine".into(),
                size: 0,
                hash: ByteBuf::from(blake3::hash(b"").as_bytes().to_vec()),
                overwrite: true,
                parents: true,
                modified: None,
            };
            (m::UPLOAD_BEGIN, encode((request,))?)
        }
        m::UPLOAD_CHUNK => (m::UPLOAD_CHUNK, encode((1u64, 0u64, ByteBuf::new()))?),
        m::UPLOAD_COMMIT => (m::UPLOAD_COMMIT, encode((1u64,))?),
        m::UPLOAD_ABORT => (m::UPLOAD_ABORT, encode((1u64,))?),
        m::MKDIR => (m::MKDIR, encode(("/mine", true))?),
        m::REMOVE => (m::REMOVE, encode((path, true))?),
        m::RENAME => (m::RENAME, encode((path, "/mine", true))?),
        m::FSCK => (m::FSCK, encode((0u32,))?),
        m::QUOTA_SET => (m::QUOTA_SET, encode((Quota::Unlimited,))?),
        m::ENV_LIST => (m::ENV_LIST, encode(())?),
        m::ENV_SET => {
            let change = VariableChange {
                name: "MINE".into(),
                value: Some("1".into()),
            };
            (m::ENV_SET, encode((vec![change],))?)
        }
        m::ACCESS_LIST => (m::ACCESS_LIST, encode(())?),
        m::ACCESS_GRANT => {
            let me = Principal::self_authenticating([1; 32]);
            (m::ACCESS_GRANT, encode((me, Role::Admin))?)
        }
        m::ACCESS_REVOKE => (m::ACCESS_REVOKE, encode((Principal::anonymous(),))?),
        other => anyhow::bail!("no arguments for {other}: add them here"),
    })
}

/// Whether a reply is `variant { Err = variant { NotAuthorized } }` and nothing else.
pub fn is_refusal(reply: &[u8]) -> bool {
    // A reply of another success type still decodes as an error of this type.
    matches!(
        candid::decode_one::<Result<candid::Reserved, AdminError>>(reply),
        Ok(Err(AdminError::NotAuthorized))
    )
}

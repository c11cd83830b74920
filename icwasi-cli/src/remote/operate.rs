//! Settings, access and checks of a canister: the methods that operators call, and transfers do
//! not.

use std::future::Future;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use icwasi_types::{
    CheckedPart, Finding, Grant, Quota, Role, Variable, VariableChange, methods as names,
};
use serde::de::DeserializeOwned;

use super::{AgentAdmin, RemoteError, Retrying};

/// What a check of a whole file system came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong; empty for a sound file system.
    pub findings: Vec<Finding>,
    /// In how many parts it was checked.
    pub parts: u32,
}

impl Retrying<AgentAdmin> {
    async fn ask<T>(
        &self,
        method: &str,
        args: impl ArgumentEncoder + Copy + Send + Sync,
    ) -> Result<T, RemoteError>
    where
        T: CandidType + DeserializeOwned + Send,
    {
        self.repeat(|| self.inner().query(method, args)).await
    }

    /// Setting the same twice is the same as once, so these are repeated like queries.
    async fn set(
        &self,
        method: &str,
        args: impl ArgumentEncoder + Copy + Send + Sync,
    ) -> Result<(), RemoteError> {
        self.repeat(|| self.inner().update(method, args)).await
    }

    /// Checks the file system: `icwasi_fsck`, part by part. `progress` is told which part of how
    /// many is done.
    ///
    /// # Errors
    /// Of a call; [`RemoteError::BadReply`] if the parts do not follow each other.
    pub async fn fsck(&self, progress: impl Fn(u32, u32)) -> Result<Checked, RemoteError> {
        let mut findings = Vec::new();
        let mut part = 0;
        loop {
            let reply: CheckedPart = self.ask(names::FSCK, (part,)).await?;
            findings.extend(reply.findings);
            progress(part + 1, reply.parts.max(part + 1));
            match reply.next {
                None => {
                    let parts = part + 1;
                    return Ok(Checked { findings, parts });
                }
                Some(next) if part.checked_add(1) == Some(next) && next < reply.parts => {
                    part = next;
                }
                Some(next) => {
                    return Err(RemoteError::BadReply {
                        method: names::FSCK.to_owned(),
                        message: format!("part {next} of {} after part {part}", reply.parts),
                    });
                }
            }
        }
    }

    /// `icwasi_quota_set`
    pub fn quota_set(&self, quota: Quota) -> impl Future<Output = Result<(), RemoteError>> + Send {
        self.set(names::QUOTA_SET, (quota,))
    }

    /// `icwasi_env_list`
    pub fn env_list(&self) -> impl Future<Output = Result<Vec<Variable>, RemoteError>> + Send {
        self.ask(names::ENV_LIST, ())
    }

    /// `icwasi_env_set`
    pub fn env_set(
        &self,
        changes: &[VariableChange],
    ) -> impl Future<Output = Result<(), RemoteError>> + Send {
        self.set(names::ENV_SET, (changes,))
    }

    /// `icwasi_access_list`
    pub fn access_list(&self) -> impl Future<Output = Result<Vec<Grant>, RemoteError>> + Send {
        self.ask(names::ACCESS_LIST, ())
    }

    /// `icwasi_access_grant`
    pub fn access_grant(
        &self,
        grantee: Principal,
        role: Role,
    ) -> impl Future<Output = Result<(), RemoteError>> + Send {
        self.set(names::ACCESS_GRANT, (grantee, role))
    }

    /// `icwasi_access_revoke`. A repeated revocation would find nothing, so it is only sent again
    /// if the canister can't have seen it.
    pub async fn access_revoke(&self, grantee: Principal) -> Result<(), RemoteError> {
        self.repeat_unsent(|| self.inner().update(names::ACCESS_REVOKE, (grantee,)))
            .await
    }
}

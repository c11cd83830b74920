//! Settings, access and checks of a canister: the methods that operators call, and transfers do
//! not.

use std::future::Future;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use icwasi_types::{
    CheckedPart, Finding, Grant, Quota, Role, Variable, VariableChange, methods as names,
};
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};

use super::{AgentAdmin, RemoteError, Retrying};

/// What a check of a whole file system came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong; empty for a sound file system.
    pub findings: Vec<Finding>,
    /// In how many parts it was checked.
    pub parts: u32,
    /// How many queries that took, without those that the canister's work made worthless.
    pub steps: u32,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckProgress {
    /// The part, from 0 on.
    pub part: u32,
    /// How many there are now.
    pub parts: u32,
    /// The step of this part that just ended, from 1 on.
    pub step: u32,
    /// The part is done.
    pub done: bool,
}

/// How often a part of a check is begun that the canister's work interrupts.
const FSCK_ATTEMPTS: u32 = 5;

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

    /// Checks the file system: `icwasi_fsck`, part by part, each in steps of so many `instructions`
    /// if the canister shall not decide. `progress` is told of each step.
    ///
    /// # Errors
    /// Of a call; [`RemoteError::BadReply`] if the parts do not follow each other;
    /// [`RemoteError::Busy`] if the file system is used again and again between the steps of a part.
    pub async fn fsck(
        &self,
        instructions: Option<u64>,
        progress: impl Fn(CheckProgress),
    ) -> Result<Checked, RemoteError> {
        let mut checked = Checked {
            findings: Vec::new(),
            parts: 0,
            steps: 0,
        };
        let mut part = 0;
        loop {
            let (step, reply) = self.fsck_part(part, instructions, &progress).await?;
            checked.findings.extend(reply.findings);
            checked.parts = part.saturating_add(1);
            checked.steps = checked.steps.saturating_add(step);
            match reply.next {
                None => return Ok(checked),
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

    /// One part of a check: in how many steps, and the last reply with all findings.
    async fn fsck_part(
        &self,
        part: u32,
        instructions: Option<u64>,
        progress: impl Fn(CheckProgress),
    ) -> Result<(u32, CheckedPart), RemoteError> {
        for _ in 0..FSCK_ATTEMPTS {
            let mut findings = Vec::new();
            let mut rest: Option<ByteBuf> = None;
            for step in 1.. {
                let bytes = rest.as_ref().map(|rest| Bytes::new(rest));
                let args = (part, bytes, instructions);
                let mut reply: CheckedPart = self.ask(names::FSCK, args).await?;
                findings.append(&mut reply.findings);
                let again = reply.next == Some(part);
                progress(CheckProgress {
                    part,
                    parts: reply.parts.max(part.saturating_add(1)),
                    step,
                    done: !again,
                });
                if !again {
                    reply.findings = findings;
                    return Ok((step, reply));
                }
                rest = reply.rest.take();
                if rest.is_none() {
                    break;
                }
            }
        }
        Err(RemoteError::Busy {
            part: part.saturating_add(1),
        })
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

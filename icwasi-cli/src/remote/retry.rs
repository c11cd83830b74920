//! Repeats calls that failed for a passing reason.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use icwasi_types::{
    AdminError, Info, ListPage, ReadReply, Removed, Stat, Upload, UploadId, UploadRequest,
};

use super::{AdminApi, RemoteError, Sent};

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: usize,
    /// Wait before the first retry; it doubles each time.
    pub first_delay: Duration,
    /// Longest wait.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Eight retries within about a minute.
    fn default() -> Self {
        RetryPolicy {
            retries: 8,
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(16),
        }
    }
}

/// An [`AdminApi`] that retries.
///
/// Queries, and the upload methods, which accept repetition, are repeated after every transient
/// error. `mkdir`, `remove` and `rename` are only repeated if the canister can't have executed
/// them: a second attempt of something that was done would fail with a wrong reason.
pub struct Retrying<A> {
    inner: A,
    policy: RetryPolicy,
}

impl<A: AdminApi> Retrying<A> {
    /// Wraps `inner`.
    pub fn new(inner: A, policy: RetryPolicy) -> Self {
        Retrying { inner, policy }
    }

    /// What is wrapped.
    pub fn inner(&self) -> &A {
        &self.inner
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.policy.first_delay)
            .with_max_delay(self.policy.max_delay)
            .with_max_times(self.policy.retries)
            .with_jitter()
    }

    pub(super) async fn repeat<T, Fut, F>(&self, call: F) -> Result<T, RemoteError>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T, RemoteError>> + Send,
        T: Send,
    {
        call.retry(self.backoff())
            .when(is_repeatable)
            .notify(note)
            .await
    }

    pub(super) async fn repeat_unsent<T, Fut, F>(&self, call: F) -> Result<T, RemoteError>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T, RemoteError>> + Send,
        T: Send,
    {
        let when = |e: &RemoteError| is_repeatable(e) && e.sent() == Sent::No;
        call.retry(self.backoff()).when(when).notify(note).await
    }
}

/// Nobody listening on this computer is no passing condition: waiting would only hide it.
fn is_repeatable(error: &RemoteError) -> bool {
    match error {
        RemoteError::Unreachable { network, .. } => !super::connect::is_loopback(network),
        e => e.is_transient(),
    }
}

fn note(error: &RemoteError, delay: Duration) {
    tracing::info!("{error}; next attempt in {:.1} s", delay.as_secs_f32());
}

impl<A: AdminApi> AdminApi for Retrying<A> {
    async fn info(&self) -> Result<Info, RemoteError> {
        self.repeat(|| self.inner.info()).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, RemoteError> {
        self.repeat(|| self.inner.stat(path)).await
    }

    async fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<ListPage, RemoteError> {
        self.repeat(|| self.inner.list(path, cursor, limit)).await
    }

    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<ReadReply, RemoteError> {
        self.repeat(|| self.inner.read(path, offset, length)).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<Upload, RemoteError> {
        self.repeat(|| self.inner.upload_begin(request)).await
    }

    async fn upload_chunk(
        &self,
        id: UploadId,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RemoteError> {
        self.repeat(|| self.inner.upload_chunk(id, offset, data))
            .await
    }

    async fn upload_commit(&self, id: UploadId) -> Result<Stat, RemoteError> {
        self.repeat(|| self.inner.upload_commit(id)).await
    }

    async fn upload_abort(&self, id: UploadId) -> Result<(), RemoteError> {
        match self.repeat(|| self.inner.upload_abort(id)).await {
            // A first attempt whose reply was lost did it.
            Err(e) if matches!(e.admin(), Some(AdminError::UploadNotFound(_))) => Ok(()),
            result => result,
        }
    }

    async fn mkdir(&self, path: &str, parents: bool) -> Result<(), RemoteError> {
        // With `parents`, a directory that exists is no error, so repeating is harmless.
        if parents {
            self.repeat(|| self.inner.mkdir(path, parents)).await
        } else {
            self.repeat_unsent(|| self.inner.mkdir(path, parents)).await
        }
    }

    async fn remove(&self, path: &str, recursive: bool) -> Result<Removed, RemoteError> {
        self.repeat_unsent(|| self.inner.remove(path, recursive))
            .await
    }

    async fn rename(&self, source: &str, target: &str, overwrite: bool) -> Result<(), RemoteError> {
        self.repeat_unsent(|| self.inner.rename(source, target, overwrite))
            .await
    }
}

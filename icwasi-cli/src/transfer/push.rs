//! Files of this computer into a canister.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures::stream::{self, StreamExt, TryStreamExt};
use icwasi_types::{AdminError, Info, Range, Upload, UploadRequest, methods};
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use super::tree::{Kind, kind_of};
use super::{Progress, TransferError};
use crate::remote::path::RemotePath;
use crate::remote::{AdminApi, RemoteError};

/// Files that are pushed at the same time: hides the latency of begin and commit.
const FILES_AT_A_TIME: usize = 4;

/// Commits are tried again after sending what the canister says is missing.
const COMMIT_ATTEMPTS: usize = 3;

/// How to push.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Directories with all they hold.
    pub recursive: bool,
    /// Replace files that exist in the canister.
    pub overwrite: bool,
    /// Chunks under way at the same time.
    pub concurrency: usize,
}

/// A file that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// From where.
    pub local: PathBuf,
    /// Path in the canister.
    pub remote: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Bytes that were sent: less than `size` if an earlier push was resumed.
    pub sent: u64,
    /// BLAKE3 of the content, which the canister has checked.
    pub hash: [u8; 32],
}

struct Job {
    local: PathBuf,
    remote: RemotePath,
}

/// Pushes `sources` to `target` as `scp` would: into it if it is a directory, is written with a
/// slash at its end or there are several sources; else to that name. Missing directories are
/// made. A source directory that is written with a slash at its end stands for what it holds.
///
/// Each file appears in the canister at once and complete, or not at all. A push that was
/// interrupted is resumed by pushing again.
pub async fn push<A: AdminApi, P: Progress + ?Sized>(
    api: &A,
    sources: &[PathBuf],
    target: &RemotePath,
    options: &PushOptions,
    progress: &P,
) -> Result<Vec<Pushed>, TransferError> {
    let (jobs, directories) = plan(api, sources, target, options, progress).await?;
    let info = api
        .info()
        .await
        .map_err(TransferError::remote(target.as_str()))?;
    let chunk = chunk_size(&info)?;
    for directory in &directories {
        let path = directory.as_str();
        match api.mkdir(path, true).await {
            Err(e) if matches!(e.admin(), Some(AdminError::AlreadyExists(_))) => {}
            result => result.map_err(TransferError::remote(path))?,
        }
    }
    let slots = Semaphore::new(options.concurrency.max(1));
    let pushes = jobs
        .iter()
        .map(|job| push_file(api, job, chunk, options, &slots, progress));
    stream::iter(pushes)
        .buffer_unordered(FILES_AT_A_TIME)
        .try_collect()
        .await
}

/// Length of a chunk: as large as both sides can, a multiple of the alignment.
fn chunk_size(info: &Info) -> Result<u64, TransferError> {
    let align = u64::from(info.chunk_align);
    let most = u64::from(info.max_chunk).min(icwasi_types::limits::MAX_CHUNK);
    match most.checked_div(align) {
        Some(n) if n > 0 => Ok(n * align),
        _ => Err(TransferError::BadLimits(format!(
            "chunks of at most {} bytes, aligned to {align}",
            info.max_chunk
        ))),
    }
}

async fn plan<A: AdminApi, P: Progress + ?Sized>(
    api: &A,
    sources: &[PathBuf],
    target: &RemotePath,
    options: &PushOptions,
    progress: &P,
) -> Result<(Vec<Job>, Vec<RemotePath>), TransferError> {
    let kind = kind_of(api, target.as_str()).await?;
    let wants_directory = target.wants_directory() || sources.len() > 1;
    if wants_directory && kind == Kind::Other {
        return Err(TransferError::NotADirectory(target.to_string()));
    }
    let into = wants_directory || kind == Kind::Directory;
    let mut plan = Plan::default();
    for source in sources {
        let read = |source_error| TransferError::ReadLocal {
            path: source.clone(),
            source: source_error,
        };
        let metadata = std::fs::metadata(source).map_err(read)?;
        if metadata.is_dir() {
            if !options.recursive {
                return Err(TransferError::IsDirectory(source.display().to_string()));
            }
            let root = if into && !stands_for_content(source) {
                target.join(file_name(source)?)?
            } else {
                target.clone()
            };
            plan.directory(source, &root, progress)?;
        } else if metadata.is_file() {
            let remote = if into {
                target.join(file_name(source)?)?
            } else {
                target.clone()
            };
            plan.file(source.clone(), remote, &metadata);
        } else {
            return Err(TransferError::Special(source.display().to_string()));
        }
    }
    progress.expect(plan.jobs.len() as u64, plan.bytes);
    Ok((plan.jobs, plan.empty))
}

/// As with rsync: `dir/` and `dir/.` are what is in it.
fn stands_for_content(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes == b"." || bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

fn file_name(path: &Path) -> Result<&str, TransferError> {
    let name = path.file_name().ok_or_else(|| TransferError::NoName {
        path: path.to_owned(),
    })?;
    name.to_str().ok_or_else(|| TransferError::NotUtf8 {
        path: path.to_owned(),
    })
}

#[derive(Default)]
struct Plan {
    jobs: Vec<Job>,
    /// Directories without an entry; the others appear with their files.
    empty: Vec<RemotePath>,
    bytes: u64,
}

impl Plan {
    fn file(&mut self, local: PathBuf, remote: RemotePath, metadata: &Metadata) {
        self.bytes = self.bytes.saturating_add(metadata.len());
        self.jobs.push(Job { local, remote });
    }

    fn directory<P: Progress + ?Sized>(
        &mut self,
        local: &Path,
        remote: &RemotePath,
        progress: &P,
    ) -> Result<(), TransferError> {
        let read = |source| TransferError::ReadLocal {
            path: local.to_owned(),
            source,
        };
        let entries: Result<Vec<_>, _> = std::fs::read_dir(local).map_err(read)?.collect();
        let mut entries = entries.map_err(read)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let before = self.jobs.len() + self.empty.len();
        for entry in entries {
            let path = entry.path();
            let metadata = entry.metadata().map_err(read)?;
            let child = remote.join(file_name(&path)?)?;
            if metadata.is_dir() {
                self.directory(&path, &child, progress)?;
            } else if metadata.is_file() {
                self.file(path, child, &metadata);
            } else {
                let kind = if metadata.is_symlink() {
                    "symbolic link"
                } else {
                    "special file"
                };
                progress.warn(&format!("skipped {}: {kind}", path.display()));
            }
        }
        if self.jobs.len() + self.empty.len() == before && !remote.is_root() {
            self.empty.push(remote.clone());
        }
        Ok(())
    }
}

/// What tells that a file was touched.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

struct Source {
    file: Arc<File>,
    path: PathBuf,
    stamp: Stamp,
    hash: blake3::Hash,
    modified: Option<u64>,
}

impl Source {
    async fn open(path: &Path) -> Result<Source, TransferError> {
        let read = |source| TransferError::ReadLocal {
            path: path.to_owned(),
            source,
        };
        let file = Arc::new(File::open(path).map_err(read)?);
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(TransferError::Special(path.display().to_string()));
        }
        let modified = metadata
            .modified()
            .ok()
            .and_then(|m| m.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|m| u64::try_from(m.as_nanos()).ok());
        let stamp = Stamp::of(&metadata);
        let (hash, size) = hash_file(&file).await.map_err(read)?;
        let source = Source {
            file,
            path: path.to_owned(),
            stamp,
            hash,
            modified,
        };
        if size != stamp.size || source.touched()? {
            return Err(source.changed());
        }
        Ok(source)
    }

    fn touched(&self) -> Result<bool, TransferError> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|source| self.unreadable(source))?;
        Ok(Stamp::of(&metadata) != self.stamp)
    }

    fn changed(&self) -> TransferError {
        TransferError::LocalChanged {
            path: self.path.clone(),
        }
    }

    fn unreadable(&self, source: std::io::Error) -> TransferError {
        TransferError::ReadLocal {
            path: self.path.clone(),
            source,
        }
    }

    async fn read(&self, range: Range) -> Result<Vec<u8>, TransferError> {
        let file = self.file.clone();
        let read = move || {
            let mut data = vec![0; range.length as usize];
            file.read_exact_at(&mut data, range.offset).map(|()| data)
        };
        match blocking(read).await {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.changed()),
            result => result.map_err(|source| self.unreadable(source)),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

async fn hash_file(file: &Arc<File>) -> std::io::Result<(blake3::Hash, u64)> {
    let file = file.clone();
    let hash = move || {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut offset = 0;
        loop {
            match file.read_at(&mut buffer, offset) {
                Ok(0) => return Ok((hasher.finalize(), offset)),
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    offset += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    };
    blocking(hash).await
}

async fn push_file<A: AdminApi, P: Progress + ?Sized>(
    api: &A,
    job: &Job,
    chunk: u64,
    options: &PushOptions,
    slots: &Semaphore,
    progress: &P,
) -> Result<Pushed, TransferError> {
    let source = Source::open(&job.local).await?;
    let path = job.remote.as_str();
    let size = source.stamp.size;
    let request = UploadRequest {
        path: path.to_owned(),
        size,
        hash: ByteBuf::from(source.hash.as_bytes().to_vec()),
        overwrite: options.overwrite,
        parents: true,
        modified: source.modified,
    };
    let upload = api
        .upload_begin(&request)
        .await
        .map_err(TransferError::remote(path))?;
    check_missing(&upload.missing, size).map_err(TransferError::remote(path))?;
    let to_send: u64 = upload.missing.iter().map(|r| r.length).sum();
    let bar = progress.file(path, size);
    bar.advance(size - to_send);
    let send = SendChunks {
        api,
        source: &source,
        path,
        chunk,
        slots,
        options,
    };
    let result = send.all(&upload, |n| bar.advance(n)).await;
    if let Err(error) = &result
        && is_spoiled(error)
    {
        // The session holds bytes that can't become this file: don't let it be resumed. If this
        // fails, it expires by itself.
        let _ = api.upload_abort(upload.id).await;
    }
    let sent = result?;
    bar.finish();
    let hash = *source.hash.as_bytes();
    Ok(Pushed {
        local: job.local.clone(),
        remote: path.to_owned(),
        size,
        sent,
        hash,
    })
}

/// Whether resuming the upload would be pointless.
fn is_spoiled(error: &TransferError) -> bool {
    match error {
        TransferError::LocalChanged { .. } => true,
        TransferError::Remote { source, .. } => matches!(
            source.admin(),
            Some(AdminError::HashMismatch { .. } | AdminError::ChunkConflict { .. })
        ),
        _ => false,
    }
}

/// Ranges must be in order and within the file.
fn check_missing(missing: &[Range], size: u64) -> Result<(), RemoteError> {
    let mut end = 0;
    for range in missing {
        let next = range
            .offset
            .checked_add(range.length)
            .filter(|e| *e <= size);
        match next {
            Some(next) if range.offset >= end && range.length > 0 => end = next,
            _ => {
                return Err(RemoteError::BadReply {
                    method: methods::UPLOAD_BEGIN.to_owned(),
                    message: format!(
                        "{} bytes at {} of a file of {size} are said to be missing",
                        range.length, range.offset
                    ),
                });
            }
        }
    }
    Ok(())
}

struct SendChunks<'a, A> {
    api: &'a A,
    source: &'a Source,
    path: &'a str,
    chunk: u64,
    slots: &'a Semaphore,
    options: &'a PushOptions,
}

impl<A: AdminApi> SendChunks<'_, A> {
    /// Sends what is missing and commits. Returns the bytes sent.
    async fn all(
        &self,
        upload: &Upload,
        advance: impl Fn(u64) + Sync,
    ) -> Result<u64, TransferError> {
        let mut missing = upload.missing.clone();
        let mut sent = 0;
        for attempt in 1.. {
            sent += self.ranges(upload.id, &missing, &advance).await?;
            if self.source.touched()? {
                return Err(self.source.changed());
            }
            match self.api.upload_commit(upload.id).await {
                Ok(_) => break,
                Err(RemoteError::Admin {
                    error: AdminError::UploadIncomplete { missing: m },
                    ..
                }) if attempt < COMMIT_ATTEMPTS && !m.is_empty() => {
                    check_missing(&m, self.source.stamp.size)
                        .map_err(TransferError::remote(self.path))?;
                    missing = m;
                }
                Err(e) => return Err(self.explain(e).await),
            }
        }
        Ok(sent)
    }

    /// A wrong hash may be our own doing: a program that writes through a mapping does not
    /// touch the times at once.
    async fn explain(&self, error: RemoteError) -> TransferError {
        if matches!(error.admin(), Some(AdminError::HashMismatch { .. }))
            && let Ok((hash, _)) = hash_file(&self.source.file).await
            && hash != self.source.hash
        {
            return self.source.changed();
        }
        TransferError::remote(self.path)(error)
    }

    async fn ranges(
        &self,
        id: u64,
        missing: &[Range],
        advance: &(impl Fn(u64) + Sync),
    ) -> Result<u64, TransferError> {
        let chunks = missing.iter().flat_map(|range| {
            let end = range.offset + range.length;
            let starts = (range.offset..end).step_by(self.chunk as usize);
            starts.map(move |offset| Range {
                offset,
                length: self.chunk.min(end - offset),
            })
        });
        let sends = chunks.map(|range| async move {
            let _slot = self
                .slots
                .acquire()
                .await
                .expect("the semaphore is never closed");
            let data = self.source.read(range).await?;
            self.api
                .upload_chunk(id, range.offset, &data)
                .await
                .map_err(TransferError::remote(self.path))?;
            advance(range.length);
            Ok::<u64, TransferError>(range.length)
        });
        let sends = stream::iter(sends).buffer_unordered(self.options.concurrency.max(1));
        sends.try_fold(0, |sum, n| async move { Ok(sum + n) }).await
    }
}

//! Files of a canister to this computer.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use icwasi_types::{FileType, ReadReply, Stat, methods};
use tokio::sync::Semaphore;

use super::local::Dir;
use super::{FileProgress, Progress, TransferError, check_local_name, list_all};
use crate::remote::path::{RemotePath, join};
use crate::remote::{AdminApi, RemoteError};

/// How often a file that changes while it is read is begun again.
const ATTEMPTS: usize = 5;

/// Deeper trees are refused: each level holds a directory open.
const MAX_DEPTH: usize = 200;

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Directories with all they hold.
    pub recursive: bool,
    /// Replace files that exist here.
    pub overwrite: bool,
    /// Reads under way at the same time.
    pub concurrency: usize,
    /// Device and inode of a file here that is read from, and so must not be replaced.
    pub source: Option<(u64, u64)>,
}

/// A file that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Path in the canister.
    pub remote: String,
    /// Where it is now.
    pub local: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// Pulls `sources` to `target` as `scp` would: into it if it is a directory, is written with a
/// slash at its end or there are several sources; else to that name. A source directory that is
/// written with a slash at its end stands for what it holds.
///
/// Each file appears here at once and complete, in one state that it had in the canister, or not
/// at all. Nothing is written outside of `target`, whatever the canister says.
pub async fn pull<A: AdminApi, P: Progress + ?Sized>(
    api: &A,
    sources: &[RemotePath],
    target: &Path,
    options: &PullOptions,
    progress: &P,
) -> Result<Vec<Pulled>, TransferError> {
    let written = target.as_os_str().as_encoded_bytes();
    let into = target.is_dir() || sources.len() > 1 || written.ends_with(b"/");
    if into {
        make_directory(target)?;
    }
    let first = sources.first().map_or("/", RemotePath::as_str);
    let info = api.info().await.map_err(TransferError::remote(first))?;
    let step = u64::from(info.max_read).min(icwasi_types::limits::MAX_READ);
    if step == 0 {
        return Err(TransferError::BadLimits(
            "reads of at most 0 bytes".to_owned(),
        ));
    }
    let slots = Semaphore::new(options.concurrency.max(1));
    let pull = Pull {
        api,
        options,
        progress,
        slots,
        step,
    };
    let mut done = Vec::new();
    for source in sources {
        let path = source.as_str();
        let stat = api.stat(path).await.map_err(TransferError::remote(path))?;
        match stat.file_type {
            FileType::Regular if source.wants_directory() => {
                return Err(TransferError::NotADirectory(path.to_owned()));
            }
            FileType::Regular => {
                let (dir, name) = if into {
                    (Dir::open(target)?, OsString::from(local_name(source)?))
                } else {
                    split(target)?
                };
                progress.expect(1, stat.size);
                done.push(pull.file(path, &dir, &name, stat).await?);
            }
            FileType::Directory if !options.recursive => {
                return Err(TransferError::IsDirectory(path.to_owned()));
            }
            FileType::Directory => {
                let dir = if into && !source.wants_directory() {
                    Dir::open(target)?.enter(local_name(source)?)?
                } else {
                    make_directory(target)?;
                    Dir::open(target)?
                };
                pull.tree(path, dir, 0, &mut done).await?;
            }
            FileType::Symlink => {
                let message = format!("{path} is a symbolic link, so it");
                return Err(TransferError::Special(message));
            }
        }
    }
    Ok(done)
}

fn make_directory(path: &Path) -> Result<(), TransferError> {
    std::fs::create_dir_all(path).map_err(|source| TransferError::WriteLocal {
        path: path.to_owned(),
        source,
    })
}

/// The directory and the name of a file that the user named.
fn split(target: &Path) -> Result<(Dir, OsString), TransferError> {
    let Some(name) = target.file_name() else {
        return Err(TransferError::NoName {
            path: target.to_owned(),
        });
    };
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
    Ok((
        Dir::open(parent.unwrap_or(Path::new(".")))?,
        name.to_owned(),
    ))
}

fn local_name(path: &RemotePath) -> Result<&str, TransferError> {
    let name = path.name().unwrap_or_default();
    checked(name, path.as_str())
}

fn checked<'a>(name: &'a str, directory: &str) -> Result<&'a str, TransferError> {
    check_local_name(name)
        .map(|()| name)
        .map_err(|reason| TransferError::HostileName {
            directory: directory.to_owned(),
            name: name.to_owned(),
            reason,
        })
}

struct Pull<'a, A, P: ?Sized> {
    api: &'a A,
    options: &'a PullOptions,
    progress: &'a P,
    slots: Semaphore,
    /// Bytes of one read.
    step: u64,
}

impl<A: AdminApi, P: Progress + ?Sized> Pull<'_, A, P> {
    /// All that the directory `path` holds, into `dir`.
    fn tree<'b>(
        &'b self,
        path: &'b str,
        dir: Dir,
        depth: usize,
        done: &'b mut Vec<Pulled>,
    ) -> BoxFuture<'b, Result<(), TransferError>> {
        Box::pin(async move {
            if depth > MAX_DEPTH {
                let method = methods::LIST.to_owned();
                let message = format!("directories are nested more than {MAX_DEPTH} deep");
                let source = Box::new(RemoteError::BadReply { method, message });
                return Err(TransferError::Remote {
                    path: path.to_owned(),
                    source,
                });
            }
            let entries = list_all(self.api, path).await?;
            // All names are looked at before anything is written.
            for entry in &entries {
                checked(&entry.name, path)?;
            }
            let (mut files, mut directories) = (Vec::new(), Vec::new());
            let mut bytes = 0u64;
            for entry in entries {
                match entry.stat.file_type {
                    FileType::Regular => {
                        bytes = bytes.saturating_add(entry.stat.size);
                        files.push(entry);
                    }
                    FileType::Directory => directories.push(entry.name),
                    FileType::Symlink => {
                        let link = join(path, &entry.name);
                        self.progress
                            .warn(&format!("skipped {}: symbolic link", link.escape_debug()));
                    }
                }
            }
            self.progress.expect(files.len() as u64, bytes);
            let into = &dir;
            let files = files.into_iter().map(|entry| async move {
                let remote = join(path, &entry.name);
                self.file(&remote, into, OsStr::new(&entry.name), entry.stat)
                    .await
            });
            let files = stream::iter(files).buffer_unordered(self.options.concurrency.max(1));
            done.extend(files.try_collect::<Vec<_>>().await?);
            for name in directories {
                let remote = join(path, &name);
                let child = dir.enter(&name)?;
                self.tree(&remote, child, depth + 1, done).await?;
            }
            Ok(())
        })
    }

    /// One file; `stat` is what was seen of it first.
    async fn file(
        &self,
        path: &str,
        dir: &Dir,
        name: &OsStr,
        mut stat: Stat,
    ) -> Result<Pulled, TransferError> {
        let local = dir.path().join(name);
        match dir.find(name)? {
            Some(found) if self.options.source == Some(found) => {
                return Err(TransferError::IsSource { path: local });
            }
            Some(_) if !self.options.overwrite => {
                return Err(TransferError::Exists { path: local });
            }
            _ => {}
        }
        let bar = self.progress.file(path, stat.size);
        let file = dir.create()?;
        for attempt in 1..=ATTEMPTS {
            let same = self.content(path, &stat, &file, &*bar).await?;
            let after = self
                .api
                .stat(path)
                .await
                .map_err(TransferError::remote(path))?;
            if after.file_type != FileType::Regular {
                return Err(TransferError::Special(path.to_owned()));
            }
            if same && is_same(&stat, &after) {
                // Here a hash that a replicated call vouches for will be compared: up to now a
                // query reply is one node's word.
                file.publish(name, stat.modified, self.options.overwrite)?;
                bar.finish();
                return Ok(Pulled {
                    remote: path.to_owned(),
                    local,
                    size: stat.size,
                });
            }
            tracing::info!("{path} changed while it was read, attempt {attempt}");
            file.clear()?;
            bar.restart();
            stat = after;
        }
        Err(TransferError::RemoteChanged {
            path: path.to_owned(),
            attempts: ATTEMPTS,
        })
    }

    /// Fetches all bytes of the state `stat`; false if the file is not in that state any more.
    async fn content(
        &self,
        path: &str,
        stat: &Stat,
        file: &super::local::NewFile<'_>,
        bar: &dyn FileProgress,
    ) -> Result<bool, TransferError> {
        let pieces = pieces(0, stat.size, self.step).map(|(offset, length)| async move {
            let _slot = self
                .slots
                .acquire()
                .await
                .expect("the semaphore is never closed");
            let Some(data) = piece(self.api, path, offset, length, token(stat)).await? else {
                return Ok::<_, TransferError>(false);
            };
            file.write_at(&data, offset)?;
            bar.advance(length);
            Ok(true)
        });
        let mut pieces = stream::iter(pieces).buffer_unordered(self.options.concurrency.max(1));
        while let Some(same) = pieces.try_next().await? {
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Nothing happened to the file between the two.
fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.inode, a.version, a.size) == (b.inode, b.version, b.size)
}

/// What a read reply says about the state of the file.
type Token = (u64, u64);

fn token(stat: &Stat) -> Token {
    (stat.size, stat.version)
}

/// The ranges to read, one by one: a size that is a lie costs no memory.
fn pieces(start: u64, end: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let length = step.min(end.saturating_sub(at));
        let piece = (at, length);
        at += length;
        (length > 0).then_some(piece)
    })
}

/// Exactly `length` bytes at `offset`; `None` if the file is not in the state `expected`.
async fn piece<A: AdminApi>(
    api: &A,
    path: &str,
    offset: u64,
    length: u64,
    expected: Token,
) -> Result<Option<Vec<u8>>, TransferError> {
    let mut data: Vec<u8> = Vec::new();
    while (data.len() as u64) < length {
        let at = offset + data.len() as u64;
        let rest = length - data.len() as u64;
        let reply = api
            .read(path, at, rest)
            .await
            .map_err(TransferError::remote(path))?;
        if (reply.size, reply.version) != expected {
            return Ok(None);
        }
        check_read(&reply, rest).map_err(TransferError::remote(path))?;
        if data.is_empty() {
            data = reply.data.into_vec();
        } else {
            data.extend_from_slice(&reply.data);
        }
    }
    Ok(Some(data))
}

fn check_read(reply: &ReadReply, asked: u64) -> Result<(), RemoteError> {
    let got = reply.data.len() as u64;
    if got > 0 && got <= asked {
        return Ok(());
    }
    Err(RemoteError::BadReply {
        method: methods::READ.to_owned(),
        message: format!("{got} bytes where {asked} were asked for and exist"),
    })
}

/// Writes the content of `path` to `output`, in order. Returns its size.
///
/// If the file changes before the first byte was written, it is begun again; after that it is an
/// error, and what was written is the beginning of a state that the file had.
pub async fn read_to<A: AdminApi>(
    api: &A,
    path: &str,
    output: &mut (dyn Write + Send),
    concurrency: usize,
) -> Result<u64, TransferError> {
    let changed = |attempts| TransferError::RemoteChanged {
        path: path.to_owned(),
        attempts,
    };
    let stat = api.stat(path).await.map_err(TransferError::remote(path))?;
    if stat.file_type == FileType::Directory {
        return Err(TransferError::IsDirectory(path.to_owned()));
    }
    for attempt in 1..=ATTEMPTS {
        let length = icwasi_types::limits::MAX_READ;
        let first = api
            .read(path, 0, length)
            .await
            .map_err(TransferError::remote(path))?;
        let expected = (first.size, first.version);
        let got = first.data.len() as u64;
        if first.size > 0 {
            check_read(&first, length.min(first.size)).map_err(TransferError::remote(path))?;
        }
        let rest = pieces(got, first.size, length);
        let rest = rest.map(|(at, n)| piece(api, path, at, n, expected));
        let mut rest = stream::iter(rest).buffered(concurrency.max(1));
        let mut next = rest.try_next().await?;
        if matches!(next, Some(None)) && attempt < ATTEMPTS {
            continue;
        }
        output
            .write_all(&first.data)
            .map_err(TransferError::Output)?;
        while let Some(data) = next {
            let data = data.ok_or_else(|| changed(attempt))?;
            output.write_all(&data).map_err(TransferError::Output)?;
            next = rest.try_next().await?;
        }
        return output
            .flush()
            .map(|()| first.size)
            .map_err(TransferError::Output);
    }
    Err(changed(ATTEMPTS))
}

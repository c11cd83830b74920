//! The stable memory of a canister as a file, such as the `stable_memory.bin` of a downloaded
//! snapshot: its file system can be checked and read without the canister.
//!
//! The file is never changed. Whatever it holds, damage is an error or a finding.

mod memory;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use icwasi::admin::{download, manage};
use icwasi::fs::{Finding, Fs, MountError};
use icwasi::settings::Settings;
use icwasi_types::{
    AdminError, Info, ListPage, ReadReply, Removed, Stat, Upload, UploadId, UploadRequest, methods,
};
use thiserror::Error;

use crate::remote::{AdminApi, RemoteError};
use memory::FileMemory;

/// Name of the file in the directory of a downloaded snapshot.
const IN_SNAPSHOT: &str = "stable_memory.bin";

/// Why an image cannot be used.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{} does not begin with a file system of icwasi. Canisters that give icwasi a part of \
         their stable memory are not supported here",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It holds a file system that this version cannot mount.
    #[error("{} cannot be mounted: {source}", .path.display())]
    Mount {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MountError,
    },
}

/// An image, mounted. As an [`AdminApi`] it can be listed and pulled from; it refuses changes.
pub struct Image {
    path: PathBuf,
    memory: FileMemory,
    fs: Mutex<Fs<FileMemory>>,
}

impl Image {
    /// Opens `path`: a file with stable memory from its first byte on, or the directory of a
    /// snapshot that holds such a file.
    ///
    /// # Errors
    /// If it cannot be read, or holds no sound superblock at its start.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let path = if path.is_dir() {
            path.join(IN_SNAPSHOT)
        } else {
            path.to_owned()
        };
        let io = |source| ImageError::Io {
            path: path.clone(),
            source,
        };
        let memory = File::open(&path).and_then(FileMemory::new).map_err(io)?;
        let mounted = Fs::mount(memory.clone());
        if let Some(error) = memory.take_failure() {
            return Err(io(error));
        }
        let fs = mounted.map_err(|source| match source {
            MountError::Foreign => ImageError::Foreign { path: path.clone() },
            source => ImageError::Mount {
                path: path.clone(),
                source,
            },
        })?;
        Ok(Image {
            path,
            memory,
            fs: Mutex::new(fs),
        })
    }

    /// Verifies all invariants; an empty result is a sound file system. Reads all metadata.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn check(&self) -> Result<Vec<Finding>, ImageError> {
        let findings = self.fs().check();
        match self.memory.take_failure() {
            None => Ok(findings),
            Some(source) => Err(ImageError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }

    fn fs(&self) -> MutexGuard<'_, Fs<FileMemory>> {
        self.fs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T>(
        &self,
        method: &str,
        work: impl FnOnce(&mut Fs<FileMemory>) -> Result<T, AdminError>,
    ) -> Result<T, RemoteError> {
        let method = method.to_owned();
        let mut fs = self.fs();
        let result = work(&mut fs);
        if let Some(error) = self.memory.take_failure() {
            let message = format!("cannot read {}: {error}", self.path.display());
            return Err(RemoteError::Other { method, message });
        }
        result.map_err(|error| RemoteError::Admin { method, error })
    }

    fn refuse<T>(&self, method: &str) -> Result<T, RemoteError> {
        let message = format!("{} is an image, which is only read", self.path.display());
        let method = method.to_owned();
        Err(RemoteError::Other { method, message })
    }
}

impl AdminApi for Image {
    async fn info(&self) -> Result<Info, RemoteError> {
        self.ask(methods::INFO, |fs| {
            let settings = Settings::load(fs);
            manage::info(fs, &settings)
        })
    }

    async fn stat(&self, path: &str) -> Result<Stat, RemoteError> {
        self.ask(methods::STAT, |fs| manage::stat(fs, path))
    }

    async fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<ListPage, RemoteError> {
        self.ask(methods::LIST, |fs| manage::list(fs, path, cursor, limit))
    }

    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<ReadReply, RemoteError> {
        self.ask(methods::READ, |fs| download::read(fs, path, offset, length))
    }

    async fn upload_begin(&self, _: &UploadRequest) -> Result<Upload, RemoteError> {
        self.refuse(methods::UPLOAD_BEGIN)
    }

    async fn upload_chunk(&self, _: UploadId, _: u64, _: &[u8]) -> Result<(), RemoteError> {
        self.refuse(methods::UPLOAD_CHUNK)
    }

    async fn upload_commit(&self, _: UploadId) -> Result<Stat, RemoteError> {
        self.refuse(methods::UPLOAD_COMMIT)
    }

    async fn upload_abort(&self, _: UploadId) -> Result<(), RemoteError> {
        self.refuse(methods::UPLOAD_ABORT)
    }

    async fn mkdir(&self, _: &str, _: bool) -> Result<(), RemoteError> {
        self.refuse(methods::MKDIR)
    }

    async fn remove(&self, _: &str, _: bool) -> Result<Removed, RemoteError> {
        self.refuse(methods::REMOVE)
    }

    async fn rename(&self, _: &str, _: &str, _: bool) -> Result<(), RemoteError> {
        self.refuse(methods::RENAME)
    }
}

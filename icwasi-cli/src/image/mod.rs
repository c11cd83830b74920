//! The stable memory of a canister as a file, such as the `stable_memory.bin` of a downloaded
//! snapshot: its file system can be checked and read without the canister.
//!
//! The file is never changed. Whatever it holds, damage is an error or a finding.

mod memory;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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

/// An image with a file system, which is mounted for each access: that is cheap, and a mounted one
/// is bound to a thread. As an [`AdminApi`] it can be listed and pulled from; it refuses changes.
pub struct Image {
    path: PathBuf,
    memory: FileMemory,
    file_id: (u64, u64),
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
        let open = || {
            let file = File::open(&path)?;
            let found = file.metadata()?;
            Ok(((found.dev(), found.ino()), FileMemory::new(file)?))
        };
        let (file_id, memory) = match open() {
            Ok(opened) => opened,
            Err(source) => return Err(ImageError::Io { path, source }),
        };
        let image = Image {
            path,
            memory,
            file_id,
        };
        image.mount()?;
        Ok(image)
    }

    /// Device and inode of the file.
    pub fn file_id(&self) -> (u64, u64) {
        self.file_id
    }

    /// Verifies all invariants; an empty result is a sound file system. Reads all metadata.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn check(&self) -> Result<Vec<Finding>, ImageError> {
        let findings = self.mount()?.check();
        match self.memory.take_failure() {
            None => Ok(findings),
            Some(source) => Err(ImageError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }

    fn mount(&self) -> Result<Fs<FileMemory>, ImageError> {
        let mounted = Fs::mount(self.memory.clone());
        let path = self.path.clone();
        match (self.memory.take_failure(), mounted) {
            (Some(source), _) => Err(ImageError::Io { path, source }),
            (None, Ok(fs)) => Ok(fs),
            (None, Err(MountError::Foreign)) => Err(ImageError::Foreign { path }),
            (None, Err(source)) => Err(ImageError::Mount { path, source }),
        }
    }

    fn ask<T>(
        &self,
        method: &str,
        work: impl FnOnce(&mut Fs<FileMemory>) -> Result<T, AdminError>,
    ) -> Result<T, RemoteError> {
        let method = method.to_owned();
        let mut fs = match self.mount() {
            Ok(fs) => fs,
            Err(error) => {
                let message = error.to_string();
                return Err(RemoteError::Other { method, message });
            }
        };
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

#[cfg(test)]
mod tests {
    use ic_stable_structures::{Memory as _, VectorMemory};
    use icwasi::fs::FormatOptions;

    use super::*;

    /// A file system with some files, as bytes.
    fn bytes() -> Vec<u8> {
        let memory = VectorMemory::default();
        let mut fs = Fs::open(memory, &FormatOptions::default(), 1).expect("formats");
        let root = fs.root();
        let dir = fs.mkdir(root, b"dir").expect("made");
        for number in 0..100 {
            let name = format!("file {number}");
            let file = fs.create(dir, name.as_bytes()).expect("made");
            fs.write(file, 0, name.repeat(number).as_bytes())
                .expect("written");
        }
        fs.symlink(root, b"link", b"dir/file 7").expect("made");
        // Left behind by an earlier run: a mount frees it, but not in the file.
        let orphan = fs.create(root, b"orphan").expect("made");
        fs.retain(orphan).expect("open");
        fs.unlink(root, b"orphan").expect("removed");
        let memory = fs.into_memory();
        assert!(memory.size() > 1);
        memory.borrow().clone()
    }

    fn image(bytes: &[u8]) -> (tempfile::NamedTempFile, Result<Image, ImageError>) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        let image = Image::open(file.path());
        (file, image)
    }

    #[tokio::test]
    async fn an_image_is_read_and_never_written() {
        let bytes = bytes();
        let (file, image) = image(&bytes);
        let image = image.expect("mounts");
        assert_eq!(image.check().expect("reads"), []);
        let page = image.list("/dir", None, 1_000).await.expect("lists");
        assert_eq!(page.entries.len(), 100);
        let read = image.read("/link", 0, 1_000).await.expect("reads");
        assert_eq!(read.data, "file 7".repeat(7).as_bytes());
        let error = image.mkdir("/new", false).await.expect_err("is refused");
        assert!(error.to_string().contains("only read"), "{error}");
        let error = image.stat("/none").await.expect_err("is not there");
        assert!(error.is_not_found(), "{error}");
        assert!(std::fs::read(file.path()).expect("is there") == bytes);
        // The directory of a snapshot.
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::copy(file.path(), directory.path().join(IN_SNAPSHOT)).expect("copied");
        Image::open(directory.path()).expect("mounts");
    }

    /// Files in it may be called as it is.
    #[tokio::test]
    async fn an_image_is_not_overwritten_by_what_it_holds() {
        use crate::remote::path::RemotePath;
        use crate::transfer::{NoProgress, PullOptions, TransferError, pull};
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file 7");
        std::fs::write(&path, bytes()).expect("written");
        let image = Image::open(&path).expect("mounts");
        let options = PullOptions {
            recursive: true,
            overwrite: true,
            concurrency: 1,
            source: Some(image.file_id()),
        };
        for (source, target) in [
            ("/dir/file 7", path.as_path()),
            ("/dir/file 8", &path),
            ("/dir/file 7", directory.path()),
            ("/dir/", directory.path()),
        ] {
            let source = RemotePath::parse(source).expect("is a path");
            let done = pull(&image, &[source], target, &options, &NoProgress).await;
            let error = done.expect_err("is refused");
            assert!(matches!(error, TransferError::IsSource { .. }), "{error}");
            assert!(std::fs::read(&path).expect("is there") == bytes());
        }
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        let good = bytes();
        assert!(matches!(image(&[]).1, Err(ImageError::Foreign { .. })));
        let zeros = vec![0; 200_000];
        assert!(matches!(image(&zeros).1, Err(ImageError::Foreign { .. })));
        let short = &good[..65_536];
        assert!(matches!(
            image(short).1,
            Err(ImageError::Mount {
                source: MountError::Corrupt(_),
                ..
            })
        ));
        let missing = Image::open(Path::new("/nowhere/at/all"));
        assert!(matches!(missing, Err(ImageError::Io { .. })));
        // Cut while it is open.
        let (file, image) = image(&good);
        let image = image.expect("mounts");
        let cut = File::options().write(true).open(file.path());
        cut.and_then(|file| file.set_len(8_192)).expect("cut");
        assert!(matches!(image.check(), Err(ImageError::Io { .. })));
    }

    #[tokio::test]
    async fn damage_is_found_and_never_panics() {
        let good = bytes();
        let mut found = 0;
        // Superblock, bitmap, inodes, and what follows them.
        for at in (0..40_000).step_by(61) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x41;
            let (_file, image) = image(&damaged);
            let Ok(image) = image else {
                found += 1;
                continue;
            };
            found += usize::from(!image.check().expect("reads").is_empty());
            let _ = image.info().await;
            if let Ok(page) = image.list("/dir", None, 1_000).await {
                for entry in page.entries {
                    let _ = image.read(&format!("/dir/{}", entry.name), 0, 100).await;
                }
            }
        }
        assert!(found > 50, "{found}");
    }
}

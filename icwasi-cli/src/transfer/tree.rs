//! Looking at directories of a canister.

use icwasi_types::{Entry, FileType};

use super::TransferError;
use crate::remote::{AdminApi, RemoteError};

/// What is at a path of a canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A directory, or a symbolic link to one.
    Directory,
    /// Anything else.
    Other,
}

/// What is at `path`: one call, two if it is a symbolic link.
pub async fn kind_of<A: AdminApi>(api: &A, path: &str) -> Result<Kind, TransferError> {
    match api.stat(path).await {
        Ok(stat) => match stat.file_type {
            FileType::Directory => Ok(Kind::Directory),
            FileType::Regular => Ok(Kind::Other),
            FileType::Symlink => match api.list(path, None, 1).await {
                Ok(_) => Ok(Kind::Directory),
                Err(e) if e.admin().is_some() => Ok(Kind::Other),
                Err(e) => Err(TransferError::remote(path)(e)),
            },
        },
        Err(e) if e.is_not_found() => Ok(Kind::Missing),
        Err(e) => Err(TransferError::remote(path)(e)),
    }
}

/// Whether `path` is a directory or a symbolic link to one.
pub async fn is_directory<A: AdminApi>(api: &A, path: &str) -> Result<bool, TransferError> {
    Ok(kind_of(api, path).await? == Kind::Directory)
}

/// All entries of a directory, sorted by name; as many calls as it has pages.
pub async fn list_all<A: AdminApi>(api: &A, path: &str) -> Result<Vec<Entry>, TransferError> {
    let mut entries = Vec::new();
    let mut cursor = None;
    loop {
        let page = api
            .list(path, cursor, icwasi_types::limits::MAX_LIST)
            .await
            .map_err(TransferError::remote(path))?;
        let empty = page.entries.is_empty();
        entries.extend(page.entries);
        match page.next {
            None => break,
            // Without this, a canister could keep us busy for ever.
            Some(next) if empty || Some(next) == cursor => {
                let message = "a page of a listing leads nowhere".to_owned();
                let method = icwasi_types::methods::LIST.to_owned();
                let source = Box::new(RemoteError::BadReply { method, message });
                return Err(TransferError::Remote {
                    path: path.to_owned(),
                    source,
                });
            }
            Some(next) => cursor = Some(next),
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    // An entry that was renamed meanwhile may have been seen twice.
    entries.dedup_by(|a, b| a.name == b.name);
    Ok(entries)
}

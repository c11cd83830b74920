//! Looking at files and arranging them: info, stat, list, mkdir, rename. Removing has a file of
//! its own.

use std::ops::ControlFlow;

use ic_stable_structures::Memory;
use icwasi_types::limits::{CHUNK_ALIGN, MAX_CHUNK, MAX_LIST, MAX_READ};
use icwasi_types::{AdminError, Entry, Info, ListPage, Stat};

use super::error::{fs_error, invalid_path};
use super::paths::AbsPath;
use super::upload;
use crate::fs::{self, FileType, Fs, Ino};
use crate::settings::Settings;

/// Version of the admin interface: major.
pub const API_MAJOR: u16 = 1;
/// Version of the admin interface: minor.
pub const API_MINOR: u16 = 1;

/// Versions, limits and what is in use.
pub fn info<M: Memory>(fs: &mut Fs<M>, settings: &Settings) -> Result<Info, AdminError> {
    let usage = fs.usage();
    Ok(Info {
        version: env!("CARGO_PKG_VERSION").into(),
        api_major: API_MAJOR,
        api_minor: API_MINOR,
        format_major: usage.format.0,
        format_minor: usage.format.1,
        block_size: usage.block_size,
        used_bytes: usage.used_bytes,
        quota_bytes: usage.quota_bytes,
        inodes: usage.inodes,
        max_read: MAX_READ as u32,
        max_chunk: MAX_CHUNK as u32,
        chunk_align: CHUNK_ALIGN as u32,
        max_list: MAX_LIST,
        open_uploads: upload::count(fs)?,
        free_bytes: Some(usage.free_bytes),
        quota_set: Some(settings.quota_set),
    })
}

/// Metadata of what is at `path`. A symbolic link at its end is not followed.
pub fn stat<M: Memory>(fs: &mut Fs<M>, path: &str) -> Result<Stat, AdminError> {
    let ino = AbsPath::parse(path)?.existing(fs, false)?;
    fs.stat(ino)
        .map(|stat| stat_record(&stat))
        .map_err(|error| fs_error(error, path))
}

/// Entries of the directory `path`, which may be a symbolic link to one. `limit` is between 1
/// and [`MAX_LIST`]; more is taken for that. Costs by what it returns.
pub fn list<M: Memory>(
    fs: &mut Fs<M>,
    path: &str,
    cursor: Option<u64>,
    limit: u32,
) -> Result<ListPage, AdminError> {
    let dir = AbsPath::parse(path)?.existing(fs, true)?;
    if limit == 0 {
        return Err(AdminError::InvalidArgument(format!(
            "limit is 0; ask for 1 to {MAX_LIST} entries"
        )));
    }
    let fail = |error| fs_error(error, path);
    if fs.stat(dir).map_err(fail)?.file_type != FileType::Directory {
        return Err(AdminError::NotADirectory(path.into()));
    }
    let limit = limit.min(MAX_LIST) as usize;
    let mut found: Vec<(Vec<u8>, Ino)> = Vec::new();
    let mut last = 0;
    let mut more = false;
    fs.read_dir(dir, cursor.unwrap_or(0), &mut |entry| {
        if matches!(entry.name, b"." | b"..") {
            return ControlFlow::Continue(());
        }
        if found.len() == limit {
            more = true;
            return ControlFlow::Break(());
        }
        found.push((entry.name.to_vec(), entry.ino));
        last = entry.cookie;
        ControlFlow::Continue(())
    })
    .map_err(fail)?;
    let entries = found.into_iter().map(|(name, ino)| {
        let stat = fs.stat(ino).map_err(fail)?;
        // Only UTF-8 can be created; should an image hold something else, it is still listed.
        let name = String::from_utf8(name)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Entry {
            name,
            stat: stat_record(&stat),
        })
    });
    Ok(ListPage {
        entries: entries.collect::<Result<_, AdminError>>()?,
        next: more.then_some(last),
    })
}

/// Makes the directory `path`; with `parents` also those above it, and no error if it exists.
pub fn mkdir<M: Memory>(fs: &mut Fs<M>, path: &str, parents: bool) -> Result<(), AdminError> {
    let parsed = AbsPath::parse(path)?;
    let count = parsed.names().len();
    if !parents {
        let Some((dir, name)) = parsed.parent(fs)? else {
            return Err(AdminError::AlreadyExists(path.into()));
        };
        return match fs.mkdir(dir, name.as_bytes()) {
            Ok(_) => Ok(()),
            Err(error) => Err(fs_error(error, path)),
        };
    }
    let walk = parsed.walk(fs, count)?;
    parsed
        .make_dirs(fs, walk.dir, walk.found, count)
        .map(|_| ())
}

/// Renames as POSIX does: in one step, over a file or an empty directory at `target` if
/// `overwrite`. Symbolic links at the ends are moved or replaced, not followed.
pub fn rename<M: Memory>(
    fs: &mut Fs<M>,
    source: &str,
    target: &str,
    overwrite: bool,
) -> Result<(), AdminError> {
    let from = AbsPath::parse(source)?;
    let to = AbsPath::parse(target)?;
    let root_moves = |path: &str| invalid_path(path, "the root cannot be renamed or replaced");
    let (from_dir, from_name) = from.parent(fs)?.ok_or_else(|| root_moves(source))?;
    let Some((_, file_type)) = from.entry(fs, from_dir, from_name)? else {
        return Err(AdminError::NotFound(source.into()));
    };
    let (to_dir, to_name) = to.parent(fs)?.ok_or_else(|| root_moves(target))?;
    if file_type != FileType::Directory && (from.is_directory() || to.is_directory()) {
        let named = if from.is_directory() { source } else { target };
        return Err(AdminError::NotADirectory(named.into()));
    }
    if to.entry(fs, to_dir, to_name)?.is_some() && !overwrite {
        return Err(AdminError::AlreadyExists(target.into()));
    }
    fs.rename(from_dir, from_name.as_bytes(), to_dir, to_name.as_bytes())
        .map_err(|error| match error {
            fs::FsError::Invalid => AdminError::InvalidArgument(format!(
                "{source} cannot be moved into itself, to {target}"
            )),
            error => fs_error(error, target),
        })
}

/// The record for a caller.
pub(super) fn stat_record(stat: &fs::Stat) -> Stat {
    Stat {
        file_type: match stat.file_type {
            FileType::Regular => icwasi_types::FileType::Regular,
            FileType::Directory => icwasi_types::FileType::Directory,
            FileType::Symlink => icwasi_types::FileType::Symlink,
        },
        inode: stat.ino.0,
        size: stat.size,
        allocated: stat.allocated,
        links: stat.nlink,
        accessed: stat.atime,
        modified: stat.mtime,
        changed: stat.ctime,
        version: stat.version,
    }
}

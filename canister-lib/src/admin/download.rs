//! Reading files.

use ic_stable_structures::Memory;
use icwasi_types::limits::MAX_READ;
use icwasi_types::{AdminError, ReadReply};
use serde_bytes::ByteBuf;

use super::error::fs_error;
use super::paths::AbsPath;
use crate::fs::{FileType, Fs};

/// `length` bytes at `offset` of the file `path`, [`MAX_READ`] at most; fewer at the end of the
/// file, none behind it. Symbolic links are followed.
///
/// The reply names size and version: a client that joins replies compares them.
pub fn read<M: Memory>(
    fs: &mut Fs<M>,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<ReadReply, AdminError> {
    let ino = AbsPath::parse(path)?.existing(fs, true)?;
    let fail = |error| fs_error(error, path);
    let stat = fs.stat(ino).map_err(fail)?;
    if stat.file_type == FileType::Directory {
        return Err(AdminError::IsADirectory(path.into()));
    }
    let length = length.min(MAX_READ).min(stat.size.saturating_sub(offset));
    let mut data = vec![0; length as usize];
    let read = if data.is_empty() {
        0
    } else {
        fs.read(ino, offset, &mut data).map_err(fail)?
    };
    data.truncate(read);
    Ok(ReadReply {
        data: ByteBuf::from(data),
        size: stat.size,
        version: stat.version,
    })
}

//! Uploads: staged, in any order, verified, then swapped in within one message.
//! `docs/PROTOCOL.md` tells the whole story.

use ic_stable_structures::Memory;
use icwasi_types::limits::{CHUNK_ALIGN, MAX_CHUNK, MAX_UPLOADS, UPLOAD_EXPIRY_NS};
use icwasi_types::{AdminError, Range, Stat, Upload, UploadId, UploadRequest};
use serde_bytes::ByteBuf;

use super::auth::Caller;
use super::error::{fs_error, invalid_path};
use super::granules::{DIGEST, Digest, MISSING, Merger, digest, granules};
use super::manage::stat_record;
use super::paths::{AbsPath, Walk};
use super::session::{Committed, Open, Session, Sessions, meta_size};
use crate::fs::{FileType, Fs, FsError};

/// Most ranges of missing bytes in one reply.
pub const MAX_RANGES: usize = 1_000;

/// Most expired uploads that one begin removes.
const MAX_EXPIRED: usize = 16;

/// What directory entries and inodes of a new upload may take, beside its two files' content.
const OVERHEAD: u64 = 64 * 1024;

/// Digests that are read at a time: 64 KiB.
const DIGEST_PAGE: u64 = 2_048;

/// Begins an upload of the file that `request` describes, or resumes it: an upload that the same
/// caller began before with the same path, size and hash. Flags and modification time are those
/// of the last request.
///
/// Everything that would stop the commit is checked here too, and all space is allocated, so
/// that nobody sends bytes in vain. A symbolic link at the path is replaced, not followed.
/// Removes expired uploads of others, `MAX_EXPIRED` at most. Lists [`MAX_RANGES`] missing
/// ranges at most: the commit tells the rest.
pub fn begin<M: Memory>(
    fs: &mut Fs<M>,
    caller: &Caller,
    now: u64,
    request: &UploadRequest,
) -> Result<Upload, AdminError> {
    let path = AbsPath::parse(&request.path)?;
    let hash: Digest = request.hash.as_slice().try_into().map_err(|_| {
        AdminError::InvalidArgument(format!(
            "hash has {} bytes; a BLAKE3 hash has {DIGEST}",
            request.hash.len()
        ))
    })?;
    check_target(fs, &path, request.overwrite, request.parents)?;

    let internal = |error| fs_error(error, &request.path);
    let mut session = Session {
        id: 0,
        owner: caller.principal,
        path: path.normalized(),
        size: request.size,
        hash,
        overwrite: request.overwrite,
        parents: request.parents,
        modified: request.modified,
        active: now,
    };
    let known = Sessions::open(fs).map_err(internal)?;
    let mut open_uploads = 0;
    if let Some(sessions) = known {
        let mut expired = Vec::new();
        let ids = sessions.ids(fs).map_err(internal)?;
        open_uploads = ids.len();
        for id in ids {
            let Ok(Some(mut open)) = sessions.load(fs, id) else {
                // A damaged record can only be removed.
                expired.push(id);
                continue;
            };
            let found = &open.session;
            if (found.owner, found.size, found.hash) == (session.owner, session.size, hash)
                && found.path == session.path
            {
                let missing = missing(fs, &open).map_err(internal)?;
                session.id = id;
                open.session = session;
                sessions.update(fs, &open).map_err(internal)?;
                return Ok(Upload { id, missing });
            }
            if now.saturating_sub(found.active) > UPLOAD_EXPIRY_NS {
                expired.push(id);
            }
        }
        for id in expired.into_iter().take(MAX_EXPIRED) {
            sessions.remove(fs, id);
            open_uploads -= 1;
        }
    }
    if open_uploads >= MAX_UPLOADS as usize {
        return Err(AdminError::TooManyUploads(MAX_UPLOADS));
    }
    let granules = granules(request.size);
    let available = fs.usage().free_bytes;
    let needed = request
        .size
        .saturating_add(meta_size(granules))
        .saturating_add(OVERHEAD);
    if needed > available {
        return Err(AdminError::NoSpace { needed, available });
    }
    let sessions = Sessions::open_or_create(fs).map_err(internal)?;
    session.id = sessions.next_id(fs).map_err(internal)?;
    sessions.create(fs, &session, granules).map_err(internal)?;
    let whole = Range {
        offset: 0,
        length: request.size,
    };
    let missing = if request.size > 0 {
        vec![whole]
    } else {
        Vec::new()
    };
    Ok(Upload {
        id: session.id,
        missing,
    })
}

/// Stores `data` at `offset` of the upload `id`.
///
/// Granules that arrived before are compared and not stored again. Costs about 17 IC
/// instructions per byte, hashing included.
pub fn chunk<M: Memory>(
    fs: &mut Fs<M>,
    caller: &Caller,
    now: u64,
    id: UploadId,
    offset: u64,
    data: &[u8],
) -> Result<(), AdminError> {
    let open = open(fs, caller, id)?;
    let size = open.session.size;
    let length = data.len() as u64;
    let in_file = offset.checked_add(length).is_some_and(|end| end <= size);
    if !in_file || length > MAX_CHUNK {
        return Err(AdminError::ChunkOutOfRange {
            offset,
            length,
            size,
        });
    }
    let at_end = offset + length == size;
    if !offset.is_multiple_of(CHUNK_ALIGN) || !(length.is_multiple_of(CHUNK_ALIGN) || at_end) {
        return Err(AdminError::ChunkMisaligned {
            offset,
            length,
            align: CHUNK_ALIGN as u32,
        });
    }
    if data.is_empty() {
        return Ok(());
    }

    let internal = |error| fs_error(error, &open.session.path);
    let first = offset / CHUNK_ALIGN;
    let mut before = vec![MISSING; granules(length) as usize];
    open.read_digests(fs, first, &mut before)
        .map_err(internal)?;
    let mut digests = before.clone();
    for (index, (granule, known)) in
        (first..).zip(data.chunks(CHUNK_ALIGN as usize).zip(&mut digests))
    {
        let arrived = digest(size, index, granule);
        if *known != MISSING && *known != arrived {
            return Err(AdminError::ChunkConflict {
                offset: index * CHUNK_ALIGN,
            });
        }
        *known = arrived;
    }
    if before == digests {
        // Sent again; the upload is alive all the same.
        return open.touch(fs, now).map_err(internal);
    }
    // One write, so that it is all or nothing: granules that are there get the same bytes. It
    // may lack space for splitting an extent. The record was written in full by begin.
    fs.write(open.data, offset, data).map_err(internal)?;
    open.write_digests(fs, first, &digests)
        .expect("overwrites written bytes");
    open.touch(fs, now).expect("overwrites written bytes");
    Ok(())
}

/// Ends the upload `id`: verifies that all bytes are there and have the announced hash, then
/// puts the file to its path, over what is there.
///
/// After `HashMismatch` the upload stays as it is; it can only be aborted. A commit that is
/// repeated returns what the first one did. Costs about 2,500 instructions per granule.
pub fn commit<M: Memory>(
    fs: &mut Fs<M>,
    caller: &Caller,
    now: u64,
    id: UploadId,
) -> Result<Stat, AdminError> {
    if let Some(committed) = committed(fs, id)? {
        return if committed.owner == caller.principal {
            Ok(stat_record(&committed.stat))
        } else {
            Err(AdminError::NotAuthorized)
        };
    }
    let open = open(fs, caller, id)?;
    let session = &open.session;
    let internal = |error| fs_error(error, &session.path);
    let missing = missing(fs, &open).map_err(internal)?;
    if !missing.is_empty() {
        return Err(AdminError::UploadIncomplete { missing });
    }
    let actual = merged(fs, &open).map_err(internal)?;
    if actual != session.hash {
        return Err(AdminError::HashMismatch {
            expected: ByteBuf::from(session.hash),
            actual: ByteBuf::from(actual),
        });
    }
    let path = AbsPath::parse(&session.path)?;
    let (walk, count, name) = check_target(fs, &path, session.overwrite, session.parents)?;

    // The first two steps may lack space. Each of them does all or nothing, and the second
    // undoes the first. What follows overwrites or frees.
    let dir = path.make_dirs(fs, walk.dir, walk.found, count)?;
    let sessions = Sessions::open(fs)
        .map_err(internal)?
        .expect("holds this upload");
    if let Err(error) = sessions.publish(fs, id, dir, name) {
        path.remove_dirs(fs, walk.dir, walk.found, count);
        return Err(internal(error));
    }
    let modified = session.modified.unwrap_or(now);
    fs.set_times(open.data, None, Some(modified))
        .expect("the file was published just now");
    let stat = fs.stat(open.data).expect("the file was published just now");
    sessions.remove(fs, id);
    let committed = Committed {
        owner: session.owner,
        stat,
    };
    sessions
        .record(fs, id, &committed)
        .expect("overwrites written bytes");
    Ok(stat_record(&stat))
}

/// Ends the upload `id` and frees what was staged. Any controller may: an upload holds space.
///
/// Admins may abort any upload, since uploads hold space; writers use [`abort_own`].
///
/// An abort that is repeated gets `UploadNotFound`, which a client takes for done; an abort after
/// the commit `UploadFinished`.
pub fn abort<M: Memory>(fs: &mut Fs<M>, id: UploadId) -> Result<(), AdminError> {
    let Some(sessions) = sessions(fs, id)? else {
        return Err(AdminError::UploadNotFound(id));
    };
    // Not loaded, only looked for: a damaged record has to go too.
    if sessions
        .ids(fs)
        .map_err(|error| fs_error(error, "upload"))?
        .contains(&id)
    {
        sessions.remove(fs, id);
        return Ok(());
    }
    match committed(fs, id)? {
        Some(_) => Err(AdminError::UploadFinished(id)),
        None => Err(AdminError::UploadNotFound(id)),
    }
}

/// [`abort`] of an upload that `caller` began.
pub fn abort_own<M: Memory>(
    fs: &mut Fs<M>,
    caller: &Caller,
    id: UploadId,
) -> Result<(), AdminError> {
    open(fs, caller, id)?;
    abort(fs, id)
}

/// How many uploads are open.
pub fn count<M: Memory>(fs: &mut Fs<M>) -> Result<u32, AdminError> {
    let Some(sessions) = sessions(fs, 0)? else {
        return Ok(0);
    };
    Ok(sessions
        .ids(fs)
        .map_err(|error| fs_error(error, "uploads"))?
        .len() as u32)
}

fn upload_name(id: UploadId) -> String {
    format!("upload {id}")
}

fn sessions<M: Memory>(fs: &mut Fs<M>, id: UploadId) -> Result<Option<Sessions>, AdminError> {
    Sessions::open(fs).map_err(|error| fs_error(error, &upload_name(id)))
}

fn committed<M: Memory>(fs: &mut Fs<M>, id: UploadId) -> Result<Option<Committed>, AdminError> {
    let Some(sessions) = sessions(fs, id)? else {
        return Ok(None);
    };
    sessions
        .committed(fs, id)
        .map_err(|error| fs_error(error, &upload_name(id)))
}

/// The open upload `id` of `caller`.
fn open<M: Memory>(fs: &mut Fs<M>, caller: &Caller, id: UploadId) -> Result<Open, AdminError> {
    let Some(sessions) = sessions(fs, id)? else {
        return Err(AdminError::UploadNotFound(id));
    };
    let found = sessions
        .load(fs, id)
        .map_err(|error| fs_error(error, &upload_name(id)))?;
    match found {
        Some(open) if open.session.owner == caller.principal => Ok(open),
        Some(_) => Err(AdminError::NotAuthorized),
        None if committed(fs, id)?.is_some() => Err(AdminError::UploadFinished(id)),
        None => Err(AdminError::UploadNotFound(id)),
    }
}

/// Whether a file may be put to `path`. Returns the walk to its directory, the number of names
/// before the last, and the last.
fn check_target<'a, M: Memory>(
    fs: &mut Fs<M>,
    path: &AbsPath<'a>,
    overwrite: bool,
    parents: bool,
) -> Result<(Walk, usize, &'a str), AdminError> {
    let Some((count, name)) = path.split_last() else {
        return Err(AdminError::IsADirectory(path.text().into()));
    };
    if path.is_directory() {
        return Err(invalid_path(
            path.text(),
            "ends in `/`, which names a directory",
        ));
    }
    let walk = path.walk(fs, count)?;
    if walk.found < count {
        if !parents {
            return Err(AdminError::NotFound(path.prefix(walk.found + 1)));
        }
    } else {
        match path.entry(fs, walk.dir, name)? {
            Some((_, FileType::Directory)) => {
                return Err(AdminError::IsADirectory(path.text().into()));
            }
            Some(_) if !overwrite => return Err(AdminError::AlreadyExists(path.text().into())),
            _ => {}
        }
    }
    Ok((walk, count, name))
}

/// Calls `visit` with each granule's digest, in order.
fn for_each_digest<M: Memory>(
    fs: &mut Fs<M>,
    open: &Open,
    mut visit: impl FnMut(u64, &Digest),
) -> Result<(), FsError> {
    let granules = granules(open.session.size);
    let mut page = vec![MISSING; granules.min(DIGEST_PAGE) as usize];
    let mut first = 0;
    while first < granules {
        let page = &mut page[..(granules - first).min(DIGEST_PAGE) as usize];
        open.read_digests(fs, first, page)?;
        (first..)
            .zip(page.iter())
            .for_each(|(index, digest)| visit(index, digest));
        first += page.len() as u64;
    }
    Ok(())
}

/// The first [`MAX_RANGES`] ranges that did not arrive.
fn missing<M: Memory>(fs: &mut Fs<M>, open: &Open) -> Result<Vec<Range>, FsError> {
    let size = open.session.size;
    let mut ranges: Vec<Range> = Vec::new();
    for_each_digest(fs, open, |index, digest| {
        if *digest != MISSING {
            return;
        }
        let offset = index * CHUNK_ALIGN;
        let length = CHUNK_ALIGN.min(size - offset);
        let full = ranges.len() == MAX_RANGES;
        match ranges.last_mut() {
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ if full => {}
            _ => ranges.push(Range { offset, length }),
        }
    })?;
    Ok(ranges)
}

/// The hash of what arrived, which is everything.
fn merged<M: Memory>(fs: &mut Fs<M>, open: &Open) -> Result<Digest, FsError> {
    let mut merger = Merger::new(open.session.size);
    for_each_digest(fs, open, |_, digest| merger.push(*digest))?;
    Ok(merger
        .finish()
        .expect("one digest was pushed for each granule"))
}

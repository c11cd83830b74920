//! Records of uploads, in the hidden directory `uploads` of the file system.
//!
//! An open upload is two files, named after its id in 16 hexadecimal digits: `ID.data`, the
//! staged content, and `ID.meta`:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 1 | flags: 1 overwrite, 2 parents, 4 modification time given |
//! | 9 | 1 | length of the owner |
//! | 10 | 2 | length of the path |
//! | 12 | 4 | 0 |
//! | 16 | 32 | owner: principal, padded with 0 |
//! | 48 | 8 | size of the content in bytes |
//! | 56 | 8 | modification time to set, ns |
//! | 64 | 8 | time of the last begin or chunk, ns |
//! | 72 | 32 | BLAKE3 of the content |
//! | 104 | 24 | 0 |
//! | 128 | 4096 | path, padded with 0 |
//! | 4224 | 32 each | digest of each granule, 0 until it arrives |
//!
//! The file `state` has the next id and the last commits, see [`Sessions::committed`]. Integers
//! are little-endian.

use std::ops::ControlFlow;

use candid::Principal;
use ic_stable_structures::Memory;
use icwasi_types::UploadId;

use super::granules::{DIGEST, Digest};
use super::paths::MAX_PATH;
use crate::fs::{FileType, Fs, FsError, Ino, Stat};

const DIRECTORY: &[u8] = b"uploads";
const STATE: &[u8] = b"state";
const META_MAGIC: [u8; 8] = *b"icwasiU1";
const STATE_MAGIC: [u8; 8] = *b"icwasiS1";

const HEADER: usize = 128;
const OWNER: usize = 32;
const ACTIVE_AT: u64 = 64;
const DIGESTS_AT: u64 = (HEADER + MAX_PATH) as u64;

/// How many zeros are written at a time.
const ZEROS: u64 = 1 << 18;

/// Slots for commits. A commit goes to the slot of its id, so a retry finds its record unless
/// this many uploads were begun and committed since.
const COMMITS: u64 = 256;
const COMMIT: usize = 128;

/// The hidden directory.
#[derive(Clone, Copy)]
pub(super) struct Sessions {
    dir: Ino,
    state: Ino,
}

/// An open upload.
pub(super) struct Session {
    pub(super) id: UploadId,
    pub(super) owner: Principal,
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) hash: Digest,
    pub(super) overwrite: bool,
    pub(super) parents: bool,
    pub(super) modified: Option<u64>,
    /// Time of the last begin or chunk.
    pub(super) active: u64,
}

/// An open upload and its files.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) data: Ino,
    meta: Ino,
}

/// A commit that was done.
pub(super) struct Committed {
    pub(super) owner: Principal,
    /// The file right after the commit.
    pub(super) stat: Stat,
}

impl Sessions {
    /// The directory, if an upload was ever begun.
    pub(super) fn open<M: Memory>(fs: &mut Fs<M>) -> Result<Option<Self>, FsError> {
        let system = fs.system_dir();
        let dir = match fs.lookup(system, DIRECTORY) {
            Err(FsError::NotFound) => return Ok(None),
            found => found?,
        };
        let state = fs.lookup(dir, STATE)?;
        let mut magic = [0; 8];
        if fs.read(state, 0, &mut magic)? < 8 || magic != STATE_MAGIC {
            return Err(FsError::Corrupt("record of uploads"));
        }
        Ok(Some(Sessions { dir, state }))
    }

    /// The directory; made if need be.
    pub(super) fn open_or_create<M: Memory>(fs: &mut Fs<M>) -> Result<Self, FsError> {
        if let Some(found) = Self::open(fs)? {
            return Ok(found);
        }
        let system = fs.system_dir();
        let dir = fs.mkdir(system, DIRECTORY)?;
        let made = Self::create_state(fs, dir);
        if made.is_err() {
            fs.rmdir(system, DIRECTORY)
                .expect("made by this message, empty");
        }
        made
    }

    fn create_state<M: Memory>(fs: &mut Fs<M>, dir: Ino) -> Result<Self, FsError> {
        let state = fs.create(dir, STATE)?;
        let mut bytes = vec![0; HEADER + COMMITS as usize * COMMIT];
        bytes[..8].copy_from_slice(&STATE_MAGIC);
        bytes[8..16].copy_from_slice(&1_u64.to_le_bytes());
        if let Err(error) = fs.write(state, 0, &bytes) {
            fs.unlink(dir, STATE).expect("made by this message");
            return Err(error);
        }
        Ok(Sessions { dir, state })
    }

    /// Ids of the open uploads.
    pub(super) fn ids<M: Memory>(&self, fs: &mut Fs<M>) -> Result<Vec<UploadId>, FsError> {
        let mut ids = Vec::new();
        fs.read_dir(self.dir, 0, &mut |entry| {
            let id = std::str::from_utf8(entry.name).ok().and_then(|name| {
                let digits = name.strip_suffix(".meta")?;
                u64::from_str_radix(digits, 16).ok()
            });
            ids.extend(id);
            ControlFlow::Continue(())
        })?;
        Ok(ids)
    }

    /// The open upload `id`.
    pub(super) fn load<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        id: UploadId,
    ) -> Result<Option<Open>, FsError> {
        let meta = match fs.lookup(self.dir, &meta_name(id)) {
            Err(FsError::NotFound) => return Ok(None),
            found => found?,
        };
        let data = fs.lookup(self.dir, &data_name(id))?;
        let mut header = [0; HEADER];
        let read = fs.read(meta, 0, &mut header)?;
        let damaged = FsError::Corrupt("record of an upload");
        let path_len = usize::from(u16::from_le_bytes([header[10], header[11]]));
        if read < HEADER || header[..8] != META_MAGIC || path_len > MAX_PATH {
            return Err(damaged);
        }
        let mut path = vec![0; path_len];
        fs.read(meta, HEADER as u64, &mut path)?;
        let flags = header[8];
        let session = Session {
            id,
            owner: owner(&header, 9, 16).ok_or(damaged)?,
            path: String::from_utf8(path).map_err(|_| damaged)?,
            size: word(&header, 48),
            hash: header[72..104].try_into().expect("32 bytes"),
            overwrite: flags & 1 != 0,
            parents: flags & 2 != 0,
            modified: (flags & 4 != 0).then(|| word(&header, 56)),
            active: word(&header, ACTIVE_AT as usize),
        };
        Ok(Some(Open {
            session,
            data,
            meta,
        }))
    }

    /// The id that [`Self::create`] gives next.
    pub(super) fn next_id<M: Memory>(&self, fs: &mut Fs<M>) -> Result<UploadId, FsError> {
        let mut bytes = [0; 8];
        fs.read(self.state, 8, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Opens an upload of `granules` granules under `session.id`, which is the next id. The space
    /// for its content is allocated, the record written in full, so that changing it later never
    /// needs space. On an error nothing remains.
    pub(super) fn create<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        session: &Session,
        granules: u64,
    ) -> Result<(), FsError> {
        let data = fs.create(self.dir, &data_name(session.id))?;
        let made = fs
            .create(self.dir, &meta_name(session.id))
            .and_then(|meta| {
                if session.size > 0 {
                    fs.allocate(data, 0, session.size)?;
                }
                fs.write(meta, 0, &encode(session))?;
                let zeros = vec![0; (granules * DIGEST as u64).min(ZEROS) as usize];
                let mut at = DIGESTS_AT;
                while at < meta_size(granules) {
                    let length = (meta_size(granules) - at).min(ZEROS) as usize;
                    fs.write(meta, at, &zeros[..length])?;
                    at += length as u64;
                }
                fs.write(self.state, 8, &(session.id + 1).to_le_bytes())
            });
        if made.is_err() {
            self.remove(fs, session.id);
        }
        made
    }

    /// Writes changed flags, modification time and activity of `open`; the rest is fixed.
    pub(super) fn update<M: Memory>(&self, fs: &mut Fs<M>, open: &Open) -> Result<(), FsError> {
        fs.write(open.meta, 0, &encode(&open.session))
    }

    /// Forgets the upload `id` and what was staged for it. What is not there is no error, so
    /// that a damaged record can be removed.
    pub(super) fn remove<M: Memory>(&self, fs: &mut Fs<M>, id: UploadId) {
        for name in [data_name(id), meta_name(id)] {
            match fs.unlink(self.dir, &name) {
                Ok(()) | Err(FsError::NotFound) => {}
                // A half-removed upload must not be committed: undo the message.
                Err(error) => panic!("icwasi: cannot remove the upload {id}: {error:?}"),
            }
        }
    }

    /// Moves the staged content of `id` to `name` in `dir`, over what is there.
    pub(super) fn publish<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        id: UploadId,
        dir: Ino,
        name: &str,
    ) -> Result<(), FsError> {
        fs.rename(self.dir, &data_name(id), dir, name.as_bytes())
    }

    /// Remembers that `id` was committed. The slot was written before: needs no space.
    pub(super) fn record<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        id: UploadId,
        committed: &Committed,
    ) -> Result<(), FsError> {
        let stat = &committed.stat;
        let mut slot = [0; COMMIT];
        slot[..8].copy_from_slice(&id.to_le_bytes());
        let owner = committed.owner.as_slice();
        slot[8] = owner.len() as u8;
        slot[9..9 + owner.len()].copy_from_slice(owner);
        let words = [
            stat.ino.0,
            stat.size,
            stat.allocated,
            stat.atime,
            stat.mtime,
            stat.ctime,
            stat.version,
            u64::from(stat.nlink),
        ];
        for (index, value) in words.iter().enumerate() {
            slot[48 + 8 * index..][..8].copy_from_slice(&value.to_le_bytes());
        }
        fs.write(self.state, slot_offset(id), &slot)
    }

    /// The commit of `id`, if it was one of the last.
    pub(super) fn committed<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        id: UploadId,
    ) -> Result<Option<Committed>, FsError> {
        let mut slot = [0; COMMIT];
        fs.read(self.state, slot_offset(id), &mut slot)?;
        if word(&slot, 0) != id || id == 0 {
            return Ok(None);
        }
        let stat = Stat {
            ino: Ino(word(&slot, 48)),
            file_type: FileType::Regular,
            size: word(&slot, 56),
            allocated: word(&slot, 64),
            atime: word(&slot, 72),
            mtime: word(&slot, 80),
            ctime: word(&slot, 88),
            version: word(&slot, 96),
            nlink: word(&slot, 104) as u32,
        };
        let owner = owner(&slot, 8, 9).ok_or(FsError::Corrupt("record of a commit"))?;
        Ok(Some(Committed { owner, stat }))
    }
}

impl Open {
    /// Digests of the granules `first..first + digests.len()`.
    pub(super) fn read_digests<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        first: u64,
        digests: &mut [Digest],
    ) -> Result<(), FsError> {
        let bytes = digests.as_flattened_mut();
        let read = fs.read(self.meta, DIGESTS_AT + first * DIGEST as u64, bytes)?;
        if read < bytes.len() {
            return Err(FsError::Corrupt("record of an upload"));
        }
        Ok(())
    }

    /// Stores digests; their space was allocated at the beginning.
    pub(super) fn write_digests<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        first: u64,
        digests: &[Digest],
    ) -> Result<(), FsError> {
        fs.write(
            self.meta,
            DIGESTS_AT + first * DIGEST as u64,
            digests.as_flattened(),
        )
    }

    /// Stores the time of the last activity.
    pub(super) fn touch<M: Memory>(&self, fs: &mut Fs<M>, now: u64) -> Result<(), FsError> {
        fs.write(self.meta, ACTIVE_AT, &now.to_le_bytes())
    }
}

/// Size of an `ID.meta` file.
pub(super) fn meta_size(granules: u64) -> u64 {
    DIGESTS_AT + granules * DIGEST as u64
}

fn encode(session: &Session) -> Vec<u8> {
    let mut bytes = vec![0; DIGESTS_AT as usize];
    let owner = session.owner.as_slice();
    bytes[..8].copy_from_slice(&META_MAGIC);
    bytes[8] = u8::from(session.overwrite)
        | u8::from(session.parents) << 1
        | u8::from(session.modified.is_some()) << 2;
    bytes[9] = owner.len() as u8;
    bytes[10..12].copy_from_slice(&(session.path.len() as u16).to_le_bytes());
    bytes[16..16 + owner.len()].copy_from_slice(owner);
    bytes[48..56].copy_from_slice(&session.size.to_le_bytes());
    bytes[56..64].copy_from_slice(&session.modified.unwrap_or(0).to_le_bytes());
    bytes[64..72].copy_from_slice(&session.active.to_le_bytes());
    bytes[72..104].copy_from_slice(&session.hash);
    bytes[HEADER..HEADER + session.path.len()].copy_from_slice(session.path.as_bytes());
    bytes
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn owner(bytes: &[u8], length_at: usize, at: usize) -> Option<Principal> {
    let length = usize::from(bytes[length_at]);
    (length < OWNER).then(|| Principal::try_from_slice(&bytes[at..at + length]).ok())?
}

fn slot_offset(id: UploadId) -> u64 {
    HEADER as u64 + id % COMMITS * COMMIT as u64
}

fn data_name(id: UploadId) -> Vec<u8> {
    format!("{id:016x}.data").into_bytes()
}

fn meta_name(id: UploadId) -> Vec<u8> {
    format!("{id:016x}.meta").into_bytes()
}

//! Snapshots on disk: a directory each, complete before it gets its name.
//!
//! ```text
//! ROOT/CANISTER/next        number of the next snapshot, decimal
//! ROOT/CANISTER/ID/meta     CBOR of [`SnapshotMeta`]
//! ROOT/CANISTER/ID/module   module as uploaded
//! ROOT/CANISTER/ID/heap     sparse
//! ROOT/CANISTER/ID/stable   sparse
//! ROOT/CANISTER/ID/HASH     a chunk of the chunk store
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use candid::Principal;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::core::{Canister, GlobalValue};

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// What a snapshot holds besides bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Counts the snapshots of a canister; the second half of the id.
    pub number: u64,
    /// Nanoseconds.
    pub taken_at: u64,
    /// Made by uploading.
    pub uploaded: bool,
    /// `canister_version` when it was taken.
    pub version: u64,
    /// Mutable globals: type letter and bits.
    pub globals: Vec<(char, u64, u64)>,
    /// Certified data.
    pub certified_data: ByteBuf,
    /// 0: off.
    pub global_timer: u64,
    /// Sizes in bytes.
    pub module_bytes: u64,
    pub heap_bytes: u64,
    pub stable_bytes: u64,
    /// Chunks: hash, size.
    pub chunks: Vec<([u8; 32], u64)>,
}

impl SnapshotMeta {
    /// Bytes that it is charged for.
    pub fn total(&self) -> u64 {
        let chunks: u64 = self.chunks.iter().map(|chunk| chunk.1).sum();
        self.module_bytes + self.heap_bytes + self.stable_bytes + chunks
    }
}

/// A global as it is written down.
pub fn global_to_parts(value: GlobalValue) -> (char, u64, u64) {
    match value {
        GlobalValue::I32(v) => ('i', 0, u64::from(v as u32)),
        GlobalValue::I64(v) => ('I', 0, v as u64),
        GlobalValue::F32(v) => ('f', 0, u64::from(v)),
        GlobalValue::F64(v) => ('F', 0, v),
        GlobalValue::V128(v) => ('v', (v >> 64) as u64, v as u64),
    }
}

/// The reverse of [`global_to_parts`].
pub fn global_from_parts((kind, high, low): (char, u64, u64)) -> GlobalValue {
    match kind {
        'i' => GlobalValue::I32(low as u32 as i32),
        'I' => GlobalValue::I64(low as i64),
        'f' => GlobalValue::F32(low as u32),
        'F' => GlobalValue::F64(low),
        _ => GlobalValue::V128((u128::from(high) << 64) | u128::from(low)),
    }
}

/// All snapshots of a replica.
pub struct SnapshotFiles {
    root: PathBuf,
    /// Remove everything when dropped.
    temporary: bool,
    index: BTreeMap<(Principal, u64), SnapshotMeta>,
    /// Numbers that the next snapshots get, where they do not follow from the index.
    next: BTreeMap<Principal, u64>,
}

impl Drop for SnapshotFiles {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

impl SnapshotFiles {
    /// Opens those in `root`; without a root they live as long as this value.
    pub fn open(root: Option<PathBuf>) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let temporary = root.is_none();
        let root = root.unwrap_or_else(|| {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            std::env::temp_dir().join(format!("icwasi-snapshots-{}-{n}", std::process::id()))
        });
        let mut index = BTreeMap::new();
        let mut next = BTreeMap::new();
        if !temporary && root.exists() {
            for canister in fs::read_dir(&root)? {
                let canister = canister?;
                let Ok(id) = Principal::from_text(canister.file_name().to_string_lossy()) else {
                    continue;
                };
                for snapshot in fs::read_dir(canister.path())? {
                    let path = snapshot?.path();
                    if path.is_file() {
                        // A damaged number is one that is not known.
                        let number = fs::read_to_string(&path).unwrap_or_default();
                        if let (true, Ok(n)) = (path.ends_with("next"), number.trim().parse()) {
                            next.insert(id, n);
                        }
                        continue;
                    }
                    if path.extension().is_some() {
                        // Not finished, or being removed, when the process ended.
                        fs::remove_dir_all(&path)?;
                        continue;
                    }
                    let bytes = fs::read(path.join("meta"))?;
                    let meta: SnapshotMeta =
                        serde_cbor::from_slice(&bytes).map_err(io::Error::other)?;
                    index.insert((id, meta.number), meta);
                }
            }
        }
        Ok(Self {
            root,
            temporary,
            index,
            next,
        })
    }

    fn dir(&self, id: &Principal, number: u64) -> PathBuf {
        self.root.join(id.to_text()).join(number.to_string())
    }

    /// Snapshots of a canister, oldest first.
    pub fn of(&self, id: &Principal) -> impl Iterator<Item = &SnapshotMeta> {
        self.index
            .range((*id, 0)..=(*id, u64::MAX))
            .map(|(_, meta)| meta)
    }

    /// One snapshot.
    pub fn get(&self, id: &Principal, number: u64) -> Option<&SnapshotMeta> {
        self.index.get(&(*id, number))
    }

    /// A number that no snapshot of the canister has had.
    pub fn next_number(&self, id: &Principal) -> u64 {
        let after = self.of(id).map(|meta| meta.number + 1).max();
        let noted = self.next.get(id).copied();
        after.max(noted).unwrap_or(0)
    }

    /// Notes that `number` was used, before a snapshot gets it.
    fn note_number(&mut self, id: &Principal, number: u64) -> io::Result<()> {
        let path = self.root.join(id.to_text()).join("next");
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, (number + 1).to_string())?;
        fs::rename(&temporary, &path)?;
        self.next.insert(*id, number + 1);
        Ok(())
    }

    /// Writes a snapshot: `fill` puts files into a directory, which then gets its name.
    pub fn create(
        &mut self,
        id: &Principal,
        meta: SnapshotMeta,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let dir = self.dir(id, meta.number);
        let unfinished = dir.with_extension("new");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished)?;
        self.note_number(id, meta.number)?;
        let written = fill(&unfinished)
            .and_then(|()| fs::write(unfinished.join("meta"), crate::http::cbor::encode(&meta)))
            .and_then(|()| fs::rename(&unfinished, &dir));
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        self.index.insert((*id, meta.number), meta);
        Ok(())
    }

    /// Writes what is known of a snapshot anew.
    pub fn update(&mut self, id: &Principal, meta: SnapshotMeta) -> io::Result<()> {
        let path = self.dir(id, meta.number).join("meta");
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, crate::http::cbor::encode(&meta))?;
        fs::rename(&temporary, &path)?;
        self.index.insert((*id, meta.number), meta);
        Ok(())
    }

    /// Removes a snapshot.
    pub fn remove(&mut self, id: &Principal, number: u64) -> io::Result<()> {
        let dir = self.dir(id, number);
        let leaving = dir.with_extension("old");
        fs::rename(&dir, &leaving)?;
        self.index.remove(&(*id, number));
        fs::remove_dir_all(&leaving)
    }

    /// Opens `module`, `heap`, `stable` or a chunk.
    pub fn file(&self, id: &Principal, number: u64, name: &str) -> io::Result<File> {
        let path = self.dir(id, number).join(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    }
}

/// Writes code, memories and chunks of a canister into `dir`. Zeros become holes.
pub fn save_canister(canister: &Canister, module: &[u8], dir: &Path) -> io::Result<()> {
    fs::write(dir.join("module"), module)?;
    copy(&dir.join("heap"), canister.heap_bytes(), |at, out| {
        canister.heap_read(at, out)
    })?;
    copy(&dir.join("stable"), canister.stable_bytes(), |at, out| {
        canister.stable_read(at, out)
    })?;
    for (hash, bytes) in &canister.chunk_store {
        fs::write(dir.join(hex::encode(hash)), bytes)?;
    }
    Ok(())
}

fn copy(path: &Path, bytes: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(bytes)?;
    let mut buffer = vec![0u8; PIECE];
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(PIECE).min(PIECE);
        let piece = &mut buffer[..len];
        if !read(at, piece) {
            return Err(io::Error::other("memory could not be read"));
        }
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, at)?;
        }
        at += len as u64;
    }
    Ok(())
}

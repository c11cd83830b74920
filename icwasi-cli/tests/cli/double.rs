//! A canister in memory with the admin interface, and with faults.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use icwasi_cli::remote::{AdminApi, RemoteError, Sent};
use icwasi_types::{
    AdminError, Entry, FileType, Info, ListPage, Range, ReadReply, Removed, Stat, Upload, UploadId,
    UploadRequest,
};
use serde_bytes::ByteBuf;

pub const ALIGN: u64 = 16;
pub const MAX_CHUNK: u64 = 64;
pub const MAX_READ: u64 = 48;

#[derive(Clone)]
pub struct Node {
    pub kind: FileType,
    pub data: Vec<u8>,
    pub inode: u64,
    pub version: u64,
    pub modified: u64,
}

struct Staged {
    request: UploadRequest,
    data: Vec<u8>,
    granules: Vec<bool>,
    done: Option<Stat>,
}

/// What goes wrong, in parts of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The request does not arrive.
    pub lose_request: u64,
    /// It is executed, but the reply does not arrive.
    pub lose_reply: u64,
    /// It is executed twice.
    pub duplicate: u64,
}

type Hook = Box<dyn FnMut(&mut State) + Send>;

pub struct State {
    pub nodes: BTreeMap<String, Node>,
    uploads: BTreeMap<UploadId, Staged>,
    next: u64,
    pub faults: Faults,
    random: u64,
    /// Chunks until every further call fails for good, as when the client is killed.
    pub chunks_left: Option<u64>,
    /// Runs before each read.
    pub before_read: Option<Hook>,
    /// Appended to each listing.
    pub extra_entries: Vec<Entry>,
    /// Bytes that each read reply has too many.
    pub surplus: usize,
    pub chunk_calls: u64,
}

pub struct Double(Mutex<State>);

impl Double {
    pub fn new(seed: u64) -> Double {
        let mut nodes = BTreeMap::new();
        let root = Node {
            kind: FileType::Directory,
            data: vec![],
            inode: 1,
            version: 1,
            modified: 0,
        };
        nodes.insert("/".to_owned(), root);
        Double(Mutex::new(State {
            nodes,
            uploads: BTreeMap::new(),
            next: 2,
            faults: Faults::default(),
            random: seed | 1,
            chunks_left: None,
            before_read: None,
            extra_entries: Vec::new(),
            surplus: 0,
            chunk_calls: 0,
        }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no test panics while it holds the state")
    }

    pub fn put(&self, path: &str, data: &[u8]) {
        self.state().put(path, data);
    }

    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.state().nodes.get(path).map(|n| n.data.clone())
    }

    /// Executes `call` never, once or twice, and gives its result, or not.
    fn run<T>(
        &self,
        method: &str,
        mut call: impl FnMut(&mut State) -> Result<T, AdminError>,
    ) -> Result<T, RemoteError> {
        let mut state = self.state();
        if state.chunks_left == Some(0) {
            let message = "killed".to_owned();
            return Err(RemoteError::Other {
                method: method.to_owned(),
                message,
            });
        }
        let lost = |sent| RemoteError::Transport {
            network: "http://double".to_owned(),
            method: method.to_owned(),
            message: "lost".to_owned(),
            sent,
        };
        let faults = state.faults;
        if state.roll(faults.lose_request) {
            return Err(lost(Sent::No));
        }
        let mut result = call(&mut state);
        if state.roll(faults.duplicate) {
            result = call(&mut state);
        }
        if state.roll(faults.lose_reply) {
            return Err(lost(Sent::Maybe));
        }
        result.map_err(|error| RemoteError::Admin {
            method: method.to_owned(),
            error,
        })
    }
}

impl State {
    fn roll(&mut self, thousandths: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1000 < thousandths
    }

    pub fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, path: &str, kind: FileType, data: &[u8]) {
        let inode = self.tick();
        let version = self.tick();
        let node = Node {
            kind,
            data: data.to_vec(),
            inode,
            version,
            modified: 7_000_000_000,
        };
        self.nodes.insert(path.to_owned(), node);
    }

    pub fn put(&mut self, path: &str, data: &[u8]) {
        self.make_parents(path);
        self.add(path, FileType::Regular, data);
    }

    fn make_parents(&mut self, path: &str) {
        let slashes: Vec<usize> = path.match_indices('/').map(|(i, _)| i).skip(1).collect();
        for end in slashes {
            if !self.nodes.contains_key(&path[..end]) {
                self.add(&path[..end], FileType::Directory, &[]);
            }
        }
    }

    fn node(&self, path: &str) -> Result<&Node, AdminError> {
        self.nodes
            .get(path)
            .ok_or_else(|| AdminError::NotFound(path.to_owned()))
    }

    fn stat(&self, path: &str) -> Result<Stat, AdminError> {
        self.node(path).map(stat)
    }

    fn commit(&mut self, id: UploadId) -> Result<Stat, AdminError> {
        let staged = self
            .uploads
            .get(&id)
            .ok_or(AdminError::UploadNotFound(id))?;
        if let Some(stat) = &staged.done {
            return Ok(stat.clone());
        }
        let missing = missing(staged);
        if !missing.is_empty() {
            return Err(AdminError::UploadIncomplete { missing });
        }
        let actual = blake3::hash(&staged.data);
        if actual.as_bytes()[..] != staged.request.hash[..] {
            return Err(AdminError::HashMismatch {
                expected: staged.request.hash.clone(),
                actual: ByteBuf::from(actual.as_bytes().to_vec()),
            });
        }
        let (request, data) = (staged.request.clone(), staged.data.clone());
        if let Ok(node) = self.node(&request.path) {
            if node.kind == FileType::Directory {
                return Err(AdminError::IsADirectory(request.path));
            }
            if !request.overwrite {
                return Err(AdminError::AlreadyExists(request.path));
            }
        }
        self.put(&request.path, &data);
        let stat = self.stat(&request.path)?;
        if let Some(staged) = self.uploads.get_mut(&id) {
            staged.done = Some(stat.clone());
        }
        Ok(stat)
    }
}

fn stat(node: &Node) -> Stat {
    Stat {
        file_type: node.kind,
        inode: node.inode,
        size: node.data.len() as u64,
        allocated: 0,
        links: 1,
        accessed: 0,
        modified: node.modified,
        changed: 0,
        version: node.version,
    }
}

fn missing(staged: &Staged) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for (i, have) in staged.granules.iter().enumerate() {
        let offset = i as u64 * ALIGN;
        let length = ALIGN.min(staged.request.size - offset);
        match ranges.last_mut() {
            _ if *have => {}
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => ranges.push(Range { offset, length }),
        }
    }
    ranges
}

impl AdminApi for Double {
    async fn info(&self) -> Result<Info, RemoteError> {
        self.run("icwasi_info", |state| {
            Ok(Info {
                version: "0".into(),
                api_major: 1,
                api_minor: 0,
                format_major: 1,
                format_minor: 0,
                block_size: 4096,
                used_bytes: 0,
                quota_bytes: None,
                inodes: state.nodes.len() as u64,
                max_read: MAX_READ as u32,
                max_chunk: MAX_CHUNK as u32,
                chunk_align: ALIGN as u32,
                max_list: 3,
                open_uploads: 0,
                free_bytes: None,
                quota_set: None,
            })
        })
    }

    async fn stat(&self, path: &str) -> Result<Stat, RemoteError> {
        self.run("icwasi_stat", |state| state.stat(path))
    }

    async fn list(
        &self,
        path: &str,
        cursor: Option<u64>,
        _limit: u32,
    ) -> Result<ListPage, RemoteError> {
        self.run("icwasi_list", |state| {
            if state.node(path)?.kind != FileType::Directory {
                return Err(AdminError::NotADirectory(path.to_owned()));
            }
            let prefix = format!("{}/", path.trim_end_matches('/'));
            let children = state.nodes.iter().filter_map(|(p, node)| {
                let name = p
                    .strip_prefix(&prefix)
                    .filter(|n| !n.is_empty() && !n.contains('/'))?;
                Some(Entry {
                    name: name.to_owned(),
                    stat: stat(node),
                })
            });
            let all: Vec<Entry> = children
                .chain(state.extra_entries.iter().cloned())
                .collect();
            let start = cursor.unwrap_or(0) as usize;
            let entries: Vec<Entry> = all.iter().skip(start).take(3).cloned().collect();
            let next = (start + entries.len() < all.len()).then(|| (start + entries.len()) as u64);
            Ok(ListPage { entries, next })
        })
    }

    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<ReadReply, RemoteError> {
        // Lets others in between, as a network does.
        tokio::task::yield_now().await;
        self.run("icwasi_read", |state| {
            if let Some(mut hook) = state.before_read.take() {
                hook(state);
                state.before_read = Some(hook);
            }
            let node = state.node(path)?;
            let size = node.data.len() as u64;
            let start = offset.min(size);
            let end = start.saturating_add(length.min(MAX_READ)).min(size);
            let mut data = node.data[start as usize..end as usize].to_vec();
            data.extend(std::iter::repeat_n(0, state.surplus));
            Ok(ReadReply {
                data: ByteBuf::from(data),
                size,
                version: node.version,
            })
        })
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<Upload, RemoteError> {
        self.run("icwasi_upload_begin", |state| {
            let same = |s: &&Staged| {
                let r = &s.request;
                s.done.is_none()
                    && (&r.path, r.size, &r.hash) == (&request.path, request.size, &request.hash)
            };
            let open = state
                .uploads
                .iter()
                .find(|(_, s)| same(s))
                .map(|(id, _)| *id);
            let id = match open {
                Some(id) => id,
                None => {
                    let id = state.tick();
                    let staged = Staged {
                        request: request.clone(),
                        data: vec![0; request.size as usize],
                        granules: vec![false; request.size.div_ceil(ALIGN) as usize],
                        done: None,
                    };
                    state.uploads.insert(id, staged);
                    id
                }
            };
            Ok(Upload {
                id,
                missing: missing(&state.uploads[&id]),
            })
        })
    }

    async fn upload_chunk(
        &self,
        id: UploadId,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RemoteError> {
        tokio::task::yield_now().await;
        self.run("icwasi_upload_chunk", |state| {
            state.chunk_calls += 1;
            if let Some(left) = &mut state.chunks_left {
                *left = left.saturating_sub(1);
            }
            let staged = state
                .uploads
                .get_mut(&id)
                .ok_or(AdminError::UploadNotFound(id))?;
            if staged.done.is_some() {
                return Err(AdminError::UploadFinished(id));
            }
            let (size, length) = (staged.request.size, data.len() as u64);
            let end = offset + length;
            if end > size || length > MAX_CHUNK || length == 0 {
                return Err(AdminError::ChunkOutOfRange {
                    offset,
                    length,
                    size,
                });
            }
            if !offset.is_multiple_of(ALIGN) || (!length.is_multiple_of(ALIGN) && end != size) {
                return Err(AdminError::ChunkMisaligned {
                    offset,
                    length,
                    align: ALIGN as u32,
                });
            }
            let granules = (offset / ALIGN) as usize..end.div_ceil(ALIGN) as usize;
            let place = offset as usize..end as usize;
            for granule in granules.clone() {
                let start = (granule as u64 * ALIGN) as usize;
                let stop = (start as u64 + ALIGN).min(size) as usize;
                let new = &data[start - place.start..stop - place.start];
                if staged.granules[granule] && staged.data[start..stop] != *new {
                    return Err(AdminError::ChunkConflict {
                        offset: start as u64,
                    });
                }
            }
            staged.data[place].copy_from_slice(data);
            staged.granules[granules].fill(true);
            Ok(())
        })
    }

    async fn upload_commit(&self, id: UploadId) -> Result<Stat, RemoteError> {
        self.run("icwasi_upload_commit", |state| state.commit(id))
    }

    async fn upload_abort(&self, id: UploadId) -> Result<(), RemoteError> {
        self.run("icwasi_upload_abort", |state| {
            state
                .uploads
                .remove(&id)
                .map(|_| ())
                .ok_or(AdminError::UploadNotFound(id))
        })
    }

    async fn mkdir(&self, path: &str, parents: bool) -> Result<(), RemoteError> {
        self.run("icwasi_mkdir", |state| {
            if state.nodes.contains_key(path) {
                return if parents {
                    Ok(())
                } else {
                    Err(AdminError::AlreadyExists(path.into()))
                };
            }
            state.make_parents(path);
            state.add(path, FileType::Directory, &[]);
            Ok(())
        })
    }

    async fn remove(&self, path: &str, _recursive: bool) -> Result<Removed, RemoteError> {
        self.run("icwasi_remove", |state| {
            state.node(path)?;
            state.nodes.remove(path);
            Ok(Removed {
                removed: 1,
                more: false,
            })
        })
    }

    async fn rename(&self, source: &str, target: &str, _over: bool) -> Result<(), RemoteError> {
        self.run("icwasi_rename", |state| {
            let node = state.node(source)?.clone();
            state.nodes.remove(source);
            state.nodes.insert(target.to_owned(), node);
            Ok(())
        })
    }
}

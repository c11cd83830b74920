//! Inodes in use: a small cache that is written through, so that dropping a node is always right.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::jumps::Jumps;
use super::store::Store;
use crate::format::extent::Extent;
use crate::format::inode::{self, Inode, Kind};
use crate::format::{BLOCK, address};

const SLOTS: usize = 256;
/// Extents in the heap beyond which all nodes are dropped: about 1 MiB, and up to 2.5 MiB more
/// where their files have tables.
const MAX_CACHED_EXTENTS: usize = 65536;

/// A leaf of a file's extents. A file of few extents has one pseudo-leaf, in its inode.
#[derive(Clone, Debug, Default)]
pub struct Leaf {
    /// Logical block of the first extent.
    pub first: u32,
    /// Block of the leaf; 0: in the inode.
    pub block: u32,
    /// The extents, once loaded. Never empty on stable memory.
    pub extents: Option<Vec<Extent>>,
}

/// An inode and what is known of its map.
#[derive(Clone, Debug)]
pub struct Node {
    pub ino: u32,
    pub inode: Inode,
    /// Leaves in order; empty until `extents::load`.
    pub leaves: Vec<Leaf>,
    /// Run of blocks that holds the index of leaves: (start, blocks). Zero: none.
    pub index: (u32, u32),
    /// The extent where the last look-up ended, of a regular file that has a name. Whatever
    /// changes the map clears it: [`Self::forget_places`].
    pub window: Window,
    /// The same for accesses that jump.
    pub jumps: Jumps,
    /// The message (see `Store::message`) in which a write has counted as a change last. While it
    /// is this one, times of change and of content are those of the message.
    pub counted: u64,
    /// Address of [`inode::SIZE`] in the slot; 0 until it is needed.
    hot: u64,
}

/// Bytes of a file that lie side by side on stable memory and are written.
#[derive(Copy, Clone, Debug, Default)]
pub struct Window {
    pub start: u64,
    pub end: u64,
    /// What to add to an offset in the file for the address, modulo 2^64.
    shift: u64,
}

impl Window {
    /// The bytes of a written extent.
    pub fn of(extent: &Extent) -> Self {
        let start = u64::from(extent.logical) * BLOCK;
        Self {
            start,
            end: start + u64::from(extent.len) * BLOCK,
            shift: address(extent.physical).wrapping_sub(start),
        }
    }

    /// Address of byte `offset` of the file, and how many bytes follow from there.
    #[inline(always)]
    pub fn locate(&self, offset: u64) -> Option<(u64, u64)> {
        let inside = offset >= self.start && offset < self.end;
        inside.then(|| (offset.wrapping_add(self.shift), self.end - offset))
    }

    /// Address of the bytes `offset..end` of the file, if all of them are in the window.
    #[inline(always)]
    pub fn covers(&self, offset: u64, end: u64) -> Option<u64> {
        (offset >= self.start && end <= self.end).then(|| offset.wrapping_add(self.shift))
    }
}

impl Node {
    pub fn new(ino: u32, inode: Inode) -> Self {
        Self {
            ino,
            inode,
            leaves: Vec::new(),
            index: (0, 0),
            window: Window::default(),
            jumps: Jumps::default(),
            counted: 0,
            hot: 0,
        }
    }

    /// Becomes what [`Self::new`] makes, but for the inode, field by field: a whole node would be
    /// copied twice.
    #[inline(always)]
    fn renew(&mut self, ino: u32) {
        self.ino = ino;
        self.leaves.clear();
        self.index = (0, 0);
        self.forget_places();
        (self.counted, self.hot) = (0, 0);
    }

    /// Forgets what is known of where bytes are.
    #[inline(always)]
    pub fn forget_places(&mut self) {
        self.window = Window::default();
        self.jumps = Jumps::default();
    }

    pub fn is_dir(&self) -> bool {
        self.inode.kind == Kind::Directory
    }

    /// Content changed.
    pub fn touch_content(&mut self, now: u64) {
        self.inode.mtime = now;
        self.touch(now);
    }

    /// Metadata changed.
    pub fn touch(&mut self, now: u64) {
        self.inode.ctime = now;
        self.inode.changes = self.inode.changes.wrapping_add(1);
    }

    /// Stores the whole inode.
    pub fn store<M: Memory>(&self, store: &Store<M>) {
        store.write_inode(self.ino, &self.inode);
    }

    /// Stores what a new entry changes in its directory: everything but the map.
    #[inline(always)]
    pub fn store_entries<M: Memory>(&self, store: &Store<M>) {
        let head = self.inode.encode_head();
        store.put(store.slot_address(self.ino), head.as_flattened());
    }

    /// Stores size, times and change counter only.
    #[inline]
    pub fn store_hot<M: Memory>(&self, store: &Store<M>) {
        let at = store.slot_address(self.ino) + inode::SIZE as u64;
        store.put(at, &self.inode.encode_hot());
    }

    /// Stores the size only.
    #[inline]
    pub fn store_size<M: Memory>(&mut self, store: &Store<M>) {
        if self.hot == 0 {
            self.hot = store.slot_address(self.ino) + inode::SIZE as u64;
        }
        store.put(self.hot, &self.inode.size.to_le_bytes());
    }

    fn cached_extents(&self) -> usize {
        self.leaves
            .iter()
            .map(|leaf| leaf.extents.as_ref().map_or(0, Vec::len))
            .sum()
    }
}

/// The cache: nodes are taken out, used, and put back. A node that is not put back, because of an
/// error, is read again from stable memory.
pub struct Nodes {
    slots: Box<[Option<Box<Node>>; SLOTS]>,
    puts: u32,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            slots: Box::new([const { None }; SLOTS]),
            puts: 0,
        }
    }
}

impl Nodes {
    /// Takes inode `ino` out of the cache, or reads it.
    #[inline(always)]
    pub fn take<M: Memory>(&mut self, store: &Store<M>, ino: u32) -> Result<Box<Node>, FsError> {
        let slot = &mut self.slots[ino as usize % SLOTS];
        if slot.as_ref().is_some_and(|node| node.ino == ino)
            && let Some(node) = slot.take()
        {
            return Ok(node);
        }
        let inode = store.read_inode(ino)?.ok_or(FsError::BadInode)?;
        Ok(Self::boxed(slot, ino, &inode))
    }

    /// A node in the box of the one that it will replace: allocating costs more.
    fn boxed(slot: &mut Option<Box<Node>>, ino: u32, inode: &Inode) -> Box<Node> {
        match slot.take() {
            Some(mut node) => {
                node.renew(ino);
                node.inode.clone_from(inode);
                node
            }
            None => Box::new(Node::new(ino, inode.clone())),
        }
    }

    /// Puts a new inode in, which is made in place.
    #[inline(always)]
    pub fn put_new(&mut self, ino: u32, inode: impl FnOnce() -> Inode) -> &Node {
        match &mut self.slots[ino as usize % SLOTS] {
            Some(node) => {
                node.renew(ino);
                node.inode = inode();
                node
            }
            slot => slot.insert(Box::new(Node::new(ino, inode()))),
        }
    }

    /// Inode `ino`, if it is in the cache. A node without a window may be any.
    #[inline(always)]
    pub fn cached(&mut self, ino: u64) -> Option<&mut Node> {
        match &mut self.slots[ino as usize % SLOTS] {
            Some(node) if u64::from(node.ino) == ino => Some(node),
            _ => None,
        }
    }

    /// Puts a node back.
    #[inline(always)]
    pub fn put(&mut self, node: Box<Node>) {
        self.puts = self.puts.wrapping_add(1);
        if self.puts.is_multiple_of(1024) {
            self.bound();
        }
        let at = node.ino as usize % SLOTS;
        self.slots[at] = Some(node);
    }

    fn bound(&mut self) {
        let cached: usize = self
            .slots
            .iter()
            .flatten()
            .map(|node| node.cached_extents())
            .sum();
        if cached > MAX_CACHED_EXTENTS {
            *self = Self::default();
        }
    }

    /// Forgets an inode.
    pub fn forget(&mut self, ino: u32) {
        let slot = &mut self.slots[ino as usize % SLOTS];
        if slot.as_ref().is_some_and(|node| node.ino == ino) {
            *slot = None;
        }
    }
}

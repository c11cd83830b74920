//! Inodes: 128-byte slots, 32 a block, in a table of growing chunks.

use super::*;

/// Bytes in a slot.
pub const INODE_LEN: usize = 128;
/// Slots in a block.
pub const INODES_PER_BLOCK: u32 = 32;
/// Offset of the kind, u8: 0 free, 1 regular file, 2 directory, 3 symbolic link.
pub const KIND: usize = 0;
/// Offset of the form of the map, u8: see [`MapForm`].
pub const FORM: usize = 1;
/// Offset of flags, u16: bit 0 orphan.
pub const FLAGS: usize = 2;
/// Offset of the link count, u32.
pub const NLINK: usize = 4;
/// Offset of the size in bytes, u64. Size, times and version are stored together.
pub const SIZE: usize = 8;
/// Offset of the time of the last change of content, u64.
pub const MTIME: usize = 16;
/// Offset of the time of the last change of anything, u64.
pub const CTIME: usize = 24;
/// Offset of the change counter, u64.
pub const CHANGES: usize = 32;
/// Offset of the time of the last read, u64.
pub const ATIME: usize = 40;
/// Offset of the birth generation, u32.
pub const BIRTH: usize = 48;
/// Offset of the number of blocks that the inode owns, u32.
pub const BLOCKS: usize = 52;
/// Offset of the parent of a directory, u32; of an orphan: the previous one.
pub const PARENT: usize = 56;
/// Offset of the next orphan, u32; of a free slot: the next free one.
pub const NEXT: usize = 60;
/// Offset of the number of extents, or of leaves of them, or of directory entries, u32.
pub const COUNT: usize = 64;
/// Words that hold everything before the reserved bytes.
const HEAD_WORDS: usize = (COUNT + 4).div_ceil(8);
/// Offset of the map: extents, leaves, a link's target, a directory's table.
pub const MAP: usize = 80;
/// Bytes in the map.
pub const MAP_LEN: usize = INODE_LEN - MAP;
/// Flag: no name leads here, and an earlier run held it open.
pub const FLAG_ORPHAN: u16 = 1;

/// What an inode is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
}

impl Kind {
    /// Decodes a kind, of an inode or a directory entry.
    pub fn decode(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Regular),
            2 => Some(Kind::Directory),
            3 => Some(Kind::Symlink),
            _ => None,
        }
    }
}

/// How [`MAP`] is to be read, for files and symbolic links.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum MapForm {
    /// Up to three extents; of a symbolic link: one, with the target. Directories use 0 too.
    Extents = 0,
    /// Up to six leaves: (first logical block u32, block u32) each.
    Leaves = 1,
    /// Leaves in a run of blocks: (first block u32, blocks u32).
    Index = 2,
    /// The target of a symbolic link itself.
    Target = 3,
}

/// An inode, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// How to read `map`.
    pub form: MapForm,
    /// Flags.
    pub flags: u16,
    /// Names that lead here; of a directory: 2 and one for each subdirectory.
    pub nlink: u32,
    /// Bytes; of a directory: those of its pages.
    pub size: u64,
    /// Last change of content.
    pub mtime: u64,
    /// Last change.
    pub ctime: u64,
    /// Counts changes.
    pub changes: u64,
    /// Last read.
    pub atime: u64,
    /// Birth generation.
    pub birth: u32,
    /// Blocks owned.
    pub blocks: u32,
    /// Parent, or previous orphan.
    pub parent: u32,
    /// Next orphan.
    pub next: u32,
    /// Extents, leaves or entries.
    pub count: u32,
    /// The map.
    pub map: [u8; MAP_LEN],
}

impl Inode {
    /// A new inode without content, with one name, of generation `birth`.
    #[inline(always)]
    pub fn new(kind: Kind, now: u64, birth: u32) -> Self {
        Self {
            kind,
            form: MapForm::Extents,
            flags: 0,
            nlink: 1,
            size: 0,
            mtime: now,
            ctime: now,
            changes: 1,
            atime: now,
            birth,
            blocks: 0,
            parent: 0,
            next: 0,
            count: 0,
            map: [0; MAP_LEN],
        }
    }

    /// Encodes a slot, in words: nothing is cleared or copied before it is set.
    #[inline]
    pub fn encode(&self) -> [[u8; 8]; INODE_LEN / 8] {
        let head = self.encode_head();
        std::array::from_fn(|i| match i {
            _ if i < HEAD_WORDS => head[i],
            _ if i < MAP / 8 => [0; 8],
            _ => get_u64(&self.map, 8 * i - MAP).to_le_bytes(),
        })
    }

    /// Encodes everything before the map, in words.
    #[inline(always)]
    pub fn encode_head(&self) -> [[u8; 8]; HEAD_WORDS] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let first = self.kind as u32 | (self.form as u32) << 8 | u32::from(self.flags) << 16;
        let words = [
            pair(first, self.nlink),
            self.size,
            self.mtime,
            self.ctime,
            self.changes,
            self.atime,
            pair(self.birth, self.blocks),
            pair(self.parent, self.next),
            self.count.into(),
        ];
        words.map(u64::to_le_bytes)
    }

    /// Encodes what a write changes: [`SIZE`]..[`ATIME`].
    pub fn encode_hot(&self) -> [u8; ATIME - SIZE] {
        let mut b = [0; ATIME - SIZE];
        put_u64(&mut b, 0, self.size);
        put_u64(&mut b, 8, self.mtime);
        put_u64(&mut b, 16, self.ctime);
        put_u64(&mut b, 24, self.changes);
        b
    }

    /// Decodes a slot. `Ok(None)`: free.
    pub fn decode(b: &[u8; INODE_LEN]) -> Result<Option<Self>, &'static str> {
        if b[KIND] == 0 {
            return Ok(None);
        }
        let kind = Kind::decode(b[KIND]).ok_or("inode kind")?;
        let form = match (b[FORM], kind) {
            (0, _) => MapForm::Extents,
            (1, Kind::Regular) => MapForm::Leaves,
            (2, Kind::Regular) => MapForm::Index,
            (3, Kind::Symlink) => MapForm::Target,
            _ => return Err("inode map form"),
        };
        let inode = Self {
            kind,
            form,
            flags: get_u16(b, FLAGS),
            nlink: get_u32(b, NLINK),
            size: get_u64(b, SIZE),
            mtime: get_u64(b, MTIME),
            ctime: get_u64(b, CTIME),
            changes: get_u64(b, CHANGES),
            atime: get_u64(b, ATIME),
            birth: get_u32(b, BIRTH),
            blocks: get_u32(b, BLOCKS),
            parent: get_u32(b, PARENT),
            next: get_u32(b, NEXT),
            count: get_u32(b, COUNT),
            map: b[MAP..].try_into().map_err(|_| "inode")?,
        };
        let bound = match kind {
            Kind::Regular => extent::MAX_FILE,
            Kind::Directory => u64::MAX,
            Kind::Symlink if form == MapForm::Target => MAP_LEN as u64,
            Kind::Symlink => BLOCK,
        };
        if inode.size > bound {
            return Err("inode size");
        }
        Ok(Some(inode))
    }
}

/// Blocks of chunk `chunk`: four chunks of each power of two, up to 8,192 blocks.
pub fn chunk_blocks(chunk: u32) -> u32 {
    1 << (chunk / 4).min(13)
}

/// Slots in the first `chunks` chunks.
pub fn slots_in_chunks(chunks: u32) -> u64 {
    (0..chunks)
        .map(|c| u64::from(chunk_blocks(c) * INODES_PER_BLOCK))
        .sum()
}

/// Chunk of slot `slot`, and block within the chunk. Constant time.
pub fn locate_slot(slot: u32) -> (u32, u32) {
    let block = slot / INODES_PER_BLOCK;
    let group = (block / 4 + 1).ilog2().min(13);
    let within = block - 4 * ((1 << group) - 1);
    (4 * group + (within >> group), within & ((1 << group) - 1))
}

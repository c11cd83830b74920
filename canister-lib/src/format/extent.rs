//! Extents, the leaves that hold many of them, and the index of leaves.

use super::*;

/// Bytes in an extent.
pub const EXTENT_LEN: usize = 16;
/// Offset of the first logical block, u32.
pub const LOGICAL: usize = 0;
/// Offset of the first block, u32.
pub const PHYSICAL: usize = 4;
/// Offset of the length in blocks, u32; bit 31 set: unwritten, reads as zero.
pub const LENGTH: usize = 8;
/// Offset of the birth generation, u32.
pub const EXTENT_BIRTH: usize = 12;
/// The unwritten flag.
pub const UNWRITTEN: u32 = 1 << 31;
/// Extents that an inode holds itself.
pub const INLINE_EXTENTS: usize = inode::MAP_LEN / EXTENT_LEN;

/// First bytes of a leaf.
pub const LEAF_MAGIC: u32 = u32::from_le_bytes(*b"ELEA");
/// Offset of the owner's inode number, u32.
pub const LEAF_OWNER: usize = 4;
/// Offset of the leaf's birth generation, u32.
pub const LEAF_BIRTH: usize = 8;
/// Offset of the number of extents, u32.
pub const LEAF_COUNT: usize = 12;
/// Offset of the extents.
pub const LEAF_EXTENTS: usize = 32;
/// Most extents in a leaf.
pub const LEAF_CAPACITY: usize = (BLOCK_LEN - LEAF_EXTENTS) / EXTENT_LEN;

/// Bytes in an index entry: first logical block u32, leaf's block u32.
pub const INDEX_ENTRY_LEN: usize = 8;
/// Leaves that an inode holds itself.
pub const INLINE_LEAVES: usize = inode::MAP_LEN / INDEX_ENTRY_LEN;
/// Index entries in a block.
pub const INDEX_PER_BLOCK: usize = BLOCK_LEN / INDEX_ENTRY_LEN;

/// Logical blocks of the largest file.
pub const MAX_LOGICAL: u32 = 1 << 31;
/// Bytes of the largest file: 8 TiB.
pub const MAX_FILE: u64 = MAX_LOGICAL as u64 * BLOCK;

/// A run of a file's blocks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Extent {
    /// First logical block.
    pub logical: u32,
    /// First block.
    pub physical: u32,
    /// Blocks.
    pub len: u32,
    /// Allocated, and reads as zero.
    pub unwritten: bool,
    /// Birth generation.
    pub birth: u32,
}

impl Extent {
    /// The logical block after the last.
    #[inline]
    pub fn end(&self) -> u32 {
        self.logical + self.len
    }

    /// Whether `next` continues this one in every respect.
    pub fn joins(&self, next: &Extent) -> bool {
        self.end() == next.logical
            && self.physical + self.len == next.physical
            && self.unwritten == next.unwritten
            && self.birth == next.birth
            && self.physical / GROUP_BLOCKS == (next.physical + next.len - 1) / GROUP_BLOCKS
    }

    /// The part of this extent within logical blocks `lo..hi`.
    pub fn clip(&self, lo: u32, hi: u32) -> Option<Extent> {
        let start = self.logical.max(lo);
        let end = self.end().min(hi);
        (start < end).then(|| Extent {
            logical: start,
            physical: self.physical + (start - self.logical),
            len: end - start,
            ..*self
        })
    }

    /// Encodes into `b`, of [`EXTENT_LEN`] bytes.
    pub fn encode(&self, b: &mut [u8]) {
        put_u32(b, LOGICAL, self.logical);
        put_u32(b, PHYSICAL, self.physical);
        put_u32(
            b,
            LENGTH,
            self.len | if self.unwritten { UNWRITTEN } else { 0 },
        );
        put_u32(b, EXTENT_BIRTH, self.birth);
    }

    /// Decodes and checks against the number of blocks.
    pub fn decode(b: &[u8], total_blocks: u32) -> Result<Self, &'static str> {
        let raw = get_u32(b, LENGTH);
        let extent = Extent {
            logical: get_u32(b, LOGICAL),
            physical: get_u32(b, PHYSICAL),
            len: raw & !UNWRITTEN,
            unwritten: raw & UNWRITTEN != 0,
            birth: get_u32(b, EXTENT_BIRTH),
        };
        if !superblock::valid_run(extent.physical, extent.len, total_blocks) {
            return Err("extent outside the data blocks");
        }
        if extent
            .logical
            .checked_add(extent.len)
            .is_none_or(|end| end > MAX_LOGICAL)
        {
            return Err("extent beyond the largest file");
        }
        Ok(extent)
    }
}

/// Decodes `count` extents from `b`, which must be sorted and disjoint.
pub fn decode_extents(
    b: &[u8],
    count: usize,
    total_blocks: u32,
) -> Result<Vec<Extent>, &'static str> {
    let mut extents: Vec<Extent> = Vec::with_capacity(count);
    for bytes in b.chunks_exact(EXTENT_LEN).take(count) {
        let extent = Extent::decode(bytes, total_blocks)?;
        if extents
            .last()
            .is_some_and(|last| last.end() > extent.logical)
        {
            return Err("extents out of order");
        }
        extents.push(extent);
    }
    Ok(extents)
}

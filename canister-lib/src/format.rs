//! Encoding and decoding of what is on stable memory, and nothing else.
//!
//! `docs/FORMAT.md` owns every byte; a test compares it with the constants here. Integers are
//! little-endian and are taken field by field.

pub mod dirent;
pub mod extent;
pub mod inode;
pub mod superblock;

/// Bytes in a block, the unit of allocation. The IC charges for each such page dirtied in a message.
pub const BLOCK: u64 = 4096;
/// [`BLOCK`] as a length in memory.
pub const BLOCK_LEN: usize = 4096;
/// Blocks that one bitmap block describes.
pub const GROUP_BLOCKS: u32 = 32768;
/// Most groups, hence blocks: 4 TiB.
pub const MAX_GROUPS: u32 = 32768;
/// The superblock.
pub const SUPER_BLOCK: u32 = 0;
/// The bitmap of group 0; that of group g > 0 is the group's first block.
pub const FIRST_BITMAP: u32 = 1;
/// One bit a group: set when no block of it is free.
pub const FULL_MAP: u32 = 2;
/// First block that can be allocated.
pub const FIRST_FREE: u32 = 3;

/// `N` bytes at `at`: with one check of the length, the compiler makes one load of it.
#[inline]
fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Reads a u16 at `at`.
#[inline]
pub fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(get(bytes, at))
}
/// Reads a u32 at `at`.
#[inline]
pub fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(bytes, at))
}
/// Reads a u64 at `at`.
#[inline]
pub fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}
/// Stores a u16 at `at`.
#[inline]
pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}
/// Stores a u32 at `at`.
#[inline]
pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
/// Stores a u64 at `at`.
#[inline]
pub fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Address of block `block`.
#[inline]
pub fn address(block: u32) -> u64 {
    u64::from(block) * BLOCK
}

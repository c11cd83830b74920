//! Directory pages and the entries in them, and the map of a directory's inode.

use super::*;

/// First bytes of a directory page.
pub const PAGE_MAGIC: u32 = u32::from_le_bytes(*b"DPAG");
/// Offset of the directory's inode number, u32.
pub const PAGE_OWNER: usize = 4;
/// Offset of the page's birth generation, u32.
pub const PAGE_BIRTH: usize = 8;
/// Offset of the local depth, u8: how many leading bits all cookies of the page share.
pub const PAGE_DEPTH: usize = 12;
/// Offset of the counters, which are stored together.
pub const PAGE_COUNTERS: usize = 16;
/// Offset of the number of entries, u16.
pub const PAGE_LIVE: usize = 16;
/// Offset of the end of the used part, u16.
pub const PAGE_USED: usize = 18;
/// Offset of the number of bytes in removed entries, u16.
pub const PAGE_DEAD: usize = 20;
/// Offset of the prefix that all cookies share, u64; the bits after it are zero.
pub const PAGE_PREFIX: usize = 24;
/// Offset of the heads of the chains, u16 each: offset of an entry, 0 for none.
pub const PAGE_HEADS: usize = 32;
/// Chains in a page.
pub const HEADS: usize = 64;
/// Offset of the first entry.
pub const PAGE_ENTRIES: usize = PAGE_HEADS + 2 * HEADS;

/// Offset in an entry of the next one of the chain, u16; 0 for none.
pub const ENTRY_NEXT: usize = 0;
/// Offset in an entry of the name's length, u8.
pub const ENTRY_NAME_LEN: usize = 2;
/// Offset in an entry of the kind, u8, as in inodes.
pub const ENTRY_KIND: usize = 3;
/// Offset in an entry of the inode number, u32.
pub const ENTRY_INO: usize = 4;
/// Offset in an entry of the cookie, u64.
pub const ENTRY_COOKIE: usize = 8;
/// Offset in an entry of the birth generation, u32.
pub const ENTRY_BIRTH: usize = 16;
/// Offset in an entry of the name.
pub const ENTRY_NAME: usize = 20;
/// Longest name in bytes.
pub const NAME_MAX: usize = 255;

/// Bits of a cookie: 55 of the hash, then [`DISCRIMINATOR_BITS`].
pub const COOKIE_BITS: u32 = 63;
/// Low bits that tell names of the same hash apart.
pub const DISCRIMINATOR_BITS: u32 = 8;
/// Deepest table: 2^24 pages.
pub const MAX_DEPTH: u8 = 24;

/// Offset in a directory's map of the depth of its table, u8.
pub const DIR_DEPTH: usize = 0;
/// Offset in a directory's map of the table's first block, u32; 0: the table is in the map.
pub const DIR_TABLE: usize = 4;
/// Offset in a directory's map of the number of pages, u32.
pub const DIR_PAGES: usize = 8;
/// Offset in a directory's map of the table, u32 each.
pub const DIR_INLINE: usize = 16;
/// Deepest table that fits into the map.
pub const INLINE_DEPTH: u8 = 3;

/// Bytes that an entry takes for a name of `len` bytes.
pub fn entry_len(len: usize) -> usize {
    (ENTRY_NAME + len).next_multiple_of(4)
}

/// Blocks of the table of a directory of depth `depth`; 0 when it is in the inode.
pub fn table_blocks(depth: u8) -> u32 {
    if depth <= INLINE_DEPTH {
        0
    } else {
        (4u32 << depth).div_ceil(BLOCK as u32)
    }
}

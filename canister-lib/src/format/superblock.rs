//! The superblock: identity, counters and roots. Block 0.

use siphasher::sip::SipHasher13;

use super::*;

/// First eight bytes of the memory.
pub const MAGIC: [u8; 8] = *b"ICWASIFS";
/// Format version that this code writes.
pub const VERSION: (u16, u16) = (1, 0);
/// Offset of the major version, u16.
pub const MAJOR: usize = 8;
/// Offset of the minor version, u16.
pub const MINOR: usize = 10;
/// Offset of the block size, u32.
pub const BLOCK_SIZE: usize = 12;
/// Offset of the key of directory hashes, 16 bytes.
pub const HASH_KEY: usize = 16;
/// Offset of the time of formatting, u64.
pub const CREATED: usize = 32;
/// Offset of feature flags that a reader may ignore, u32.
pub const FEATURES: usize = 40;
/// Offset of feature flags without which a reader must refuse, u32.
pub const FEATURES_REQUIRED: usize = 44;
/// Offset of the checksum of all bytes before it, u64.
pub const CHECKSUM: usize = 56;
/// Offset of the quota in bytes, u64; all ones: none.
pub const QUOTA: usize = 64;
/// Offset of the current generation, u32.
pub const GENERATION: usize = 72;
/// Offset of the root of the snapshots table, u32; 0: no snapshots.
pub const SNAPSHOTS: usize = 76;
/// Offset of the root of the history, u32; 0: empty.
pub const HISTORY: usize = 80;
/// Offset of the counters, which are stored together.
pub const COUNTERS: usize = 88;
/// Offset of the number of blocks, u32.
pub const TOTAL_BLOCKS: usize = 88;
/// Offset of the number of free blocks, u32.
pub const FREE_BLOCKS: usize = 92;
/// Offset of the block where the next search starts, u32.
pub const ALLOC_HINT: usize = 96;
/// Offset of the first inode slot never used, u32.
pub const INODE_END: usize = 100;
/// Offset of the number of inodes in use, u32.
pub const INODES: usize = 104;
/// Offset of the first free inode slot, u32; 0: none.
pub const FREE_INODE: usize = 108;
/// Offset of the first orphan, u32; 0: none.
pub const ORPHANS: usize = 112;
/// Offset of the number of chunks of the inode table, u32.
pub const CHUNKS: usize = 116;
/// End of the counters.
pub const COUNTERS_END: usize = 120;
/// Offset of the first blocks of the inode table's chunks, u32 each.
pub const CHUNK_TABLE: usize = 256;
/// Most chunks of the inode table.
pub const MAX_CHUNKS: usize = 512;
/// End of what is decoded; zero from here to the end of the block.
pub const END: usize = CHUNK_TABLE + 4 * MAX_CHUNKS;

/// Inode of the root directory.
pub const ROOT_INO: u32 = 1;
/// Inode of the hidden system directory.
pub const SYSTEM_INO: u32 = 2;

/// The superblock, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Superblock {
    /// Format version found.
    pub version: (u16, u16),
    /// Key of directory hashes.
    pub hash_key: [u8; 16],
    /// When it was formatted.
    pub created: u64,
    /// Quota in bytes.
    pub quota: Option<u64>,
    /// Current generation: births are stamped with it.
    pub generation: u32,
    /// Blocks that the file system manages.
    pub total_blocks: u32,
    /// Of these, free.
    pub free_blocks: u32,
    /// Where the next search for free blocks starts.
    pub alloc_hint: u32,
    /// First inode slot never used.
    pub inode_end: u32,
    /// Inodes in use.
    pub inodes: u32,
    /// First free inode slot, 0 for none.
    pub free_inode: u32,
    /// First orphan, 0 for none.
    pub orphans: u32,
    /// First blocks of the inode table's chunks.
    pub chunks: Vec<u32>,
}

/// Why bytes are no superblock.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum SuperblockError {
    /// No magic.
    Foreign,
    /// Of a major version that this code does not know.
    UnknownMajor(u16),
    /// Ours, and damaged.
    Corrupt(&'static str),
}

fn checksum(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(0, 0).hash(&bytes[..CHECKSUM])
}

impl Superblock {
    /// Encodes everything up to [`END`].
    pub fn encode(&self) -> Vec<u8> {
        let mut b = vec![0; END];
        b[..8].copy_from_slice(&MAGIC);
        put_u16(&mut b, MAJOR, self.version.0);
        put_u16(&mut b, MINOR, self.version.1);
        put_u32(&mut b, BLOCK_SIZE, BLOCK as u32);
        b[HASH_KEY..HASH_KEY + 16].copy_from_slice(&self.hash_key);
        put_u64(&mut b, CREATED, self.created);
        let sum = checksum(&b);
        put_u64(&mut b, CHECKSUM, sum);
        put_u64(&mut b, QUOTA, self.quota.unwrap_or(u64::MAX));
        put_u32(&mut b, GENERATION, self.generation);
        b[COUNTERS..COUNTERS_END].copy_from_slice(&self.counters());
        for (i, &start) in self.chunks.iter().enumerate() {
            put_u32(&mut b, CHUNK_TABLE + 4 * i, start);
        }
        b
    }

    /// Encodes the counters alone, for [`COUNTERS`]..[`COUNTERS_END`].
    pub fn counters(&self) -> [u8; COUNTERS_END - COUNTERS] {
        let mut b = [0; COUNTERS_END - COUNTERS];
        let values = [
            self.total_blocks,
            self.free_blocks,
            self.alloc_hint,
            self.inode_end,
            self.inodes,
            self.free_inode,
            self.orphans,
            self.chunks.len() as u32,
        ];
        for (i, value) in values.into_iter().enumerate() {
            put_u32(&mut b, 4 * i, value);
        }
        b
    }

    /// Decodes [`END`] bytes, checking all that can be checked without other blocks.
    pub fn decode(b: &[u8]) -> Result<Self, SuperblockError> {
        use SuperblockError::{Corrupt, Foreign, UnknownMajor};
        if b.len() < END || b[..8] != MAGIC {
            return Err(Foreign);
        }
        let version = (get_u16(b, MAJOR), get_u16(b, MINOR));
        if checksum(b) != get_u64(b, CHECKSUM) {
            return Err(Corrupt("superblock checksum"));
        }
        if version.0 != VERSION.0 {
            return Err(UnknownMajor(version.0));
        }
        if get_u32(b, BLOCK_SIZE) != BLOCK as u32 {
            return Err(Corrupt("block size"));
        }
        if get_u32(b, FEATURES_REQUIRED) != 0 {
            return Err(Corrupt("required feature that is unknown"));
        }
        if version == VERSION && (get_u32(b, SNAPSHOTS) != 0 || get_u32(b, HISTORY) != 0) {
            return Err(Corrupt("snapshot roots in a version without snapshots"));
        }
        let quota = get_u64(b, QUOTA);
        let count = get_u32(b, CHUNKS) as usize;
        if count > MAX_CHUNKS {
            return Err(Corrupt("inode table"));
        }
        let sb = Self {
            version,
            hash_key: b[HASH_KEY..HASH_KEY + 16].try_into().unwrap_or_default(),
            created: get_u64(b, CREATED),
            quota: (quota != u64::MAX).then_some(quota),
            generation: get_u32(b, GENERATION),
            total_blocks: get_u32(b, TOTAL_BLOCKS),
            free_blocks: get_u32(b, FREE_BLOCKS),
            alloc_hint: get_u32(b, ALLOC_HINT),
            inode_end: get_u32(b, INODE_END),
            inodes: get_u32(b, INODES),
            free_inode: get_u32(b, FREE_INODE),
            orphans: get_u32(b, ORPHANS),
            chunks: (0..count)
                .map(|i| get_u32(b, CHUNK_TABLE + 4 * i))
                .collect(),
        };
        sb.validate().map_err(Corrupt)?;
        Ok(sb)
    }

    fn validate(&self) -> Result<(), &'static str> {
        if self.total_blocks <= FIRST_FREE || self.total_blocks > MAX_GROUPS * (GROUP_BLOCKS - 1) {
            return Err("number of blocks");
        }
        if self.free_blocks >= self.total_blocks || self.alloc_hint > self.total_blocks {
            return Err("free block counters");
        }
        for (i, &start) in self.chunks.iter().enumerate() {
            if !valid_run(start, inode::chunk_blocks(i as u32), self.total_blocks) {
                return Err("inode table");
            }
        }
        let slots = inode::slots_in_chunks(self.chunks.len() as u32);
        if self.inode_end <= SYSTEM_INO || u64::from(self.inode_end) > slots {
            return Err("end of the inode table");
        }
        let end = self.inode_end;
        if self.inodes >= end || self.free_inode >= end || self.orphans >= end {
            return Err("inode counters");
        }
        Ok(())
    }
}

/// Whether `len` blocks from `start` can be data: within the memory, over no fixed block.
pub fn valid_run(start: u32, len: u32, total: u32) -> bool {
    let Some(end) = start.checked_add(len) else {
        return false;
    };
    start >= FIRST_FREE
        && len > 0
        && end <= total
        && !start.is_multiple_of(GROUP_BLOCKS)
        && start / GROUP_BLOCKS == (end - 1) / GROUP_BLOCKS
}

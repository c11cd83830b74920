//! Where a file's blocks are: up to three extents in the inode, else leaves of up to 254, whose
//! index is in the inode (six leaves) or in a run of blocks.
//!
//! All changes go through [`splice`], which replaces the mapping of a range. Space for it is taken
//! before by [`prepare`], so that a splice cannot fail.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::node::{Leaf, Node};
use super::store::Store;
use crate::format::extent::*;
use crate::format::inode::{MAP_LEN, MapForm};
use crate::format::{BLOCK_LEN, address, get_u32, put_u32, superblock};

/// Metadata blocks taken in advance for one splice.
#[derive(Default)]
pub struct Pool {
    leaves: Vec<u32>,
    index: Option<(u32, u32)>,
}

impl Pool {
    /// Gives back what was not used.
    fn release<M: Memory>(self, store: &mut Store<M>) {
        for block in self.leaves {
            store.free_run(block, 1);
        }
        if let Some((start, len)) = self.index {
            store.free_run(start, len);
        }
    }
}

/// Decodes the inode's map into leaves, on first use.
pub fn load<M: Memory>(store: &Store<M>, node: &mut Node) -> Result<(), FsError> {
    if !node.leaves.is_empty() {
        return Ok(());
    }
    let total = store.sb.total_blocks;
    let count = node.inode.count as usize;
    let corrupt = |what| Err(FsError::Corrupt(what));
    match node.inode.form {
        MapForm::Target => return corrupt("map form"),
        MapForm::Extents => {
            if count > INLINE_EXTENTS {
                return corrupt("number of extents");
            }
            let extents =
                decode_extents(&node.inode.map, count, total).map_err(FsError::Corrupt)?;
            let first = extents.first().map_or(0, |e| e.logical);
            node.leaves = vec![Leaf {
                first,
                block: 0,
                extents: Some(extents),
            }];
        }
        MapForm::Leaves => {
            if count == 0 || count > INLINE_LEAVES {
                return corrupt("number of leaves");
            }
            node.leaves = decode_index(&node.inode.map, count, total)?;
        }
        MapForm::Index => {
            let run = (get_u32(&node.inode.map, 0), get_u32(&node.inode.map, 4));
            let fits = u64::from(run.1) * INDEX_PER_BLOCK as u64 >= count as u64;
            if count == 0 || !fits || !superblock::valid_run(run.0, run.1, total) {
                return corrupt("index of leaves");
            }
            let mut bytes = vec![0; count * INDEX_ENTRY_LEN];
            store.read(address(run.0), &mut bytes)?;
            node.leaves = decode_index(&bytes, count, total)?;
            node.index = run;
        }
    }
    node.forget_places();
    Ok(())
}

fn decode_index(bytes: &[u8], count: usize, total: u32) -> Result<Vec<Leaf>, FsError> {
    let mut leaves: Vec<Leaf> = Vec::with_capacity(count);
    for entry in bytes.chunks_exact(INDEX_ENTRY_LEN).take(count) {
        let (first, block) = (get_u32(entry, 0), get_u32(entry, 4));
        let ordered = leaves.last().is_none_or(|last| last.first < first);
        if !ordered || !superblock::valid_run(block, 1, total) {
            return Err(FsError::Corrupt("index of leaves"));
        }
        leaves.push(Leaf {
            first,
            block,
            extents: None,
        });
    }
    Ok(leaves)
}

/// Loads leaf `at` of `node`.
pub fn load_leaf<'a, M: Memory>(
    store: &Store<M>,
    node: &'a mut Node,
    at: usize,
) -> Result<&'a [Extent], FsError> {
    let bound = node
        .leaves
        .get(at + 1)
        .map_or(MAX_LOGICAL, |next| next.first);
    let owner = node.ino;
    let leaf = &mut node.leaves[at];
    if leaf.extents.is_none() {
        let mut page = [0; BLOCK_LEN];
        let head = &mut page[..LEAF_EXTENTS];
        store.read(address(leaf.block), head)?;
        let count = get_u32(head, LEAF_COUNT) as usize;
        if get_u32(head, 0) != LEAF_MAGIC || get_u32(head, LEAF_OWNER) != owner {
            return Err(FsError::Corrupt("leaf of extents"));
        }
        if count == 0 || count > LEAF_CAPACITY {
            return Err(FsError::Corrupt("number of extents"));
        }
        let body = &mut page[..count * EXTENT_LEN];
        store.read(address(leaf.block) + LEAF_EXTENTS as u64, body)?;
        let extents =
            decode_extents(body, count, store.sb.total_blocks).map_err(FsError::Corrupt)?;
        if extents[0].logical != leaf.first || extents[count - 1].end() > bound {
            return Err(FsError::Corrupt("extents outside their leaf"));
        }
        leaf.extents = Some(extents);
    }
    Ok(leaf.extents.as_deref().unwrap_or_default())
}

/// The leaf that would hold logical block `logical`.
pub fn leaf_of(node: &Node, logical: u32) -> usize {
    node.leaves
        .partition_point(|leaf| leaf.first <= logical)
        .saturating_sub(1)
}

/// The extents of the range `lo..hi`, clipped to it.
pub fn collect<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    lo: u32,
    hi: u32,
) -> Result<Vec<Extent>, FsError> {
    let mut found = Vec::new();
    if lo >= hi {
        return Ok(found);
    }
    for leaf in leaf_of(node, lo)..=leaf_of(node, hi - 1) {
        found.extend(
            load_leaf(store, node, leaf)?
                .iter()
                .filter_map(|e| e.clip(lo, hi)),
        );
    }
    Ok(found)
}

/// Leaves that a splice of `lo..hi` rewrites; wide enough to join with both neighbours.
fn window(node: &Node, lo: u32, hi: u32) -> (usize, usize) {
    (leaf_of(node, lo.saturating_sub(1)), leaf_of(node, hi))
}

/// Loads what a splice of `lo..hi` by `new` extents touches, and takes blocks for its worst case.
/// The only part of a change of mapping that can fail.
pub fn prepare<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    lo: u32,
    hi: u32,
    new: usize,
) -> Result<Pool, FsError> {
    let (first, last) = window(node, lo, hi);
    // One more than before at most: an extent that is cut in the middle. Not by truncation.
    let mut count = new + usize::from(hi < MAX_LOGICAL);
    for leaf in first..=last {
        count += load_leaf(store, node, leaf)?.len();
    }
    let mut pool = Pool::default();
    let inline = node.leaves[0].block == 0;
    if inline && count <= INLINE_EXTENTS {
        return Ok(pool);
    }
    let present = if inline { 0 } else { last - first + 1 };
    let extra = count.div_ceil(LEAF_CAPACITY).saturating_sub(present);
    if extra == 0 {
        return Ok(pool);
    }
    let leaves = node.leaves.len() + extra;
    let result = (|| {
        store.reserve(extra as u64)?;
        for _ in 0..extra {
            pool.leaves.push(store.alloc_run(0, 1)?.0);
        }
        if leaves > INLINE_LEAVES.max(node.index.1 as usize * INDEX_PER_BLOCK) {
            let blocks = (leaves * 2).div_ceil(INDEX_PER_BLOCK) as u32;
            pool.index = Some((store.alloc_contiguous(blocks)?, blocks));
        }
        Ok(())
    })();
    match result {
        Ok(()) => Ok(pool),
        Err(error) => {
            pool.release(store);
            Err(error)
        }
    }
}

/// Appends `extent`, joining it with the last one if it continues it.
fn push(extents: &mut Vec<Extent>, extent: Extent) {
    if let Some(last) = extents.last_mut()
        && last.joins(&extent)
    {
        last.len += extent.len;
        return;
    }
    extents.push(extent);
}

/// Makes `new` the mapping of `lo..hi`. Frees no data blocks: the caller knows which are left over.
/// `pool` is from [`prepare`] for the same range, with at least as many new extents. Updates the
/// inode's map, count and blocks, which the caller stores.
pub fn splice<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    (lo, hi): (u32, u32),
    new: &[Extent],
    mut pool: Pool,
) {
    let (first, last) = window(node, lo, hi);
    let old: Vec<Leaf> = node.leaves[first..=last].to_vec();
    let all = || old.iter().flat_map(|leaf| leaf.extents.iter().flatten());
    let mut merged = Vec::with_capacity(all().count() + new.len() + 1);
    all()
        .filter_map(|e| e.clip(0, lo))
        .for_each(|e| push(&mut merged, e));
    new.iter().for_each(|e| push(&mut merged, *e));
    all()
        .filter_map(|e| e.clip(hi, MAX_LOGICAL))
        .for_each(|e| push(&mut merged, e));

    let whole = old.len() == node.leaves.len();
    let was_inline = old[0].block == 0;
    let fits_inline = merged.len() <= if was_inline { INLINE_EXTENTS } else { 1 };
    let mut meta_freed = 0;
    let replacement = if whole && fits_inline {
        for leaf in old.iter().filter(|leaf| leaf.block != 0) {
            store.free_run(leaf.block, 1);
            meta_freed += 1;
        }
        vec![Leaf {
            first: merged.first().map_or(0, |e| e.logical),
            block: 0,
            extents: Some(merged),
        }]
    } else {
        // Sequential growth leaves full leaves behind; anything else is spread evenly.
        let wanted = merged.len().div_ceil(LEAF_CAPACITY);
        let at_end = last + 1 == node.leaves.len() && new.last().map(|e| e.end()) >= Some(hi);
        let share = if at_end {
            LEAF_CAPACITY
        } else {
            merged.len().div_ceil(wanted.max(1)).max(1)
        };
        let wanted = merged.len().div_ceil(share);
        let mut blocks: Vec<u32> = old
            .iter()
            .map(|leaf| leaf.block)
            .filter(|&block| block != 0)
            .collect();
        let had = blocks.len();
        while blocks.len() < wanted {
            blocks.push(
                pool.leaves
                    .pop()
                    .expect("prepare took blocks for the worst case"),
            );
            node.inode.blocks += 1;
        }
        for block in blocks.split_off(wanted) {
            store.free_run(block, 1);
            meta_freed += 1;
        }
        let mut made = Vec::with_capacity(wanted);
        for (i, (part, block)) in merged.chunks(share).zip(blocks).enumerate() {
            let before = if i < had {
                old[i].extents.as_deref()
            } else {
                None
            };
            write_leaf(store, node.ino, block, before.unwrap_or_default(), part);
            made.push(Leaf {
                first: part[0].logical,
                block,
                extents: Some(part.to_vec()),
            });
        }
        made
    };
    let changed = old.len() != replacement.len()
        || old
            .iter()
            .zip(&replacement)
            .any(|(a, b)| a.first != b.first || a.block != b.block);
    node.leaves.splice(first..=last, replacement);
    if node.leaves.is_empty() {
        node.leaves.push(Leaf {
            extents: Some(Vec::new()),
            ..Leaf::default()
        });
    }
    node.inode.blocks = node.inode.blocks.saturating_sub(meta_freed);
    node.forget_places();
    write_index(store, node, first, changed, &mut pool);
    pool.release(store);
}

/// Stores a leaf: what differs from `before`, which is there now.
fn write_leaf<M: Memory>(
    store: &Store<M>,
    owner: u32,
    block: u32,
    before: &[Extent],
    extents: &[Extent],
) {
    let same = before
        .iter()
        .zip(extents)
        .take_while(|(a, b)| a == b)
        .count();
    let at = address(block);
    if before.len() != extents.len() {
        let mut head = [0; LEAF_EXTENTS];
        put_u32(&mut head, 0, LEAF_MAGIC);
        put_u32(&mut head, LEAF_OWNER, owner);
        put_u32(&mut head, LEAF_BIRTH, store.sb.generation);
        put_u32(&mut head, LEAF_COUNT, extents.len() as u32);
        store.put(at, &head);
    }
    let mut changed = &extents[same..];
    if before.len() == extents.len() {
        let tail = before
            .iter()
            .rev()
            .zip(changed.iter().rev())
            .take_while(|(a, b)| a == b);
        let keep = tail.count();
        changed = &changed[..changed.len() - keep];
    }
    if !changed.is_empty() {
        let mut bytes = vec![0; changed.len() * EXTENT_LEN];
        for (extent, b) in changed.iter().zip(bytes.chunks_exact_mut(EXTENT_LEN)) {
            extent.encode(b);
        }
        store.put(at + (LEAF_EXTENTS + same * EXTENT_LEN) as u64, &bytes);
    }
}

/// Encodes the inode's map, and stores the index from leaf `from` on if it is in blocks.
fn write_index<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    from: usize,
    changed: bool,
    pool: &mut Pool,
) {
    let mut map = [0; MAP_LEN];
    let count = node.leaves.len();
    let old_index = node.index;
    if node.leaves[0].block == 0 {
        let extents = node.leaves[0].extents.as_deref().unwrap_or_default();
        for (extent, b) in extents.iter().zip(map.chunks_exact_mut(EXTENT_LEN)) {
            extent.encode(b);
        }
        node.inode.form = MapForm::Extents;
        node.inode.count = extents.len() as u32;
        node.index = (0, 0);
    } else {
        node.inode.count = count as u32;
        let encode = |leaves: &[Leaf], b: &mut [u8]| {
            for (leaf, b) in leaves.iter().zip(b.chunks_exact_mut(INDEX_ENTRY_LEN)) {
                put_u32(b, 0, leaf.first);
                put_u32(b, 4, leaf.block);
            }
        };
        if count <= INLINE_LEAVES {
            encode(&node.leaves, &mut map);
            node.inode.form = MapForm::Leaves;
            node.index = (0, 0);
        } else {
            let (mut from, mut changed) = (from, changed);
            if count > node.index.1 as usize * INDEX_PER_BLOCK {
                node.index = pool
                    .index
                    .take()
                    .expect("prepare took blocks for the index");
                (from, changed) = (0, true);
            }
            if changed {
                let mut bytes = vec![0; (count - from) * INDEX_ENTRY_LEN];
                encode(&node.leaves[from..], &mut bytes);
                store.put(
                    address(node.index.0) + (from * INDEX_ENTRY_LEN) as u64,
                    &bytes,
                );
            }
            put_u32(&mut map, 0, node.index.0);
            put_u32(&mut map, 4, node.index.1);
            node.inode.form = MapForm::Index;
        }
    }
    if old_index != node.index {
        if old_index.1 > 0 {
            store.free_run(old_index.0, old_index.1);
        }
        node.inode.blocks = (node.inode.blocks + node.index.1).saturating_sub(old_index.1);
    }
    node.inode.map = map;
}

/// Frees all blocks of a file or link, leaf by leaf. Reads everything before freeing anything, so
/// a damaged map is an error and no change.
pub fn free_all<M: Memory>(store: &mut Store<M>, node: &mut Node) -> Result<(), FsError> {
    load(store, node)?;
    for leaf in 0..node.leaves.len() {
        load_leaf(store, node, leaf)?;
    }
    node.forget_places();
    for leaf in std::mem::take(&mut node.leaves) {
        for extent in leaf.extents.iter().flatten() {
            store.free_run(extent.physical, extent.len);
        }
        if leaf.block != 0 {
            store.free_run(leaf.block, 1);
        }
    }
    if node.index.1 > 0 {
        store.free_run(node.index.0, node.index.1);
        node.index = (0, 0);
    }
    node.inode.blocks = 0;
    Ok(())
}

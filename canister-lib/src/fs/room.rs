//! Blocks for a regular file: mapping them, zeroing what a write leaves uncovered, giving them back.
//!
//! Bytes between the end of a file and the end of its last block, and whole blocks allocated ahead
//! of it, are undefined on stable memory. Whatever makes the file longer without writing there
//! zeroes the former and marks the latter unwritten, so that old bytes never show.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::extents;
use super::locate::{Segment, locate};
use super::node::Node;
use super::store::Store;
use crate::format::extent::{Extent, MAX_LOGICAL};
use crate::format::{BLOCK, BLOCK_LEN, address};

/// Most blocks allocated ahead of an open file that is appended to: 2 MiB.
const MAX_AHEAD: u32 = 512;

static ZEROES: [u8; BLOCK_LEN] = [0; BLOCK_LEN];

/// What [`remap`] does with a part of a file.
pub struct Piece {
    pub lo: u32,
    pub hi: u32,
    /// Mark what is mapped as unwritten or written.
    pub set: Option<bool>,
    /// Allocate holes, as unwritten or written.
    pub fill: Option<bool>,
}

/// First logical block wholly beyond `size` bytes.
pub fn blocks_of(size: u64) -> u32 {
    size.div_ceil(BLOCK) as u32
}

/// Applies `pieces`, which are ascending and adjoining, to the map. All or nothing; the caller
/// stores the inode.
pub fn remap<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    pieces: &[Piece],
) -> Result<(), FsError> {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return Ok(());
    };
    let (lo, hi) = (first.lo, last.hi);
    let existing = extents::collect(store, node, lo, hi)?;
    // Holes are extents at block 0 until they are allocated.
    let mut plan: Vec<Extent> = Vec::with_capacity(existing.len() + 1);
    let birth = store.sb.generation;
    let (mut needed, mut changed) = (0, false);
    for piece in pieces {
        let mut at = piece.lo;
        let mut fill = |plan: &mut Vec<Extent>, at: u32, to: u32| {
            if let Some(unwritten) = piece.fill
                && at < to
            {
                plan.push(Extent {
                    logical: at,
                    physical: 0,
                    len: to - at,
                    unwritten,
                    birth,
                });
                needed += to - at;
            }
        };
        for mut e in existing.iter().filter_map(|e| e.clip(piece.lo, piece.hi)) {
            fill(&mut plan, at, e.logical);
            if let Some(unwritten) = piece.set {
                changed |= e.unwritten != unwritten;
                e.unwritten = unwritten;
            }
            at = e.end();
            plan.push(e);
        }
        fill(&mut plan, at, piece.hi);
    }
    if needed == 0 && !changed {
        return Ok(());
    }
    store.reserve(u64::from(needed))?;
    let before = match lo.checked_sub(1) {
        Some(previous) => match locate(store, node, previous)? {
            Segment::Mapped(block, _, _) => block + 1,
            Segment::Hole(_) => 0,
        },
        None => 0,
    };
    let mut taken = Vec::new();
    let result = allocate_holes(store, plan, before, &mut taken).and_then(|plan| {
        let pool = extents::prepare(store, node, lo, hi, plan.len())?;
        Ok((plan, pool))
    });
    match result {
        Ok((plan, pool)) => {
            extents::splice(store, node, (lo, hi), &plan, pool);
            node.inode.blocks = node.inode.blocks.saturating_add(needed);
            Ok(())
        }
        Err(error) => {
            taken
                .into_iter()
                .for_each(|(start, len)| store.free_run(start, len));
            Err(error)
        }
    }
}

/// Gives each hole of `plan` blocks, near what comes before it. Records them in `taken`.
fn allocate_holes<M: Memory>(
    store: &mut Store<M>,
    plan: Vec<Extent>,
    mut goal: u32,
    taken: &mut Vec<(u32, u32)>,
) -> Result<Vec<Extent>, FsError> {
    let mut filled = Vec::with_capacity(plan.len());
    for e in plan {
        let (mut logical, mut left) = (e.logical, e.len);
        if e.physical != 0 {
            filled.push(e);
            goal = e.physical + e.len;
            continue;
        }
        while left > 0 {
            let (physical, len) = store.alloc_run(goal, left)?;
            taken.push((physical, len));
            filled.push(Extent {
                logical,
                physical,
                len,
                ..e
            });
            logical += len;
            left -= len;
            goal = physical + len;
        }
    }
    Ok(filled)
}

/// Zeroes bytes `from..to` of the file where they are mapped and written, within one block.
fn zero<M: Memory>(store: &Store<M>, node: &mut Node, from: u64, to: u64) -> Result<(), FsError> {
    if from < to
        && let Segment::Mapped(block, _, false) = locate(store, node, (from / BLOCK) as u32)?
    {
        store.put(
            address(block) + from % BLOCK,
            &ZEROES[..(to - from) as usize],
        );
    }
    Ok(())
}

/// Zeroes the rest of the last block when the file grows to `new` bytes without writing there.
pub fn zero_tail<M: Memory>(store: &Store<M>, node: &mut Node, new: u64) -> Result<(), FsError> {
    let size = node.inode.size;
    zero(store, node, size, new.min(size.next_multiple_of(BLOCK)))
}

/// How many blocks from `lo` on are mapped and written, up to `hi`.
pub fn written_until<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    lo: u32,
    hi: u32,
) -> Result<bool, FsError> {
    let mut at = lo;
    while at < hi {
        match locate(store, node, at)? {
            Segment::Mapped(_, len, false) => at += len,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Stores `data` at `offset`, where everything is mapped.
pub fn store_data<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    offset: u64,
    data: &[&[u8]],
) -> Result<(), FsError> {
    let mut at = offset;
    for mut rest in data.iter().copied() {
        while !rest.is_empty() {
            let Segment::Mapped(block, len, _) = locate(store, node, (at / BLOCK) as u32)? else {
                panic!("blocks of a write were mapped before it");
            };
            let room = u64::from(len) * BLOCK - at % BLOCK;
            let n = (rest.len() as u64).min(room) as usize;
            store.put(address(block) + at % BLOCK, &rest[..n]);
            rest = &rest[n..];
            at += n as u64;
        }
    }
    Ok(())
}

/// Maps the blocks for a write of `offset..end` and zeroes what it leaves uncovered of new ones.
pub fn make_room<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    (offset, end): (u64, u64),
    open: bool,
) -> Result<(), FsError> {
    let size = node.inode.size;
    let (lo, hi, valid) = ((offset / BLOCK) as u32, blocks_of(end), blocks_of(size));
    let is_fresh = |store: &Store<M>, node: &mut Node, block: u32| {
        Ok::<_, FsError>(
            block >= valid || !matches!(locate(store, node, block)?, Segment::Mapped(_, _, false)),
        )
    };
    let head = is_fresh(store, node, lo)?;
    let tail = is_fresh(store, node, hi - 1)?;
    if offset > size {
        // Loads what `zero_tail` will need: nothing may fail once the map has changed.
        locate(store, node, (size / BLOCK) as u32)?;
    }
    let mut pieces = Vec::with_capacity(2);
    if valid < lo {
        pieces.push(Piece {
            lo: valid,
            hi: lo,
            set: Some(true),
            fill: None,
        });
    }
    pieces.push(Piece {
        lo,
        hi,
        set: Some(false),
        fill: Some(false),
    });
    let ahead = blocks_ahead(store, node, (offset, hi), open)?;
    let last = pieces.len() - 1;
    pieces[last].hi = hi + ahead;
    match remap(store, node, &pieces) {
        Err(FsError::NoSpace { .. }) if ahead > 0 => {
            pieces[last].hi = hi;
            remap(store, node, &pieces)?;
        }
        other => other?,
    }
    if offset > size {
        zero_tail(store, node, offset)?;
    }
    if head {
        zero(store, node, offset - offset % BLOCK, offset)?;
    }
    if tail && end < size {
        zero(store, node, end, end.next_multiple_of(BLOCK))?;
    }
    Ok(())
}

/// How much to allocate ahead of an open file that is appended to: as much as it has, so that
/// files that grow side by side have few extents. Given back at the last close.
fn blocks_ahead<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    (offset, hi): (u64, u32),
    open: bool,
) -> Result<u32, FsError> {
    let size = node.inode.size;
    if !open || size == 0 || offset > size || hi < blocks_of(size) || hi >= MAX_LOGICAL {
        return Ok(0);
    }
    match locate(store, node, hi)? {
        Segment::Mapped(..) => Ok(0),
        Segment::Hole(len) => {
            let wanted = node.inode.blocks.clamp(1, MAX_AHEAD).min(len);
            Ok(if u64::from(wanted) * 4 > store.available_blocks() {
                0
            } else {
                wanted
            })
        }
    }
}

/// Frees the blocks beyond the end of the file.
pub fn trim<M: Memory>(store: &mut Store<M>, node: &mut Node) -> Result<(), FsError> {
    let lo = blocks_of(node.inode.size);
    let left_over = extents::collect(store, node, lo, MAX_LOGICAL)?;
    if left_over.is_empty() {
        return Ok(());
    }
    let pool = extents::prepare(store, node, lo, MAX_LOGICAL, 0)?;
    extents::splice(store, node, (lo, MAX_LOGICAL), &[], pool);
    for extent in left_over {
        store.free_run(extent.physical, extent.len);
        node.inode.blocks = node.inode.blocks.saturating_sub(extent.len);
    }
    node.store(store);
    Ok(())
}

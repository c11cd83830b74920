//! Where on stable memory a byte of a file is.

use std::num::NonZeroU64;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::extents::{leaf_of, load_leaf};
use super::node::{Node, Window};
use super::store::Store;
use crate::format::BLOCK;
use crate::format::extent::{MAX_FILE, MAX_LOGICAL};
use crate::format::inode::Kind;

/// What is at a logical block, and for how many blocks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Segment {
    /// Allocated: block, blocks, unwritten.
    Mapped(u32, u32, bool),
    /// Nothing, for so many blocks.
    Hole(u32),
}

/// What is at logical block `logical`. The map must be loaded.
#[inline]
pub fn locate<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    logical: u32,
) -> Result<Segment, FsError> {
    match node.window.locate(u64::from(logical) * BLOCK) {
        Some((at, len)) => Ok(Segment::Mapped(
            (at / BLOCK) as u32,
            (len / BLOCK) as u32,
            false,
        )),
        None => search(store, node, logical),
    }
}

/// Address of the bytes `offset..end` of a file with a name, if they are written, in one extent,
/// and the map is at hand. The window moves there: for accesses that jump.
#[inline(never)]
pub fn refocus(node: &mut Node, offset: u64, end: u64) -> Option<NonZeroU64> {
    if !node.jumps.known() {
        return refocus_by_search(node, offset, end);
    }
    let window = node.jumps.find(offset)?;
    let at = window.covers(offset, end).and_then(NonZeroU64::new)?;
    node.window = *window;
    Some(at)
}

#[inline(never)]
fn refocus_by_search(node: &mut Node, offset: u64, end: u64) -> Option<NonZeroU64> {
    if node.inode.kind != Kind::Regular || node.inode.nlink == 0 || offset >= MAX_FILE {
        return None;
    }
    let logical = (offset / BLOCK) as u32;
    let leaf = &node.leaves[last_before(&node.leaves, |leaf| leaf.first, logical)?];
    let extents = leaf.extents.as_deref()?;
    let extent = &extents[last_before(extents, |extent| extent.logical, logical)?];
    if extent.unwritten {
        return None;
    }
    let window = Window::of(extent);
    let at = window.covers(offset, end).and_then(NonZeroU64::new)?;
    node.window = window;
    node.jumps.searched(&node.leaves);
    Some(at)
}

/// Index of the last of `items` that begins at or before `logical`, if it is not before them all.
/// The library's search costs twice as much.
#[inline(always)]
fn last_before<T>(items: &[T], first: impl Fn(&T) -> u32, logical: u32) -> Option<usize> {
    let (mut at, mut len) = (0, items.len());
    while len > 1 {
        let half = len / 2;
        if first(&items[at + half]) <= logical {
            at += half;
        }
        len -= half;
    }
    (first(items.get(at)?) <= logical).then_some(at)
}

fn search<M: Memory>(store: &Store<M>, node: &mut Node, logical: u32) -> Result<Segment, FsError> {
    let leaf = leaf_of(node, logical);
    let bound = node
        .leaves
        .get(leaf + 1)
        .map_or(MAX_LOGICAL, |next| next.first);
    let extents = load_leaf(store, node, leaf)?;
    let after = extents.partition_point(|e| e.logical <= logical);
    let next = extents.get(after).map_or(bound, |e| e.logical);
    let Some(at) = after.checked_sub(1) else {
        return Ok(Segment::Hole(next - logical));
    };
    let e = extents[at];
    if logical < e.end() {
        if !e.unwritten && node.inode.kind == Kind::Regular && node.inode.nlink > 0 {
            node.window = Window::of(&e);
        }
        let skip = logical - e.logical;
        return Ok(Segment::Mapped(
            e.physical + skip,
            e.len - skip,
            e.unwritten,
        ));
    }
    Ok(Segment::Hole(next - logical))
}

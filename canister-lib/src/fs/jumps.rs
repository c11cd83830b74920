//! Finding extents for accesses that jump about: a table by place in the file.
//!
//! A search by halves costs thirty instructions a step. Where a file is read or written here and
//! there, its extents are looked up by the place in the file instead, in a table that is made once
//! for as long as the map does not change.

use super::node::{Leaf, Window};
use crate::format::BLOCK;

/// Jumps after which making the table is thought about, and after as many again.
const FIRST: u32 = 32;
/// Extents for each jump up to which it is made: it costs some 85 instructions an extent and saves
/// 180 to 280 a jump.
const EXTENTS_A_JUMP: usize = 4;
/// Most extents in a table: 640 KiB of the heap.
const MOST: usize = 16_384;

/// What is known of a file to find its extents by.
#[derive(Clone, Debug, Default)]
pub struct Jumps {
    count: u32,
    table: Option<Box<Table>>,
}

/// The written extents in order, and which of them are where.
#[derive(Clone, Debug)]
struct Table {
    windows: Box<[Window]>,
    /// For each granule of `1 << shift` bytes, the first extent that may hold a byte of it and how
    /// many may, in the lower and the upper half.
    granules: Box<[u32]>,
    shift: u32,
}

impl Jumps {
    /// Whether [`Self::find`] knows.
    #[inline(always)]
    pub fn known(&self) -> bool {
        self.table.is_some()
    }

    /// The written extent that holds byte `offset`, or any other one.
    #[inline(always)]
    pub fn find(&self, offset: u64) -> Option<&Window> {
        let table = self.table.as_deref()?;
        let granule = table.granules.get((offset >> table.shift) as usize)?;
        let (mut at, mut len) = ((granule & 0xffff) as usize, granule >> 16);
        while len > 1 {
            let half = len / 2;
            let middle = at + half as usize;
            if table.windows.get(middle)?.start <= offset {
                at = middle;
            }
            len -= half;
        }
        table.windows.get(at)
    }

    /// Counts a jump that had to search, and makes the table when it is worth it.
    #[inline(always)]
    pub fn searched(&mut self, leaves: &[Leaf]) {
        self.count = self.count.wrapping_add(1);
        if self.count.is_multiple_of(FIRST) {
            self.consider(leaves);
        }
    }

    #[inline(never)]
    fn consider(&mut self, leaves: &[Leaf]) {
        let most = (self.count as usize)
            .saturating_mul(EXTENTS_A_JUMP)
            .min(MOST);
        let extents: Option<usize> = leaves
            .iter()
            .map(|leaf| leaf.extents.as_ref().map(Vec::len))
            .sum();
        if extents.is_some_and(|extents| extents <= most) {
            self.table = Table::of(leaves).map(Box::new);
        }
    }
}

impl Table {
    /// Of leaves that are loaded; `None` if nothing is written.
    fn of(leaves: &[Leaf]) -> Option<Self> {
        let extents = leaves.iter().flat_map(|leaf| leaf.extents.iter().flatten());
        let windows: Box<[Window]> = extents
            .filter(|extent| !extent.unwritten)
            .map(Window::of)
            .collect();
        let last = windows.last()?.end - 1;
        // Two to four granules an extent, but none below a block.
        let wanted = 4 * windows.len() as u64;
        let shift = (last / wanted).checked_ilog2().map_or(0, |bits| bits + 1);
        let shift = shift.max(BLOCK.ilog2());
        let mut granules = Vec::with_capacity((last >> shift) as usize + 1);
        let mut first = 0;
        for granule in 0..=last >> shift {
            let begin = granule << shift;
            let starts_by = |at: usize, byte: u64| {
                let window: Option<&Window> = windows.get(at);
                window.is_some_and(|window| window.start <= byte)
            };
            while starts_by(first + 1, begin) {
                first += 1;
            }
            let mut after = first + 1;
            while starts_by(after, begin + (1 << shift) - 1) {
                after += 1;
            }
            granules.push((after - first) as u32 * 0x1_0000 + first as u32);
        }
        Some(Self {
            windows,
            granules: granules.into(),
            shift,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::extent::Extent;

    /// Extents of one to `longest` blocks with gaps of as many or none, every fifth one unwritten.
    fn extents(count: u32, longest: u32) -> Vec<Extent> {
        let (mut state, mut logical) = (count, 0);
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        (0..count)
            .map(|at| {
                logical += random(2) * random(longest);
                let len = 1 + random(longest);
                let extent = Extent {
                    logical,
                    physical: 7 * at + 1,
                    len,
                    unwritten: at % 5 == 4,
                    birth: 0,
                };
                logical += len;
                extent
            })
            .collect()
    }

    #[test]
    fn a_table_knows_every_written_byte_and_no_other() {
        for (count, longest) in [(1, 1), (2, 9), (7, 3), (100, 1), (300, 40), (1_000, 500)] {
            let extents = extents(count, longest);
            let leaves: Vec<Leaf> = extents
                .chunks(254)
                .map(|part| Leaf {
                    extents: Some(part.to_vec()),
                    ..Leaf::default()
                })
                .collect();
            let mut jumps = Jumps::default();
            let wanted = count
                .div_ceil(EXTENTS_A_JUMP as u32)
                .next_multiple_of(FIRST);
            for _ in 0..wanted {
                assert!(!jumps.known());
                jumps.searched(&leaves);
            }
            assert!(jumps.known());
            let end = extents.last().expect("at least one").end() + 3;
            for block in 0..end {
                let holds = |e: &&Extent| !e.unwritten && e.logical <= block && block < e.end();
                let window = extents.iter().find(holds).map(Window::of);
                for offset in [0, 1, BLOCK - 1].map(|byte| u64::from(block) * BLOCK + byte) {
                    let found = jumps
                        .find(offset)
                        .and_then(|w| w.covers(offset, offset + 1));
                    let there = window.and_then(|w| w.covers(offset, offset + 1));
                    assert_eq!(found, there, "{count} extents, byte {offset}");
                }
            }
        }
    }
}

//! Free space: a bitmap, one block of it for each group of 32,768 blocks, and a map of full groups.
//!
//! Groups are loaded when needed; changed words are written through. `reserve` decides about quota
//! and growth before anything is stored; after it, single blocks cannot run out.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::store::Store;
use crate::format::{
    BLOCK, BLOCK_LEN, FIRST_BITMAP, FIRST_FREE, FULL_MAP, GROUP_BLOCKS, MAX_GROUPS, address,
};
use crate::memory::{Space, WASM_PAGE};

const WORDS: usize = BLOCK_LEN / 8;
/// Groups kept in the heap: 4 KiB each.
const CACHED_GROUPS: usize = 16;
/// Groups that are searched for a long run before the best so far is taken.
const SEARCHED_GROUPS: u32 = 8;
/// Most blocks by which the memory is grown ahead of need: 8 MiB.
const MAX_SLACK: u32 = 2048;

/// Bits of 64 blocks, as they are stored.
type Word = [u8; 8];

struct Group {
    index: u32,
    words: Box<[Word; WORDS]>,
}

/// The parts of the bitmap that are in the heap.
#[derive(Default)]
pub struct Bitmap {
    groups: Vec<Group>,
    next_evicted: usize,
    full: Vec<u64>,
}

/// First run of zero bits in `from..to`, of at least `want`; else the longest. `(start, len)`.
fn find_run(words: &[Word; WORDS], from: u32, to: u32, want: u32) -> Option<(u32, u32)> {
    let mut best = (0, 0);
    let mut at = from;
    while let Some(start) = next_bit(words, at, to, 0) {
        let end = next_bit(words, start, to.min(start.saturating_add(want)), u64::MAX)
            .unwrap_or(to.min(start.saturating_add(want)));
        if end - start > best.1 {
            best = (start, end - start);
            if best.1 >= want {
                break;
            }
        }
        at = end;
    }
    (best.1 > 0).then_some(best)
}

/// First bit in `from..to` that is 1 (`ones` all ones) or 0 (`ones` zero).
fn next_bit(words: &[Word; WORDS], from: u32, to: u32, ones: u64) -> Option<u32> {
    let mut at = from;
    while at < to {
        let word = (u64::from_le_bytes(words[(at / 64) as usize]) ^ !ones) >> (at % 64);
        if word != 0 {
            let found = at + word.trailing_zeros();
            return (found < to).then_some(found);
        }
        at = (at / 64 + 1) * 64;
    }
    None
}

fn groups(total: u32) -> u32 {
    total.div_ceil(GROUP_BLOCKS)
}

fn bitmap_block(group: u32) -> u32 {
    if group == 0 {
        FIRST_BITMAP
    } else {
        group * GROUP_BLOCKS
    }
}

/// Blocks that a group's own metadata takes.
fn fixed_blocks(group: u32) -> u32 {
    if group == 0 { FIRST_FREE } else { 1 }
}

/// The bitmap of a group, loaded if need be.
fn group_of<'b, M: Memory>(
    space: &Space<M>,
    bitmap: &'b mut Bitmap,
    index: u32,
) -> Result<&'b mut Group, FsError> {
    let found = bitmap.groups.iter().position(|g| g.index == index);
    let at = match found {
        Some(at) => at,
        None => {
            let mut words = Box::new([[0; 8]; WORDS]);
            space.read(address(bitmap_block(index)), words.as_flattened_mut())?;
            let group = Group { index, words };
            if bitmap.groups.len() < CACHED_GROUPS {
                bitmap.groups.push(group);
                bitmap.groups.len() - 1
            } else {
                let at = bitmap.next_evicted % CACHED_GROUPS;
                bitmap.next_evicted = at + 1;
                bitmap.groups[at] = group;
                at
            }
        }
    };
    Ok(&mut bitmap.groups[at])
}

/// Sets or clears the bits of `mask`; returns how many changed.
fn set(word: &mut Word, mask: u64, used: bool) -> u32 {
    let old = u64::from_le_bytes(*word);
    let new = if used { old | mask } else { old & !mask };
    *word = new.to_le_bytes();
    (old ^ new).count_ones()
}

/// Sets or clears all bits of `words`; returns how many changed.
fn set_all(words: &mut [Word], used: bool) -> u32 {
    let new = if used { u64::MAX } else { 0 };
    let word = |word: &Word| u64::from_le_bytes(*word);
    // Nearly always all of them: to see that is much cheaper than to count.
    let (fours, rest) = words.as_chunks::<4>();
    let (mut and, mut or) = (u64::MAX, 0);
    if used {
        for [a, b, c, d] in fours {
            or |= word(a) | word(b) | word(c) | word(d);
        }
    } else {
        for [a, b, c, d] in fours {
            and &= word(a) & word(b) & word(c) & word(d);
        }
    }
    let all = if used { or == 0 } else { and == u64::MAX };
    let changed = |words: &[Word]| words.iter().map(|w| (word(w) ^ new).count_ones()).sum();
    let changed: u32 = if all {
        fours.len() as u32 * 4 * u64::BITS + changed(rest)
    } else {
        changed(words)
    };
    words.as_flattened_mut().fill(new as u8);
    changed
}

impl<M: Memory> Store<M> {
    fn group(&mut self, index: u32) -> Result<&mut Group, FsError> {
        group_of(&self.space, &mut self.bitmap, index)
    }

    /// Whether a group is marked as having no free block.
    pub fn group_is_full(&mut self, group: u32) -> Result<bool, FsError> {
        let word = (group / 64) as usize;
        while self.bitmap.full.len() <= word {
            let mut b = [0; 8];
            let at = address(FULL_MAP) + 8 * self.bitmap.full.len() as u64;
            self.read(at, &mut b)?;
            self.bitmap.full.push(u64::from_le_bytes(b));
        }
        Ok(self.bitmap.full[word] >> (group % 64) & 1 != 0)
    }

    fn set_group_full(&mut self, group: u32, full: bool) -> Result<(), FsError> {
        if self.group_is_full(group)? != full {
            let word = (group / 64) as usize;
            self.bitmap.full[word] ^= 1 << (group % 64);
            let bytes = self.bitmap.full[word].to_le_bytes();
            self.put(address(FULL_MAP) + 8 * word as u64, &bytes);
        }
        Ok(())
    }

    /// Sets or clears the bits of `len` blocks from `start`, within one group; returns how many
    /// changed, and has stored the words.
    fn mark(&mut self, start: u32, len: u32, used: bool) -> Result<u32, FsError> {
        let index = start / GROUP_BLOCKS;
        let (from, to) = (start % GROUP_BLOCKS, start % GROUP_BLOCKS + len);
        let (first, last) = ((from / 64) as usize, ((to - 1) / 64) as usize);
        let head = u64::MAX << (from % 64);
        let tail = u64::MAX >> (63 - (to - 1) % 64);
        let Self { space, bitmap, .. } = self;
        let words = &mut group_of(space, bitmap, index)?.words[first..=last];
        let changed = match words {
            [word] => set(word, head & tail, used),
            [start, between @ .., end] => {
                set(start, head, used) + set_all(between, used) + set(end, tail, used)
            }
            [] => 0,
        };
        let at = address(bitmap_block(index)) + 8 * first as u64;
        space.write(at, words.as_flattened())?;
        Ok(changed)
    }

    /// Blocks in use, metadata included.
    pub fn used_blocks(&self) -> u32 {
        self.sb.total_blocks - self.sb.free_blocks
    }

    /// Blocks that can still be had, as far as is known.
    pub fn available_blocks(&self) -> u64 {
        let max = MAX_GROUPS * (GROUP_BLOCKS - 1);
        let limit = if self.grow_refused {
            self.sb.total_blocks
        } else {
            max
        };
        let quota = self.sb.quota.map_or(u64::from(max), |bytes| bytes / BLOCK);
        u64::from(limit)
            .min(quota)
            .saturating_sub(u64::from(self.used_blocks()))
    }

    /// The error for `blocks` blocks that cannot be had.
    pub fn no_space(&self, blocks: u64) -> FsError {
        FsError::NoSpace {
            needed: blocks * BLOCK,
            available: self.available_blocks() * BLOCK,
        }
    }

    /// Makes sure that `blocks` blocks are free and within the quota, growing the memory if
    /// necessary. Changes nothing that anyone can see; fails with `NoSpace`.
    pub fn reserve(&mut self, blocks: u64) -> Result<(), FsError> {
        let quota = self.sb.quota.map_or(u64::MAX, |bytes| bytes / BLOCK);
        if u64::from(self.used_blocks()) + blocks > quota {
            return Err(self.no_space(blocks));
        }
        let free = u64::from(self.sb.free_blocks);
        if free >= blocks {
            return Ok(());
        }
        let total = u64::from(self.sb.total_blocks);
        // Each new group takes one block for its bitmap.
        let short = blocks - free;
        let target = total + short + short.div_ceil(u64::from(GROUP_BLOCKS) - 1) + 1;
        if !self.grow_to(target)? || u64::from(self.sb.free_blocks) < blocks {
            return Err(self.no_space(blocks));
        }
        Ok(())
    }

    /// Grows to at least `target` blocks; `false`: refused, nothing changed.
    fn grow_to(&mut self, target: u64) -> Result<bool, FsError> {
        let max = u64::from(MAX_GROUPS) * u64::from(GROUP_BLOCKS - 1);
        if target > max {
            return Ok(false);
        }
        let slack = u64::from((self.sb.total_blocks / 8).min(MAX_SLACK));
        let have = self.space.size() / WASM_PAGE;
        let pages = |blocks: u64| (blocks * BLOCK).div_ceil(WASM_PAGE).saturating_sub(have);
        let generous = pages((target + slack).min(max));
        if !(pages(target) == 0 || self.space.grow(generous) || self.space.grow(pages(target))) {
            self.grow_refused = true;
            return Ok(false);
        }
        let old = self.sb.total_blocks;
        let new = (self.space.size() / BLOCK).min(max) as u32;
        self.sb.total_blocks = new;
        self.sb.free_blocks += new - old;
        self.dirty = true;
        for group in groups(old)..groups(new) {
            self.put(address(bitmap_block(group)), &[0; BLOCK_LEN]);
            self.set_group_full(group, false)?;
            self.take_fixed(group)?;
        }
        // The last group of before may have been full, and has room now.
        self.set_group_full((old - 1) / GROUP_BLOCKS, false)?;
        Ok(true)
    }

    /// Marks a new group's own blocks as used.
    pub fn take_fixed(&mut self, group: u32) -> Result<(), FsError> {
        let fixed = fixed_blocks(group);
        self.mark(group * GROUP_BLOCKS, fixed, true)?;
        self.sb.free_blocks -= fixed;
        Ok(())
    }

    fn group_end(&self, group: u32) -> u32 {
        (self.sb.total_blocks - group * GROUP_BLOCKS).min(GROUP_BLOCKS)
    }

    fn take(&mut self, start: u32, len: u32) -> Result<(u32, u32), FsError> {
        let changed = self.mark(start, len, true)?;
        self.sb.free_blocks = self.sb.free_blocks.saturating_sub(changed);
        self.sb.alloc_hint = start + len;
        self.dirty = true;
        Ok((start, len))
    }

    /// Allocates 1 to `want` contiguous blocks: at `goal` if that is free, else the first run of
    /// `want` after the last allocation, else the longest seen. Call [`Self::reserve`] before.
    pub fn alloc_run(&mut self, goal: u32, want: u32) -> Result<(u32, u32), FsError> {
        if goal >= FIRST_FREE && goal < self.sb.total_blocks && !goal.is_multiple_of(GROUP_BLOCKS) {
            let index = goal / GROUP_BLOCKS;
            let (from, end) = (goal % GROUP_BLOCKS, self.group_end(index));
            let words = &self.group(index)?.words;
            let to = end.min(from.saturating_add(want));
            let stop = next_bit(words, from, to, u64::MAX).unwrap_or(to);
            if stop > from {
                return self.take(goal, stop - from);
            }
        }
        match self.search(want, true)? {
            Some((start, len)) => self.take(start, len),
            None => Err(FsError::Corrupt("count of free blocks")),
        }
    }

    /// Allocates `len` contiguous blocks, growing the memory if no run is long enough.
    pub fn alloc_contiguous(&mut self, len: u32) -> Result<u32, FsError> {
        self.reserve(u64::from(len))?;
        if len == 1 {
            return Ok(self.alloc_run(0, 1)?.0);
        }
        if let Some((start, found)) = self.search(len, false)?
            && found >= len
        {
            return Ok(self.take(start, len)?.0);
        }
        // At the end: within the last group, or in a new one.
        let total = u64::from(self.sb.total_blocks);
        let group = u64::from(GROUP_BLOCKS);
        let within = total % group;
        let new_group = within == 0 || within + u64::from(len) > group;
        let target = if new_group {
            total.next_multiple_of(group) + 1
        } else {
            total
        };
        if !self.grow_to(target + u64::from(len))? {
            return Err(self.no_space(u64::from(len)));
        }
        Ok(self.take(target as u32, len)?.0)
    }

    /// Looks for `want` free blocks from the hint on, around the memory. With `best_effort`, gives
    /// up looking for so many after some groups and returns the longest run.
    fn search(&mut self, want: u32, best_effort: bool) -> Result<Option<(u32, u32)>, FsError> {
        let count = groups(self.sb.total_blocks);
        let hint = self.sb.alloc_hint.min(self.sb.total_blocks - 1);
        let first = hint / GROUP_BLOCKS;
        let mut best: Option<(u32, u32)> = None;
        let mut searched = 0;
        for step in 0..=count {
            let index = (first + step) % count;
            if self.group_is_full(index)? {
                continue;
            }
            let end = self.group_end(index);
            // The hint's group is looked at twice: from the hint, and at last from its start.
            let from = if step == 0 { hint % GROUP_BLOCKS } else { 0 };
            let run = find_run(&self.group(index)?.words, from, end, want);
            match run {
                Some((start, len)) if best.is_none_or(|(_, longest)| len > longest) => {
                    best = Some((index * GROUP_BLOCKS + start, len));
                    if len >= want {
                        break;
                    }
                }
                None if from == 0 => self.set_group_full(index, true)?,
                _ => {}
            }
            searched += 1;
            if best_effort && searched >= SEARCHED_GROUPS && best.is_some() {
                break;
            }
        }
        Ok(best)
    }

    /// Frees `len` blocks from `start`. Blocks that are free already, as only a damaged image can
    /// have them, stay so.
    pub fn free_run(&mut self, start: u32, len: u32) {
        let freed = self.mark(start, len, false).and_then(|changed| {
            self.set_group_full(start / GROUP_BLOCKS, false)?;
            Ok(changed)
        });
        let freed = freed.expect("bitmap blocks lie inside the memory");
        self.sb.free_blocks = (self.sb.free_blocks + freed).min(self.sb.total_blocks - FIRST_FREE);
        self.dirty = true;
    }

    /// The bitmap of a group, for `check`.
    pub fn used_in(&mut self, group: u32) -> Result<[u64; WORDS], FsError> {
        Ok(self.group(group)?.words.map(u64::from_le_bytes))
    }
}

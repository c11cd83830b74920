//! `fsck`: verifies the invariants of `docs/FORMAT.md`, and changes nothing.
//!
//! A check goes in parts. Each part reads all metadata, but keeps records of some inodes and some
//! blocks only, and verifies those: so its heap is bounded, it needs nothing of the parts before
//! it, and the file system may change between two of them.
//!
//! A part goes in steps, if it must: it stops wherever it is told to, and what it knows by then can
//! be kept as bytes. Within a part the file system must not change.

mod names;
mod slots;
mod space;
mod state;
mod tree;

use std::ops::Range;

use ic_stable_structures::Memory;

use super::error::FsError;
use super::finding::{Finding, Invariant};
use super::{Fs, store::Store};
use crate::format::GROUP_BLOCKS;
use state::{Phase, State};

/// Findings beyond which a step goes on silently: a damaged image has one cause, many effects.
const MAX_FINDINGS: usize = 1000;

/// How much one part of a check keeps records of.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PartSize {
    /// Inodes: some 28 bytes of heap each.
    pub inodes: u32,
    /// Groups of 32,768 blocks: 4 KiB of heap each.
    pub groups: u32,
}

impl PartSize {
    /// About 0.7 MiB of heap.
    pub const SMALL: Self = Self {
        inodes: 1 << 14,
        groups: 64,
    };
    /// About 60 MiB of heap, for the largest file systems.
    pub const LARGE: Self = Self {
        inodes: 1 << 20,
        groups: 8192,
    };
}

/// Which part of a check.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// From 0 on. One that does not exist has no findings.
    pub index: u32,
    /// The same for all parts of a check.
    pub size: PartSize,
}

/// What a step of a check came to.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is wrong: 1,000 findings at most.
    pub findings: Vec<Finding>,
    /// What the next step needs; `None` if the part is done.
    pub rest: Option<Vec<u8>>,
}

/// Why a part of a check cannot go on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ResumeError {
    /// The file system was used since, and may have changed: the part has to start anew.
    Changed,
    /// These are not the bytes of an earlier step of this part.
    Invalid,
}

struct Check<'a, M: Memory> {
    fs: &'a mut Fs<M>,
    /// Whether the step may go on; asked between two pieces of work.
    go_on: &'a mut dyn FnMut() -> bool,
    findings: Vec<Finding>,
    /// Also verifies what is there once: counters and lists.
    first: bool,
    inodes: Range<u32>,
    blocks: Range<u32>,
    state: State,
}

impl<M: Memory> Fs<M> {
    /// Verifies all invariants; an empty result is a sound file system. Changes nothing.
    /// Cost: reads all metadata; heap as [`PartSize::LARGE`].
    pub fn check(&mut self) -> Vec<Finding> {
        let size = PartSize::LARGE;
        let parts = 0..self.check_parts(size);
        parts
            .flat_map(|index| self.check_part(Part { index, size }))
            .take(MAX_FINDINGS)
            .collect()
    }

    /// How many parts of `size` a check has now, at least 1. Creating files adds parts.
    pub fn check_parts(&self, size: PartSize) -> u32 {
        let sb = &self.store.sb;
        let groups = sb.total_blocks.div_ceil(GROUP_BLOCKS);
        let inodes = sb.inode_end.div_ceil(size.inodes.max(1));
        inodes.max(groups.div_ceil(size.groups.max(1)))
    }

    /// One part of a check in one step; the findings of all parts are those of [`Self::check`].
    /// Changes nothing.
    ///
    /// Cost: reads all inodes and directory pages, and the extents of all files in the parts that
    /// look at blocks; heap as the part's size says.
    pub fn check_part(&mut self, part: Part) -> Vec<Finding> {
        match self.check_step(part, None, &mut || true) {
            Ok(step) => step.findings,
            Err(_) => unreachable!("nothing is resumed"),
        }
    }

    /// A step of a part: from the start, or from where the step ended that gave `rest`, until the
    /// part is done or `go_on`, which is asked after each piece of work, says no. The findings of
    /// all steps are those of the part. Changes nothing.
    ///
    /// Cost: between two questions at most a page of directory entries with their look-ups (some
    /// 300,000 instructions), or the 254 extents of a leaf; at the end of a part its records.
    /// Errors: see [`ResumeError`]. Bytes that were made up lead to wrong findings, to nothing worse.
    pub fn check_step(
        &mut self,
        part: Part,
        rest: Option<&[u8]>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Step, ResumeError> {
        let sb = &self.store.sb;
        let span = |size: u64, end: u32| {
            let start = (u64::from(part.index) * size).min(end.into());
            start as u32..(start + size).min(end.into()) as u32
        };
        let inodes = span(part.size.inodes.max(1).into(), sb.inode_end);
        let group = u64::from(GROUP_BLOCKS);
        let blocks = span(u64::from(part.size.groups.max(1)) * group, sb.total_blocks);
        let lens = (inodes.len(), blocks.len());
        let stamp = stamp(&self.store, part);
        let resumed = rest.map(|rest| State::decode(rest, stamp, lens));
        let mut check = Check {
            first: part.index == 0,
            fs: self,
            go_on,
            findings: Vec::new(),
            state: resumed.unwrap_or_else(|| Ok(State::new(lens)))?,
            inodes,
            blocks,
        };
        let exists = !check.inodes.is_empty() || !check.blocks.is_empty();
        let done = !exists || check.run();
        Ok(Step {
            rest: (!done).then(|| check.state.encode(stamp)),
            findings: check.findings,
        })
    }
}

/// Tells states of the file system, and parts, apart. Whatever may change it raises the number of
/// messages; a mount starts to count anew, at another time.
fn stamp<M: Memory>(store: &Store<M>, part: Part) -> [u64; 4] {
    let size = u64::from(part.size.inodes) << 32 | u64::from(part.size.groups);
    [store.mounted, store.message, size, part.index.into()]
}

impl<M: Memory> Check<'_, M> {
    /// Goes on; whether the part is done.
    fn run(&mut self) -> bool {
        loop {
            let done = match self.state.phase {
                Phase::Slots => self.slots(),
                Phase::Tree => self.tree(),
                Phase::Orphans => !self.first || self.orphans(),
                Phase::FreeList => !self.first || self.free_list(),
                Phase::Sums => {
                    self.links();
                    self.bitmap();
                    if self.first {
                        self.counters();
                    }
                    return true;
                }
            };
            if !done {
                return false;
            }
            self.state.next_phase();
        }
    }

    fn find(&mut self, invariant: Invariant, subject: u32, detail: &'static str) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                invariant,
                subject: subject.into(),
                detail,
            });
        }
    }

    fn fail(&mut self, invariant: Invariant, subject: u32, error: FsError) {
        let detail = match error {
            FsError::Corrupt(detail) => detail,
            _ => "unreadable",
        };
        self.find(invariant, subject, detail);
    }

    /// The record of an inode, if this part keeps one.
    fn index(&self, ino: u32) -> Option<usize> {
        let within = self.inodes.contains(&ino);
        within.then(|| (ino - self.inodes.start) as usize)
    }
}

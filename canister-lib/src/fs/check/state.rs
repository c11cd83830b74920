//! What a part of a check knows so far, and the same as bytes.

use super::ResumeError;
use crate::format::inode::Kind;

/// What directories say of an inode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    pub count: u32,
    pub parent: u32,
    pub subdirs: u32,
}

/// What an inode says of itself.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Seen {
    pub kind: Kind,
    pub nlink: u32,
    pub parent: u32,
}

/// A set of blocks.
#[derive(Debug, PartialEq)]
pub struct Bits(pub Vec<u64>);

/// What is done one after the other.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Phase {
    /// Inodes, and what belongs to them.
    Slots,
    /// Ways up from directories.
    Tree,
    Orphans,
    FreeList,
    /// What the records come to.
    Sums,
}

/// Where in an inode. All zero: at its start.
#[derive(Debug, Default, PartialEq)]
pub struct Place {
    /// Next leaf of a file, next index into the table of a directory.
    pub item: u32,
    /// Blocks so far.
    pub blocks: u32,
    /// Of a directory: pages so far.
    pub pages: u32,
    /// Of a directory: entries so far.
    pub entries: u32,
    /// Cookie of the last entry.
    pub cookie: u64,
}

/// Where in a list, or on the way up from a directory. All zero: not begun.
#[derive(Debug, Default, PartialEq)]
pub struct Walk {
    pub begun: bool,
    pub at: u32,
    /// The member before; on a way up, one that would be met again if the way led around.
    pub mark: u32,
    pub steps: u32,
    pub lap: u32,
}

#[derive(Debug, PartialEq)]
pub struct State {
    pub phase: Phase,
    /// Next inode.
    pub at: u32,
    pub place: Place,
    pub walk: Walk,
    pub used_slots: u32,
    pub free_slots: u32,
    pub orphans: u32,
    /// Blocks of the part that have an owner.
    pub owned: Bits,
    /// Of each inode of the part.
    pub names: Vec<Names>,
    pub seen: Vec<Option<Seen>>,
}

/// Bytes of the stamp, and of what there is once.
const HEAD_LEN: usize = 4 * 8 + 15 * 4;
const RECORD_LEN: usize = 6 * 4;

impl State {
    /// A start, with records of so many inodes and blocks.
    pub fn new((inodes, blocks): (usize, usize)) -> Self {
        Self {
            phase: Phase::Slots,
            at: 0,
            place: Place::default(),
            walk: Walk::default(),
            used_slots: 0,
            free_slots: 0,
            orphans: 0,
            owned: Bits(vec![0; blocks.div_ceil(64)]),
            names: vec![Names::default(); inodes],
            seen: vec![None; inodes],
        }
    }

    pub fn next_phase(&mut self) {
        self.phase = match self.phase {
            Phase::Slots => Phase::Tree,
            Phase::Tree => Phase::Orphans,
            Phase::Orphans => Phase::FreeList,
            Phase::FreeList | Phase::Sums => Phase::Sums,
        };
        (self.at, self.place, self.walk) = (0, Place::default(), Walk::default());
    }

    pub fn encode(&self, stamp: [u64; 4]) -> Vec<u8> {
        let len = HEAD_LEN + 8 * self.owned.0.len() + RECORD_LEN * self.names.len();
        let mut bytes = Vec::with_capacity(len);
        let (place, walk) = (&self.place, &self.walk);
        stamp
            .iter()
            .for_each(|part| bytes.extend(part.to_le_bytes()));
        let head = [
            self.phase as u32,
            self.at,
            place.item,
            place.blocks,
            place.pages,
            place.entries,
            place.cookie as u32,
            (place.cookie >> 32) as u32,
            // Laps are below 2^31.
            walk.lap << 1 | u32::from(walk.begun),
            walk.at,
            walk.mark,
            walk.steps,
            self.used_slots,
            self.free_slots,
            self.orphans,
        ];
        head.iter()
            .for_each(|field| bytes.extend(field.to_le_bytes()));
        let words = self.owned.0.iter();
        words.for_each(|word| bytes.extend(word.to_le_bytes()));
        for (names, seen) in self.names.iter().zip(&self.seen) {
            let (kind, nlink, parent) = match seen {
                Some(seen) => (seen.kind as u32, seen.nlink, seen.parent),
                None => (0, 0, 0),
            };
            let record = [
                names.count,
                names.parent,
                names.subdirs,
                kind,
                nlink,
                parent,
            ];
            let fields = record.iter();
            fields.for_each(|field| bytes.extend(field.to_le_bytes()));
        }
        bytes
    }

    /// The state that [`Self::encode`] turned into `bytes`.
    pub fn decode(
        bytes: &[u8],
        stamp: [u64; 4],
        lens: (usize, usize),
    ) -> Result<Self, ResumeError> {
        let mut state = Self::new(lens);
        let mut rest = bytes;
        let given = [0; 4].map(|_| take(&mut rest).map_or(0, u64::from_le_bytes));
        // Of which part, before when: other parts are an error, other times are not.
        if given[2..] != stamp[2..] {
            return Err(ResumeError::Invalid);
        }
        if given != stamp {
            return Err(ResumeError::Changed);
        }
        let records = 8 * state.owned.0.len() + RECORD_LEN * state.names.len();
        if bytes.len() != HEAD_LEN + records {
            return Err(ResumeError::Invalid);
        }
        let mut next = || take(&mut rest).map_or(0, u32::from_le_bytes);
        state.phase = match next() {
            0 => Phase::Slots,
            1 => Phase::Tree,
            2 => Phase::Orphans,
            3 => Phase::FreeList,
            4 => Phase::Sums,
            _ => return Err(ResumeError::Invalid),
        };
        state.at = next();
        state.place = Place {
            item: next(),
            blocks: next(),
            pages: next(),
            entries: next(),
            cookie: u64::from(next()) | u64::from(next()) << 32,
        };
        let lap = next();
        state.walk = Walk {
            begun: lap & 1 != 0,
            lap: lap >> 1,
            at: next(),
            mark: next(),
            steps: next(),
        };
        (state.used_slots, state.free_slots, state.orphans) = (next(), next(), next());
        for word in &mut state.owned.0 {
            *word = u64::from(next()) | u64::from(next()) << 32;
        }
        for (names, seen) in state.names.iter_mut().zip(&mut state.seen) {
            (names.count, names.parent, names.subdirs) = (next(), next(), next());
            let kind = Kind::decode(next() as u8);
            let (nlink, parent) = (next(), next());
            *seen = kind.map(|kind| Seen {
                kind,
                nlink,
                parent,
            });
        }
        Ok(state)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

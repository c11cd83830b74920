//! What a check can find.

use std::fmt;

/// An invariant of the format, as numbered in `docs/FORMAT.md`.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Invariant {
    /// I1: every block in use has exactly one owner, every other one is free in the bitmap.
    Blocks,
    /// I2: the superblock's counters are those of the bitmap and the inode table.
    Counters,
    /// I3: the link count of an inode is the number of its names.
    Links,
    /// I4: a directory has one name, in its parent; all directories hang from a root.
    Tree,
    /// I5: the orphans are the inodes without names.
    Orphans,
    /// I6: maps are sorted, within bounds, and count their blocks.
    Maps,
    /// I7: an entry is on the page that its hash says, under a cookie of its own.
    Entries,
    /// I8: the list of free inodes holds the free slots.
    FreeInodes,
}

impl Invariant {
    /// Its number in `docs/FORMAT.md`.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }
}

/// Something that is wrong.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What does not hold.
    pub invariant: Invariant,
    /// Where: a block for `Blocks`, an inode otherwise; 0 for the whole.
    pub subject: u64,
    /// What was found.
    pub detail: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.invariant == Invariant::Blocks {
            "block"
        } else {
            "inode"
        };
        write!(
            f,
            "I{} ({kind} {}): {}",
            self.invariant.number(),
            self.subject,
            self.detail
        )
    }
}

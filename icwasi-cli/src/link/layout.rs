//! Where memory, table and globals of both sides lie in the output (*inject*).
//!
//! ```text
//! 0            guest pages   + headroom   guard  stack | data | bss     arena          memory.grow
//! |---- guest -----|- - - - - - - - - - -|----------- library, never grows -----------|-- guest -->
//! ```
//! The guest sees its own size until it grows, then the truth: what it is handed lies behind the
//! library. The headroom is for allocators that take growth for contiguous (`growth.rs`): they are
//! handed nothing else. The guard is written by nobody; a message that finds it changed traps.

use super::error::LinkError;
use super::growth::Growth;
use super::library::Library;
use super::parse::Module;

/// In the visible-pages global: the guest sees the true size of the memory.
pub(crate) const TRUTH: i32 = -1;
/// Bytes of a WebAssembly page.
pub(crate) const PAGE: u64 = 65_536;
const MAX_PAGES: u64 = 65_536;
/// Bytes of the guard.
pub(crate) const GUARD: u64 = 4_096;
/// Headroom of a guest that takes growth for contiguous, unless told otherwise.
pub const CONTIGUOUS_HEADROOM: u64 = 64 << 20;

/// Addresses and indices of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Pages that the guest declares.
    pub guest_pages: u32,
    /// Pages between the guest and the library that the guest is handed first.
    pub headroom_pages: u32,
    /// How the guest takes new pages.
    pub growth: Growth,
    /// Address of the guard.
    pub guard: u32,
    /// Added to the library's addresses.
    pub base: u32,
    /// The library's heap.
    pub arena_start: u32,
    /// Its size in bytes.
    pub arena_size: u32,
    /// Pages of the output's memory.
    pub pages: u32,
    /// Most pages, if the guest declares a maximum.
    pub max_pages: Option<u32>,
    /// Added to the library's table slots.
    pub table_delta: u32,
    /// Slots of the output's table.
    pub table_size: u32,
    /// Added to the library's global indices.
    pub globals: u32,
}

impl Layout {
    /// Places `library` behind `guest`. `arena` and `headroom` in bytes; a headroom of `None` is
    /// what the guest's growth asks for.
    pub fn new(
        guest: &Module<'_>,
        library: &Library<'_>,
        arena: u64,
        headroom: Option<u64>,
        growth: Growth,
    ) -> Result<Self, LinkError> {
        let guest_pages = guest.memory.map_or(0, |m| m.initial);
        let headroom = match (growth, headroom) {
            // Its heap is behind the library.
            (Growth::Moved { .. }, _) => 0,
            (_, Some(headroom)) => headroom,
            (Growth::Contiguous, None) => CONTIGUOUS_HEADROOM,
            (Growth::Anywhere, None) => 0,
        };
        let maximum = guest.memory.and_then(|m| m.maximum);
        // The guest is not handed more than it declares.
        let growable = maximum.map_or(u64::MAX, |max| max.saturating_sub(guest_pages));
        let headroom_pages = headroom.div_ceil(PAGE).min(growable);
        let image_pages = (GUARD + u64::from(library.image_size)).div_ceil(PAGE);
        let library_pages = image_pages.saturating_add(arena.div_ceil(PAGE));
        let pages = guest_pages
            .saturating_add(headroom_pages)
            .saturating_add(library_pages);
        if pages > MAX_PAGES - 1 {
            return Err(LinkError::MemoryFull {
                guest: guest_pages,
                needed: library_pages.saturating_add(headroom_pages),
                limit: MAX_PAGES - 1,
            });
        }
        // All below 2^32 from here on: `pages` is the sum.
        let guard = (guest_pages + headroom_pages) * PAGE;
        let base = guard + GUARD;
        let arena_start = (base + u64::from(library.image_size)).next_multiple_of(16);
        let max_pages = maximum.map(|max| {
            let most = max.saturating_add(library_pages).min(MAX_PAGES);
            most.max(pages) as u32
        });
        let guest_slots = match guest.tables.first() {
            Some(table) => u32::try_from(table.ty.initial).unwrap_or(u32::MAX),
            None => 0,
        };
        let table_delta = guest_slots.saturating_sub(1);
        let library_slots = library.slots.len() as u32;
        let table_size = table_delta
            .checked_add(library_slots)
            .map(|end| end.max(guest_slots));
        let Some(table_size) = table_size.filter(|size| *size <= 10_000_000) else {
            return Err(LinkError::Unsupported {
                feature: format!("a table of {guest_slots} elements"),
                advice: "the IC allows at most 10,000,000",
            });
        };
        Ok(Layout {
            guest_pages: guest_pages as u32,
            headroom_pages: headroom_pages as u32,
            growth,
            guard: guard as u32,
            base: base as u32,
            arena_start: arena_start as u32,
            arena_size: (pages * PAGE - arena_start) as u32,
            pages: pages as u32,
            max_pages,
            table_delta,
            table_size,
            globals: guest.globals.len() as u32,
        })
    }

    /// What the guest sees of its memory first: a number of pages, or [`TRUTH`].
    pub fn visible_at_start(&self) -> i32 {
        match self.growth {
            Growth::Moved { .. } => TRUTH,
            Growth::Anywhere | Growth::Contiguous => self.guest_pages as i32,
        }
    }

    /// The global behind the shims of `memory.size` and `memory.grow`.
    pub fn visible_pages_global(&self, library: &Library<'_>) -> u32 {
        self.globals + library.module.globals.len() as u32
    }

    /// The globals of a command, behind all others.
    pub fn exec_globals(&self, library: &Library<'_>) -> ExecGlobals {
        let first = self.visible_pages_global(library) + 1;
        ExecGlobals {
            exiting: first,
            top: first + 1,
            runs: first + 2,
        }
    }
}

/// Globals that the output has if a command is run in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecGlobals {
    /// 1 while the program exits.
    pub exiting: u32,
    /// Page behind the last one, behind the library, that this run was handed.
    pub top: u32,
    /// Runs so far, this one included.
    pub runs: u32,
}

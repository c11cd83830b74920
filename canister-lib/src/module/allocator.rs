//! The global allocator on the arena that the linker reserves in linear memory.
//!
//! Memory behind the arena belongs to the guest, so it never grows: a full arena traps with a
//! message, which rolls the canister's message back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr;

use dlmalloc::Dlmalloc;

#[link(wasm_import_module = "icwasi_link")]
unsafe extern "C" {
    safe fn arena_start() -> usize;
    safe fn arena_size() -> usize;
}

/// Hands out the arena as one piece.
struct Arena {
    taken: Cell<bool>,
}

// SAFETY: the piece that `alloc` hands out is the arena, which the linker reserved for this
// allocator alone; it is handed out once and never taken back.
unsafe impl dlmalloc::Allocator for Arena {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if self.taken.get() || size > arena_size() {
            return (ptr::null_mut(), 0, 0);
        }
        self.taken.set(true);
        (
            ptr::with_exposed_provenance_mut(arena_start()),
            arena_size(),
            0,
        )
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        // Only asked for pieces of their own, which this system never hands out.
        false
    }

    fn page_size(&self) -> usize {
        // Small, so that an arena of any size is used to its end.
        4096
    }
}

struct ArenaAllocator(UnsafeCell<Dlmalloc<Arena>>);

// SAFETY: a canister has one thread.
unsafe impl Sync for ArenaAllocator {}

#[global_allocator]
static ALLOCATOR: ArenaAllocator =
    ArenaAllocator(UnsafeCell::new(Dlmalloc::new_with_allocator(Arena {
        taken: Cell::new(false),
    })));

impl ArenaAllocator {
    /// Runs `f` on the allocator, and traps if it found no room.
    fn with(&self, size: usize, f: impl FnOnce(&mut Dlmalloc<Arena>) -> *mut u8) -> *mut u8 {
        // SAFETY: one thread, and dlmalloc calls nothing that allocates.
        let pointer = f(unsafe { &mut *self.0.get() });
        if pointer.is_null() {
            full(size);
        }
        pointer
    }
}

// SAFETY: dlmalloc keeps the contract of `GlobalAlloc`; layouts are passed on unchanged.
unsafe impl GlobalAlloc for ArenaAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        self.with(layout.size(), |a| unsafe {
            a.malloc(layout.size(), layout.align())
        })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        self.with(layout.size(), |a| unsafe {
            a.calloc(layout.size(), layout.align())
        })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's; one thread.
        unsafe { (*self.0.get()).free(pointer, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        self.with(size, |a| unsafe {
            a.realloc(pointer, layout.size(), layout.align(), size)
        })
    }
}

/// Traps without allocating.
#[cold]
fn full(size: usize) -> ! {
    const HEAD: &[u8] =
        b"icwasi: the library's heap is full; link with a larger --arena. Bytes wanted: ";
    let mut text = [0; HEAD.len() + 20];
    text[..HEAD.len()].copy_from_slice(HEAD);
    let mut digits = [0; 20];
    let mut rest = size;
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let length = digits.len() - first;
    text[HEAD.len()..HEAD.len() + length].copy_from_slice(&digits[first..]);
    ic0::trap(&text[..HEAD.len() + length])
}

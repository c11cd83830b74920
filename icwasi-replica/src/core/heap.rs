//! A canister's heap: linear memory that knows which pages a message touched.
//!
//! All of it is write-protected between messages. The first write to a page faults; the signal
//! handler copies the page to a shadow mapping at the same offset and lets the write go on.
//! Rolling back copies the saved pages home, committing forgets them: both cost by pages touched,
//! not by memory size. Writes by host functions fault in the same way while wasm is on the stack;
//! elsewhere [`Heap::write`] is used.
//!
//! Needs a Unix with `mmap`, `mprotect` and the delivery of `SIGSEGV` to wasmtime's handler.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Unit of tracking. A multiple of every system's page size.
const PAGE: usize = 16 << 10;
/// Address space behind the reservation in which accesses fault.
pub const GUARD: usize = 32 << 20;
/// Address space of a 32-bit memory.
pub const RESERVATION: usize = 4 << 30;
/// Saved pages that stay allocated for the next message.
const KEEP_SHADOW: usize = 32 << 20;

/// The mappings. `len` is the size that wasm sees; everything behind it is inaccessible.
struct Inner {
    base: *mut u8,
    shadow: *mut u8,
    reserve: usize,
    len: AtomicUsize,
    /// Size at the last commit: pages behind it need no saving.
    committed: AtomicUsize,
    /// One bit per page: writable and, below `committed`, saved.
    touched: Box<[AtomicU64]>,
    touched_pages: AtomicUsize,
    faults: AtomicUsize,
    /// The page behind the last fault's, and how many that one touched.
    next: AtomicUsize,
    step: AtomicUsize,
}

// SAFETY: the pointers are to mappings that `Inner` owns; they are used by one thread at a time,
// which is the contract of `Heap` (only `Core`, through `&mut`, and the wasm it runs reach it).
unsafe impl Send for Inner {}
// SAFETY: as above; shared references only read sizes or run under the same exclusion.
unsafe impl Sync for Inner {}

impl Inner {
    fn is_touched(&self, page: usize) -> bool {
        self.touched[page / 64].load(Relaxed) & (1 << (page % 64)) != 0
    }

    /// Makes pages `[from, to)` writable, saving those that are not yet. Async-signal-safe: only
    /// atomics, memory copies and `mprotect`. `false` if the system refused.
    fn touch(&self, from: usize, to: usize) -> bool {
        let committed = self.committed.load(Relaxed);
        let mut page = from;
        while page < to {
            if self.is_touched(page) {
                page += 1;
                continue;
            }
            let start = page;
            while page < to && !self.is_touched(page) {
                self.touched[page / 64].fetch_or(1 << (page % 64), Relaxed);
                page += 1;
            }
            let (at, end) = (start * PAGE, page * PAGE);
            let saved = end.min(committed).saturating_sub(at);
            // SAFETY: the range lies below `len <= reserve` in both mappings, which do not
            // overlap; it is readable, and the shadow is writable.
            let done = unsafe {
                std::ptr::copy_nonoverlapping(self.base.add(at), self.shadow.add(at), saved);
                rustix::mm::mprotect(
                    self.base.add(at).cast(),
                    end - at,
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )
            };
            if done.is_err() {
                return false;
            }
            self.touched_pages.fetch_add(page - start, Relaxed);
        }
        true
    }

    /// Handles a fault at `address`. `false`: it is not about a first write.
    fn fault(&self, address: usize) -> bool {
        let offset = address.wrapping_sub(self.base as usize);
        let len = self.len.load(Relaxed);
        if offset >= len || self.is_touched(offset / PAGE) {
            return false;
        }
        let page = offset / PAGE;
        // Where memory is written in a row, steps get longer: fewer faults. Elsewhere only once
        // a message has touched very much, so that there are fewer mappings than the kernel's
        // limit, however memory is walked.
        let in_a_row = page == self.next.load(Relaxed);
        let last = self.step.load(Relaxed);
        let faults = self.faults.fetch_add(1, Relaxed);
        let least = match faults {
            0..4_096 => 1,
            4_096..8_192 => 4,
            8_192..12_288 => 16,
            _ => 64,
        };
        let step = if in_a_row { (2 * last).min(64) } else { 1 }.max(least);
        let first = if in_a_row { page } else { page / least * least };
        let end = (first + step).min(len / PAGE);
        self.next.store(end, Relaxed);
        self.step.store(step, Relaxed);
        self.touch(first, end)
    }

    /// Calls `f(offset, length)` for each run of touched pages, ascending.
    fn runs(&self, mut f: impl FnMut(usize, usize)) {
        if self.touched_pages.load(Relaxed) == 0 {
            return;
        }
        let mut run: Option<usize> = None;
        let pages = self.len.load(Relaxed) / PAGE;
        for word in 0..pages.div_ceil(64) {
            let bits = self.touched[word].load(Relaxed);
            if bits == 0 && run.is_none() {
                continue;
            }
            for bit in 0..64 {
                let page = word * 64 + bit;
                let set = bits & (1 << bit) != 0 && page < pages;
                match (run, set) {
                    (None, true) => run = Some(page),
                    (Some(start), false) => {
                        f(start * PAGE, (page - start) * PAGE);
                        run = None;
                    }
                    _ => {}
                }
            }
        }
        if let Some(start) = run {
            f(start * PAGE, (pages - start) * PAGE);
        }
    }

    fn protect(&self, offset: usize, len: usize, flags: MprotectFlags) {
        if len == 0 {
            return;
        }
        // SAFETY: within the reservation, which `Inner` owns.
        let done = unsafe { rustix::mm::mprotect(self.base.add(offset).cast(), len, flags) };
        // Removing rights splits a mapping at most where one was split before, so this does not
        // run into the kernel's limit; going on with a writable page would lose a rollback.
        done.expect("mprotect of own memory");
    }

    fn discard(base: *mut u8, offset: usize, len: usize) {
        if len > 0 {
            // SAFETY: within a mapping that `Inner` owns; anonymous, so it reads as zeros after.
            let done =
                unsafe { rustix::mm::madvise(base.add(offset).cast(), len, Advice::LinuxDontNeed) };
            done.expect("madvise of own memory");
        }
    }

    /// Forgets what was touched and write-protects it again.
    fn seal(&self) {
        let saved = self.touched_pages.load(Relaxed) * PAGE;
        self.runs(|offset, len| {
            self.protect(offset, len, MprotectFlags::READ);
            if saved > KEEP_SHADOW {
                Self::discard(self.shadow, offset, len);
            }
        });
        if saved > 0 {
            for word in &self.touched {
                word.store(0, Relaxed);
            }
        }
        self.touched_pages.store(0, Relaxed);
        self.faults.store(0, Relaxed);
        self.next.store(usize::MAX, Relaxed);
        self.step.store(1, Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: both mappings are owned and nothing refers to them any more.
        unsafe {
            let _ = rustix::mm::munmap(self.base.cast(), self.reserve + GUARD);
            let _ = rustix::mm::munmap(self.shadow.cast(), self.reserve);
        }
    }
}

/// A canister's heap. Clones share it; the instance that runs on it holds one.
#[derive(Clone)]
pub struct Heap(Arc<Inner>);

impl Heap {
    /// Reserves address space for at least `maximum` bytes; size 0.
    pub fn new(maximum: u64) -> std::io::Result<Heap> {
        let reserve = usize::try_from(maximum)
            .unwrap_or(usize::MAX)
            .clamp(RESERVATION, 1 << 40)
            .next_multiple_of(PAGE * 64);
        // SAFETY: new anonymous mappings at addresses of the system's choice.
        let (base, shadow) = unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            let base = rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                reserve + GUARD,
                ProtFlags::empty(),
                flags,
            )?;
            let shadow = rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                reserve,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            );
            match shadow {
                Ok(shadow) => (base, shadow),
                Err(e) => {
                    let _ = rustix::mm::munmap(base, reserve + GUARD);
                    return Err(e.into());
                }
            }
        };
        let words = reserve / PAGE / 64;
        Ok(Heap(Arc::new(Inner {
            base: base.cast(),
            shadow: shadow.cast(),
            reserve,
            len: AtomicUsize::new(0),
            committed: AtomicUsize::new(0),
            touched: (0..words).map(|_| AtomicU64::new(0)).collect(),
            touched_pages: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
            next: AtomicUsize::new(usize::MAX),
            step: AtomicUsize::new(1),
        })))
    }

    /// Current size in bytes.
    pub fn len(&self) -> u64 {
        self.0.len.load(Relaxed) as u64
    }

    /// Grows to `len` bytes; `false` if that is beyond the reservation or not whole pages.
    pub fn grow_to(&self, len: u64) -> bool {
        let Ok(new) = usize::try_from(len) else {
            return false;
        };
        let old = self.0.len.load(Relaxed);
        if new > self.0.reserve || !new.is_multiple_of(PAGE) || new < old {
            return false;
        }
        self.0.protect(old, new - old, MprotectFlags::READ);
        self.0.len.store(new, Relaxed);
        true
    }

    /// Writes from outside of wasm. `false` if the range is not within the heap.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(at) = self.check(offset, bytes.len()) else {
            return false;
        };
        if bytes.is_empty() {
            return true;
        }
        if !self.0.touch(at / PAGE, (at + bytes.len()).div_ceil(PAGE)) {
            return false;
        }
        // SAFETY: the range was checked against `len` and has just been made writable.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.base.add(at), bytes.len());
        }
        true
    }

    /// Reads from outside of wasm. `false` if the range is not within the heap.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(at) = self.check(offset, out.len()) else {
            return false;
        };
        // SAFETY: the range was checked against `len`, below which all is readable.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.base.add(at), out.as_mut_ptr(), out.len());
        }
        true
    }

    fn check(&self, offset: u64, len: usize) -> Option<usize> {
        let end = offset.checked_add(len as u64)?;
        (end <= self.len()).then_some(offset as usize)
    }

    /// Bytes that a rollback would copy.
    pub fn touched_bytes(&self) -> u64 {
        (self.0.touched_pages.load(Relaxed) * PAGE) as u64
    }

    /// Ranges that may differ from the last commit.
    pub fn changes(&self) -> Vec<(u64, &[u8])> {
        let mut out = Vec::new();
        self.0.runs(|offset, len| {
            // SAFETY: below `len`, so readable; no wasm runs while `&self` is borrowed here.
            let bytes = unsafe { std::slice::from_raw_parts(self.0.base.add(offset), len) };
            out.push((offset as u64, bytes));
        });
        out
    }

    /// Keeps all changes.
    pub fn commit(&self) {
        self.0.committed.store(self.0.len.load(Relaxed), Relaxed);
        self.0.seal();
    }

    /// Undoes all changes since the last commit. `true` if it had grown, so that an instance on
    /// it believes in a size that it no longer has.
    pub fn rollback(&self) -> bool {
        let committed = self.0.committed.load(Relaxed);
        self.0.runs(|offset, len| {
            let len = committed.saturating_sub(offset).min(len);
            // SAFETY: touched pages are writable and, below `committed`, were saved.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    self.0.shadow.add(offset),
                    self.0.base.add(offset),
                    len,
                );
            }
        });
        self.0.seal();
        let len = self.0.len.load(Relaxed);
        if len > committed {
            Inner::discard(self.0.base, committed, len - committed);
            self.0
                .protect(committed, len - committed, MprotectFlags::empty());
            self.0.len.store(committed, Relaxed);
        }
        len > committed
    }

    /// What a store's signal handler calls with the address of a fault.
    pub fn fault_handler(&self) -> impl Fn(usize) -> bool + Send + Sync + use<> {
        let inner = self.0.clone();
        move |address| inner.fault(address)
    }
}

thread_local! {
    /// The heap that the instance being made on this thread is to use.
    static NEXT: RefCell<Option<Heap>> = const { RefCell::new(None) };
}

/// Makes an instance with `f`, whose memory will be `heap`.
pub fn with_heap<R>(heap: &Heap, f: impl FnOnce() -> R) -> R {
    NEXT.set(Some(heap.clone()));
    let result = f();
    NEXT.set(None);
    result
}

/// Gives wasmtime the heap named by [`with_heap`].
pub struct HeapCreator;

// SAFETY: the memory handed out reserves what is asked for, with a guard behind it, stays where
// it is, and is zero or what the canister left there.
unsafe impl MemoryCreator for HeapCreator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let heap = NEXT.take().ok_or("no heap was set for this instance")?;
        if reserved.unwrap_or(0) > heap.0.reserve || guard > GUARD {
            return Err("the heap reserves too little address space".into());
        }
        if heap.len() < minimum as u64 && !heap.grow_to(minimum as u64) {
            return Err(format!("cannot make a heap of {minimum} bytes"));
        }
        Ok(Box::new(heap))
    }
}

// SAFETY: `as_ptr` is constant, `byte_size` bytes behind it are accessible (first writes through
// the fault handler), and the rest of the reservation faults.
unsafe impl LinearMemory for Heap {
    fn byte_size(&self) -> usize {
        self.0.len.load(Relaxed)
    }

    fn byte_capacity(&self) -> usize {
        self.0.reserve
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if Heap::grow_to(self, new_size as u64) {
            Ok(())
        } else {
            Err(wasmtime::Error::msg("the heap's reservation is used up"))
        }
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base
    }
}

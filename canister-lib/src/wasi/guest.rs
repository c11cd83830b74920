//! The guest's linear memory, with every pointer checked.
//!
//! On the IC it is the linear memory that this library lives in, too: a guest pointer is a plain
//! address. A range that reaches over the end of the memory is `EFAULT`, where other runtimes
//! trap, and so is one that touches what belongs to an injected library. Buffers at address 0 are
//! `EFAULT` as well (structures are accepted there), since Rust has no slice at null.
//!
//! ```text
//! 0     last of the low part   library (if injected)   beyond        last of the high part
//! |------- guest ----------|---------------------------|------------ guest -----------|
//! ```

use core::marker::PhantomData;

use super::errno::{Errno, Result};

/// Most buffers in one call, as on Linux.
pub const MAX_IOVECS: u32 = 1024;

#[cfg(target_family = "wasm")]
thread_local! {
    // See [`Bounds`]: each apart, so that only what is needed is loaded. What is known of the end
    // of the memory is what it was when it mattered last: asking costs as much as all other checks
    // of a call.
    static KNOWN_LAST: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
    static BEYOND: core::cell::Cell<u32> = const { core::cell::Cell::new(u32::MAX) };
    static HIGH_LAST: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// Bytes at the end of a part of the memory that [`Guest::single`] wants behind every address.
const LAST: u64 = 8;

/// Where the guest's memory is.
#[cfg(any(not(target_family = "wasm"), feature = "module"))]
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Address of the last [`LAST`] bytes before the library; without one, of the memory.
    last: u32,
    /// Address behind the library; `u32::MAX` without one.
    beyond: u32,
    /// Address of the last [`LAST`] bytes of the memory, if there is a library before them.
    high_last: u32,
}

#[cfg(any(not(target_family = "wasm"), feature = "module"))]
impl Bounds {
    /// A memory of `size` bytes, of which the library has the range, if there is one.
    fn with(size: u64, library: Option<core::ops::Range<u32>>) -> Self {
        // At most 4 GiB, as on wasm.
        let last = u32::try_from(size.saturating_sub(LAST)).unwrap_or(u32::MAX - 7);
        match library {
            None => Self {
                last,
                beyond: u32::MAX,
                high_last: 0,
            },
            Some(library) => Self {
                last: library.start.saturating_sub(LAST as u32),
                beyond: library.end,
                high_last: last,
            },
        }
    }
}

/// Says which part of the memory is not the guest's.
#[cfg(all(feature = "module", target_arch = "wasm32", target_os = "unknown"))]
pub(crate) fn set_library(start: u32, end: u32) {
    let size = (core::arch::wasm32::memory_size(0) as u64) << 16;
    let bounds = Bounds::with(size, Some(start..end));
    KNOWN_LAST.set(bounds.last);
    BEYOND.set(bounds.beyond);
    HIGH_LAST.set(bounds.high_last);
}

/// An address where a result of up to eight bytes can be stored: [`Guest::single`] has checked it.
/// Memories never shrink, so it stays one.
#[derive(Clone, Copy, Debug)]
pub struct Out(u32);

/// Checked access to the guest's memory.
#[derive(Debug)]
pub struct Guest<'m> {
    /// An exposed address: a pointer made from null would never alias anything for LLVM.
    base: usize,
    /// [`Bounds::last`]: enough for most addresses.
    last: u32,
    #[cfg(not(target_family = "wasm"))]
    bounds: Bounds,
    memory: PhantomData<&'m mut [u8]>,
}

impl Guest<'static> {
    /// The linear memory that this code runs in.
    ///
    /// # Safety
    /// The guest must have passed control to the library by a WASI call: ranges that it then
    /// names are its own, and nothing else refers to them until the call returns.
    #[cfg(target_family = "wasm")]
    #[inline]
    pub unsafe fn own() -> Self {
        Self {
            base: 0,
            last: KNOWN_LAST.get(),
            memory: PhantomData,
        }
    }
}

impl<'m> Guest<'m> {
    /// A stand-in for tests: `memory` is all of the memory, 8 bytes at least, and all of it but
    /// `library` is the guest's.
    ///
    /// # Panics
    /// If it is shorter.
    #[cfg(not(target_family = "wasm"))]
    pub fn around(memory: &'m mut [u8], library: Option<core::ops::Range<u32>>) -> Self {
        let size = memory.len() as u64;
        assert!(size >= LAST, "a memory of 8 bytes at least");
        let bounds = Bounds::with(size, library);
        Self {
            base: memory.as_mut_ptr().expose_provenance(),
            last: bounds.last,
            bounds,
            memory: PhantomData,
        }
    }

    #[inline(always)]
    fn beyond(&self) -> u32 {
        #[cfg(target_family = "wasm")]
        return BEYOND.get();
        #[cfg(not(target_family = "wasm"))]
        self.bounds.beyond
    }

    #[inline(always)]
    fn high_last(&self) -> u32 {
        #[cfg(target_family = "wasm")]
        return HIGH_LAST.get();
        #[cfg(not(target_family = "wasm"))]
        self.bounds.high_last
    }

    /// Whether the bytes from `address` to `end` are the guest's, if they do not lie in the part
    /// that [`Self::last`] is the end of.
    #[inline(never)]
    fn is_elsewhere(&self, address: u32, end: u64) -> bool {
        let beyond = self.beyond();
        if beyond == u32::MAX {
            return end <= self.size_now();
        }
        address >= beyond && (end <= u64::from(self.high_last()) + LAST || end <= self.size_now())
    }

    /// The size; what is known may be what it was earlier, since memories only grow.
    #[cold]
    fn size_now(&self) -> u64 {
        #[cfg(target_family = "wasm")]
        {
            let size = (core::arch::wasm32::memory_size(0) as u64) << 16;
            // A memory of no page would have no code that runs here.
            let last = size.saturating_sub(LAST) as u32;
            if BEYOND.get() == u32::MAX {
                KNOWN_LAST.set(last);
            } else {
                HIGH_LAST.set(last);
            }
            size
        }
        #[cfg(not(target_family = "wasm"))]
        {
            u64::from(self.bounds.last.max(self.bounds.high_last)) + LAST
        }
    }

    #[inline]
    fn pointer(&self, address: u32) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.base.wrapping_add(address as usize))
    }

    /// Pointer to `len` bytes at `address`, all of them inside the memory.
    #[inline]
    fn range(&self, address: u32, len: u32) -> Result<*mut u8> {
        let end = u64::from(address) + u64::from(len);
        if end > u64::from(self.last) + LAST && !self.is_elsewhere(address, end) {
            return Err(Errno::FAULT);
        }
        Ok(self.pointer(address))
    }

    /// The only buffer of the array of `iovec`s at `array`, if it is not empty and is certain to
    /// exist, as well as a result of up to eight bytes at `out`. `None` says nothing: the checks of
    /// the other functions cost three times as much and are exact.
    #[inline(always)]
    pub fn single(&mut self, array: u32, out: u32) -> Option<(&mut [u8], Out)> {
        let last = self.last;
        if (array > last && !self.is_high(array)) || (out > last && !self.is_high(out)) {
            return None;
        }
        // SAFETY: eight bytes exist at addresses up to `last`, and where `is_high` says so; byte
        // arrays have no alignment.
        let pair = unsafe { self.pointer(array).cast::<[u8; 8]>().read() };
        let pair = u64::from_le_bytes(pair);
        let (address, len) = (pair as u32, (pair >> 32) as u32);
        let start = self.pointer(address);
        if len == 0 || start.is_null() {
            return None;
        }
        if len > last || address > last - len {
            let high_last = self.high_last();
            if address < self.beyond() || len > high_last || address > high_last - len {
                return None;
            }
        }
        // SAFETY: the sum of address and length is at most `last` or, behind the library,
        // `high_last`, so the bytes exist and are the guest's; `&mut self` makes this the only
        // reference.
        let buffer = unsafe { core::slice::from_raw_parts_mut(start, len as usize) };
        Some((buffer, Out(out)))
    }

    /// Copies a `u32` in.
    #[inline(always)]
    pub fn write_out(&mut self, out: Out, value: u32) {
        let to = self.pointer(out.0).cast::<[u8; 4]>();
        // SAFETY: `single` checked that eight bytes exist there; byte arrays have no alignment, and
        // `&mut self` means that no slice of the memory is borrowed.
        unsafe { to.write(value.to_le_bytes()) };
    }

    /// Whether eight bytes at `address` are known to be the guest's, behind the library.
    #[inline(never)]
    fn is_high(&self, address: u32) -> bool {
        address >= self.beyond() && address <= self.high_last()
    }

    /// Checks that `len` bytes at `address` exist.
    #[inline]
    pub fn check(&self, address: u32, len: u32) -> Result<()> {
        self.range(address, len).map(drop)
    }

    /// Copies out `N` bytes.
    #[inline]
    pub fn read<const N: usize>(&self, address: u32) -> Result<[u8; N]> {
        let from = self.range(address, N as u32)?;
        // SAFETY: `range` checked that N bytes exist at `from`; byte arrays have no alignment.
        Ok(unsafe { from.cast::<[u8; N]>().read() })
    }

    /// Copies out a `u32`.
    #[inline]
    pub fn read_u32(&self, address: u32) -> Result<u32> {
        self.read(address).map(u32::from_le_bytes)
    }

    /// Copies `N` bytes in.
    #[inline]
    pub fn write<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<()> {
        let to = self.range(address, N as u32)?;
        // SAFETY: as in `read`; `&mut self` means that no slice of the memory is borrowed.
        unsafe { to.cast::<[u8; N]>().write(bytes) };
        Ok(())
    }

    /// Copies a `u32` in.
    #[inline]
    pub fn write_u32(&mut self, address: u32, value: u32) -> Result<()> {
        self.write(address, value.to_le_bytes())
    }

    /// Copies a `u64` in.
    #[inline]
    pub fn write_u64(&mut self, address: u32, value: u64) -> Result<()> {
        self.write(address, value.to_le_bytes())
    }

    /// Copies `bytes` in.
    pub fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<()> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::FAULT)?;
        let to = self.range(address, len)?;
        // SAFETY: `range` checked the destination; `bytes` cannot overlap it, because `&mut self`
        // means that no slice of the memory is borrowed.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// The bytes themselves, without a copy.
    #[inline]
    pub fn bytes(&self, address: u32, len: u32) -> Result<&[u8]> {
        let from = self.range(address, len)?;
        if len == 0 {
            return Ok(&[]);
        }
        if from.is_null() {
            return Err(Errno::FAULT);
        }
        // SAFETY: `range` checked that the bytes exist; `&self` keeps writers away.
        Ok(unsafe { core::slice::from_raw_parts(from, len as usize) })
    }

    /// The bytes themselves, to be written.
    #[inline]
    pub fn bytes_mut(&mut self, address: u32, len: u32) -> Result<&mut [u8]> {
        let from = self.range(address, len)?;
        if len == 0 {
            return Ok(&mut []);
        }
        if from.is_null() {
            return Err(Errno::FAULT);
        }
        // SAFETY: `range` checked that the bytes exist; `&mut self` makes this the only reference.
        Ok(unsafe { core::slice::from_raw_parts_mut(from, len as usize) })
    }

    /// Address and length of buffer `index` of the array of `iovec`s at `array`.
    #[inline]
    pub fn iovec(&self, array: u32, index: u32) -> Result<(u32, u32)> {
        let address = index
            .checked_mul(8)
            .and_then(|offset| array.checked_add(offset))
            .ok_or(Errno::FAULT)?;
        // As one word: taken apart into bytes, it would cost twenty operators more.
        let pair = u64::from_le_bytes(self.read(address)?);
        Ok((pair as u32, (pair >> 32) as u32))
    }

    /// Checks every buffer of an array of `iovec`s and returns the sum of their lengths.
    ///
    /// `EINVAL`: more than [`MAX_IOVECS`], or more than 4 GiB together. `EFAULT`: outside of the
    /// memory.
    pub fn check_iovecs(&self, array: u32, count: u32) -> Result<u32> {
        if count > MAX_IOVECS {
            return Err(Errno::INVAL);
        }
        let mut total = 0_u32;
        for index in 0..count {
            let (address, len) = self.iovec(array, index)?;
            self.bytes(address, len)?;
            total = total.checked_add(len).ok_or(Errno::INVAL)?;
        }
        Ok(total)
    }
}

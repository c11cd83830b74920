//! The guest's linear memory, with every pointer checked.
//!
//! On the IC it is the linear memory that this library lives in, too: a guest pointer is a plain
//! address. A range that reaches over the end of the memory is `EFAULT`, where other runtimes
//! trap. Buffers at address 0 are `EFAULT` as well (structures are accepted there), since Rust
//! has no slice at null.

use core::marker::PhantomData;

use super::errno::{Errno, Result};

/// Most buffers in one call, as on Linux.
pub const MAX_IOVECS: u32 = 1024;

#[cfg(target_family = "wasm")]
thread_local! {
    /// Address of the last eight bytes of the memory when it mattered last: asking costs as much
    /// as all other checks of a call.
    static KNOWN_LAST: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// Bytes at the end of the memory that [`Guest::single`] wants behind every address.
const LAST: u64 = 8;

/// Checked access to the guest's memory.
#[derive(Debug)]
pub struct Guest<'m> {
    /// An exposed address: a pointer made from null would never alias anything for LLVM.
    base: usize,
    /// Address of the last [`LAST`] bytes.
    last: u32,
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
    /// A stand-in for tests: `memory` is all of the guest's memory, 8 bytes at least.
    ///
    /// # Panics
    /// If it is shorter.
    pub fn over(memory: &'m mut [u8]) -> Self {
        assert!(memory.len() as u64 >= LAST, "a memory of 8 bytes at least");
        Self {
            base: memory.as_mut_ptr().expose_provenance(),
            // At most 4 GiB, as on wasm.
            last: u32::try_from(memory.len() as u64 - LAST).unwrap_or(u32::MAX - 7),
            memory: PhantomData,
        }
    }

    /// The size; what is known may be what it was earlier, since memories only grow.
    #[cold]
    fn size_now(&self) -> u64 {
        #[cfg(target_family = "wasm")]
        {
            let size = (core::arch::wasm32::memory_size(0) as u64) << 16;
            // A memory of no page would have no code that runs here.
            KNOWN_LAST.set(size.saturating_sub(LAST) as u32);
            size
        }
        #[cfg(not(target_family = "wasm"))]
        self.known_size()
    }

    #[inline]
    fn known_size(&self) -> u64 {
        u64::from(self.last) + LAST
    }

    #[inline]
    fn pointer(&self, address: u32) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.base.wrapping_add(address as usize))
    }

    /// Pointer to `len` bytes at `address`, all of them inside the memory.
    #[inline]
    fn range(&self, address: u32, len: u32) -> Result<*mut u8> {
        let end = u64::from(address) + u64::from(len);
        if end > self.known_size() && end > self.size_now() {
            return Err(Errno::FAULT);
        }
        Ok(self.pointer(address))
    }

    /// The only buffer of the array of `iovec`s at `array`, if it is not empty and is certain to
    /// exist, as well as a result of up to eight bytes at `out`. `None` says nothing: the checks of
    /// the other functions cost three times as much and are exact.
    #[inline(always)]
    pub fn single(&mut self, array: u32, out: u32) -> Option<&mut [u8]> {
        let last = self.last;
        if array > last || out > last {
            return None;
        }
        // SAFETY: eight bytes exist at addresses up to `last`; byte arrays have no alignment.
        let pair = unsafe { self.pointer(array).cast::<[u8; 8]>().read() };
        let pair = u64::from_le_bytes(pair);
        let (address, len) = (pair as u32, (pair >> 32) as u32);
        let start = self.pointer(address);
        if len > last || address > last - len || len == 0 || start.is_null() {
            return None;
        }
        // SAFETY: the sum of address and length is at most `last`, so the bytes exist; `&mut self`
        // makes this the only reference.
        Some(unsafe { core::slice::from_raw_parts_mut(start, len as usize) })
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

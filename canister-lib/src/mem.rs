//! `memcpy`, `memmove`, `memset`, `memcmp` and `bcmp` by vectors.
//!
//! On the Internet Computer, `memory.copy` and `memory.fill` cost 100 instructions and one for each
//! byte, and the loops of `compiler-builtins` more than that. A vector of 16 bytes costs two: one
//! load and one store. The module is built without bulk memory operators, so that every copy that
//! the compiler does not unroll comes here.
//!
//! The compiler turns loops that copy into calls of `memcpy` and `memmove`, but not within functions
//! of the names `memcpy` and `memset`, and not loops that store more than one value a step.

#[cfg(target_family = "wasm")]
use core::arch::wasm32::{u8x16_splat as splat, v128 as Vector};

/// A stand-in for native tests.
#[cfg(not(target_family = "wasm"))]
type Vector = [u8; 16];

#[cfg(not(target_family = "wasm"))]
fn splat(byte: u8) -> Vector {
    [byte; 16]
}

const VECTOR: usize = size_of::<Vector>();
const STEP: usize = 4 * VECTOR;

/// Loads a vector.
///
/// # Safety
/// 16 bytes can be read at `from + at`.
#[inline(always)]
unsafe fn load(from: *const u8, at: usize) -> Vector {
    // SAFETY: as the caller promises.
    unsafe { from.add(at).cast::<Vector>().read_unaligned() }
}

/// Stores a vector.
///
/// # Safety
/// 16 bytes can be written at `to + at`.
#[inline(always)]
unsafe fn store(to: *mut u8, at: usize, value: Vector) {
    // SAFETY: as the caller promises.
    unsafe { to.add(at).cast::<Vector>().write_unaligned(value) };
}

/// Copies fewer than 16 bytes: two loads that may overlap, then two stores, so that source and
/// destination may overlap, too.
///
/// # Safety
/// As `memmove`.
#[inline(always)]
unsafe fn copy_small(to: *mut u8, from: *const u8, len: usize) {
    macro_rules! ends {
        ($ty:ty) => {{
            let last = len - size_of::<$ty>();
            // SAFETY: `len` is at least the size of the type.
            unsafe {
                let a = from.cast::<$ty>().read_unaligned();
                let b = from.add(last).cast::<$ty>().read_unaligned();
                to.cast::<$ty>().write_unaligned(a);
                to.add(last).cast::<$ty>().write_unaligned(b);
            }
        }};
    }
    if len >= 8 {
        ends!(u64);
    } else if len >= 4 {
        ends!(u32);
    } else if len >= 2 {
        ends!(u16);
    } else if len == 1 {
        // SAFETY: one byte is there.
        unsafe { to.write(from.read()) };
    }
}

/// Copies from the start on: right if `to` is not within the source.
///
/// # Safety
/// As `memmove`, and `to` is not in `from + 1 .. from + len`.
#[inline(always)]
unsafe fn copy_forward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: every range is within `len` bytes. The last vector is read before anything is
    // written, and each step reads all of what it replaces before it writes.
    unsafe {
        if len < VECTOR {
            return copy_small(to, from, len);
        }
        let last = load(from, len - VECTOR);
        let mut at = 0;
        while len - at >= STEP {
            let (a, b) = (load(from, at), load(from, at + 16));
            let (c, d) = (load(from, at + 32), load(from, at + 48));
            store(to, at, a);
            store(to, at + 16, b);
            store(to, at + 32, c);
            store(to, at + 48, d);
            at += STEP;
        }
        if len - at >= 2 * VECTOR {
            let (a, b) = (load(from, at), load(from, at + 16));
            store(to, at, a);
            store(to, at + 16, b);
            at += 2 * VECTOR;
        }
        if len - at >= VECTOR {
            store(to, at, load(from, at));
        }
        store(to, len - VECTOR, last);
    }
}

/// Copies from the end on.
///
/// # Safety
/// As `memmove`, and `to` is not before `from`.
#[inline(always)]
unsafe fn copy_backward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: as in `copy_forward`, from the other side.
    unsafe {
        if len < VECTOR {
            return copy_small(to, from, len);
        }
        let first = load(from, 0);
        let mut left = len;
        while left >= STEP {
            left -= STEP;
            let (a, b) = (load(from, left), load(from, left + 16));
            let (c, d) = (load(from, left + 32), load(from, left + 48));
            store(to, left + 48, d);
            store(to, left + 32, c);
            store(to, left + 16, b);
            store(to, left, a);
        }
        if left >= 2 * VECTOR {
            left -= 2 * VECTOR;
            let (a, b) = (load(from, left), load(from, left + 16));
            store(to, left + 16, b);
            store(to, left, a);
        }
        if left >= VECTOR {
            left -= VECTOR;
            store(to, left, load(from, left));
        }
        store(to, 0, first);
    }
}

/// Sets `len` bytes.
///
/// # Safety
/// As `memset`.
#[inline(always)]
unsafe fn fill(to: *mut u8, byte: u8, len: usize) {
    // SAFETY: `len` bytes can be written; every store is within them.
    unsafe {
        if len < VECTOR {
            let word = u64::from(byte) * u64::from_ne_bytes([1; 8]);
            if len >= 8 {
                to.cast::<u64>().write_unaligned(word);
                to.add(len - 8).cast::<u64>().write_unaligned(word);
            } else if len >= 4 {
                to.cast::<u32>().write_unaligned(word as u32);
                to.add(len - 4).cast::<u32>().write_unaligned(word as u32);
            } else if len >= 2 {
                to.cast::<u16>().write_unaligned(word as u16);
                to.add(len - 2).cast::<u16>().write_unaligned(word as u16);
            } else if len == 1 {
                to.write(byte);
            }
            return;
        }
        let value = splat(byte);
        let mut at = 0;
        while len - at >= STEP {
            store(to, at, value);
            store(to, at + 16, value);
            store(to, at + 32, value);
            store(to, at + 48, value);
            at += STEP;
        }
        while len - at >= VECTOR {
            store(to, at, value);
            at += VECTOR;
        }
        store(to, len - VECTOR, value);
    }
}

/// The order of two strings of `len` bytes.
///
/// # Safety
/// As `memcmp`.
#[inline(always)]
unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> i32 {
    /// The order of two words as byte strings.
    fn order(a: u64, b: u64) -> i32 {
        u64::from_be(a).cmp(&u64::from_be(b)) as i32
    }
    // SAFETY: `len` bytes can be read at both; every load is within them.
    unsafe {
        let word = |from: *const u8, at: usize| from.add(at).cast::<u64>().read_unaligned();
        if len >= 8 {
            let mut at = 0;
            while at < len - 8 {
                let (x, y) = (word(a, at), word(b, at));
                if x != y {
                    return order(x, y);
                }
                at += 8;
            }
            // What overlaps the words before is equal.
            return order(word(a, len - 8), word(b, len - 8));
        }
        let mut at = 0;
        while at < len {
            let (x, y) = (a.add(at).read(), b.add(at).read());
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            at += 1;
        }
        0
    }
}

#[cfg(target_family = "wasm")]
mod exports {
    use super::{compare, copy_backward, copy_forward, fill};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: the contract of `memcpy`: both ranges exist and do not overlap.
        unsafe { copy_forward(to, from, len) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: the contract of `memmove`: both ranges exist. In the first case `to` is before
        // `from` or after the whole source, in the second it is not before `from`.
        unsafe {
            if to.addr().wrapping_sub(from.addr()) >= len {
                copy_forward(to, from, len);
            } else {
                copy_backward(to, from, len);
            }
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
        // SAFETY: the contract of `memset`: `len` bytes can be written.
        unsafe { fill(to, byte as u8, len) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        // SAFETY: the contract of `memcmp`: `len` bytes can be read at both.
        unsafe { compare(a, b, len) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        // SAFETY: the contract of `bcmp`: `len` bytes can be read at both.
        unsafe { compare(a, b, len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths on both sides of every step.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=130).chain([191, 192, 193, 255, 256, 300])
    }

    fn bytes() -> Vec<u8> {
        (0..1_000_u32).map(|i| (i * 7 + i / 256) as u8).collect()
    }

    #[test]
    fn copies_also_onto_itself() {
        for len in lengths() {
            for (from, to) in (0..40).flat_map(|d| [(300, 300 + d), (300 + d, 300)]) {
                let (mut memory, mut expected) = (bytes(), bytes());
                expected.copy_within(from..from + len, to);
                let start = memory.as_mut_ptr();
                // SAFETY: 1,000 bytes, of which at most 640 are used.
                unsafe {
                    if to <= from || to >= from + len {
                        copy_forward(start.add(to), start.add(from), len);
                    } else {
                        copy_backward(start.add(to), start.add(from), len);
                    }
                }
                assert_eq!(memory, expected, "{len} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn fills() {
        for len in lengths() {
            let (mut memory, mut expected) = (bytes(), bytes());
            expected[100..100 + len].fill(0xA5);
            // SAFETY: within the vector.
            unsafe { fill(memory.as_mut_ptr().add(100), 0xA5, len) };
            assert_eq!(memory, expected, "{len} bytes");
        }
    }

    #[test]
    fn compares() {
        let a = bytes();
        for len in lengths() {
            for change in (0..len).chain([len + 3]) {
                for by in [1, 0x80, 0xFF] {
                    let mut b = a.clone();
                    b[change] = b[change].wrapping_add(by);
                    let expected = a[..len].cmp(&b[..len]) as i32;
                    // SAFETY: within the vectors.
                    let order = unsafe { compare(a.as_ptr(), b.as_ptr(), len) };
                    assert_eq!(order.signum(), expected, "{len} bytes, {change} differs");
                }
            }
        }
    }
}

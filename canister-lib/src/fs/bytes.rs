//! Looking at names by words: names are looked at often, and the library's searches and comparisons
//! go byte by byte on wasm. What is left of the last word is looked at together with bytes before
//! it.

use crate::format::{get_u32, get_u64};

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;
const SLASHES: u64 = ONES * b'/' as u64;

/// Whether all bytes of a word are ASCII, and neither NUL nor '/'. May say no where it is yes.
#[inline(always)]
fn is_plain_word(word: u64) -> bool {
    let slash = word ^ SLASHES;
    // With no byte above 127, a borrow sets the highest bit of a byte that is zero, and that of the
    // byte after it only if that is one.
    (word | word.wrapping_sub(ONES) | slash.wrapping_sub(ONES)) & HIGH == 0
}

/// How many bytes at the start of `bytes` are ASCII, and neither NUL nor '/'.
pub fn plain_until(bytes: &[u8]) -> usize {
    let len = bytes.len();
    let mut at = 0;
    if len >= 8 {
        while at + 8 <= len && is_plain_word(get_u64(bytes, at)) {
            at += 8;
        }
        if at + 8 > len && is_plain_word(get_u64(bytes, len - 8)) {
            return len;
        }
    } else if len >= 4 && is_plain_word(both_ends(bytes)) {
        return len;
    }
    while let Some(&byte) = bytes.get(at)
        && byte.is_ascii()
        && byte != 0
        && byte != b'/'
    {
        at += 1;
    }
    at
}

/// The first and last four of four to eight bytes.
#[inline(always)]
fn both_ends(bytes: &[u8]) -> u64 {
    let (first, last) = (get_u32(bytes, 0), get_u32(bytes, bytes.len() - 4));
    u64::from(first) | u64::from(last) << 32
}

/// Whether two slices hold the same.
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    let len = a.len();
    if len != b.len() {
        return false;
    }
    if len >= 8 {
        let mut at = 0;
        while at + 8 <= len {
            if get_u64(a, at) != get_u64(b, at) {
                return false;
            }
            at += 8;
        }
        return get_u64(a, len - 8) == get_u64(b, len - 8);
    }
    if len >= 4 {
        return both_ends(a) == both_ends(b);
    }
    a.iter().zip(b).all(|(x, y)| x == y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes at the borders of what is plain.
    const ODD: [u8; 10] = [0, 1, 2, b'.', b'/', b'0', 127, 128, 129, 255];

    #[test]
    fn the_first_byte_that_is_not_plain_is_found() {
        let plain = |b: &u8| b.is_ascii() && *b != 0 && *b != b'/';
        for len in 0..40 {
            for first in 0..=len {
                for second in first..=len {
                    for odd in ODD {
                        let mut bytes = vec![b'a'; len + 1];
                        (bytes[first], bytes[second]) = (odd, ODD[second % ODD.len()]);
                        bytes.truncate(len);
                        let expected = bytes.iter().take_while(|b| plain(b)).count();
                        assert_eq!(plain_until(&bytes), expected, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn one_byte_makes_a_difference() {
        for len in 0..40 {
            let a: Vec<u8> = (0..len).collect();
            assert!(same_bytes(&a, &a));
            assert!(!same_bytes(&a, &[&a[..], &[0]].concat()));
            for at in 0..a.len() {
                let mut b = a.clone();
                b[at] ^= 0x80;
                assert!(!same_bytes(&a, &b), "{at} of {len}");
            }
        }
    }
}

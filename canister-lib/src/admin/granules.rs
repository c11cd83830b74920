//! BLAKE3 of a file whose pieces arrive in any order.
//!
//! BLAKE3 is a binary tree over chunks of 1,024 bytes. A *granule* is [`CHUNK_ALIGN`] bytes at a
//! multiple of [`CHUNK_ALIGN`] (fewer at the end of the file), and since that is a power of two
//! of chunks, it is a whole subtree. So its chaining value can be computed when it arrives, and
//! the hash of the file costs one compression a granule at the end.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use icwasi_types::limits::CHUNK_ALIGN;

/// Bytes of a [`Digest`].
pub(super) const DIGEST: usize = 32;

/// What is remembered of a granule: its chaining value, or, if it is the only one of its file,
/// the hash of the file. Never all zeros, which stands for a granule that did not arrive: that
/// an input hashes to zeros is as unlikely as guessing any other hash.
pub(super) type Digest = [u8; DIGEST];

/// The [`Digest`] of a granule that did not arrive.
pub(super) const MISSING: Digest = [0; DIGEST];

/// How many granules a file of `size` bytes has.
pub(super) fn granules(size: u64) -> u64 {
    size.div_ceil(CHUNK_ALIGN)
}

/// Digest of the granule `index` of a file of `size` bytes, of which `data` is the content.
/// Costs about 14 IC instructions per byte.
pub(super) fn digest(size: u64, index: u64, data: &[u8]) -> Digest {
    if size <= CHUNK_ALIGN {
        return *blake3::hash(data).as_bytes();
    }
    Hasher::new()
        .set_input_offset(index * CHUNK_ALIGN)
        .update(data)
        .finalize_non_root()
}

/// Puts the digests of a file's granules, pushed in order, together to the hash of the file.
pub(super) struct Merger {
    left: u64,
    pushed: u64,
    /// Complete subtrees, the largest first; as many as `pushed` has bits set.
    stack: Vec<ChainingValue>,
    root: Option<Digest>,
}

impl Merger {
    /// For a file of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        let root = (size == 0).then(|| *blake3::hash(&[]).as_bytes());
        Merger {
            left: granules(size),
            pushed: 0,
            stack: Vec::new(),
            root,
        }
    }

    /// The digest of the next granule.
    pub(super) fn push(&mut self, digest: Digest) {
        debug_assert!(self.left > 0, "more digests than granules");
        self.left -= 1;
        self.pushed += 1;
        let mut right = digest;
        if self.left == 0 {
            // The right edge: what is on the stack are the left siblings, from the leaf up.
            while let Some(left) = self.stack.pop() {
                right = if self.stack.is_empty() {
                    *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
                } else {
                    merge_subtrees_non_root(&left, &right, Mode::Hash)
                };
            }
            self.root = Some(right);
            return;
        }
        for _ in 0..self.pushed.trailing_zeros() {
            let left = self
                .stack
                .pop()
                .expect("one subtree for each bit set before this push");
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
        }
        self.stack.push(right);
    }

    /// The hash of the file; `None` unless every granule was pushed.
    pub(super) fn finish(self) -> Option<Digest> {
        self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const G: u64 = CHUNK_ALIGN;

    /// Hash by granules that arrive in the order of `keys`.
    fn by_granules(data: &[u8], keys: &[u64]) -> Option<Digest> {
        let size = data.len() as u64;
        let mut order: Vec<u64> = (0..granules(size)).collect();
        order.sort_by_key(|index| keys[*index as usize % keys.len()].wrapping_mul(*index + 1));
        let mut digests = vec![MISSING; order.len()];
        for index in order {
            let from = index * G;
            let to = (from + G).min(size);
            digests[index as usize] = digest(size, index, &data[from as usize..to as usize]);
        }
        let mut merger = Merger::new(size);
        digests.into_iter().for_each(|digest| merger.push(digest));
        merger.finish()
    }

    fn content(size: u64) -> Vec<u8> {
        (0..size)
            .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect()
    }

    #[test]
    fn edges_of_the_tree() {
        for granules in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33] {
            for extra in [0, 1, 1_023, 1_024, 1_025, G - 1] {
                let data = content(granules * G + extra);
                let hash = by_granules(&data, &[1]);
                assert_eq!(
                    hash,
                    Some(*blake3::hash(&data).as_bytes()),
                    "{granules} + {extra}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_size_and_order(size in 0..40 * G, keys in prop::collection::vec(any::<u64>(), 1..50)) {
            let data = content(size);
            prop_assert_eq!(by_granules(&data, &keys), Some(*blake3::hash(&data).as_bytes()));
        }
    }
}

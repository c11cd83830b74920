//! How many descriptors are open on which inodes.

/// Counts by inode, sorted: a look-up is a binary search, and few open files cost no allocation.
#[derive(Debug, Default)]
pub struct OpenFiles(Vec<(u32, u32)>);

impl OpenFiles {
    /// Descriptors open on `ino`.
    pub fn count(&self, ino: u32) -> u32 {
        self.0
            .binary_search_by_key(&ino, |&(ino, _)| ino)
            .map_or(0, |at| self.0[at].1)
    }

    /// One more.
    #[inline(always)]
    pub fn retain(&mut self, ino: u32) {
        // Most often it is a new inode, and the last of them.
        if self.0.last().is_none_or(|&(last, _)| last < ino) {
            return self.0.push((ino, 1));
        }
        self.retain_within(ino);
    }

    fn retain_within(&mut self, ino: u32) {
        match self.0.binary_search_by_key(&ino, |&(ino, _)| ino) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (ino, 1)),
        }
    }

    /// One less: how many are left, or `None` if there was none.
    #[inline(always)]
    pub fn release(&mut self, ino: u32) -> Option<u32> {
        if self.0.last() == Some(&(ino, 1)) {
            self.0.pop();
            return Some(0);
        }
        self.release_within(ino)
    }

    fn release_within(&mut self, ino: u32) -> Option<u32> {
        let at = self.0.binary_search_by_key(&ino, |&(ino, _)| ino).ok()?;
        self.0[at].1 -= 1;
        let left = self.0[at].1;
        if left == 0 {
            self.0.remove(at);
        }
        Some(left)
    }
}

//! Directories, their pages and entries, link counts, and whether all hang from a root.

use ic_stable_structures::Memory;

use super::{Bits, Check, Seen};
use crate::format::BLOCK;
use crate::format::dirent::{COOKIE_BITS, PAGE_ENTRIES, entry_len, table_blocks};
use crate::format::inode::Kind;
use crate::format::superblock::{ROOT_INO, SYSTEM_INO};
use crate::fs::error::FsError;
use crate::fs::finding::Invariant;
use crate::fs::node::Node;
use crate::fs::{check_name, dir, dirpage};

impl<M: Memory> Check<'_, M> {
    /// Owns a directory's blocks and counts what its entries name; returns how many blocks. With
    /// an `index`, verifies its entries.
    pub(super) fn directory(&mut self, node: &Node, index: Option<usize>) -> Result<u32, FsError> {
        let table = dir::table(&self.fs.store, node)?;
        if table.start != 0 {
            self.own(table.start, table_blocks(table.depth));
        }
        let pages = dir::pages(&self.fs.store, node)?;
        pages.iter().for_each(|&page| self.own(page, 1));
        if index.is_none() && self.inodes.is_empty() {
            return Ok(0);
        }
        let mut entries = Entries::default();
        for &page in &pages {
            let loaded = dirpage::load(&self.fs.store, page, node.ino)?;
            for entry in loaded.entries()? {
                if let Some(target) = self.index(entry.ino) {
                    self.names[target].count += 1;
                    self.names[target].parent = node.ino;
                }
                if let Some(index) = index {
                    self.names[index].subdirs += u32::from(entry.kind == Kind::Directory);
                }
            }
            if index.is_some() {
                self.page(node, table, (page, &loaded), &mut entries)?;
            }
        }
        if index.is_some() {
            if entries.count != node.inode.count {
                self.find(Invariant::Entries, node.ino, "count of entries");
            }
            if node.inode.size != u64::from(table.pages) * BLOCK {
                self.find(Invariant::Entries, node.ino, "size of a directory");
            }
            if pages.len() as u32 != table.pages {
                self.find(Invariant::Entries, node.ino, "count of pages");
            }
        }
        Ok(pages.len() as u32 + table_blocks(table.depth))
    }

    /// Verifies a page of a directory; `so_far` is what came before it.
    fn page(
        &mut self,
        node: &Node,
        table: dir::Table,
        (page, loaded): (u32, &dirpage::Page),
        so_far: &mut Entries,
    ) -> Result<(), FsError> {
        let header = &loaded.header;
        let share = 1_u64 << (table.depth - header.depth);
        for i in so_far.share..so_far.share + share {
            if i >> table.depth != 0 || dir::page_at(&self.fs.store, node, table, i as u32)? != page
            {
                return Err(FsError::Corrupt("directory table and page depths disagree"));
            }
        }
        so_far.share += share;
        let bits = COOKIE_BITS - u32::from(header.depth);
        let (mut on_page, mut bytes) = (0, 0);
        for entry in loaded.entries()? {
            on_page += 1;
            bytes += entry_len(entry.name.len());
            let placed = entry.cookie >> bits == header.prefix >> bits
                && dir::belongs(&self.fs.store, entry.name, entry.cookie)
                && entry.cookie > so_far.last;
            if !placed {
                self.find(Invariant::Entries, node.ino, "entry in the wrong place");
            }
            so_far.last = entry.cookie;
            if check_name(entry.name).is_err() || matches!(entry.name, b"." | b"..") {
                self.find(Invariant::Entries, node.ino, "name that no entry may have");
            }
            let found = dir::find(&self.fs.store, node, entry.name)?;
            if found.is_none_or(|found| found.ino != entry.ino) {
                let detail = "entry that a look-up does not find";
                self.find(Invariant::Entries, node.ino, detail);
            }
            match self.fs.store.read_inode(entry.ino) {
                Ok(Some(inode)) if inode.kind == entry.kind => {}
                _ => self.find(Invariant::Links, entry.ino, "entry without such an inode"),
            }
        }
        so_far.count += on_page;
        if on_page != u32::from(header.live) {
            self.find(Invariant::Entries, node.ino, "count of entries on a page");
        }
        if PAGE_ENTRIES + bytes + header.dead != header.used {
            self.find(Invariant::Entries, node.ino, "count of bytes on a page");
        }
        Ok(())
    }

    pub(super) fn links(&mut self) {
        for ino in self.inodes.clone() {
            let index = (ino - self.inodes.start) as usize;
            let Some(Seen {
                kind,
                nlink,
                parent,
            }) = self.seen[index]
            else {
                continue;
            };
            let names = self.names[index].clone();
            let is_root = ino == ROOT_INO || ino == SYSTEM_INO;
            if kind != Kind::Directory {
                if nlink != names.count {
                    self.find(Invariant::Links, ino, "link count");
                }
                continue;
            }
            let removed = names.count == 0 && !is_root;
            if nlink != if removed { 0 } else { 2 + names.subdirs } {
                self.find(Invariant::Links, ino, "link count of a directory");
            }
            if names.count != u32::from(!is_root && nlink != 0) {
                self.find(Invariant::Tree, ino, "directory with none or several names");
            }
            let expected = if is_root { ino } else { names.parent };
            if nlink != 0 && parent != expected {
                self.find(Invariant::Tree, ino, "parent of a directory");
            }
        }
    }

    /// Every directory leads up to a root.
    pub(super) fn tree(&mut self) {
        let end = self.fs.store.sb.inode_end;
        let (mut sound, mut loose) = (Bits::new(end), Bits::new(end));
        sound.insert(ROOT_INO);
        sound.insert(SYSTEM_INO);
        for ino in self.inodes.clone() {
            let seen = &self.seen[(ino - self.inodes.start) as usize];
            let is_directory = |seen: &Seen| seen.kind == Kind::Directory && seen.nlink != 0;
            if !seen.as_ref().is_some_and(is_directory) {
                continue;
            }
            // Up to what is known, to the end, or around: a mark that is moved on in ever longer
            // laps is met again.
            let (mut at, mut mark, mut lap, mut steps) = (ino, 0, 1_u32, 0_u32);
            while at != 0 && at != mark && !sound.contains(at) && !loose.contains(at) {
                if steps == lap {
                    (mark, lap, steps) = (at, lap.saturating_mul(2), 0);
                }
                steps += 1;
                at = self.parent(at);
            }
            let hangs = at != 0 && sound.contains(at);
            let walked = if hangs { &mut sound } else { &mut loose };
            at = ino;
            while at != 0 && !walked.insert(at) {
                at = self.parent(at);
            }
            if !hangs {
                let detail = "directory that hangs from no root";
                self.find(Invariant::Tree, ino, detail);
            }
        }
    }

    /// The directory above a directory; 0 if there is none.
    fn parent(&self, ino: u32) -> u32 {
        match self.fs.store.read_inode(ino) {
            Ok(Some(inode))
                if inode.kind == Kind::Directory
                    && inode.nlink != 0
                    && inode.parent < self.fs.store.sb.inode_end =>
            {
                inode.parent
            }
            _ => 0,
        }
    }
}

/// What was seen of a directory so far.
#[derive(Default)]
struct Entries {
    count: u32,
    /// Cookie of the last entry.
    last: u64,
    /// Entries of the table.
    share: u64,
}

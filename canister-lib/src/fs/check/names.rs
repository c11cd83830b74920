//! Directories, their pages and entries, and link counts.

use ic_stable_structures::Memory;

use super::Check;
use super::state::{Place, Seen};
use crate::format::BLOCK;
use crate::format::dirent::{COOKIE_BITS, PAGE_ENTRIES, entry_len, table_blocks};
use crate::format::inode::Kind;
use crate::format::superblock::{ROOT_INO, SYSTEM_INO};
use crate::fs::dirpage::{PageEntry, PageHeader};
use crate::fs::error::FsError;
use crate::fs::finding::Invariant;
use crate::fs::node::Node;
use crate::fs::{check_name, dir, dirpage};

impl<M: Memory> Check<'_, M> {
    /// Owns a directory's blocks from the current page on, and counts what its entries name;
    /// returns how many blocks it has, `None` if there is more to do. With an `index`, verifies its
    /// entries.
    pub(super) fn directory(
        &mut self,
        node: &Node,
        index: Option<usize>,
    ) -> Result<Option<u32>, FsError> {
        let table = dir::table(&self.fs.store, node)?;
        if self.state.place.item == 0 && table.start != 0 {
            self.own(table.start, table_blocks(table.depth));
            self.count(table_blocks(table.depth));
        }
        while self.state.place.item >> table.depth == 0 {
            let page = dir::page_at(&self.fs.store, node, table, self.state.place.item)?;
            if page == 0 {
                break;
            }
            self.own(page, 1);
            self.count(1);
            let share = self.page(node, table, page, index)?;
            self.state.place.pages = self.state.place.pages.saturating_add(1);
            self.state.place.item += share;
            if self.state.place.item >> table.depth == 0 && !(self.go_on)() {
                return Ok(None);
            }
        }
        if index.is_some() {
            let Place { entries, pages, .. } = self.state.place;
            if entries != node.inode.count {
                self.find(Invariant::Entries, node.ino, "count of entries");
            }
            if node.inode.size != u64::from(table.pages) * BLOCK {
                self.find(Invariant::Entries, node.ino, "size of a directory");
            }
            if pages != table.pages {
                self.find(Invariant::Entries, node.ino, "count of pages");
            }
        }
        Ok(Some(self.state.place.blocks))
    }

    /// A page of a directory; returns how many entries of the table lead to it.
    fn page(
        &mut self,
        node: &Node,
        table: dir::Table,
        page: u32,
        index: Option<usize>,
    ) -> Result<u32, FsError> {
        let (header, loaded) = if self.inodes.is_empty() {
            (dirpage::header(&self.fs.store, page, node.ino)?, None)
        } else {
            let loaded = dirpage::load(&self.fs.store, page, node.ino)?;
            (loaded.header.clone(), Some(loaded))
        };
        let first = self.state.place.item;
        let share = match table.depth.checked_sub(header.depth) {
            Some(depth) if first.trailing_zeros() >= u32::from(depth) => 1 << depth,
            _ => return Err(FsError::Corrupt("page depth")),
        };
        let Some(loaded) = loaded else {
            return Ok(share);
        };
        let entries = loaded.entries()?;
        for entry in &entries {
            if let Some(target) = self.index(entry.ino) {
                let names = &mut self.state.names[target];
                names.count = names.count.saturating_add(1);
                names.parent = node.ino;
            }
            if let Some(index) = index {
                let names = &mut self.state.names[index];
                let subdir = u32::from(entry.kind == Kind::Directory);
                names.subdirs = names.subdirs.saturating_add(subdir);
            }
        }
        if index.is_some() {
            for i in first + 1..first + share {
                if dir::page_at(&self.fs.store, node, table, i)? != page {
                    let detail = "directory table and page depths disagree";
                    return Err(FsError::Corrupt(detail));
                }
            }
            self.entries(node, &header, &entries)?;
        }
        Ok(share)
    }

    /// Verifies the entries of a page.
    fn entries(
        &mut self,
        node: &Node,
        header: &PageHeader,
        entries: &[PageEntry<'_>],
    ) -> Result<(), FsError> {
        let bits = COOKIE_BITS - u32::from(header.depth);
        let (mut on_page, mut bytes) = (0_u32, 0);
        for entry in entries {
            on_page += 1;
            bytes += entry_len(entry.name.len());
            let placed = entry.cookie >> bits == header.prefix >> bits
                && dir::belongs(&self.fs.store, entry.name, entry.cookie)
                && entry.cookie > self.state.place.cookie;
            if !placed {
                self.find(Invariant::Entries, node.ino, "entry in the wrong place");
            }
            self.state.place.cookie = entry.cookie;
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
        let entries = self.state.place.entries.saturating_add(on_page);
        self.state.place.entries = entries;
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
            }) = self.state.seen[index]
            else {
                continue;
            };
            let names = self.state.names[index].clone();
            let is_root = ino == ROOT_INO || ino == SYSTEM_INO;
            if kind != Kind::Directory {
                if nlink != names.count {
                    self.find(Invariant::Links, ino, "link count");
                }
                continue;
            }
            let removed = names.count == 0 && !is_root;
            if nlink
                != if removed {
                    0
                } else {
                    names.subdirs.saturating_add(2)
                }
            {
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
}

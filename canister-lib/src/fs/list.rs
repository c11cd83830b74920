//! Listing a directory.

use std::ops::ControlFlow;

use ic_stable_structures::Memory;

use super::dir::{index, page_at, table};
use super::dirpage::{self, Page};
use super::error::FsError;
use super::node::Node;
use super::store::Store;
use super::types::{DirEntry, Ino};
use crate::format::dirent::COOKIE_BITS;
use crate::format::inode::Kind;

/// Cookie of "."; entries have cookies from 256 on.
const COOKIE_DOT: u64 = 1;
const COOKIE_DOT_DOT: u64 = 2;

/// The page of a directory where the last listing ended. Programs list with small buffers, so that
/// the next call goes on in the same page.
pub struct Listing {
    owner: u32,
    /// Of the directory: every change of an entry is one.
    changes: u64,
    number: u32,
    page: Page,
    /// Cookies and offsets of the entries, in order.
    order: Vec<(u64, usize)>,
}

impl Listing {
    fn load<M: Memory>(store: &Store<M>, node: &Node, number: u32) -> Result<Self, FsError> {
        let page = dirpage::load(store, number, node.ino)?;
        let order = page.order()?;
        Ok(Self {
            owner: node.ino,
            changes: node.inode.changes,
            number,
            page,
            order,
        })
    }

    fn is_of(&self, node: &Node, number: u32) -> bool {
        (self.owner, self.changes, self.number) == (node.ino, node.inode.changes, number)
    }
}

/// Visits "." (unless `cookie` is past it), ".." and the entries after `cookie`. `last` is where
/// the listing before ended.
pub fn list<M: Memory>(
    store: &Store<M>,
    node: &Node,
    cookie: u64,
    last: &mut Option<Listing>,
    visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
) -> Result<(), FsError> {
    let dots = [
        (COOKIE_DOT, &b"."[..], node.ino),
        (COOKIE_DOT_DOT, b"..", node.inode.parent),
    ];
    for (at, name, ino) in dots {
        let entry = DirEntry {
            name,
            ino: Ino(ino.into()),
            file_type: Kind::Directory.into(),
            cookie: at,
        };
        if at > cookie && visit(&entry).is_break() {
            return Ok(());
        }
    }
    if cookie >> COOKIE_BITS != 0 {
        return Ok(());
    }
    let table = table(store, node)?;
    let mut at = index(cookie, table.depth);
    while at < 1 << table.depth {
        let number = page_at(store, node, table, at)?;
        if number == 0 {
            break;
        }
        let listing = match last.take().filter(|last| last.is_of(node, number)) {
            Some(listing) => last.insert(listing),
            None => last.insert(Listing::load(store, node, number)?),
        };
        let after = listing.order.partition_point(|&(entry, _)| entry <= cookie);
        for &(_, at) in &listing.order[after..] {
            let e = listing.page.entry(at)?;
            let entry = DirEntry {
                name: e.name,
                ino: Ino(e.ino.into()),
                file_type: e.kind.into(),
                cookie: e.cookie,
            };
            if visit(&entry).is_break() {
                return Ok(());
            }
        }
        let depth = listing.page.header.depth;
        let share = 1
            << table
                .depth
                .checked_sub(depth)
                .ok_or(FsError::Corrupt("page depth"))?;
        at = at / share * share + share;
    }
    Ok(())
}

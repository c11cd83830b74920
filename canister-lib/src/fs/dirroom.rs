//! Room for a new entry of a directory: the first page, compaction, splits, a table of twice the size.

use ic_stable_structures::Memory;

use super::dir::{Place, Spot, Table, hash, index, page_at, set_pages, set_table, table};
use super::dirpage::{self, PageHeader};
use super::error::FsError;
use super::node::Node;
use super::store::Store;
use crate::format::dirent::*;
use crate::format::{BLOCK, BLOCK_LEN};

/// Makes room for `name`, which is not there: adds or splits pages. Changes nothing that anyone
/// can see; the caller goes on to [`insert`] or not.
pub fn prepare<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    name: &[u8],
) -> Result<(), FsError> {
    let hash = hash(store, name);
    room_on_page(store, node, hash, name.len()).map(drop)
}

/// A page with room for an entry.
pub struct Room {
    pub page: u32,
    pub header: PageHeader,
    /// The first entry of the chain, if that is known.
    pub head: Option<u16>,
}

/// [`prepare`] for a name of `len` bytes that was not at `spot`, for [`insert_at`].
pub fn make_room<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    spot: &Spot,
    len: usize,
) -> Result<Room, FsError> {
    let Place { page, head } = spot.place;
    if page != 0 {
        let header = dirpage::header(store, page, node.ino)?;
        if header.used + entry_len(len) <= BLOCK_LEN {
            let head = Some(head);
            return Ok(Room { page, header, head });
        }
    }
    room_on_page(store, node, spot.hash, len)
}

fn room_on_page<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    hash: u64,
    len: usize,
) -> Result<Room, FsError> {
    let head = None;
    loop {
        let table = table(store, node)?;
        let page = page_at(store, node, table, index(hash, table.depth))?;
        if page == 0 {
            let page = store.alloc_contiguous(1)?;
            dirpage::write_empty(store, page, node.ino);
            set_table(
                node,
                Table {
                    depth: 0,
                    start: 0,
                    pages: 1,
                },
            );
            set_pages(store, node, 0, 0, &[page]);
            node.store(store);
            let header = dirpage::header(store, page, node.ino)?;
            return Ok(Room { page, header, head });
        }
        let mut header = dirpage::header(store, page, node.ino)?;
        if header.room() >= entry_len(len) {
            if header.used + entry_len(len) > BLOCK_LEN {
                header = dirpage::compact(store, page, node.ino)?;
            }
            return Ok(Room { page, header, head });
        }
        split(store, node, table, page, hash)?;
    }
}

/// Splits the full page `page`, doubling the table if it is the only one of its prefix.
fn split<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    mut table: Table,
    page: u32,
    hash: u64,
) -> Result<(), FsError> {
    let old = dirpage::load(store, page, node.ino)?;
    let depth = old.header.depth;
    let entries = old.stored()?;
    let prefix_bits = COOKIE_BITS - u32::from(depth);
    let belongs = |cookie: u64| cookie >> prefix_bits == old.header.prefix >> prefix_bits;
    if depth > table.depth || !belongs(hash) || !entries.iter().all(|e| belongs(e.cookie)) {
        return Err(FsError::Corrupt("directory page"));
    }
    if depth >= MAX_DEPTH {
        return Err(FsError::NoSpace {
            needed: BLOCK,
            available: 0,
        });
    }
    let grown = table_blocks(table.depth + 1);
    let doubling = depth == table.depth;
    store.reserve(1 + if doubling { u64::from(grown) } else { 0 })?;
    let doubled = if doubling {
        Some(double(store, node, table, grown)?)
    } else {
        None
    };
    let sibling = match store.alloc_run(page, 1) {
        Ok((sibling, _)) => sibling,
        Err(error) => {
            if let Some((start, _)) = doubled
                && start != 0
            {
                store.free_run(start, grown);
            }
            return Err(error);
        }
    };
    if let Some((start, pages)) = doubled {
        set_pages(store, node, start, 0, &pages);
        if table.start != 0 {
            store.free_run(table.start, table_blocks(table.depth));
        }
        table = Table {
            depth: table.depth + 1,
            start,
            pages: table.pages,
        };
    }
    // The half of the page's share of the table whose next bit is set goes to the sibling.
    let bit = 1u64 << (prefix_bits - 1);
    let upper = old.header.prefix | bit;
    let share = 1u32 << (table.depth - depth - 1);
    let first = index(upper, table.depth);
    set_pages(
        store,
        node,
        table.start,
        first,
        &vec![sibling; share as usize],
    );
    let low = entries.iter().filter(|e| e.cookie & bit == 0).copied();
    let high = entries.iter().filter(|e| e.cookie & bit != 0).copied();
    dirpage::write(store, page, node.ino, (depth + 1, old.header.prefix), low);
    dirpage::write(store, sibling, node.ino, (depth + 1, upper), high);
    set_table(
        node,
        Table {
            pages: table.pages + 1,
            ..table
        },
    );
    node.store(store);
    Ok(())
}

/// A table of twice the size with every page twice: where (0: in the inode), and its pages.
fn double<M: Memory>(
    store: &mut Store<M>,
    node: &Node,
    table: Table,
    blocks: u32,
) -> Result<(u32, Vec<u32>), FsError> {
    let mut pages = Vec::with_capacity(2 << table.depth);
    for i in 0..1 << table.depth {
        let page = page_at(store, node, table, i)?;
        pages.extend([page, page]);
    }
    let start = if blocks == 0 {
        0
    } else {
        store.alloc_contiguous(blocks)?
    };
    Ok((start, pages))
}

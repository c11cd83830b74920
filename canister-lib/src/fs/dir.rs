//! Directories: an extendible hash of pages.
//!
//! A directory's table maps the leading bits of a cookie to a page; the cookie is a keyed hash of
//! the name, so nobody can choose names that collide. Cookies order the entries, which is why a
//! listing can go on from one after entries were added, removed, or pages split.

use std::ops::ControlFlow;

use ic_stable_structures::Memory;
use siphasher::sip::SipHasher13;

use super::dirpage::{self, Found, NewEntry, PageHeader};
use super::error::FsError;
use super::node::Node;
use super::store::Store;
use super::types::{DirEntry, Ino};
use crate::format::dirent::*;
use crate::format::inode::{Kind, MAP_LEN};
use crate::format::{BLOCK, BLOCK_LEN, address, get_u32, put_u32, superblock};

/// Cookie of "."; entries have cookies from 256 on.
const COOKIE_DOT: u64 = 1;
const COOKIE_DOT_DOT: u64 = 2;

/// A directory's map, decoded.
#[derive(Copy, Clone, Debug)]
pub struct Table {
    pub depth: u8,
    /// First block of the table; 0: in the inode.
    pub start: u32,
    pub pages: u32,
}

pub fn table<M: Memory>(store: &Store<M>, node: &Node) -> Result<Table, FsError> {
    let map = &node.inode.map;
    let table = Table {
        depth: map[DIR_DEPTH],
        start: get_u32(map, DIR_TABLE),
        pages: get_u32(map, DIR_PAGES),
    };
    let sound = if table.depth <= INLINE_DEPTH {
        table.start == 0
    } else {
        table.depth <= MAX_DEPTH
            && superblock::valid_run(
                table.start,
                table_blocks(table.depth),
                store.sb.total_blocks,
            )
    };
    if sound {
        Ok(table)
    } else {
        Err(FsError::Corrupt("directory table"))
    }
}

fn set_table(node: &mut Node, table: Table) {
    node.inode.map[DIR_DEPTH] = table.depth;
    put_u32(&mut node.inode.map, DIR_TABLE, table.start);
    put_u32(&mut node.inode.map, DIR_PAGES, table.pages);
    node.inode.size = u64::from(table.pages) * BLOCK;
    node.inode.blocks = table.pages + table_blocks(table.depth);
}

/// The cookie of `name`, without a discriminator.
fn hash<M: Memory>(store: &Store<M>, name: &[u8]) -> u64 {
    let hash = SipHasher13::new_with_key(&store.sb.hash_key).hash(name) >> (64 - COOKIE_BITS);
    let low = (1 << DISCRIMINATOR_BITS) - 1;
    (hash & !low).max(low + 1)
}

/// Whether `cookie` is one that `name` can have.
pub fn belongs<M: Memory>(store: &Store<M>, name: &[u8], cookie: u64) -> bool {
    hash(store, name) >> DISCRIMINATOR_BITS == cookie >> DISCRIMINATOR_BITS
}

/// Index into a table of `depth`.
fn index(cookie: u64, depth: u8) -> u32 {
    (cookie >> (COOKIE_BITS - u32::from(depth))) as u32
}

/// Page at `index` of the table; 0 if the directory has no pages yet.
pub fn page_at<M: Memory>(
    store: &Store<M>,
    node: &Node,
    table: Table,
    index: u32,
) -> Result<u32, FsError> {
    let page = if table.start == 0 {
        get_u32(&node.inode.map, DIR_INLINE + 4 * index as usize)
    } else {
        store.read_u32(address(table.start) + 4 * u64::from(index))?
    };
    let empty = page == 0 && table.pages == 0;
    if empty || superblock::valid_run(page, 1, store.sb.total_blocks) {
        Ok(page)
    } else {
        Err(FsError::Corrupt("directory table"))
    }
}

fn set_pages<M: Memory>(store: &Store<M>, node: &mut Node, start: u32, from: u32, pages: &[u32]) {
    let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    if start == 0 {
        let at = DIR_INLINE + 4 * from as usize;
        node.inode.map[at..at + bytes.len()].copy_from_slice(&bytes);
    } else {
        store.put(address(start) + 4 * u64::from(from), &bytes);
    }
}

/// Looks `name` up.
pub fn find<M: Memory>(
    store: &Store<M>,
    node: &Node,
    name: &[u8],
) -> Result<Option<Found>, FsError> {
    let table = table(store, node)?;
    let hash = hash(store, name);
    match page_at(store, node, table, index(hash, table.depth))? {
        0 => Ok(None),
        page => dirpage::find(store, page, hash, name, None),
    }
}

/// Makes room for `name`, which is not there: adds or splits pages. Changes nothing that anyone
/// can see; the caller goes on to [`insert`] or not.
pub fn prepare<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    name: &[u8],
) -> Result<(), FsError> {
    let hash = hash(store, name);
    loop {
        let table = table(store, node)?;
        let page = page_at(store, node, table, index(hash, table.depth))?;
        if page == 0 {
            let page = store.alloc_contiguous(1)?;
            dirpage::write(store, page, node.ino, (0, 0), std::iter::empty());
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
            return Ok(());
        }
        let header = dirpage::header(store, page, node.ino)?;
        if header.room() >= entry_len(name.len()) {
            if header.used + entry_len(name.len()) > BLOCK_LEN {
                dirpage::compact(store, page, node.ino)?;
            }
            return Ok(());
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
    let entries = old.entries()?;
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

/// An insertion that cannot fail any more.
pub struct Insertion {
    page: u32,
    cookie: u64,
}

/// Checks and reads what inserting `name` needs, after [`prepare`] for the same name.
pub fn prepare_insert<M: Memory>(
    store: &Store<M>,
    node: &Node,
    name: &[u8],
) -> Result<Insertion, FsError> {
    let table = table(store, node)?;
    let hash = hash(store, name);
    let page = page_at(store, node, table, index(hash, table.depth))?;
    let header = dirpage::header(store, page, node.ino)?;
    if header.used + entry_len(name.len()) > BLOCK_LEN {
        return Err(FsError::Corrupt("directory page"));
    }
    let mut taken = [false; 256];
    dirpage::find(store, page, hash, name, Some(&mut taken))?;
    // 256 names with the same 55 bits of a keyed hash: never, but not a reason to trap.
    let free = taken.iter().position(|taken| !taken);
    let discriminator = free.ok_or(FsError::NoSpace {
        needed: BLOCK,
        available: 0,
    })? as u64;
    let cookie = hash | discriminator;
    Ok(Insertion { page, cookie })
}

/// Adds an entry. A removal from the same directory may have come in between, if it freed no page.
/// The caller stores the inode.
pub fn finish_insert<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    insertion: Insertion,
    (name, ino, kind): (&[u8], u32, Kind),
) {
    let mut header = dirpage::header(store, insertion.page, node.ino)
        .expect("prepare_insert read it, and a removal keeps it sound");
    let entry = NewEntry {
        cookie: insertion.cookie,
        ino,
        kind,
        birth: store.sb.generation,
        name,
    };
    dirpage::insert(store, insertion.page, &mut header, &entry);
    node.inode.count = node.inode.count.saturating_add(1);
}

/// Adds an entry, after [`prepare`] for the same name. The caller stores the inode.
pub fn insert<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    name: &[u8],
    ino: u32,
    kind: Kind,
) -> Result<(), FsError> {
    let insertion = prepare_insert(store, node, name)?;
    finish_insert(store, node, insertion, (name, ino, kind));
    Ok(())
}

/// A removal that cannot fail any more.
pub struct Removal {
    found: Found,
    header: PageHeader,
    /// Pages to free, because the directory becomes empty.
    pages: Vec<u32>,
}

/// Checks and reads what removing `found` needs. `last`: the directory may become empty by it.
pub fn prepare_remove<M: Memory>(
    store: &Store<M>,
    node: &Node,
    found: Found,
    last: bool,
) -> Result<Removal, FsError> {
    let header = dirpage::header(store, found.page, node.ino)?;
    let empties = last && node.inode.count == 1 && table(store, node)?.pages > 1;
    let pages = if empties {
        pages(store, node)?
    } else {
        Vec::new()
    };
    Ok(Removal {
        found,
        header,
        pages,
    })
}

/// Removes an entry; frees the pages of a directory that had several and is now empty. The caller
/// stores the inode.
pub fn remove<M: Memory>(store: &mut Store<M>, node: &mut Node, removal: Removal) {
    node.inode.count = node.inode.count.saturating_sub(1);
    if removal.pages.is_empty() {
        dirpage::remove(store, &removal.found, removal.header);
    } else {
        free_pages(store, node, &removal.pages);
    }
}

/// Every page once, in the order of the table.
pub fn pages<M: Memory>(store: &Store<M>, node: &Node) -> Result<Vec<u32>, FsError> {
    let table = table(store, node)?;
    let mut pages = Vec::new();
    let mut at = 0;
    while at < 1 << table.depth {
        let page = page_at(store, node, table, at)?;
        if page == 0 {
            break;
        }
        pages.push(page);
        let depth = dirpage::header(store, page, node.ino)?.depth;
        let share = 1
            << table
                .depth
                .checked_sub(depth)
                .ok_or(FsError::Corrupt("page depth"))?;
        at = at / share * share + share;
    }
    Ok(pages)
}

/// Frees `pages`, which are all, and the table. The caller stores the inode.
pub fn free_pages<M: Memory>(store: &mut Store<M>, node: &mut Node, pages: &[u32]) {
    for &page in pages {
        store.free_run(page, 1);
    }
    let (start, depth) = (
        get_u32(&node.inode.map, DIR_TABLE),
        node.inode.map[DIR_DEPTH],
    );
    if start != 0 {
        store.free_run(start, table_blocks(depth));
    }
    node.inode.map = [0; MAP_LEN];
    set_table(
        node,
        Table {
            depth: 0,
            start: 0,
            pages: 0,
        },
    );
}

/// Visits "." (unless `cookie` is past it), ".." and the entries after `cookie`.
pub fn list<M: Memory>(
    store: &Store<M>,
    node: &Node,
    cookie: u64,
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
        let page = page_at(store, node, table, at)?;
        if page == 0 {
            break;
        }
        let page = dirpage::load(store, page, node.ino)?;
        for e in page.entries()? {
            let entry = DirEntry {
                name: e.name,
                ino: Ino(e.ino.into()),
                file_type: e.kind.into(),
                cookie: e.cookie,
            };
            if e.cookie > cookie && visit(&entry).is_break() {
                return Ok(());
            }
        }
        let depth = page.header.depth;
        let share = 1
            << table
                .depth
                .checked_sub(depth)
                .ok_or(FsError::Corrupt("page depth"))?;
        at = at / share * share + share;
    }
    Ok(())
}

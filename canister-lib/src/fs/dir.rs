//! Directories: an extendible hash of pages.
//!
//! A directory's table maps the leading bits of a cookie to a page; the cookie is a keyed hash of
//! the name, so nobody can choose names that collide. Cookies order the entries, which is why a
//! listing can go on from one after entries were added, removed, or pages split.

use ic_stable_structures::Memory;
use siphasher::sip::SipHasher13;

use super::dirpage::{self, Found, NewEntry, PageHeader, Taken};
use super::dirroom::Room;
use super::error::FsError;
use super::node::Node;
use super::store::Store;
use crate::format::dirent::*;
use crate::format::inode::{Kind, MAP_LEN};
use crate::format::{BLOCK, BLOCK_LEN, address, get_u32, get_u64, put_u32, superblock};

/// A directory's map, decoded.
#[derive(Copy, Clone, Debug)]
pub struct Table {
    pub depth: u8,
    /// First block of the table; 0: in the inode.
    pub start: u32,
    pub pages: u32,
}

#[inline]
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

pub fn set_table(node: &mut Node, table: Table) {
    node.inode.map[DIR_DEPTH] = table.depth;
    put_u32(&mut node.inode.map, DIR_TABLE, table.start);
    put_u32(&mut node.inode.map, DIR_PAGES, table.pages);
    node.inode.size = u64::from(table.pages) * BLOCK;
    node.inode.blocks = table.pages + table_blocks(table.depth);
}

/// The cookie of `name`, without a discriminator.
#[inline]
pub fn hash<M: Memory>(store: &Store<M>, name: &[u8]) -> u64 {
    let key = &store.sb.hash_key;
    let hasher = SipHasher13::new_with_keys(get_u64(key, 0), get_u64(key, 8));
    let hash = hasher.hash(name) >> (64 - COOKIE_BITS);
    let low = (1 << DISCRIMINATOR_BITS) - 1;
    (hash & !low).max(low + 1)
}

/// Whether `cookie` is one that `name` can have.
pub fn belongs<M: Memory>(store: &Store<M>, name: &[u8], cookie: u64) -> bool {
    hash(store, name) >> DISCRIMINATOR_BITS == cookie >> DISCRIMINATOR_BITS
}

/// Index into a table of `depth`.
pub fn index(cookie: u64, depth: u8) -> u32 {
    (cookie >> (COOKIE_BITS - u32::from(depth))) as u32
}

/// Page at `index` of the table; 0 if the directory has no pages yet.
#[inline(always)]
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

pub fn set_pages<M: Memory>(
    store: &Store<M>,
    node: &mut Node,
    start: u32,
    from: u32,
    pages: &[u32],
) {
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
        page => dirpage::find(store, page, hash, name),
    }
}

/// What a look-up says to whoever adds the name.
pub struct Spot {
    pub hash: u64,
    pub found: Option<Found>,
    pub place: Place,
    taken: Taken,
}

/// Where an entry would go, as long as nothing is added or removed.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// 0: the directory has no pages.
    pub page: u32,
    /// The first entry of the chain.
    pub head: u16,
}

/// Looks `name` up, to add it if it is not there.
pub fn probe<M: Memory>(store: &Store<M>, node: &Node, name: &[u8]) -> Result<Spot, FsError> {
    let table = table(store, node)?;
    let hash = hash(store, name);
    let mut taken = Taken::default();
    let page = page_at(store, node, table, index(hash, table.depth))?;
    let (mut found, mut head) = (None, 0);
    if page != 0 {
        head = dirpage::head(store, page, hash)?;
        found = dirpage::find_from(store, page, (hash, head), name, Some(&mut taken))?;
    }
    let place = Place { page, head };
    Ok(Spot {
        hash,
        found,
        place,
        taken,
    })
}

/// Cookie of a new entry: the hash, with the first discriminator that is free on its page.
fn cookie(spot: &Spot) -> Result<u64, FsError> {
    // 64 names with the same 55 bits of a keyed hash: never, but not a reason to trap.
    let discriminator = spot.taken.first_free().ok_or(FsError::NoSpace {
        needed: BLOCK,
        available: 0,
    })?;
    Ok(spot.hash | discriminator)
}

/// Adds an entry where [`probe`] did not find the name and [`make_room`] made room. The caller
/// stores the inode.
#[inline(always)]
pub fn insert_at<M: Memory>(
    store: &mut Store<M>,
    node: &mut Node,
    name: &[u8],
    (ino, kind): (u32, Kind),
    spot: &Spot,
    room: Room,
) -> Result<(), FsError> {
    let Room {
        page,
        mut header,
        head,
    } = room;
    if header.used + entry_len(name.len()) > BLOCK_LEN {
        return Err(FsError::Corrupt("directory page"));
    }
    let head = match head {
        Some(head) => head,
        None => dirpage::head(store, page, spot.hash)?,
    };
    let entry = NewEntry {
        cookie: cookie(spot)?,
        ino,
        kind,
        birth: store.sb.generation,
        name,
    };
    dirpage::insert(store, page, (&mut header, head), &entry);
    node.inode.count = node.inode.count.saturating_add(1);
    Ok(())
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
    let spot = probe(store, node, name)?;
    let table = table(store, node)?;
    let page = page_at(store, node, table, index(spot.hash, table.depth))?;
    let header = dirpage::header(store, page, node.ino)?;
    if header.used + entry_len(name.len()) > BLOCK_LEN {
        return Err(FsError::Corrupt("directory page"));
    }
    Ok(Insertion {
        page,
        cookie: cookie(&spot)?,
    })
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
    let head = dirpage::head(store, insertion.page, insertion.cookie);
    let head = head.expect("the page was read before");
    let entry = NewEntry {
        cookie: insertion.cookie,
        ino,
        kind,
        birth: store.sb.generation,
        name,
    };
    dirpage::insert(store, insertion.page, (&mut header, head), &entry);
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

//! One directory page: find, insert and remove an entry, compact, split.
//!
//! Entries hang in 64 chains by bits of their cookie. A look-up reads a head and the entries of one
//! chain; only compaction and splits read the whole page.

use ic_stable_structures::Memory;

use super::bytes::same_bytes;
use super::error::FsError;
use super::store::Store;
use crate::format::dirent::*;
use crate::format::inode::Kind;
use crate::format::{BLOCK_LEN, address, get_u16, get_u32, get_u64, put_u16, put_u32, put_u64};

/// Steps after which a chain must be circular.
const MAX_CHAIN: usize = (BLOCK_LEN - PAGE_ENTRIES) / ENTRY_NAME;

/// An entry that was found.
#[derive(Copy, Clone, Debug)]
pub struct Found {
    pub page: u32,
    /// Offset of the entry in the page.
    pub at: usize,
    /// Offset of the u16 that points to it: a head or another entry.
    pub pointer: usize,
    pub next: u16,
    pub name_len: usize,
    pub ino: u32,
    pub kind: Kind,
}

/// An entry to be stored.
#[derive(Copy, Clone, Debug)]
pub struct NewEntry<'a> {
    pub cookie: u64,
    pub ino: u32,
    pub kind: Kind,
    pub birth: u32,
    pub name: &'a [u8],
}

/// The fixed part of a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageHeader {
    pub depth: u8,
    pub live: u16,
    pub used: usize,
    pub dead: usize,
    pub prefix: u64,
}

impl PageHeader {
    /// Bytes that an entry could still take, after compaction if need be.
    pub fn room(&self) -> usize {
        BLOCK_LEN - self.used + self.dead
    }
}

fn head_offset(cookie: u64) -> usize {
    PAGE_HEADS + 2 * ((cookie >> DISCRIMINATOR_BITS) as usize % HEADS)
}

/// Discriminators in use, a bit each; those from 64 on are never given out.
#[derive(Clone, Debug, Default)]
pub struct Taken(u64);

impl Taken {
    fn add(&mut self, discriminator: u8) {
        self.0 |= 1_u64.checked_shl(discriminator.into()).unwrap_or(0);
    }

    /// The lowest that is free.
    pub fn first_free(&self) -> Option<u64> {
        (self.0 != u64::MAX).then(|| self.0.trailing_ones().into())
    }
}

/// Whether the bytes from address `at` on are `name`.
fn is_name<M: Memory>(store: &Store<M>, mut at: u64, name: &[u8]) -> Result<bool, FsError> {
    // In small pieces: a large buffer would cost more to clear than most names to read.
    let mut b = [0; 64];
    for part in name.chunks(b.len()) {
        let b = &mut b[..part.len()];
        store.read(at, b)?;
        if !same_bytes(b, part) {
            return Ok(false);
        }
        at += part.len() as u64;
    }
    Ok(true)
}

/// Offset of an entry, checked.
fn entry_offset(raw: u16) -> Result<usize, FsError> {
    let at = usize::from(raw);
    if at < PAGE_ENTRIES || at + ENTRY_NAME > BLOCK_LEN {
        return Err(FsError::Corrupt("chain of directory entries"));
    }
    Ok(at)
}

/// The first entry of the chain of `hash`; 0: none.
#[inline(always)]
pub fn head<M: Memory>(store: &Store<M>, page: u32, hash: u64) -> Result<u16, FsError> {
    let mut b = [0; 2];
    store.read(address(page) + head_offset(hash) as u64, &mut b)?;
    Ok(u16::from_le_bytes(b))
}

/// Looks for `name` in the chain of `hash`.
pub fn find<M: Memory>(
    store: &Store<M>,
    page: u32,
    hash: u64,
    name: &[u8],
) -> Result<Option<Found>, FsError> {
    let head = head(store, page, hash)?;
    find_from(store, page, (hash, head), name, None)
}

/// [`find`] from the first entry of the chain on. `taken` gets the discriminators in use.
#[inline(always)]
pub fn find_from<M: Memory>(
    store: &Store<M>,
    page: u32,
    (hash, mut raw): (u64, u16),
    name: &[u8],
    mut taken: Option<&mut Taken>,
) -> Result<Option<Found>, FsError> {
    let base = address(page);
    let mut pointer = head_offset(hash);
    let mut b = [0; ENTRY_NAME];
    for _ in 0..MAX_CHAIN {
        if raw == 0 {
            return Ok(None);
        }
        let at = entry_offset(raw)?;
        store.read(base + at as u64, &mut b)?;
        let cookie = get_u64(&b, ENTRY_COOKIE);
        let next = get_u16(&b, ENTRY_NEXT);
        if cookie >> DISCRIMINATOR_BITS == hash >> DISCRIMINATOR_BITS {
            if let Some(taken) = taken.as_deref_mut() {
                taken.add(cookie as u8);
            }
            let name_len = usize::from(b[ENTRY_NAME_LEN]);
            if name_len == name.len()
                && at + ENTRY_NAME + name_len <= BLOCK_LEN
                && is_name(store, base + (at + ENTRY_NAME) as u64, name)?
            {
                let kind = Kind::decode(b[ENTRY_KIND]).ok_or(FsError::Corrupt("entry kind"))?;
                let ino = get_u32(&b, ENTRY_INO);
                return Ok(Some(Found {
                    page,
                    at,
                    pointer,
                    next,
                    name_len,
                    ino,
                    kind,
                }));
            }
        }
        (pointer, raw) = (at + ENTRY_NEXT, next);
    }
    Err(FsError::Corrupt("circular chain of directory entries"))
}

/// Reads and checks the fixed part of a page of directory `owner`.
pub fn header<M: Memory>(store: &Store<M>, page: u32, owner: u32) -> Result<PageHeader, FsError> {
    let mut b = [0; PAGE_HEADS];
    store.read(address(page), &mut b)?;
    let header = PageHeader {
        depth: b[PAGE_DEPTH],
        live: get_u16(&b, PAGE_LIVE),
        used: usize::from(get_u16(&b, PAGE_USED)),
        dead: usize::from(get_u16(&b, PAGE_DEAD)),
        prefix: get_u64(&b, PAGE_PREFIX),
    };
    let sound = get_u32(&b, 0) == PAGE_MAGIC
        && get_u32(&b, PAGE_OWNER) == owner
        && header.depth <= MAX_DEPTH
        && usize::from(header.live) <= MAX_CHAIN
        && (PAGE_ENTRIES..=BLOCK_LEN).contains(&header.used)
        && header.dead <= header.used - PAGE_ENTRIES;
    if sound {
        Ok(header)
    } else {
        Err(FsError::Corrupt("directory page"))
    }
}

fn put_counters<M: Memory>(store: &Store<M>, page: u32, header: &PageHeader) {
    let mut b = [0; 6];
    put_u16(&mut b, 0, header.live);
    put_u16(&mut b, 2, header.used as u16);
    put_u16(&mut b, 4, header.dead as u16);
    store.put(address(page) + PAGE_COUNTERS as u64, &b);
}

/// A whole page in the heap.
pub struct Page {
    pub bytes: Box<[u8; BLOCK_LEN]>,
    pub header: PageHeader,
}

/// An entry of a [`Page`].
#[derive(Copy, Clone, Debug)]
pub struct PageEntry<'a> {
    pub cookie: u64,
    pub ino: u32,
    pub kind: Kind,
    pub name: &'a [u8],
}

/// An entry of a [`Page`] as it is stored.
#[derive(Copy, Clone, Debug)]
pub struct StoredEntry<'a> {
    pub cookie: u64,
    pub bytes: &'a [u8],
}

/// Reads a whole page.
pub fn load<M: Memory>(store: &Store<M>, page: u32, owner: u32) -> Result<Page, FsError> {
    let header = header(store, page, owner)?;
    let mut bytes = Box::new([0; BLOCK_LEN]);
    store.read(address(page), &mut bytes[..header.used])?;
    Ok(Page { bytes, header })
}

impl Page {
    /// The entry at a checked offset.
    pub fn entry(&self, at: usize) -> Result<PageEntry<'_>, FsError> {
        let b = &self.bytes;
        let end = at + ENTRY_NAME + usize::from(b[at + ENTRY_NAME_LEN]);
        if end > self.header.used {
            return Err(FsError::Corrupt("chain of directory entries"));
        }
        Ok(PageEntry {
            cookie: get_u64(&b[..], at + ENTRY_COOKIE),
            ino: get_u32(&b[..], at + ENTRY_INO),
            kind: Kind::decode(b[at + ENTRY_KIND]).ok_or(FsError::Corrupt("entry kind"))?,
            name: &b[at + ENTRY_NAME..end],
        })
    }

    /// Cookies and offsets of the entries, in order. Pairs of 16 bytes: sorting whole entries
    /// would copy them with `memory.copy`, which costs 100 and more each time.
    pub fn order(&self) -> Result<Vec<(u64, usize)>, FsError> {
        let b = &self.bytes;
        let mut order = Vec::with_capacity(usize::from(self.header.live).min(MAX_CHAIN));
        for head in 0..HEADS {
            let mut raw = get_u16(&b[..], PAGE_HEADS + 2 * head);
            while raw != 0 {
                let at = entry_offset(raw)?;
                if order.len() >= MAX_CHAIN {
                    return Err(FsError::Corrupt("chain of directory entries"));
                }
                order.push((get_u64(&b[..], at + ENTRY_COOKIE), at));
                raw = get_u16(&b[..], at + ENTRY_NEXT);
            }
        }
        order.sort_unstable_by_key(|&(cookie, _)| cookie);
        Ok(order)
    }

    /// The entries as they are stored, in no order, with their cookies.
    pub fn stored(&self) -> Result<Vec<StoredEntry<'_>>, FsError> {
        let b = &self.bytes[..self.header.used];
        let live = usize::from(self.header.live);
        let mut stored = Vec::with_capacity(live);
        if self.header.dead == 0 {
            // One behind the other.
            let mut at = PAGE_ENTRIES;
            while let Some(name_len) = b.get(at + ENTRY_NAME_LEN) {
                let len = entry_len(usize::from(*name_len));
                let Some(bytes) = b.get(at..at + len) else {
                    break;
                };
                let cookie = get_u64(bytes, ENTRY_COOKIE);
                stored.push(StoredEntry { cookie, bytes });
                at += len;
            }
            if at != b.len() || stored.len() != live {
                return Err(FsError::Corrupt("directory page"));
            }
            return Ok(stored);
        }
        for head in 0..HEADS {
            let mut raw = get_u16(b, PAGE_HEADS + 2 * head);
            while raw != 0 {
                let at = entry_offset(raw)?;
                let len = entry_len(usize::from(self.bytes[at + ENTRY_NAME_LEN]));
                let bytes = b.get(at..at + len);
                let bytes = bytes.ok_or(FsError::Corrupt("chain of directory entries"))?;
                if stored.len() >= MAX_CHAIN {
                    return Err(FsError::Corrupt("chain of directory entries"));
                }
                let cookie = get_u64(bytes, ENTRY_COOKIE);
                stored.push(StoredEntry { cookie, bytes });
                raw = get_u16(bytes, ENTRY_NEXT);
            }
        }
        Ok(stored)
    }

    /// The entries, in order of their cookies.
    pub fn entries(&self) -> Result<Vec<PageEntry<'_>>, FsError> {
        self.order()?
            .into_iter()
            .map(|(_, at)| self.entry(at))
            .collect()
    }
}

/// Stores a page without entries; what was in the block before does not matter.
pub fn write_empty<M: Memory>(store: &Store<M>, page: u32, owner: u32) {
    let mut b = [0; PAGE_ENTRIES];
    encode_fixed(store, &mut b, owner, (0, 0));
    put_u16(&mut b, PAGE_USED, PAGE_ENTRIES as u16);
    store.put(address(page), &b);
}

fn encode_fixed<M: Memory>(store: &Store<M>, b: &mut [u8], owner: u32, (depth, prefix): (u8, u64)) {
    put_u32(b, 0, PAGE_MAGIC);
    put_u32(b, PAGE_OWNER, owner);
    put_u32(b, PAGE_BIRTH, store.sb.generation);
    b[PAGE_DEPTH] = depth;
    put_u64(b, PAGE_PREFIX, prefix);
}

/// Stores a page with exactly `entries`; what was in the block before does not matter.
pub fn write<'a, M: Memory>(
    store: &Store<M>,
    page: u32,
    owner: u32,
    part: (u8, u64),
    entries: impl Iterator<Item = StoredEntry<'a>>,
) {
    let mut b = [0; BLOCK_LEN];
    encode_fixed(store, &mut b, owner, part);
    let (mut used, mut live) = (PAGE_ENTRIES, 0);
    for e in entries {
        let head = head_offset(e.cookie);
        let next = get_u16(&b, head);
        let len = e.bytes.len();
        b[used..used + len].copy_from_slice(e.bytes);
        put_u16(&mut b, used + ENTRY_NEXT, next);
        put_u16(&mut b, head, used as u16);
        used += len;
        live += 1;
    }
    put_u16(&mut b, PAGE_LIVE, live);
    put_u16(&mut b, PAGE_USED, used as u16);
    store.put(address(page), &b[..used]);
}

/// Adds an entry to a page that has room for it at its end (see [`compact`]). `head` is the first
/// entry of its chain.
#[inline]
pub fn insert<M: Memory>(
    store: &Store<M>,
    page: u32,
    (header, head): (&mut PageHeader, u16),
    e: &NewEntry<'_>,
) {
    let base = address(page);
    let len = entry_len(e.name.len());
    let mut small = [0; 64];
    let mut large;
    let b = match small.get_mut(..len) {
        Some(b) => b,
        None => {
            large = [0; (ENTRY_NAME + NAME_MAX).next_multiple_of(4)];
            &mut large[..len]
        }
    };
    let (fixed, name) = b.split_at_mut(ENTRY_NAME);
    put_u16(fixed, ENTRY_NEXT, head);
    fixed[ENTRY_NAME_LEN] = e.name.len() as u8;
    fixed[ENTRY_KIND] = e.kind as u8;
    put_u32(fixed, ENTRY_INO, e.ino);
    put_u64(fixed, ENTRY_COOKIE, e.cookie);
    put_u32(fixed, ENTRY_BIRTH, e.birth);
    name[..e.name.len()].copy_from_slice(e.name);
    store.put(base + header.used as u64, b);
    let at = base + head_offset(e.cookie) as u64;
    store.put(at, &(header.used as u16).to_le_bytes());
    header.used += len;
    header.live += 1;
    put_counters(store, page, header);
}

/// Squeezes removed entries out of a page.
pub fn compact<M: Memory>(store: &Store<M>, page: u32, owner: u32) -> Result<PageHeader, FsError> {
    let full = load(store, page, owner)?;
    let entries = full.stored()?;
    let used = PAGE_ENTRIES + entries.iter().map(|e| e.bytes.len()).sum::<usize>();
    if used > BLOCK_LEN {
        return Err(FsError::Corrupt("directory page"));
    }
    let live = entries.len() as u16;
    write(
        store,
        page,
        owner,
        (full.header.depth, full.header.prefix),
        entries.into_iter(),
    );
    Ok(PageHeader {
        live,
        used,
        dead: 0,
        ..full.header
    })
}

/// Takes an entry out of its chain.
pub fn remove<M: Memory>(store: &Store<M>, found: &Found, mut header: PageHeader) {
    store.put(
        address(found.page) + found.pointer as u64,
        &found.next.to_le_bytes(),
    );
    header.live = header.live.saturating_sub(1);
    header.dead += entry_len(found.name_len);
    header.dead = header.dead.min(header.used - PAGE_ENTRIES);
    put_counters(store, found.page, &header);
}

/// Points an entry at another inode.
pub fn repoint<M: Memory>(store: &Store<M>, found: &Found, ino: u32, kind: Kind) {
    let at = address(found.page) + found.at as u64;
    store.put(at + ENTRY_KIND as u64, &[kind as u8]);
    let mut b = [0; 4];
    put_u32(&mut b, 0, ino);
    store.put(at + ENTRY_INO as u64, &b);
    put_u32(&mut b, 0, store.sb.generation);
    store.put(at + ENTRY_BIRTH as u64, &b);
}

//! `docs/FORMAT.md` and the constants in `format` say the same.

use icwasi::format::{BLOCK, GROUP_BLOCKS, MAX_GROUPS, dirent, extent, inode, superblock};

/// Rows (offset, size) of the table after `heading`, and the text of each.
fn table(text: &str, heading: &str) -> Vec<(usize, Option<usize>, String)> {
    let start = text
        .find(heading)
        .unwrap_or_else(|| panic!("no {heading:?} in FORMAT.md"));
    let rows = text[start..]
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let offset = cells[1].parse().expect("an offset");
            (offset, cells[2].parse().ok(), cells[3].to_string())
        })
        .collect()
}

/// The table has a row at each of `offsets` that begins with the words given; rows follow one
/// another without gaps, and end at `end`.
fn compare(heading: &str, end: Option<usize>, offsets: &[(usize, &str)]) {
    let text = include_str!("../../docs/FORMAT.md");
    let rows = table(text, heading);
    for &(offset, words) in offsets {
        let found = rows
            .iter()
            .any(|(at, _, text)| *at == offset && text.starts_with(words));
        assert!(found, "{heading}: no {words:?} at {offset}");
    }
    let mut next = 0;
    for (at, size, text) in rows {
        assert_eq!(at, next, "{heading}: {text}");
        next = at + size.unwrap_or(0);
    }
    if let Some(end) = end {
        assert_eq!(next, end, "{heading}: end");
    }
}

#[test]
fn document_and_constants_agree() {
    use superblock as s;
    compare(
        "## Superblock",
        Some(BLOCK as usize),
        &[
            (0, "magic `ICWASIFS`"),
            (s::MAJOR, "major"),
            (s::MINOR, "minor"),
            (s::BLOCK_SIZE, "block size: 4096"),
            (s::HASH_KEY, "key"),
            (s::CREATED, "time of formatting"),
            (s::FEATURES, "features that a reader may ignore"),
            (s::FEATURES_REQUIRED, "features that a reader must know"),
            (s::CHECKSUM, "checksum"),
            (s::QUOTA, "quota"),
            (s::GENERATION, "generation"),
            (s::SNAPSHOTS, "root of the table of snapshots"),
            (s::HISTORY, "root of the history"),
            (s::TOTAL_BLOCKS, "total blocks"),
            (s::FREE_BLOCKS, "free blocks"),
            (s::ALLOC_HINT, "where the next search"),
            (s::INODE_END, "first inode slot never used"),
            (s::INODES, "inodes in use"),
            (s::FREE_INODE, "first free inode slot"),
            (s::ORPHANS, "first orphan"),
            (s::CHUNKS, "chunks"),
            (s::COUNTERS_END, "reserved"),
            (s::CHUNK_TABLE, "first blocks of the chunks"),
            (s::END, "reserved"),
        ],
    );
    use inode as i;
    compare(
        "## Inode table",
        Some(i::INODE_LEN),
        &[
            (i::KIND, "kind"),
            (i::FORM, "form"),
            (i::FLAGS, "flags"),
            (i::NLINK, "link count"),
            (i::SIZE, "size"),
            (i::MTIME, "mtime"),
            (i::CTIME, "ctime"),
            (i::CHANGES, "change counter"),
            (i::ATIME, "atime"),
            (i::BIRTH, "birth"),
            (i::BLOCKS, "blocks owned"),
            (i::PARENT, "directory: parent"),
            (i::NEXT, "orphan: next"),
            (i::COUNT, "number of extents"),
            (i::MAP, "map"),
        ],
    );
    use extent as e;
    compare(
        "## Extents",
        Some(e::EXTENT_LEN),
        &[
            (e::LOGICAL, "first logical block"),
            (e::PHYSICAL, "first block"),
            (e::LENGTH, "length"),
            (e::EXTENT_BIRTH, "birth"),
        ],
    );
    compare(
        "A leaf is a block:",
        Some(BLOCK as usize),
        &[
            (0, "`ELEA`"),
            (e::LEAF_OWNER, "inode"),
            (e::LEAF_BIRTH, "birth"),
            (e::LEAF_COUNT, "number of extents, 1 to 254"),
            (e::LEAF_EXTENTS, "extents"),
        ],
    );
    use dirent as d;
    compare(
        "Map of a directory's inode",
        Some(i::MAP_LEN),
        &[
            (d::DIR_DEPTH, "depth"),
            (d::DIR_TABLE, "first block of the table"),
            (d::DIR_PAGES, "number of pages"),
            (d::DIR_INLINE, "the table"),
        ],
    );
    compare(
        "A page; bytes",
        Some(BLOCK as usize),
        &[
            (0, "`DPAG`"),
            (d::PAGE_OWNER, "inode"),
            (d::PAGE_BIRTH, "birth"),
            (d::PAGE_DEPTH, "local depth"),
            (d::PAGE_LIVE, "entries"),
            (d::PAGE_USED, "used"),
            (d::PAGE_DEAD, "bytes in removed"),
            (d::PAGE_PREFIX, "prefix"),
            (d::PAGE_HEADS, "heads of 64 chains"),
            (d::PAGE_ENTRIES, "entries"),
        ],
    );
    compare(
        "An entry, padded",
        None,
        &[
            (d::ENTRY_NEXT, "offset of the next"),
            (d::ENTRY_NAME_LEN, "length of the name"),
            (d::ENTRY_KIND, "kind"),
            (d::ENTRY_INO, "inode"),
            (d::ENTRY_COOKIE, "cookie"),
            (d::ENTRY_BIRTH, "birth"),
            (d::ENTRY_NAME, "name"),
        ],
    );
    assert_eq!(s::MAGIC, *b"ICWASIFS");
    assert_eq!(s::VERSION, (1, 0));
    assert_eq!((GROUP_BLOCKS, MAX_GROUPS), (32_768, 32_768));
    assert_eq!(
        (e::LEAF_CAPACITY, e::INLINE_EXTENTS, e::INLINE_LEAVES),
        (254, 3, 6)
    );
    assert_eq!(
        (e::MAX_LOGICAL, e::INDEX_ENTRY_LEN, d::HEADS),
        (1 << 31, 8, 64)
    );
    assert_eq!((d::MAX_DEPTH, d::INLINE_DEPTH, d::NAME_MAX), (24, 3, 255));
}

#[test]
fn slots_are_found_in_their_chunks() {
    let mut slot = 0;
    for chunk in 0..64 {
        for block in [0, inode::chunk_blocks(chunk) - 1] {
            let first = slot + block * inode::INODES_PER_BLOCK;
            assert_eq!(inode::locate_slot(first), (chunk, block));
            assert_eq!(
                inode::locate_slot(first + inode::INODES_PER_BLOCK - 1),
                (chunk, block)
            );
        }
        slot += inode::chunk_blocks(chunk) * inode::INODES_PER_BLOCK;
        assert_eq!(inode::slots_in_chunks(chunk + 1), u64::from(slot));
    }
}

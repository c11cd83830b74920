//! Stable memory: a sparse file, read through a mapping, with the pages that the current message
//! wrote kept aside until it commits. Needs memory for what a message dirties, not for its size.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags};

use super::limits::{OS_PAGE, WASM_PAGE};

const PAGE: usize = OS_PAGE as usize;
/// Pages of one block of the overlay.
const BLOCK: usize = 256;
/// Blocks (1 MiB each) that stay allocated between messages.
const KEEP_BLOCKS: usize = 16;
/// Slot of a page that was only read.
const NO_SLOT: u32 = u32::MAX;

/// A page that this message touched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Touched {
    /// Where its new content is; [`NO_SLOT`] if it was only read.
    slot: u32,
    /// Last execution that touched it, and last that wrote it (0: none).
    accessed: u32,
    dirtied: u32,
}

/// Spreads page numbers; they need no protection against collisions made on purpose, since a
/// message pays for each page.
#[derive(Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}

/// The file and its mapping.
struct Base {
    file: File,
    map: *const u8,
    map_len: usize,
    /// Length of the file.
    len: u64,
}

// SAFETY: the mapping is owned, read-only, and lives as long as `Base`.
unsafe impl Send for Base {}
// SAFETY: as above; it is written (through the file) only under `&mut StableMemory`.
unsafe impl Sync for Base {}

impl Base {
    fn new(file: File) -> io::Result<Base> {
        let len = file.metadata()?.len();
        let mut base = Base {
            file,
            map: std::ptr::null(),
            map_len: 0,
            len,
        };
        base.remap(len)?;
        Ok(base)
    }

    /// Makes the mapping reach `len`. It may reach beyond the file: only what lies within is read.
    fn remap(&mut self, len: u64) -> io::Result<()> {
        let need = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if need <= self.map_len {
            return Ok(());
        }
        let map_len = need.next_power_of_two().max(64 << 20);
        // SAFETY: a new shared mapping of a file that only this process changes.
        let map = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                map_len,
                ProtFlags::READ,
                MapFlags::SHARED,
                &self.file,
                0,
            )?
        };
        self.unmap();
        self.map = map.cast();
        self.map_len = map_len;
        Ok(())
    }

    fn unmap(&mut self) {
        if self.map_len > 0 {
            // SAFETY: the mapping is owned, and `&mut self` says that nobody reads it.
            unsafe {
                let _ = rustix::mm::munmap(self.map.cast_mut().cast(), self.map_len);
            }
        }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > self.len {
            self.file.set_len(len)?;
            self.len = len;
        }
        self.remap(len)
    }

    fn bytes(&self) -> &[u8] {
        if self.map_len == 0 {
            return &[];
        }
        // SAFETY: mapped, within the file, and not written while `&self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.map, self.len as usize) }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.unmap();
    }
}

/// Why an access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StableError {
    /// Beyond its size.
    OutOfBounds,
}

/// Stable memory of one canister.
#[derive(Default)]
pub struct StableMemory {
    base: Option<Arc<Base>>,
    committed_pages: u64,
    pages: u64,
    /// 4 KiB pages that this message touched.
    touched: HashMap<u64, Touched, BuildHasherDefault<PageHasher>>,
    last: Option<(u64, Touched)>,
    blocks: Vec<Box<[u8]>>,
    used: u32,
    /// An upgrade's hooks, or a query and its callbacks, are several executions whose changes
    /// are kept or undone together, but each counts (and pays for) its pages anew.
    execution: u32,
    accessed: u64,
    dirty: u64,
}

impl StableMemory {
    /// Memory on an existing file, of `pages` 64 KiB pages.
    pub fn open(file: File, pages: u64) -> io::Result<Self> {
        let mut base = Base::new(file)?;
        base.set_len(pages * WASM_PAGE)?;
        Ok(StableMemory {
            base: Some(Arc::new(base)),
            committed_pages: pages,
            pages,
            ..StableMemory::default()
        })
    }

    /// The memory without the changes of this message. Both can be used until it is committed;
    /// then the view must be gone.
    pub fn committed(&self) -> Self {
        StableMemory {
            base: self.base.clone(),
            committed_pages: self.committed_pages,
            pages: self.committed_pages,
            ..StableMemory::default()
        }
    }

    /// Whether it has a file yet.
    pub fn has_file(&self) -> bool {
        self.base.is_some()
    }

    /// Gives it the file to commit to.
    pub fn set_file(&mut self, file: File) -> io::Result<()> {
        self.base = Some(Arc::new(Base::new(file)?));
        Ok(())
    }

    /// Size in 64 KiB pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Starts counting pages anew; changes stay.
    pub fn begin_execution(&mut self) {
        self.execution += 1;
        self.accessed = 0;
        self.dirty = 0;
        self.last = None;
    }

    /// 4 KiB pages that this execution wrote.
    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// 4 KiB pages that this execution read or wrote.
    pub fn accessed(&self) -> u64 {
        self.accessed
    }

    /// Adds pages; the old size.
    pub fn grow(&mut self, by: u64) -> u64 {
        let old = self.pages;
        self.pages += by;
        old
    }

    /// Whether `[offset, offset + len)` lies within.
    pub fn check(&self, offset: u64, len: u64) -> Result<(), StableError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.pages * WASM_PAGE => Ok(()),
            _ => Err(StableError::OutOfBounds),
        }
    }

    /// How many 4 KiB pages of the range this execution has not yet (written, touched). The range
    /// must have passed [`Self::check`].
    pub fn new_pages(&self, offset: u64, len: u64) -> (u64, u64) {
        if len == 0 {
            return (0, 0);
        }
        let (mut dirty, mut accessed) = (0, 0);
        for page in offset / OS_PAGE..=(offset + len - 1) / OS_PAGE {
            let touched = self.lookup(page);
            dirty += u64::from(touched.is_none_or(|t| t.dirtied != self.execution));
            accessed += u64::from(touched.is_none_or(|t| t.accessed != self.execution));
        }
        (dirty, accessed)
    }

    fn lookup(&self, page: u64) -> Option<Touched> {
        match self.last {
            Some((last, touched)) if last == page => Some(touched),
            _ => self.touched.get(&page).copied(),
        }
    }

    fn slot(&self, slot: u32) -> &[u8] {
        let at = slot as usize % BLOCK * PAGE;
        &self.blocks[slot as usize / BLOCK][at..at + PAGE]
    }

    /// Bytes of a committed page; empty where the file has a hole at its end.
    fn base_page(&self, page: u64) -> &[u8] {
        let bytes = self.base.as_ref().map_or(&[][..], |base| base.bytes());
        let end = (self.committed_pages * WASM_PAGE).min(bytes.len() as u64);
        let at = page.saturating_mul(OS_PAGE).min(end) as usize;
        &bytes[at..(at + PAGE).min(end as usize)]
    }

    fn copy_out(&self, page: u64, within: usize, out: &mut [u8]) {
        let source = match self.lookup(page) {
            Some(t) if t.slot != NO_SLOT => self.slot(t.slot),
            _ => self.base_page(page),
        };
        let have = source.len().saturating_sub(within).min(out.len());
        out[..have].copy_from_slice(&source[within.min(source.len())..][..have]);
        out[have..].fill(0);
    }

    /// Reads without counting the access; the range must be within.
    pub fn peek(&self, offset: u64, out: &mut [u8]) -> Result<(), StableError> {
        self.check(offset, out.len() as u64)?;
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let within = (at % OS_PAGE) as usize;
            let n = rest.len().min(PAGE - within);
            let (head, tail) = rest.split_at_mut(n);
            self.copy_out(at / OS_PAGE, within, head);
            at += n as u64;
            rest = tail;
        }
        Ok(())
    }

    /// Reads, and marks the pages as accessed.
    pub fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), StableError> {
        self.check(offset, out.len() as u64)?;
        if out.is_empty() {
            return Ok(());
        }
        for page in offset / OS_PAGE..=(offset + out.len() as u64 - 1) / OS_PAGE {
            if self.last.is_none_or(|(last, _)| last != page) {
                let execution = self.execution;
                let new = Touched {
                    slot: NO_SLOT,
                    accessed: u32::MAX,
                    dirtied: 0,
                };
                let touched = self.touched.entry(page).or_insert(new);
                if touched.accessed != execution {
                    touched.accessed = execution;
                    self.accessed += 1;
                }
                self.last = Some((page, *touched));
            }
        }
        self.peek(offset, out)
    }

    /// Writes, keeping changed pages aside.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StableError> {
        self.check(offset, bytes.len() as u64)?;
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (page, within) = (at / OS_PAGE, (at % OS_PAGE) as usize);
            let n = rest.len().min(PAGE - within);
            let (head, tail) = rest.split_at(n);
            let slot = self.writable(page, n == PAGE);
            let start = slot as usize % BLOCK * PAGE + within;
            self.blocks[slot as usize / BLOCK][start..start + n].copy_from_slice(head);
            at += n as u64;
            rest = tail;
        }
        Ok(())
    }

    /// The slot of a page, new with its committed content unless all of it will be overwritten.
    fn writable(&mut self, page: u64, whole: bool) -> u32 {
        let old = self.lookup(page);
        if let Some(t) = old
            && t.dirtied == self.execution
        {
            self.last = Some((page, t));
            return t.slot;
        }
        self.dirty += 1;
        self.accessed += u64::from(old.is_none_or(|t| t.accessed != self.execution));
        let slot = match old {
            Some(t) if t.slot != NO_SLOT => t.slot,
            _ => self.new_slot(page, whole),
        };
        let touched = Touched {
            slot,
            accessed: self.execution,
            dirtied: self.execution,
        };
        self.touched.insert(page, touched);
        self.last = Some((page, touched));
        slot
    }

    fn new_slot(&mut self, page: u64, whole: bool) -> u32 {
        let slot = self.used;
        self.used += 1;
        if slot as usize / BLOCK == self.blocks.len() {
            self.blocks.push(vec![0; BLOCK * PAGE].into_boxed_slice());
        }
        if !whole {
            let mut block = std::mem::take(&mut self.blocks[slot as usize / BLOCK]);
            let at = slot as usize % BLOCK * PAGE;
            let old = self.base_page(page);
            block[at..at + old.len()].copy_from_slice(old);
            block[at + old.len()..at + PAGE].fill(0);
            self.blocks[slot as usize / BLOCK] = block;
        }
        slot
    }

    /// Runs of written pages whose bytes lie together: offset, bytes; ascending.
    pub fn changes(&self) -> Vec<(u64, &[u8])> {
        let mut pages: Vec<(u64, u32)> = self
            .touched
            .iter()
            .filter(|(_, t)| t.slot != NO_SLOT)
            .map(|(p, t)| (*p, t.slot))
            .collect();
        pages.sort_unstable();
        let mut out = Vec::new();
        let mut i = 0;
        while i < pages.len() {
            let (page, slot) = pages[i];
            let mut n = 1;
            while i + n < pages.len()
                && pages[i + n] == (page + n as u64, slot + n as u32)
                && (slot as usize + n) / BLOCK == slot as usize / BLOCK
            {
                n += 1;
            }
            let at = slot as usize % BLOCK * PAGE;
            out.push((
                page * OS_PAGE,
                &self.blocks[slot as usize / BLOCK][at..at + n * PAGE],
            ));
            i += n;
        }
        out
    }

    /// Writes all changes to the file. On an error nothing is forgotten: it may be tried again
    /// or rolled back, but pages already written stay written in the file.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.used > 0 || self.pages != self.committed_pages {
            let changes = self.changes();
            let base = self.base.as_ref().ok_or(io::ErrorKind::NotFound)?;
            for (offset, bytes) in changes {
                base.file.write_all_at(bytes, offset)?;
            }
            let len = self.pages * WASM_PAGE;
            // Views are gone when a message has ended.
            let base = self.base.as_mut().and_then(Arc::get_mut);
            let base = base.ok_or(io::ErrorKind::ResourceBusy)?;
            // Writing may have made the file longer.
            base.len = base.len.max(base.file.metadata()?.len());
            base.set_len(len)?;
        }
        self.committed_pages = self.pages;
        self.forget();
        Ok(())
    }

    /// Whether a commit would write anything.
    pub fn is_changed(&self) -> bool {
        self.used > 0 || self.pages != self.committed_pages
    }

    /// Drops all changes of this message.
    pub fn rollback(&mut self) {
        self.pages = self.committed_pages;
        self.forget();
    }

    fn forget(&mut self) {
        if self.touched.capacity() > 1 << 16 {
            self.touched = HashMap::default();
        } else {
            self.touched.clear();
        }
        self.last = None;
        self.used = 0;
        self.execution = 0;
        self.accessed = 0;
        self.dirty = 0;
        self.blocks.truncate(KEEP_BLOCKS);
    }
}

/// A file without a name in `dir`.
pub fn scratch_file(dir: &Path) -> io::Result<File> {
    std::fs::create_dir_all(dir)?;
    let unique = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    for attempt in 0..1000u32 {
        let path = dir.join(format!(".icwasi-{}-{unique}-{attempt}", std::process::id()));
        match File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

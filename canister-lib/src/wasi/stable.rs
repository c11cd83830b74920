//! Stable memory of an injected guest.
//!
//! The file system has the canister's stable memory, so a guest that uses `ic0.stable*` itself
//! gets a memory of its own: a file of the system directory, whose holes take no space. The
//! functions trap where the System API does.

use crate::env::Env;
use crate::fs::{FsError, Ino};
use crate::runtime::Runtime;

use super::guest::Guest;

const FILE: &[u8] = b"guest-stable";
const PAGE: u64 = 65_536;
/// 500 GiB, as the IC's own.
const MAX_PAGES: u64 = 8_192_000;
/// What the 32-bit functions reach.
const MAX_PAGES_32: u64 = 65_536;

/// The file, once it was used.
#[derive(Debug)]
pub(crate) struct GuestStable(Option<(Ino, u64)>);

impl GuestStable {
    pub(crate) const fn new() -> Self {
        Self(None)
    }
}

/// The file and its size in pages.
fn file(rt: &mut Runtime) -> (Ino, u64) {
    if let Some(file) = rt.wasi.guest_stable.0 {
        return file;
    }
    let file = match open(rt) {
        Ok(file) => file,
        Err(reason) => rt
            .env()
            .trap(format!("icwasi: no stable memory for the program: {reason}").as_bytes()),
    };
    rt.wasi.guest_stable.0 = Some(file);
    file
}

fn open(rt: &mut Runtime) -> Result<(Ino, u64), String> {
    let fs = rt.fs().map_err(|error| error.to_string())?;
    let dir = fs.system_dir();
    let ino = match fs.lookup(dir, FILE) {
        Err(FsError::NotFound) => fs.create(dir, FILE),
        found => found,
    };
    let ino = ino.map_err(|error| format!("{error:?}"))?;
    let stat = fs.stat(ino).map_err(|error| format!("{error:?}"))?;
    Ok((ino, stat.size / PAGE))
}

/// `ic0.stable64_size`: in pages of 64 KiB.
pub fn stable64_size(rt: &mut Runtime) -> u64 {
    file(rt).1
}

/// `ic0.stable64_grow`: the old size, or -1 if there is no room.
pub fn stable64_grow(rt: &mut Runtime, pages: u64) -> i64 {
    let (ino, old) = file(rt);
    let Some(new) = old.checked_add(pages).filter(|&new| new <= MAX_PAGES) else {
        return -1;
    };
    let grown = rt.fs().is_ok_and(|fs| fs.set_len(ino, new * PAGE).is_ok());
    if !grown {
        return -1;
    }
    rt.wasi.guest_stable.0 = Some((ino, new));
    old as i64
}

/// Checks a range of the file and of the linear memory, and narrows the latter; traps.
fn range(rt: &mut Runtime, g: &Guest<'_>, offset: u64, address: u64, len: u64) -> (Ino, u32, u32) {
    let (ino, pages) = file(rt);
    if offset.checked_add(len).is_none_or(|end| end > pages * PAGE) {
        rt.env().trap(b"stable memory out of bounds");
    }
    match (u32::try_from(address), u32::try_from(len)) {
        (Ok(address), Ok(len)) if g.check(address, len).is_ok() => (ino, address, len),
        _ => rt.env().trap(b"heap out of bounds"),
    }
}

/// `ic0.stable64_read`
pub fn stable64_read(rt: &mut Runtime, g: &mut Guest<'_>, dst: u64, offset: u64, len: u64) {
    let (ino, address, len) = range(rt, g, offset, dst, len);
    let Ok(buf) = g.bytes_mut(address, len) else {
        rt.env()
            .trap(b"icwasi: stable64_read to address 0 is not supported")
    };
    let result = match rt.fs() {
        Ok(fs) => fs
            .read(ino, offset, buf)
            .map_err(|error| format!("{error:?}")),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = result {
        rt.env()
            .trap(format!("icwasi: stable memory cannot be read: {reason}").as_bytes());
    }
}

/// `ic0.stable64_write`. Traps also if the file system is full, since it cannot fail otherwise.
pub fn stable64_write(rt: &mut Runtime, g: &Guest<'_>, offset: u64, src: u64, len: u64) {
    let (ino, address, len) = range(rt, g, offset, src, len);
    let Ok(data) = g.bytes(address, len) else {
        rt.env()
            .trap(b"icwasi: stable64_write from address 0 is not supported")
    };
    if data.is_empty() {
        return;
    }
    let result = match rt.fs() {
        Ok(fs) => fs
            .write(ino, offset, data)
            .map_err(|error| format!("{error:?}")),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = result {
        rt.env()
            .trap(format!("icwasi: stable memory cannot be written: {reason}").as_bytes());
    }
}

/// `ic0.stable_size`: traps above 4 GiB, as the System API.
pub fn stable_size(rt: &mut Runtime) -> u32 {
    let pages = stable64_size(rt);
    if pages > MAX_PAGES_32 {
        rt.env()
            .trap(b"32 bit stable memory api used on a memory larger than 4GB");
    }
    pages as u32
}

/// `ic0.stable_grow`
pub fn stable_grow(rt: &mut Runtime, pages: u32) -> i32 {
    let old = stable_size(rt);
    if u64::from(old) + u64::from(pages) > MAX_PAGES_32 {
        return -1;
    }
    stable64_grow(rt, u64::from(pages)) as i32
}

/// `ic0.stable_read`
pub fn stable_read(rt: &mut Runtime, g: &mut Guest<'_>, dst: u32, offset: u32, len: u32) {
    stable_size(rt);
    stable64_read(rt, g, u64::from(dst), u64::from(offset), u64::from(len));
}

/// `ic0.stable_write`
pub fn stable_write(rt: &mut Runtime, g: &Guest<'_>, offset: u32, src: u32, len: u32) {
    stable_size(rt);
    stable64_write(rt, g, u64::from(offset), u64::from(src), u64::from(len));
}

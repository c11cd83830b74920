//! `stable_*`, `stable64_*`.

use wasmtime::Linker;

use super::context::ALWAYS;
use super::{Ctx, Host, HostTrap, Message, R, Word, charge, enter};
use crate::core::costs::{
    API_STABLE_ACCESS, API_STABLE_GROW, API_STABLE_SIZE, STABLE_DIRTY_PAGE,
    STABLE_DIRTY_PAGE_WASM64,
};
use crate::core::limits::OS_PAGE;

/// Pages of 64 KiB in 4 GiB.
const PAGES_32: u64 = 1 << 16;

fn size(c: &mut Ctx<'_>, name: &str) -> R<u64> {
    enter(c, name, ALWAYS, API_STABLE_SIZE)?;
    Ok(c.data_mut().message().stable.pages())
}

/// `u64::MAX` if it cannot grow.
fn grow(c: &mut Ctx<'_>, name: &str, by: u64, max: u64) -> R<u64> {
    enter(c, name, ALWAYS, API_STABLE_GROW)?;
    let message = c.data_mut().message();
    match message.stable.pages().checked_add(by) {
        Some(pages) if pages <= max => Ok(message.stable.grow(by)),
        _ => Ok(u64::MAX),
    }
}

fn heap_range(heap: usize, ptr: u64, len: u64) -> R<std::ops::Range<usize>> {
    match ptr.checked_add(len) {
        Some(end) if end <= heap as u64 => Ok(ptr as usize..end as usize),
        _ => Err(HostTrap::Trapped("heap out of bounds").into()),
    }
}

fn check(message: &Message, offset: u64, len: u64) -> R<()> {
    if message.stable.check(offset, len).is_err() {
        return Err(HostTrap::Trapped("stable memory out of bounds").into());
    }
    Ok(())
}

fn access_limit(message: &Message, what: &str) -> wasmtime::Error {
    HostTrap::AccessLimit(format!(
        "Exceeded the limit for the number of {what} pages in the stable memory in a single \
         message execution: {} KiB.",
        message.stable_page_limit * OS_PAGE / 1024
    ))
    .into()
}

fn read(c: &mut Ctx<'_>, name: &str, dst: u64, offset: u64, len: u64) -> R<()> {
    enter(c, name, ALWAYS, API_STABLE_ACCESS)?;
    if len == 0 {
        return Ok(());
    }
    charge(c, len)?;
    let (heap, message) = super::split(c, name)?;
    check(message, offset, len)?;
    let range = heap_range(heap.len(), dst, len)?;
    let (_, accessed) = message.stable.new_pages(offset, len);
    if message.stable.accessed() + accessed > message.stable_page_limit {
        return Err(access_limit(message, "accessed"));
    }
    if message.stable.read(offset, &mut heap[range]).is_err() {
        return Err(HostTrap::Trapped("stable memory out of bounds").into());
    }
    Ok(())
}

fn write(c: &mut Ctx<'_>, name: &str, offset: u64, src: u64, len: u64, fee: u64) -> R<()> {
    enter(c, name, ALWAYS, API_STABLE_ACCESS)?;
    if len == 0 {
        return Ok(());
    }
    charge(c, len)?;
    let (heap, message) = super::split(c, name)?;
    check(message, offset, len)?;
    heap_range(heap.len(), src, len)?;
    let (dirty, accessed) = message.stable.new_pages(offset, len);
    if message.stable.dirty() + dirty > message.stable_page_limit {
        return Err(access_limit(message, "modified"));
    }
    if message.stable.accessed() + accessed > message.stable_page_limit {
        return Err(access_limit(message, "accessed"));
    }
    charge(c, dirty * fee)?;
    let (heap, message) = super::split(c, name)?;
    let range = heap_range(heap.len(), src, len)?;
    if message.stable.write(offset, &heap[range]).is_err() {
        return Err(HostTrap::Trapped("stable memory out of bounds").into());
    }
    Ok(())
}

/// The 32-bit functions trap once there is more than they can reach.
fn only_32(c: &mut Ctx<'_>) -> R<()> {
    if c.data_mut().message().stable.pages() > PAGES_32 {
        return Err(HostTrap::Trapped("32 bit stable memory api used on a memory larger than 4GB").into());
    }
    Ok(())
}

pub(super) fn link<W: Word>(l: &mut Linker<Host>) -> R<()> {
    let fee = if W::WIDE { STABLE_DIRTY_PAGE_WASM64 } else { STABLE_DIRTY_PAGE };
    l.func_wrap("ic0", "stable64_size", |mut c: Ctx<'_>| -> R<i64> {
        Ok(size(&mut c, "stable64_size")? as i64)
    })?;
    l.func_wrap("ic0", "stable64_grow", |mut c: Ctx<'_>, by: i64| -> R<i64> {
        let max = c.data_mut().message().limits.stable_pages;
        Ok(grow(&mut c, "stable64_grow", by as u64, max)? as i64)
    })?;
    l.func_wrap("ic0", "stable64_read", |mut c: Ctx<'_>, dst: i64, off: i64, n: i64| {
        read(&mut c, "stable64_read", dst as u64, off as u64, n as u64)
    })?;
    l.func_wrap("ic0", "stable64_write", move |mut c: Ctx<'_>, off: i64, src: i64, n: i64| {
        write(&mut c, "stable64_write", off as u64, src as u64, n as u64, fee)
    })?;
    if W::WIDE {
        return Ok(());
    }
    l.func_wrap("ic0", "stable_size", |mut c: Ctx<'_>| -> R<i32> {
        only_32(&mut c)?;
        Ok(size(&mut c, "stable_size")? as i32)
    })?;
    l.func_wrap("ic0", "stable_grow", |mut c: Ctx<'_>, by: i32| -> R<i32> {
        only_32(&mut c)?;
        let max = c.data_mut().message().limits.stable_pages.min(PAGES_32);
        Ok(grow(&mut c, "stable_grow", u64::from(by as u32), max)? as i32)
    })?;
    l.func_wrap("ic0", "stable_read", |mut c: Ctx<'_>, dst: i32, off: i32, n: i32| {
        only_32(&mut c)?;
        read(&mut c, "stable_read", dst.get(), off.get(), n.get())
    })?;
    l.func_wrap("ic0", "stable_write", move |mut c: Ctx<'_>, off: i32, src: i32, n: i32| {
        only_32(&mut c)?;
        write(&mut c, "stable_write", off.get(), src.get(), n.get(), fee)
    })?;
    Ok(())
}

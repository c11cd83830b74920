//! `stable_*`, `stable64_*`.

use wasmtime::Linker;

use super::context::ALWAYS;
use super::{Ctx, Host, HostTrap, Message, R, Word, charge, enter};
use crate::core::costs::{
    API_STABLE_ACCESS, API_STABLE_GROW, API_STABLE_SIZE, STABLE_DIRTY_PAGE,
    STABLE_DIRTY_PAGE_WASM64,
};
use crate::core::limits::{OS_PAGE, WASM_PAGE};

/// Pages of 64 KiB in 4 GiB.
const PAGES_32: u64 = 1 << 16;

/// One of the functions, in one of its two widths.
#[derive(Clone, Copy)]
struct Access {
    name: &'static str,
    /// Of the functions, not of the canister's memory.
    narrow: bool,
    /// Per page that is dirtied.
    fee: u64,
    /// Heap addresses above this are refused before anything else is looked at.
    max_heap: u64,
}

fn size(c: &mut Ctx<'_>, name: &str) -> R<u64> {
    enter(c, name, ALWAYS, API_STABLE_SIZE)?;
    Ok(c.data_mut().message().stable.pages())
}

/// `u64::MAX` if it cannot grow.
fn grow(c: &mut Ctx<'_>, name: &str, by: u64, narrow: bool) -> R<u64> {
    enter(c, name, ALWAYS, API_STABLE_GROW)?;
    let message = c.data_mut().message();
    let mut max = message.limits.stable_pages;
    if narrow {
        only_32(message)?;
        max = max.min(PAGES_32);
    }
    match message.stable.pages().checked_add(by) {
        Some(pages) if pages <= max => {
            super::pay_memory(message, by * WASM_PAGE)?;
            Ok(message.stable.grow(by))
        }
        _ => Ok(u64::MAX),
    }
}

fn heap_range(heap: usize, ptr: u64, len: u64) -> R<std::ops::Range<usize>> {
    match ptr.checked_add(len) {
        Some(end) if end <= heap as u64 => Ok(ptr as usize..end as usize),
        _ => Err(HostTrap::Trapped("heap out of bounds").into()),
    }
}

/// Charges for the call and its bytes. The sum wraps around, as there: lengths that are nearly
/// 2^64 cost little, and trap as out of bounds.
fn enter_access(c: &mut Ctx<'_>, access: Access, len: u64) -> R<()> {
    enter(c, access.name, ALWAYS, API_STABLE_ACCESS.wrapping_add(len))
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

fn check_heap(access: Access, ptr: u64, len: u64) -> R<()> {
    if ptr > access.max_heap || len > access.max_heap {
        return Err(HostTrap::Trapped("heap out of bounds").into());
    }
    Ok(())
}

/// The order of checks is that of the reference, since each decides what was charged before.
fn read(c: &mut Ctx<'_>, access: Access, dst: u64, offset: u64, len: u64) -> R<()> {
    enter_access(c, access, len)?;
    if len == 0 {
        return Ok(());
    }
    let (heap, message) = super::split(c, access.name)?;
    if access.narrow {
        only_32(message)?;
    }
    check(message, offset, len)?;
    check_heap(access, dst, len)?;
    let (_, accessed) = message.stable.new_pages(offset, len);
    if message.stable.accessed() + accessed > message.stable_page_limit {
        return Err(access_limit(message, "accessed"));
    }
    let range = heap_range(heap.len(), dst, len)?;
    if message.stable.read(offset, &mut heap[range]).is_err() {
        return Err(HostTrap::Trapped("stable memory out of bounds").into());
    }
    Ok(())
}

/// As for reading: the range of the heap is checked last, when pages were paid for.
fn write(c: &mut Ctx<'_>, access: Access, offset: u64, src: u64, len: u64) -> R<()> {
    enter_access(c, access, len)?;
    if access.narrow {
        // Here an empty range is checked as well.
        let message = c.data_mut().message();
        only_32(message)?;
        check(message, offset, len)?;
    }
    if len == 0 {
        return Ok(());
    }
    let (_, message) = super::split(c, access.name)?;
    check(message, offset, len)?;
    check_heap(access, src, len)?;
    let (dirty, accessed) = message.stable.new_pages(offset, len);
    if message.stable.accessed() + accessed > message.stable_page_limit {
        return Err(access_limit(message, "accessed"));
    }
    if message.stable.dirty() + dirty > message.stable_page_limit {
        return Err(access_limit(message, "modified"));
    }
    charge(c, dirty * access.fee)?;
    let (heap, message) = super::split(c, access.name)?;
    let range = heap_range(heap.len(), src, len)?;
    if message.stable.write(offset, &heap[range]).is_err() {
        return Err(HostTrap::Trapped("stable memory out of bounds").into());
    }
    Ok(())
}

/// The 32-bit functions trap once there is more than they can reach.
fn only_32(message: &Message) -> R<()> {
    if message.stable.pages() > PAGES_32 {
        return Err(
            HostTrap::Trapped("32 bit stable memory api used on a memory larger than 4GB").into(),
        );
    }
    Ok(())
}

pub(super) fn link<W: Word>(l: &mut Linker<Host>) -> R<()> {
    let access = |name, narrow| Access {
        name,
        narrow,
        fee: if W::WIDE {
            STABLE_DIRTY_PAGE_WASM64
        } else {
            STABLE_DIRTY_PAGE
        },
        max_heap: if W::WIDE {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        },
    };
    l.func_wrap("ic0", "stable64_size", |mut c: Ctx<'_>| -> R<i64> {
        Ok(size(&mut c, "stable64_size")? as i64)
    })?;
    l.func_wrap(
        "ic0",
        "stable64_grow",
        |mut c: Ctx<'_>, by: i64| -> R<i64> {
            Ok(grow(&mut c, "stable64_grow", by as u64, false)? as i64)
        },
    )?;
    let wide_read = access("stable64_read", false);
    l.func_wrap(
        "ic0",
        "stable64_read",
        move |mut c: Ctx<'_>, dst: i64, off: i64, n: i64| {
            read(&mut c, wide_read, dst as u64, off as u64, n as u64)
        },
    )?;
    let wide_write = access("stable64_write", false);
    l.func_wrap(
        "ic0",
        "stable64_write",
        move |mut c: Ctx<'_>, off: i64, src: i64, n: i64| {
            write(&mut c, wide_write, off as u64, src as u64, n as u64)
        },
    )?;
    if W::WIDE {
        return Ok(());
    }
    l.func_wrap("ic0", "stable_size", |mut c: Ctx<'_>| -> R<i32> {
        let pages = size(&mut c, "stable_size")?;
        only_32(c.data_mut().message())?;
        Ok(pages as i32)
    })?;
    l.func_wrap("ic0", "stable_grow", |mut c: Ctx<'_>, by: i32| -> R<i32> {
        Ok(grow(&mut c, "stable_grow", by.get(), true)? as i32)
    })?;
    let narrow_read = access("stable_read", true);
    l.func_wrap(
        "ic0",
        "stable_read",
        move |mut c: Ctx<'_>, dst: i32, off: i32, n: i32| {
            read(&mut c, narrow_read, dst.get(), off.get(), n.get())
        },
    )?;
    let narrow_write = access("stable_write", true);
    l.func_wrap(
        "ic0",
        "stable_write",
        move |mut c: Ctx<'_>, off: i32, src: i32, n: i32| {
            write(&mut c, narrow_write, off.get(), src.get(), n.get())
        },
    )?;
    Ok(())
}

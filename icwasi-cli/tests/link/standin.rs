//! A stand-in for the canister library in the linker's tests: it exports the same names, counts
//! what the linker calls, and uses its heap, stack, data, function pointers and constants, so that
//! a wrong relocation shows.

use std::cell::RefCell;
use std::collections::BTreeMap;

#[link(wasm_import_module = "ic0")]
unsafe extern "C" {
    fn debug_print(src: usize, size: usize);
}

#[link(wasm_import_module = "icwasi_link")]
unsafe extern "C" {
    safe fn config_size() -> usize;
    safe fn config_copy(dst: *mut u8);
    safe fn arena_start() -> usize;
    safe fn arena_size() -> usize;
}

mod arena {
    use std::alloc::{GlobalAlloc, Layout};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Hands out the arena from its start, never takes back.
    struct Bump(AtomicUsize);
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let used = self.0.load(Ordering::Relaxed);
            let start = (super::arena_start() + used).next_multiple_of(layout.align());
            let end = start + layout.size();
            if end > super::arena_start() + super::arena_size() {
                return std::ptr::null_mut();
            }
            self.0.store(end - super::arena_start(), Ordering::Relaxed);
            std::ptr::with_exposed_provenance_mut(start)
        }
        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }
    #[global_allocator]
    static BUMP: Bump = Bump(AtomicUsize::new(0));
}

type Handler = fn(&str) -> String;
/// Data with addresses and function pointers in it.
static HANDLERS: [(&str, Handler); 3] =
    [("upper", |s| s.to_uppercase()), ("twice", |s| s.repeat(2)), ("plain", |s| s.to_owned())];

thread_local! {
    static COUNTS: RefCell<BTreeMap<&'static str, u32>> = RefCell::default();
    static LOG: RefCell<Vec<u8>> = RefCell::default();
}

fn count(what: &'static str) {
    COUNTS.with_borrow_mut(|counts| *counts.entry(what).or_default() += 1);
}

fn print(text: &str) {
    unsafe { debug_print(text.as_ptr() as usize, text.len()) }
}

#[unsafe(export_name = "icwasi.enter")]
extern "C" fn enter() {
    count("enter");
    LOG.with_borrow_mut(|log| log.clear());
}

#[unsafe(export_name = "icwasi.leave")]
extern "C" fn leave() {
    LOG.with_borrow(|log| {
        if !log.is_empty() {
            print(&String::from_utf8_lossy(log));
        }
    });
}

#[unsafe(export_name = "icwasi.start")]
extern "C" fn start(kind: i32) {
    let mut config = vec![0; config_size()];
    config_copy(config.as_mut_ptr());
    print(&format!("start {kind} config {}", String::from_utf8_lossy(&config[..4])));
}

#[unsafe(export_name = "icwasi.started")]
extern "C" fn started(kind: i32) {
    let counts = COUNTS.with_borrow(|counts| format!("{counts:?}"));
    print(&format!("started {kind} {counts}"));
}

#[unsafe(export_name = "icwasi.inspect")]
extern "C" fn inspect() -> i32 {
    0
}

/// Writes through each of the handlers, chosen at run time.
#[unsafe(export_name = "icwasi.p1.fd_write")]
unsafe extern "C" fn fd_write(fd: i32, iovs: *const [u32; 2], n: usize, written: *mut u32) -> i32 {
    count("fd_write");
    let mut total = 0;
    for [pointer, length] in unsafe { std::slice::from_raw_parts(iovs, n) } {
        let bytes =
            unsafe { std::slice::from_raw_parts(*pointer as usize as *const u8, *length as usize) };
        let text = String::from_utf8_lossy(bytes);
        let (_, handler) = HANDLERS[fd as usize % HANDLERS.len()];
        LOG.with_borrow_mut(|log| log.extend(handler(&text).bytes()));
        total += length;
    }
    unsafe { *written = total };
    0
}

/// Fills a large frame of the shadow stack `depth` times over.
#[unsafe(export_name = "icwasi.p1.sched_yield")]
extern "C" fn sched_yield() -> i32 {
    fn sum(depth: u32, seed: u64) -> u64 {
        let mut frame = [seed; 512];
        std::hint::black_box(&mut frame);
        if depth == 0 { frame[17] } else { sum(depth - 1, seed + 1) + frame[3] }
    }
    (sum(10, 1) == 66) as i32 - 1
}

/// Never comes back: overflows the shadow stack.
#[unsafe(export_name = "icwasi.p1.proc_raise")]
extern "C" fn proc_raise(signal: i32) -> i32 {
    fn deeper(n: i32) -> i32 {
        let mut frame = [n; 1024];
        std::hint::black_box(&mut frame);
        if n < 0 { 0 } else { deeper(n + 1) + frame[5] }
    }
    deeper(signal)
}

macro_rules! errno {
    ($($name:literal $function:ident ($($arg:ident: $ty:ty),*) $value:literal;)*) => {
        $(#[unsafe(export_name = concat!("icwasi.p1.", $name))]
        extern "C" fn $function($($arg: $ty),*) -> i32 { $(let _ = $arg;)* $value })*
    };
}
errno! {
    "fd_close" fd_close(a: i32) 0;
    "fd_seek" fd_seek(a: i32, b: i64, c: i32, d: i32) 70;
    "fd_fdstat_get" fd_fdstat_get(a: i32, b: i32) 8;
    "fd_fdstat_set_flags" fd_fdstat_set_flags(a: i32, b: i32) 8;
    "fd_prestat_get" fd_prestat_get(a: i32, b: i32) 8;
    "fd_prestat_dir_name" fd_prestat_dir_name(a: i32, b: i32, c: i32) 8;
    "fd_read" fd_read(a: i32, b: i32, c: i32, d: i32) 8;
    "path_open" path_open(a: i32, b: i32, c: i32, d: i32, e: i32, f: i64, g: i64, h: i32, i: i32) 44;
    "fd_filestat_get" fd_filestat_get(a: i32, b: i32) 8;
    "random_get" random_get(a: i32, b: i32) 0;
    "clock_time_get" clock_time_get(a: i32, b: i64, c: i32) 0;
    "poll_oneoff" poll_oneoff(a: i32, b: i32, c: i32, d: i32) 28;
}

#[unsafe(export_name = "icwasi.p1.environ_get")]
extern "C" fn environ_get(_: i32, _: i32) -> i32 {
    0
}

#[unsafe(export_name = "icwasi.p1.environ_sizes_get")]
extern "C" fn environ_sizes_get(count: *mut u32, size: *mut u32) -> i32 {
    unsafe { (*count, *size) = (0, 0) };
    0
}

#[unsafe(export_name = "icwasi.p1.args_get")]
extern "C" fn args_get(_: i32, _: i32) -> i32 {
    0
}

#[unsafe(export_name = "icwasi.p1.args_sizes_get")]
extern "C" fn args_sizes_get(count: *mut u32, size: *mut u32) -> i32 {
    unsafe { (*count, *size) = (0, 0) };
    0
}

#[unsafe(export_name = "icwasi.p1.proc_exit")]
extern "C" fn proc_exit(code: i32) -> ! {
    panic!("exit {code}")
}

/// What commands and exits need.
#[cfg(whole)]
mod whole {
    #[link(wasm_import_module = "icwasi_link")]
    unsafe extern "C" {
        safe fn run_start();
    }

    #[unsafe(export_name = "icwasi.exit")]
    extern "C" fn exit(code: i32) {
        super::print(&format!("exit {code}"));
    }

    #[unsafe(export_name = "icwasi.exec")]
    extern "C" fn exec(_access: i32) {
        run_start();
    }

    #[unsafe(export_name = "icwasi.exec_inspect")]
    extern "C" fn exec_inspect(_access: i32) {}
}

/// The guest's own stable memory, here of a fixed size.
#[unsafe(export_name = "icwasi.guest.stable64_size")]
extern "C" fn stable64_size() -> i64 {
    4711
}

#[unsafe(export_name = "canister_query icwasi_info")]
extern "C" fn admin_info() {
    print("admin-only text");
}

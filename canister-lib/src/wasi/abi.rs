//! The exports that the linker binds the program's imports to.
//!
//! Each only turns ABI values into a call of a plain function. If the runtime is in use further
//! up the stack (a panic inside this library prints, and looks into the environment), what a
//! panic needs still works, and the rest is `EBUSY`.

use super::errno::{Errno, Result};
use super::guest::Guest;
use super::{
    args_env, clock, fd_dir, fd_io, fd_meta, path, path_open, poll, proc, random, run, sock,
    stable, stdio, types, unstable as unstable_abi,
};
use crate::env::{Env, Platform};
use crate::runtime::{Runtime, try_with};

#[inline]
fn call(f: impl FnOnce(&mut Runtime, &mut Guest<'_>) -> Result<()>) -> i32 {
    call_or(f, |_| Err(Errno::BUSY))
}

#[inline]
fn call_or(
    f: impl FnOnce(&mut Runtime, &mut Guest<'_>) -> Result<()>,
    reentered: impl FnOnce(&mut Guest<'_>) -> Result<()>,
) -> i32 {
    // SAFETY: only exports of this module call this, when the guest has called a WASI function.
    let mut guest = unsafe { Guest::own() };
    let result = match try_with(|runtime| f(runtime, &mut guest)) {
        Some(result) => result,
        None => reentered(&mut guest),
    };
    match result {
        Ok(()) => 0,
        Err(errno) => i32::from(errno.0),
    }
}

/// Prints without the runtime.
#[cold]
fn print_directly(g: &mut Guest<'_>, iovs: u32, count: u32, out: u32) -> Result<()> {
    let total = g.check_iovecs(iovs, count)?;
    for index in 0..count {
        let (address, len) = g.iovec(iovs, index)?;
        stdio::print_line(g.bytes(address, len)?, &Platform::new());
    }
    g.write_u32(out, total)
}

fn exit(code: u32) -> ! {
    try_with(|rt| -> () { proc::proc_exit(rt, code) });
    Platform::new().trap(b"icwasi: the program called exit inside a WASI call")
}

macro_rules! exports {
    ($prefix:literal: $($name:ident($($arg:ident: $ty:ty),*) = |$rt:pat_param, $g:pat_param| $body:expr;)*) => {
        $(
            #[unsafe(export_name = concat!("icwasi.", $prefix, ".", stringify!($name)))]
            extern "C" fn $name($($arg: $ty),*) -> i32 {
                call(|$rt, $g| $body)
            }
        )*
    };
}

/// The functions whose ABI is the same in both modules.
macro_rules! common {
    ($prefix:literal) => {
        use super::*;

        exports! { $prefix:
            args_get(argv: u32, buf: u32) = |rt, g| args_env::args_get(rt, g, argv, buf);
            args_sizes_get(count: u32, size: u32) = |rt, g| args_env::args_sizes_get(rt, g, count, size);
            environ_get(environ: u32, buf: u32) = |rt, g| args_env::environ_get(rt, g, environ, buf);
            clock_res_get(id: u32, out: u32) = |_, g| clock::clock_res_get(g, id, out);
            clock_time_get(id: u32, _precision: u64, out: u32) = |rt, g| clock::clock_time_get(rt, g, id, out);
            fd_advise(fd: u32, offset: u64, len: u64, advice: u32) = |rt, _| fd_io::fd_advise(rt, fd, offset, len, advice);
            fd_allocate(fd: u32, offset: u64, len: u64) = |rt, _| fd_io::fd_allocate(rt, fd, offset, len);
            fd_close(fd: u32) = |rt, _| fd_meta::fd_close(rt, fd);
            fd_datasync(fd: u32) = |rt, _| fd_io::fd_sync(rt, fd);
            fd_fdstat_get(fd: u32, out: u32) = |rt, g| fd_meta::fd_fdstat_get(rt, g, fd, out);
            fd_fdstat_set_flags(fd: u32, flags: u32) = |rt, _| fd_meta::fd_fdstat_set_flags(rt, fd, flags);
            fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) = |rt, _| fd_meta::fd_fdstat_set_rights(rt, fd, base, inheriting);
            fd_filestat_set_size(fd: u32, size: u64) = |rt, _| fd_meta::fd_filestat_set_size(rt, fd, size);
            fd_filestat_set_times(fd: u32, atime: u64, mtime: u64, flags: u32) = |rt, _| fd_meta::fd_filestat_set_times(rt, fd, atime, mtime, flags);
            fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, out: u32) = |rt, g| fd_io::fd_pread(rt, g, fd, iovs, count, offset, out);
            fd_prestat_get(fd: u32, out: u32) = |rt, g| fd_meta::fd_prestat_get(rt, g, fd, out);
            fd_prestat_dir_name(fd: u32, buf: u32, len: u32) = |rt, g| fd_meta::fd_prestat_dir_name(rt, g, fd, buf, len);
            fd_pwrite(fd: u32, iovs: u32, count: u32, offset: u64, out: u32) = |rt, g| fd_io::fd_pwrite(rt, g, fd, iovs, count, offset, out);
            fd_read(fd: u32, iovs: u32, count: u32, out: u32) = |rt, g| fd_io::fd_read(rt, g, fd, iovs, count, out);
            fd_readdir(fd: u32, buf: u32, len: u32, cookie: u64, out: u32) = |rt, g| fd_dir::fd_readdir(rt, g, fd, buf, len, cookie, out);
            fd_renumber(from: u32, to: u32) = |rt, _| fd_meta::fd_renumber(rt, from, to);
            fd_sync(fd: u32) = |rt, _| fd_io::fd_sync(rt, fd);
            fd_tell(fd: u32, out: u32) = |rt, g| fd_io::fd_tell(rt, g, fd, out);
            path_create_directory(fd: u32, path: u32, len: u32) = |rt, g| path::path_create_directory(rt, g, fd, path, len);
            path_filestat_set_times(fd: u32, flags: u32, path: u32, len: u32, atime: u64, mtime: u64, fst_flags: u32) =
                |rt, g| path::path_filestat_set_times(rt, g, fd, flags, path, len, atime, mtime, fst_flags);
            path_link(old_fd: u32, old_flags: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32) =
                |rt, g| path::path_link(rt, g, old_fd, old_flags, old, old_len, new_fd, new, new_len);
            path_open(fd: u32, lookup: u32, path: u32, len: u32, open: u32, base: u64, inheriting: u64, flags: u32, out: u32) =
                |rt, g| path_open::path_open(rt, g, fd, lookup, path, len, open, base, inheriting, flags, out);
            path_readlink(fd: u32, path: u32, len: u32, buf: u32, buf_len: u32, out: u32) =
                |rt, g| path::path_readlink(rt, g, fd, path, len, buf, buf_len, out);
            path_remove_directory(fd: u32, path: u32, len: u32) = |rt, g| path::path_remove_directory(rt, g, fd, path, len);
            path_rename(old_fd: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32) =
                |rt, g| path::path_rename(rt, g, old_fd, old, old_len, new_fd, new, new_len);
            path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32) =
                |rt, g| path::path_symlink(rt, g, target, target_len, fd, path, len);
            path_unlink_file(fd: u32, path: u32, len: u32) = |rt, g| path::path_unlink_file(rt, g, fd, path, len);
            proc_raise(signal: u32) = |_, _| proc::proc_raise(signal);
            random_get(buf: u32, len: u32) = |rt, g| random::random_get(rt, g, buf, len);
            sched_yield() = |_, _| proc::sched_yield();
            sock_recv(fd: u32, _iovs: u32, _count: u32, _flags: u32, _len: u32, _out: u32) = |rt, _| sock::sock_recv(rt, fd);
            sock_send(fd: u32, _iovs: u32, _count: u32, _flags: u32, _len: u32) = |rt, _| sock::sock_send(rt, fd);
            sock_shutdown(fd: u32, how: u32) = |rt, _| sock::sock_shutdown(rt, fd, how);
        }

        #[unsafe(export_name = concat!("icwasi.", $prefix, ".environ_sizes_get"))]
        extern "C" fn environ_sizes_get(count: u32, size: u32) -> i32 {
            call_or(
                |rt, g| args_env::environ_sizes_get(rt, g, count, size),
                |g| {
                    g.write_u32(count, 0)?;
                    g.write_u32(size, 0)
                },
            )
        }

        #[unsafe(export_name = concat!("icwasi.", $prefix, ".fd_write"))]
        extern "C" fn fd_write(fd: u32, iovs: u32, count: u32, out: u32) -> i32 {
            call_or(
                |rt, g| fd_io::fd_write(rt, g, fd, iovs, count, out),
                |g| print_directly(g, iovs, count, out),
            )
        }

        #[unsafe(export_name = concat!("icwasi.", $prefix, ".proc_exit"))]
        extern "C" fn proc_exit(code: u32) {
            exit(code)
        }
    };
}

mod p1 {
    common!("p1");

    exports! { "p1":
        fd_filestat_get(fd: u32, out: u32) = |rt, g| fd_meta::fd_filestat_get(rt, g, fd, out);
        fd_seek(fd: u32, delta: i64, whence: u32, out: u32) = |rt, g| fd_io::fd_seek(rt, g, fd, delta, types::Whence::from_preview1(whence), out);
        path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32) = |rt, g| path::path_filestat_get(rt, g, fd, flags, path, len, out);
        poll_oneoff(subscriptions: u32, events: u32, count: u32, out: u32) = |rt, g| poll::poll_oneoff(rt, g, subscriptions, events, count, out);
        sock_accept(fd: u32, _flags: u32, _out: u32) = |rt, _| sock::sock_accept(rt, fd);
    }
}

mod unstable {
    common!("unstable");

    exports! { "unstable":
        fd_filestat_get(fd: u32, out: u32) = |rt, g| unstable_abi::fd_filestat_get(rt, g, fd, out);
        fd_seek(fd: u32, delta: i64, whence: u32, out: u32) = |rt, g| unstable_abi::fd_seek(rt, g, fd, delta, whence, out);
        path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32) = |rt, g| unstable_abi::path_filestat_get(rt, g, fd, flags, path, len, out);
        poll_oneoff(subscriptions: u32, events: u32, count: u32, out: u32) = |rt, g| unstable_abi::poll_oneoff(rt, g, subscriptions, events, count, out);
    }
}

/// The linker's hooks; `docs/DESIGN.md` has the contract.
mod hooks {
    use super::{random, run};
    use crate::runtime::with;

    #[unsafe(export_name = "icwasi.enter")]
    extern "C" fn enter() {
        with(|rt| rt.enter());
    }

    #[unsafe(export_name = "icwasi.leave")]
    extern "C" fn leave() {
        with(|rt| rt.leave());
    }

    /// The program exits; its functions return one after the other when this has returned.
    #[unsafe(export_name = "icwasi.exit")]
    extern "C" fn exit(code: u32) {
        with(|rt| run::exit(rt, code));
    }

    #[unsafe(export_name = "icwasi.reseed")]
    extern "C" fn reseed() {
        with(random::reseed_if_due);
    }

    /// Callbacks are not announced by `enter`.
    #[unsafe(export_name = "icwasi.reseeded")]
    extern "C" fn reseeded(_env: u32) {
        with(|rt| {
            rt.enter();
            random::take_reply(rt);
            rt.leave();
        });
    }

    #[unsafe(export_name = "icwasi.start")]
    extern "C" fn start(_kind: i32) {
        #[cfg(feature = "module")]
        std::panic::set_hook(Box::new(|info| {
            use crate::env::Env;
            crate::env::Platform::new().trap(format!("icwasi: {info}").as_bytes())
        }));
        with(|rt| rt.start());
    }

    #[unsafe(export_name = "icwasi.started")]
    extern "C" fn started(_kind: i32) {
        with(|rt| rt.started());
    }
}

/// The guest's own stable memory.
mod guest_stable {
    use super::{Guest, stable};
    use crate::runtime::{Runtime, with};

    fn call<R>(f: impl FnOnce(&mut Runtime, &mut Guest<'_>) -> R) -> R {
        // SAFETY: only exports of this module call this, when the guest has called the function.
        let mut guest = unsafe { Guest::own() };
        with(|runtime| f(runtime, &mut guest))
    }

    #[unsafe(export_name = "icwasi.guest.stable64_size")]
    extern "C" fn stable64_size() -> u64 {
        call(|rt, _| stable::stable64_size(rt))
    }

    #[unsafe(export_name = "icwasi.guest.stable64_grow")]
    extern "C" fn stable64_grow(pages: u64) -> i64 {
        call(|rt, _| stable::stable64_grow(rt, pages))
    }

    #[unsafe(export_name = "icwasi.guest.stable64_read")]
    extern "C" fn stable64_read(dst: u64, offset: u64, len: u64) {
        call(|rt, g| stable::stable64_read(rt, g, dst, offset, len));
    }

    #[unsafe(export_name = "icwasi.guest.stable64_write")]
    extern "C" fn stable64_write(offset: u64, src: u64, len: u64) {
        call(|rt, g| stable::stable64_write(rt, g, offset, src, len));
    }

    #[unsafe(export_name = "icwasi.guest.stable_size")]
    extern "C" fn stable_size() -> u32 {
        call(|rt, _| stable::stable_size(rt))
    }

    #[unsafe(export_name = "icwasi.guest.stable_grow")]
    extern "C" fn stable_grow(pages: u32) -> i32 {
        call(|rt, _| stable::stable_grow(rt, pages))
    }

    #[unsafe(export_name = "icwasi.guest.stable_read")]
    extern "C" fn stable_read(dst: u32, offset: u32, len: u32) {
        call(|rt, g| stable::stable_read(rt, g, dst, offset, len));
    }

    #[unsafe(export_name = "icwasi.guest.stable_write")]
    extern "C" fn stable_write(offset: u32, src: u32, len: u32) {
        call(|rt, g| stable::stable_write(rt, g, offset, src, len));
    }
}

/// Constructors of a Rust canister (`cdylib`), which has no start-up code of its own.
///
/// Without a call to `__wasm_call_ctors` in the program, the linker of LLVM takes it for a
/// *command* and wraps every export, those of this library included, so that each call runs all
/// constructors: they call WASI functions, which are such exports again. This call makes it a
/// *reactor*; `icwasi link` calls `_initialize` once after install and upgrade.
#[cfg(target_os = "wasi")]
mod constructors {
    unsafe extern "C" {
        safe fn __wasm_call_ctors();
    }

    #[unsafe(export_name = "_initialize")]
    extern "C" fn initialize() {
        __wasm_call_ctors();
    }
}

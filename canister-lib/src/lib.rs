//! WASI and a file system for Internet Computer canisters.
//!
//! A program for `wasm32-wasip1` that links this crate is turned into a canister by
//! `icwasi link`, which binds its WASI imports to the functions in here. Plain `std::fs`,
//! `std::time` and so on then work; files live in stable memory and survive upgrades.
//!
//! ```ignore
//! #[ic_cdk::init]
//! fn init() {
//!     icwasi::init();
//! }
//! ```
//!
//! Calling [`init`] somewhere is enough to link the crate: it does nothing that would not happen
//! by itself. A program that keeps own data in stable memory must call [`init_with_memory`] or
//! [`init_with_memory_manager`] in `init` *and* `post_upgrade`, before it touches files. With
//! [`mount_memory`] it can show such data as a file.

#[cfg(feature = "admin")]
pub mod admin;
mod candid_reader;
mod config;
pub mod env;
#[cfg(any(
    test,
    all(feature = "module", target_arch = "wasm32", target_os = "unknown")
))]
mod exec;
pub mod format;
pub mod fs;
#[cfg(any(
    test,
    all(feature = "module", target_arch = "wasm32", target_os = "unknown")
))]
mod mem;
pub mod memory;
#[cfg(all(feature = "module", target_arch = "wasm32", target_os = "unknown"))]
mod module;
pub mod runtime;
pub mod settings;
pub mod wasi;

use core::ops::Range;
use std::rc::Rc;

pub use fs::{FsError, MountError};
use ic_stable_structures::Memory;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use icwasi_types::Preopen;

/// Version of the library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes sure that the program links this library. The file system is mounted when files are
/// first used, and at the latest at the end of `init` or `post_upgrade`.
#[inline(never)]
pub fn init() {}

/// Puts the file system on `memory` instead of all of stable memory, and mounts it.
///
/// For programs that keep own data in stable memory: give icwasi a virtual memory of the
/// `MemoryManager` that the program uses, always the same one. Call it in `init` and in
/// `post_upgrade`, before the first use of files.
///
/// # Errors
/// - [`MountError::Foreign`]: the memory holds something that is not a file system of this
///   library. Nothing was changed.
/// - [`MountError::UnknownMajor`]: it was written by a newer version.
/// - [`MountError::Corrupt`]: it is damaged, or a file system is mounted already.
/// - [`MountError::NoSpace`]: the memory cannot grow.
pub fn init_with_memory(memory: impl Memory + 'static) -> Result<(), MountError> {
    runtime::with(|runtime| runtime.init_with_memory(memory))
}

/// Puts the file system on the first of the memories `ids` of `manager`, and mounts it.
///
/// No number is taken for granted: the program says which memories are free. The others of the range
/// are for later versions of this library. Otherwise as [`init_with_memory`].
///
/// A `MemoryManager` hands out memory in buckets, of 8 MiB unless the program makes it with
/// `init_with_bucket_size`; so that is what an empty file system costs.
///
/// # Errors
/// As [`init_with_memory`]; also [`MountError::Foreign`] if one of the other memories is in use,
/// and if the range is empty.
pub fn init_with_memory_manager<M: Memory + 'static>(
    manager: &MemoryManager<M>,
    ids: Range<u8>,
) -> Result<(), MountError> {
    let mut memories = ids.map(|id| manager.get(MemoryId::new(id)));
    let first = memories.next().ok_or(MountError::Foreign)?;
    if memories.any(|memory| memory.size() > 0) {
        return Err(MountError::Foreign);
    }
    init_with_memory(first)
}

/// Shows `memory` as the file at `path`, an absolute path, until the next upgrade.
///
/// For data that the program keeps in stable memory by other means: reading and writing the file
/// reads and writes the memory, which grows as needed. Call it in `init` and in `post_upgrade`, before the
/// file is used, always with the same memory.
///
/// The file is created if it is not there, with directories above it; its size is then that of the
/// memory. Size, times and names are kept in the file system, and survive upgrades: a file that was
/// cut to 10 bytes has 10 bytes when it is mounted again. What a file gains reads as zero, also
/// where the memory held other bytes before. A file that is not mounted reads as zero. The memory
/// does not count against the quota. When the file is removed, the memory stays as it is.
///
/// # Errors
/// - [`FsError::NotPermitted`]: there is a file with content of its own.
/// - [`FsError::Exists`]: there is a mounted file.
/// - [`FsError::IsDir`], [`FsError::NotDir`], [`FsError::Invalid`]: something else is there, or the
///   path is not absolute.
/// - [`FsError::Corrupt`]: the file system cannot be mounted.
/// - Others, when the file is created.
pub fn mount_memory(path: &str, memory: impl Memory + 'static) -> Result<(), FsError> {
    let path = Preopen {
        path: path.to_owned(),
        read_only: false,
    };
    runtime::with(|runtime| runtime.mount_memory(&path, Rc::new(memory)))
}

/// Mixes secret bytes into the generator behind WASI's `random_get`, and keeps the result across
/// upgrades.
///
/// The generator is seeded with what the platform offers without waiting, which others can guess,
/// and asks the management canister for `raw_rand` at the end of the first update, unless the
/// canister was linked with `--no-reseed`. A program that has secret bytes earlier, or uses that
/// option, gives them here; no others are asked for then.
pub fn reseed(secret: &[u8]) {
    runtime::with(|runtime| runtime.reseed(secret));
}

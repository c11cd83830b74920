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
//! by itself. A program that keeps own data in stable memory must call [`init_with_memory`] in
//! `init` *and* `post_upgrade`, before it touches files.

#[cfg(feature = "admin")]
pub mod admin;
mod config;
pub mod env;
#[cfg(any(
    test,
    all(feature = "module", target_arch = "wasm32", target_os = "unknown")
))]
mod exec;
pub mod format;
pub mod fs;
pub mod memory;
#[cfg(all(feature = "module", target_arch = "wasm32", target_os = "unknown"))]
mod module;
pub mod runtime;
pub mod wasi;

pub use fs::MountError;
use ic_stable_structures::Memory;

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

//! WASI preview1 and a POSIX-like file system in stable memory, for Internet Computer canisters.
pub mod format;
pub mod fs;
pub mod memory;

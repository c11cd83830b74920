//! Set-up, demo, tests and benchmarks of this repository, as `cargo xtask ...`.
//!
//! The library part finds the C compiler for WASI and builds the example canisters; the
//! end-to-end tests use it too. It has few dependencies, so that set-up starts at once.

pub mod checks;
pub mod guests;
pub mod packages;
pub mod process;
pub mod setup;
pub mod toolchain;

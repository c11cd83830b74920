//! To be written.

#[cfg(all(feature = "module", target_arch = "wasm32", target_os = "unknown"))]
mod module;

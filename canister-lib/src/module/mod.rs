//! What only the relocatable module needs, which `icwasi link` merges into other programs: an
//! allocator that never grows the memory, and messages where there is no stderr.

mod allocator;

use std::panic;
use std::sync::Once;

#[link(wasm_import_module = "icwasi_link")]
unsafe extern "C" {
    safe fn library_start() -> u32;
    safe fn library_end() -> u32;
}

/// Called by the linker before everything else after install and upgrade.
///
/// A panic then traps with its message, which the caller and the canister's log see.
#[unsafe(export_name = "icwasi.module")]
extern "C" fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        crate::wasi::guest::set_library(library_start(), library_end());
        panic::set_hook(Box::new(|info| {
            trap(&format!("icwasi: {info}"));
        }));
    });
}

/// Rolls the message back with `message` as the reason.
fn trap(message: &str) -> ! {
    ic0::trap(message.as_bytes())
}

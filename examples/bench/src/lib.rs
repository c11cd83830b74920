//! A canister that measures what files cost.
//!
//! Each method does one workload and replies; what is measured is the whole message. So that
//! little but the workload is in it, the methods take four numbers, decoded by hand, and call the
//! functions of WASI themselves: neither the canister development kit nor `std` is in between.
//! With the feature `floor` the same loops run over stable memory itself.
//!
//! The sources are compiled once more in `bench/peers/`, for the libraries that are compared.

#[cfg(any(feature = "files", feature = "floor"))]
mod contents;
#[cfg(any(feature = "files", feature = "floor"))]
mod device;
mod message;
#[cfg(feature = "files")]
mod names;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "files")]
mod wasi;

/// Links the library into the module: its presence is all that the linker needs.
#[cfg(feature = "rewire")]
#[unsafe(export_name = "canister_init")]
extern "C" fn init() {
    icwasi::init();
}

#[cfg(feature = "sqlite")]
fn database() -> rusqlite::Connection {
    message::expect(rusqlite::Connection::open("/bench.db"))
}

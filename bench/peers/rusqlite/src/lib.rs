//! ic-rusqlite, around the workloads of `examples/bench`.

#[path = "../../../../examples/bench/src/message.rs"]
mod message;
#[path = "../../../../examples/bench/src/sqlite.rs"]
mod sqlite;

/// A connection as the library makes it: on a memory of its own. One that was handed out before
/// has been closed.
fn database() -> rusqlite::Connection {
    ic_rusqlite::with_connection(|_| ());
    let connection = ic_rusqlite::CONNECTION.with_borrow_mut(Option::take);
    connection.unwrap_or_else(|| message::trap("no connection"))
}

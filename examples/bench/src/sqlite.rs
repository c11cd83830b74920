//! SQLite on a file, and the same work on a database in memory: the difference is what files cost.

use std::cell::RefCell;

use rusqlite::Connection;

use crate::message::{expect, trap};

crate::methods! {
    sqlite_open sqlite_insert sqlite_transactions sqlite_points sqlite_scan sqlite_index
}

/// What `ic-rusqlite` sets by default, for all that are compared.
const SETTINGS: &str = "PRAGMA journal_mode = PERSIST;
    PRAGMA synchronous = OFF;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA temp_store = MEMORY;
    PRAGMA page_size = 4096;
    PRAGMA cache_size = 500000;";

const MAKE: &str = "CREATE TABLE IF NOT EXISTS person (
    id INTEGER PRIMARY KEY, name TEXT, age INTEGER, score REAL)";

thread_local! {
    /// Of the database in a file, and of that in memory.
    static OPEN: RefCell<[Option<Connection>; 2]> = const { RefCell::new([None, None]) };
}

fn with<T>(place: u64, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> T {
    OPEN.with_borrow_mut(|open| match open.get_mut(place as usize) {
        Some(Some(connection)) => expect(work(connection)),
        _ => trap("sqlite_open first"),
    })
}

/// Opens the database. `place` 0: in a file; what was open is closed, so that the cache is cold. 1:
/// in memory; what is open stays, since it would be lost.
fn sqlite_open([place, ..]: [u64; 4]) {
    OPEN.with_borrow_mut(|open| {
        let open = &mut open[usize::from(place != 0)];
        if place != 0 && open.is_some() {
            return;
        }
        drop(open.take());
        let connection = if place == 0 {
            crate::database()
        } else {
            expect(Connection::open_in_memory())
        };
        expect(connection.execute_batch(SETTINGS));
        expect(connection.execute_batch(MAKE));
        *open = Some(connection);
    });
}

fn insert_rows(connection: &Connection, rows: std::ops::Range<u64>) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO person (name, age, score) VALUES (?1, ?2, ?3)")?;
    for i in rows {
        // Scattered, so that an index on it is not built in order.
        let number = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let name = format!("person number {number}");
        insert.execute((name, (i % 90) as i64, i as f64 * 0.5))?;
    }
    Ok(())
}

/// Inserts `rows` rows in one transaction.
fn sqlite_insert([place, rows, ..]: [u64; 4]) {
    with(place, |connection| {
        let transaction = connection.transaction()?;
        insert_rows(&transaction, 0..rows)?;
        transaction.commit()
    });
}

/// Inserts `count` rows in a transaction each.
fn sqlite_transactions([place, count, ..]: [u64; 4]) {
    with(place, |connection| {
        (0..count).try_for_each(|i| insert_rows(connection, i..i + 1))
    });
}

/// Reads `count` scattered rows of `rows` by their ids.
fn sqlite_points([place, count, rows, _]: [u64; 4]) {
    with(place, |connection| {
        let mut select = connection.prepare_cached("SELECT age FROM person WHERE id = ?1")?;
        for i in 0..count {
            let id = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows + 1;
            select.query_row([id as i64], |row| row.get::<_, i64>(0))?;
        }
        Ok(())
    });
}

/// Reads all rows; there are at least `rows`.
fn sqlite_scan([place, rows, ..]: [u64; 4]) {
    let (count, _) = with(place, |connection| {
        let sql = "SELECT count(name), sum(score) FROM person";
        connection.query_row(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))
        })
    });
    if (count as u64) < rows {
        trap("fewer rows than were inserted");
    }
}

/// Builds an index on names.
fn sqlite_index([place, ..]: [u64; 4]) {
    with(place, |connection| {
        connection.execute_batch("CREATE INDEX person_name ON person (name)")
    });
}

/// How many pages the database in a file has read since it was opened.
#[unsafe(export_name = "canister_query sqlite_pages_read")]
extern "C" fn pages_read() {
    let misses = with(0, |connection| {
        let (mut misses, mut highest) = (0, 0);
        // SAFETY: the connection is open, and both numbers can be written.
        let result = unsafe {
            rusqlite::ffi::sqlite3_db_status(
                connection.handle(),
                rusqlite::ffi::SQLITE_DBSTATUS_CACHE_MISS,
                &raw mut misses,
                &raw mut highest,
                0,
            )
        };
        if result != rusqlite::ffi::SQLITE_OK {
            trap("sqlite3_db_status");
        }
        Ok(misses)
    });
    crate::message::reply(misses.unsigned_abs().into());
}

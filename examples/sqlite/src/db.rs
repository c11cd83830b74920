//! The database.
//!
//! No pragma is set: SQLite works with its own defaults, a rollback journal beside the database
//! included. (A canister may save the journal's instructions by `PRAGMA journal_mode = MEMORY`:
//! a message that traps is rolled back by the Internet Computer as a whole, files included.)

use std::cell::RefCell;

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ffi, params};

use crate::types::{City, Rows, Value};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS cities (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL,
        latitude REAL NOT NULL, longitude REAL NOT NULL,
        population INTEGER NOT NULL, timezone TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS cities_by_name ON cities (name);
    CREATE INDEX IF NOT EXISTS cities_by_population ON cities (population);";

const COLUMNS: &str = "id, name, country, latitude, longitude, population, timezone";

/// Most rows that `query_sql` returns: a reply holds 2 MiB.
const MAX_ROWS: usize = 10_000;

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Runs `work` with the connection, which is opened on first use and stays open from message to
/// message. If another file is at the path by now (an operator pushed one), that is opened.
pub fn with<T>(work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, String> {
    CONNECTION.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(has_moved) {
            *slot = None;
        }
        let result = match slot {
            Some(connection) => work(connection),
            None => open().and_then(|connection| work(slot.insert(connection))),
        };
        result.map_err(|error| error.to_string())
    })
}

fn open() -> rusqlite::Result<Connection> {
    // The directory is there unless the operator removed it; if it cannot be made, SQLite says so.
    let _ = std::fs::create_dir_all("/data");
    let connection = Connection::open(crate::DATABASE)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Whether the file of the connection is no longer the one at its path.
fn has_moved(connection: &Connection) -> bool {
    let mut moved: std::ffi::c_int = 0;
    // SAFETY: the handle is open as long as `connection` lives, and this operation stores one
    // `int` through the pointer.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_HAS_MOVED,
            (&raw mut moved).cast(),
        )
    };
    code == ffi::SQLITE_OK && moved != 0
}

/// Rows of one statement that does not write.
pub fn query(connection: &mut Connection, sql: &str) -> rusqlite::Result<Rows> {
    // The state of a query call is discarded, so the limit holds for this call only. It keeps
    // callers from attaching other files of the canister.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let mut statement = connection.prepare(sql)?;
    if !statement.readonly() {
        return Err(rusqlite::Error::ToSqlConversionFailure(
            "this statement writes: send it to `execute`".into(),
        ));
    }
    let columns: Vec<String> = statement.column_names().iter().map(|c| (*c).to_owned()).collect();
    let mut rows = Vec::new();
    let mut cursor = statement.query([])?;
    while let Some(row) = cursor.next()? {
        if rows.len() == MAX_ROWS {
            return Err(rusqlite::Error::ToSqlConversionFailure(
                format!("more than {MAX_ROWS} rows: add a LIMIT").into(),
            ));
        }
        let values = (0..columns.len()).map(|i| row.get_ref(i).map(value));
        rows.push(values.collect::<rusqlite::Result<Vec<Value>>>()?);
    }
    Ok(Rows { columns, rows })
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Integer(i),
        ValueRef::Real(r) => Value::Real(r),
        ValueRef::Text(t) => Value::Text(String::from_utf8_lossy(t).into_owned()),
        ValueRef::Blob(b) => Value::Blob(b.to_vec().into()),
    }
}

/// Runs statements as one transaction: all of them, or an error and none.
pub fn execute(connection: &mut Connection, sql: &str) -> rusqlite::Result<u64> {
    let before = connection.total_changes();
    let transaction = connection.transaction()?;
    transaction.execute_batch(sql)?;
    transaction.commit()?;
    Ok(connection.total_changes() - before)
}

/// Cities of that name, the largest first.
pub fn city(connection: &mut Connection, name: &str) -> rusqlite::Result<Vec<City>> {
    let sql = format!("SELECT {COLUMNS} FROM cities WHERE name = ?1 ORDER BY population DESC");
    connection.prepare_cached(&sql)?.query_map([name], from_row)?.collect()
}

/// The `count` largest cities.
pub fn top(connection: &mut Connection, count: u32) -> rusqlite::Result<Vec<City>> {
    let sql = format!("SELECT {COLUMNS} FROM cities ORDER BY population DESC, id LIMIT ?1");
    connection.prepare_cached(&sql)?.query_map([count], from_row)?.collect()
}

/// Inserts a row.
pub fn add_city(connection: &mut Connection, city: &City) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO cities ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    // SQLite's integers are signed.
    let population = i64::try_from(city.population)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection.prepare_cached(&sql)?.execute(params![
        city.id,
        city.name,
        city.country,
        city.latitude,
        city.longitude,
        population,
        city.timezone
    ])?;
    Ok(())
}

fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<City> {
    Ok(City {
        id: row.get(0)?,
        name: row.get(1)?,
        country: row.get(2)?,
        latitude: row.get(3)?,
        longitude: row.get(4)?,
        population: row.get::<_, i64>(5)?.try_into().unwrap_or_default(),
        timezone: row.get(6)?,
    })
}

//! The data set of the SQLite example, on the host.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::sqlite_app::{Rows, Value};

/// Rows in the data set.
pub const COUNT: u32 = 12_000;

/// `examples/sqlite/data/cities.tsv`
pub fn source() -> PathBuf {
    xtask::process::root().join("examples/sqlite/data/cities.tsv")
}

/// Makes a SQLite database of the data set at `path`, with the host's SQLite.
///
/// # Errors
/// If the file exists or the data set cannot be read.
pub fn build_database(path: &Path) -> Result<()> {
    ensure!(!path.exists(), "{} exists", path.display());
    let text = std::fs::read_to_string(source())
        .with_context(|| format!("cannot read {}", source().display()))?;
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "CREATE TABLE cities (
             id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL,
             latitude REAL NOT NULL, longitude REAL NOT NULL,
             population INTEGER NOT NULL, timezone TEXT NOT NULL
         ) STRICT;
         CREATE INDEX cities_by_name ON cities (name);
         CREATE INDEX cities_by_population ON cities (population);",
    )?;
    let transaction = connection.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT INTO cities VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for (number, line) in text.lines().enumerate().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            ensure!(
                fields.len() == 7,
                "line {} has {} fields",
                number + 1,
                fields.len()
            );
            insert.execute((
                fields[0].parse::<u32>()?,
                fields[1],
                fields[2],
                fields[3].parse::<f64>()?,
                fields[4].parse::<f64>()?,
                fields[5].parse::<i64>()?,
                fields[6],
            ))?;
        }
    }
    transaction.commit()?;
    let count: i64 = connection.query_row("SELECT count(*) FROM cities", [], |row| row.get(0))?;
    ensure!(count == i64::from(COUNT), "{count} rows instead of {COUNT}");
    Ok(())
}

/// Rows of a query on a database of the host, in the form that the canister answers in.
///
/// # Errors
/// Those of SQLite.
pub fn query(database: &Path, sql: &str) -> Result<Rows> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(database, flags)?;
    let mut statement = connection.prepare(sql)?;
    let columns: Vec<String> = statement
        .column_names()
        .iter()
        .map(|c| (*c).to_owned())
        .collect();
    let mut rows = Vec::new();
    let mut cursor = statement.query([])?;
    while let Some(row) = cursor.next()? {
        let value = |i| {
            Ok::<_, anyhow::Error>(match row.get_ref(i)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(i) => Value::Integer(i),
                ValueRef::Real(r) => Value::Real(r),
                ValueRef::Text(t) => Value::Text(std::str::from_utf8(t)?.to_owned()),
                ValueRef::Blob(b) => Value::Blob(b.to_vec().into()),
            })
        };
        rows.push((0..columns.len()).map(value).collect::<Result<_>>()?);
    }
    Ok(Rows { columns, rows })
}

/// Runs SQLite's own integrity check on a database of the host.
///
/// # Errors
/// With its findings.
pub fn check_integrity(database: &Path) -> Result<()> {
    let rows = query(database, "PRAGMA integrity_check")?;
    let sound = vec![vec![Value::Text("ok".into())]];
    ensure!(
        rows.rows == sound,
        "integrity check of {}: {:?}",
        database.display(),
        rows.rows
    );
    Ok(())
}

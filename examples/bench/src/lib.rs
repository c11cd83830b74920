//! A canister that measures what files cost.
//!
//! Each method does its work through plain `std::fs` or SQLite, so through WASI calls, and
//! returns the instructions that the work took by the Internet Computer's own counter.
//! `cargo xtask bench fs` calls them and prints the results.

mod names;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

use candid::CandidType;
use serde::Deserialize;

/// How `write` opens the file.
#[derive(CandidType, Deserialize)]
enum Mode {
    /// A new, empty file.
    Create,
    /// An existing file, from its start.
    Overwrite,
    /// An existing file, in append mode.
    Append,
}

#[ic_cdk::init]
fn init() {
    #[cfg(feature = "rewire")]
    icwasi::init();
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    init();
}

/// Runs `work`; the instructions it took. A failure traps: there is no figure then.
fn measure<T>(work: impl FnOnce() -> Result<T, Box<dyn std::error::Error>>) -> u64 {
    let before = ic_cdk::api::performance_counter(0);
    let result = work();
    let after = ic_cdk::api::performance_counter(0);
    if let Err(error) = result {
        ic_cdk::api::trap(error.to_string());
    }
    after - before
}

/// Writes `total` bytes in calls of `call` bytes; opening and closing included.
#[ic_cdk::update]
fn write(path: String, total: u64, call: u32, mode: Mode) -> u64 {
    let buffer: Vec<u8> = (0..call).map(|i| i as u8).collect();
    measure(|| {
        let mut options = OpenOptions::new();
        match mode {
            Mode::Create => options.write(true).create_new(true),
            Mode::Overwrite => options.write(true),
            Mode::Append => options.append(true),
        };
        let mut file = options.open(&path)?;
        let mut left = total;
        while left > 0 {
            let length = left.min(u64::from(call)) as usize;
            file.write_all(&buffer[..length])?;
            left -= length as u64;
        }
        Ok(())
    })
}

/// Reads `total` bytes from the start of a file in calls of `call` bytes, opening and closing
/// included.
#[ic_cdk::update]
fn read(path: String, total: u64, call: u32) -> u64 {
    let mut buffer = vec![0; call as usize];
    measure(|| {
        let mut file = File::open(&path)?;
        let mut left = total;
        while left > 0 {
            let length = left.min(u64::from(call)) as usize;
            file.read_exact(&mut buffer[..length])?;
            left -= length as u64;
        }
        Ok(())
    })
}

/// Reads, or overwrites, `count` pieces of `call` bytes at scattered offsets of a file of `size`
/// bytes.
#[ic_cdk::update]
fn scattered(path: String, size: u64, count: u32, call: u32, overwrite: bool) -> u64 {
    let mut buffer = vec![0; call as usize];
    measure(|| {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(overwrite).open(&path)?;
        let slots = (size / u64::from(call)).max(1);
        for i in 0..u64::from(count) {
            // A multiplicative step visits the slots in a repeatable, scattered order.
            let slot = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % slots;
            file.seek(SeekFrom::Start(slot * u64::from(call)))?;
            if overwrite {
                file.write_all(&buffer)?;
            } else {
                file.read_exact(&mut buffer)?;
            }
        }
        Ok(())
    })
}

/// Writes `total` bytes to each of `files` new files in turn, in calls of `call` bytes.
#[ic_cdk::update]
fn write_interleaved(prefix: String, files: u32, total: u64, call: u32) -> u64 {
    let buffer: Vec<u8> = (0..call).map(|i| i as u8).collect();
    measure(|| {
        let mut open = (0..files)
            .map(|i| File::create_new(format!("{prefix}-{i}")))
            .collect::<Result<Vec<_>, _>>()?;
        for _ in 0..total / u64::from(call) {
            for file in &mut open {
                file.write_all(&buffer)?;
            }
        }
        Ok(())
    })
}

/// Creates a table of 4 columns in a new database, then measures one transaction that inserts
/// `rows` rows. `journal_mode` is SQLite's; empty for its default.
#[ic_cdk::update]
fn sqlite_insert(path: String, rows: u32, journal_mode: String) -> u64 {
    let open = || -> rusqlite::Result<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(&path)?;
        if !journal_mode.is_empty() {
            connection.pragma_update(None, "journal_mode", &journal_mode)?;
        }
        connection.execute_batch(
            "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, score REAL)",
        )?;
        Ok(connection)
    };
    let mut connection = match open() {
        Ok(connection) => connection,
        Err(error) => ic_cdk::api::trap(error.to_string()),
    };
    measure(|| {
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare("INSERT INTO person (name, age, score) VALUES (?1, ?2, ?3)")?;
            for i in 0..rows {
                insert.execute((format!("person number {i}"), i % 90, f64::from(i) * 0.5))?;
            }
        }
        transaction.commit()?;
        Ok(())
    })
}

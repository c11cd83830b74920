//! ic-sqlite-vfs: the work of `examples/bench/src/sqlite.rs`, with that library's own interface and
//! its own settings. It has no database in memory.

use ic_sqlite_vfs::{Db, DefaultMemoryImpl, MemoryId, MemoryManager, params};

#[expect(dead_code, reason = "its work has no queries")]
#[path = "../../../../examples/bench/src/message.rs"]
mod message;

use message::expect;

methods! { sqlite_open sqlite_insert sqlite_transactions sqlite_points sqlite_scan sqlite_index }

#[unsafe(export_name = "canister_init")]
extern "C" fn init() {
    let memories = MemoryManager::init(DefaultMemoryImpl::default());
    expect(Db::init(memories.get(MemoryId::new(120))));
}

#[unsafe(export_name = "canister_post_upgrade")]
extern "C" fn post_upgrade() {
    init();
}

fn sqlite_open(_: [u64; 4]) {
    let make = "CREATE TABLE IF NOT EXISTS person (
        id INTEGER PRIMARY KEY, name TEXT, age INTEGER, score REAL)";
    expect(Db::update(|connection| connection.execute_batch(make)));
}

fn insert(rows: std::ops::Range<u64>) {
    expect(Db::update(|connection| {
        let mut insert = connection
            .prepare_cached("INSERT INTO person (name, age, score) VALUES (?1, ?2, ?3)")?;
        for i in rows {
            let number = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let name = format!("person number {number}");
            insert.execute(params![name, (i % 90) as i64, i as f64 * 0.5])?;
        }
        Ok(())
    }));
}

fn sqlite_insert([_, rows, ..]: [u64; 4]) {
    insert(0..rows);
}

fn sqlite_transactions([_, count, ..]: [u64; 4]) {
    for i in 0..count {
        insert(i..i + 1);
    }
}

fn sqlite_points([_, count, rows, _]: [u64; 4]) {
    expect(Db::query(|connection| {
        let mut select = connection.prepare("SELECT age FROM person WHERE id = ?1")?;
        for i in 0..count {
            let id = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows + 1) as i64;
            select.query_one(params![id], |row| row.get::<i64>(0))?;
        }
        Ok(())
    }));
}

fn sqlite_scan([_, rows, ..]: [u64; 4]) {
    let count = expect(Db::query(|connection| {
        let sql = "SELECT count(name), sum(score) FROM person";
        connection.query_one(sql, params![], |row| {
            row.get::<f64>(1)?;
            row.get::<i64>(0)
        })
    }));
    if (count as u64) < rows {
        message::trap("fewer rows than were inserted");
    }
}

fn sqlite_index(_: [u64; 4]) {
    let sql = "CREATE INDEX person_name ON person (name)";
    expect(Db::update(|connection| connection.execute_batch(sql)));
}

//! A canister that keeps its data in a SQLite database, in an ordinary file.
//!
//! SQLite is the unmodified one that `rusqlite` bundles; it reads and writes `/data/cities.db`
//! through WASI, as it would anywhere. `icwasi link` gives it the file system.
//!
//! Nothing here knows of icwasi, except for one call in [`init`] and [`post_upgrade`] under the
//! feature `rewire`, which links the `icwasi` crate into the canister. Without it, the linker
//! injects the file system into the finished module.

mod db;
mod log;
mod types;

use types::{About, City, Rows};

/// Where the database is. An operator may push one there before the first use.
const DATABASE: &str = "/data/cities.db";
/// A line for every installation and upgrade.
const LOG: &str = "/data/canister.log";

#[ic_cdk::init]
fn init() {
    #[cfg(feature = "rewire")]
    icwasi::init();
    log::append("installed");
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    #[cfg(feature = "rewire")]
    icwasi::init();
    log::append("upgraded");
}

/// Turns away callers who may not write, before the message costs anything.
#[ic_cdk::inspect_message]
fn inspect_message() {
    let method = ic_cdk::api::msg_method_name();
    match may_call(&method) {
        Ok(()) => ic_cdk::api::accept_message(),
        Err(reason) => ic_cdk::api::trap(reason),
    }
}

/// Whether the caller may call `method`: raw SQL that writes is for controllers, adding a city
/// for everyone with an identity, reading for all.
fn may_call(method: &str) -> Result<(), &'static str> {
    let caller = ic_cdk::api::msg_caller();
    match method {
        "execute" | "trap_after_write" if !ic_cdk::api::is_controller(&caller) => {
            Err("only controllers of this canister may run SQL that writes")
        }
        "add_city" if caller == candid::Principal::anonymous() => {
            Err("the anonymous identity may not add a city")
        }
        _ => Ok(()),
    }
}

/// Rows of one SQL query that does not write.
#[ic_cdk::query]
fn query_sql(sql: String) -> Result<Rows, String> {
    db::with(|connection| db::query(connection, &sql))
}

/// Runs SQL statements as one transaction; the number of rows changed.
#[ic_cdk::update]
fn execute(sql: String) -> Result<u64, String> {
    may_call("execute")?;
    db::with(|connection| db::execute(connection, &sql))
}

/// Cities of that name, the largest first.
#[ic_cdk::query]
fn city(name: String) -> Result<Vec<City>, String> {
    db::with(|connection| db::city(connection, &name))
}

/// The `count` largest cities, at most 1,000.
#[ic_cdk::query]
fn top(count: u32) -> Result<Vec<City>, String> {
    db::with(|connection| db::top(connection, count.min(1_000)))
}

/// Adds a city. Its `id` must be new.
#[ic_cdk::update]
fn add_city(city: City) -> Result<(), String> {
    may_call("add_city")?;
    db::with(|connection| db::add_city(connection, &city))
}

/// Writes to the database and to files, then traps: for tests that nothing of it remains.
#[ic_cdk::update]
fn trap_after_write() -> Result<(), String> {
    may_call("trap_after_write")?;
    log::append("this line must not remain");
    std::fs::write("/data/must-not-remain", [0x5A; 100_000]).map_err(|error| error.to_string())?;
    db::with(|connection| db::execute(connection, "UPDATE cities SET population = 0"))?;
    ic_cdk::api::trap("trapped on purpose, in mid-write");
}

/// What this build is, and the log of installations.
#[ic_cdk::query]
fn about() -> About {
    About {
        build: if cfg!(feature = "second-build") { "2" } else { "1" }.to_owned(),
        mode: if cfg!(feature = "rewire") { "rewire" } else { "inject" }.to_owned(),
        sqlite: rusqlite::version().to_owned(),
        log: log::lines(),
    }
}

//! Candid records of `sqlite.did`.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// A value of SQLite.
#[derive(CandidType, Serialize, Deserialize)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(serde_bytes::ByteBuf),
}

/// The result of a query.
#[derive(CandidType, Serialize, Deserialize)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// In the order of the query.
    pub rows: Vec<Vec<Value>>,
}

/// One row of the table `cities`.
#[derive(CandidType, Serialize, Deserialize)]
pub struct City {
    /// Number of the place in GeoNames.
    pub id: u32,
    /// In its local spelling.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// Inhabitants.
    pub population: u64,
    /// IANA time zone.
    pub timezone: String,
}

/// Reply of `about`.
#[derive(CandidType, Serialize, Deserialize)]
pub struct About {
    /// `1`, or `2` with the feature `second-build`.
    pub build: String,
    /// How the module gets its file system: `rewire` or `inject`.
    pub mode: String,
    /// Version of SQLite.
    pub sqlite: String,
    /// One line for every installation and upgrade.
    pub log: Vec<String>,
}

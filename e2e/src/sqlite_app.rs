//! The interface of the SQLite example, through ic-agent.

use anyhow::{Context, Result};
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use candid::{CandidType, Principal};
use ic_agent::Agent;
use serde::Deserialize;

/// A value of SQLite.
#[derive(Clone, Debug, PartialEq, CandidType, Deserialize)]
pub enum Value {
    /// `NULL`
    Null,
    /// `INTEGER`
    Integer(i64),
    /// `REAL`
    Real(f64),
    /// `TEXT`
    Text(String),
    /// `BLOB`
    Blob(serde_bytes::ByteBuf),
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq, CandidType, Deserialize)]
pub struct Rows {
    /// Names.
    pub columns: Vec<String>,
    /// Values.
    pub rows: Vec<Vec<Value>>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, CandidType, Deserialize)]
pub struct City {
    /// Number in GeoNames.
    pub id: u32,
    /// Name.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// Inhabitants.
    pub population: u64,
    /// IANA name.
    pub timezone: String,
}

/// Reply of `about`.
#[derive(Clone, Debug, PartialEq, CandidType, Deserialize)]
pub struct About {
    /// `1` or `2`.
    pub build: String,
    /// `rewire` or `inject`.
    pub mode: String,
    /// Version of SQLite.
    pub sqlite: String,
    /// A line for each installation and upgrade.
    pub log: Vec<String>,
}

/// A query call with candid arguments and reply.
///
/// # Errors
/// Those of the agent; the reject message if the canister trapped.
pub async fn query<A, R>(agent: &Agent, id: Principal, method: &str, args: A) -> Result<R>
where
    A: ArgumentEncoder,
    R: for<'a> ArgumentDecoder<'a>,
{
    let reply = agent
        .query(&id, method)
        .with_arg(candid::encode_args(args)?)
        .call()
        .await
        .with_context(|| format!("query {method}"))?;
    candid::decode_args(&reply).with_context(|| format!("reply of {method}"))
}

/// An update call with candid arguments and reply.
///
/// # Errors
/// Those of the agent; the reject message if the canister trapped or refused.
pub async fn update<A, R>(agent: &Agent, id: Principal, method: &str, args: A) -> Result<R>
where
    A: ArgumentEncoder,
    R: for<'a> ArgumentDecoder<'a>,
{
    let reply = agent
        .update(&id, method)
        .with_arg(candid::encode_args(args)?)
        .call_and_wait()
        .await
        .with_context(|| format!("update {method}"))?;
    candid::decode_args(&reply).with_context(|| format!("reply of {method}"))
}

/// The example, seen by one identity.
pub struct SqliteApp<'a> {
    /// Who calls.
    pub agent: &'a Agent,
    /// The canister.
    pub id: Principal,
}

impl SqliteApp<'_> {
    /// `query_sql`
    ///
    /// # Errors
    /// Those of the call, and what SQLite said.
    pub async fn query_sql(&self, sql: &str) -> Result<Rows> {
        let (rows,): (Result<Rows, String>,) =
            query(self.agent, self.id, "query_sql", (sql,)).await?;
        rows.map_err(anyhow::Error::msg)
    }

    /// `execute`
    ///
    /// # Errors
    /// As of [`SqliteApp::query_sql`].
    pub async fn execute(&self, sql: &str) -> Result<u64> {
        let (changes,): (Result<u64, String>,) =
            update(self.agent, self.id, "execute", (sql,)).await?;
        changes.map_err(anyhow::Error::msg)
    }

    /// `city`
    ///
    /// # Errors
    /// As of [`SqliteApp::query_sql`].
    pub async fn city(&self, name: &str) -> Result<Vec<City>> {
        let (cities,): (Result<Vec<City>, String>,) =
            query(self.agent, self.id, "city", (name,)).await?;
        cities.map_err(anyhow::Error::msg)
    }

    /// `top`
    ///
    /// # Errors
    /// As of [`SqliteApp::query_sql`].
    pub async fn top(&self, count: u32) -> Result<Vec<City>> {
        let (cities,): (Result<Vec<City>, String>,) =
            query(self.agent, self.id, "top", (count,)).await?;
        cities.map_err(anyhow::Error::msg)
    }

    /// `add_city`
    ///
    /// # Errors
    /// As of [`SqliteApp::query_sql`].
    pub async fn add_city(&self, city: &City) -> Result<()> {
        let (done,): (Result<(), String>,) =
            update(self.agent, self.id, "add_city", (city,)).await?;
        done.map_err(anyhow::Error::msg)
    }

    /// `trap_after_write`, which never ends well.
    ///
    /// # Errors
    /// The trap.
    pub async fn trap_after_write(&self) -> Result<()> {
        let (done,): (Result<(), String>,) =
            update(self.agent, self.id, "trap_after_write", ()).await?;
        done.map_err(anyhow::Error::msg)
    }

    /// `about`
    ///
    /// # Errors
    /// Those of the call.
    pub async fn about(&self) -> Result<About> {
        let (about,) = query(self.agent, self.id, "about", ()).await?;
        Ok(about)
    }
}

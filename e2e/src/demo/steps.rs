//! The six steps.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use candid::Principal;
use icwasi_types::methods;

use super::terminal::Terminal;
use crate::canisters::{Mode, sqlite, sqlite_second};
use crate::cities;
use crate::network::agent;
use crate::sqlite_app::{Rows, SqliteApp, Value};

pub async fn all(terminal: &Terminal) -> Result<()> {
    terminal.step(1, "A Rust program with SQLite becomes a canister");
    build(terminal)?;
    terminal.step(
        2,
        "A replica starts here; the canister is deployed over HTTP",
    );
    let app = deploy(terminal).await?;
    terminal.step(
        3,
        "A database made on this computer is pushed before the first use",
    );
    push(terminal)?;
    terminal.step(
        4,
        "SQL runs in the canister, and the rows survive an upgrade",
    );
    sql(terminal, &app).await?;
    terminal.step(5, "The files of the running canister");
    files(terminal)?;
    terminal.step(6, "A stranger gets nothing");
    strangers(terminal, &app).await
}

fn build(terminal: &Terminal) -> Result<()> {
    terminal
        .say("$ cargo build --profile canister --target wasm32-wasip1 --package example-sqlite");
    let module = sqlite(Mode::Inject).build()?;
    std::fs::copy(&module, terminal.path("example_sqlite.wasm"))?;
    let newer = sqlite_second(Mode::Inject).build()?;
    std::fs::copy(&newer, terminal.path("example_sqlite_2.wasm"))?;
    terminal.icwasi(&["check", "example_sqlite.wasm"])?;
    std::fs::copy(sqlite(Mode::Inject).candid(), terminal.path("sqlite.did"))?;
    for (module, canister) in [
        ("example_sqlite.wasm", "app.wasm"),
        ("example_sqlite_2.wasm", "app2.wasm"),
    ] {
        terminal.icwasi(&[
            "link",
            module,
            "-o",
            canister,
            "--admin",
            "--candid",
            "sqlite.did",
        ])?;
    }
    Ok(())
}

/// The canister, called through ic-agent by an identity that may do nothing special.
struct App {
    url: String,
    id: Principal,
    agent: ic_agent::Agent,
}

impl App {
    fn sqlite(&self) -> SqliteApp<'_> {
        SqliteApp {
            agent: &self.agent,
            id: self.id,
        }
    }
}

async fn deploy(terminal: &Terminal) -> Result<App> {
    crate::network::write_seed_key(&terminal.path("owner.pem"), "demo owner")?;
    crate::network::write_seed_key(&terminal.path("stranger.pem"), "demo stranger")?;
    terminal.icwasi(&["replica", "start", "--background", "--port", "0"])?;
    terminal.icwasi(&["replica", "status"])?;
    let deploy = ["deploy", "app", "--wasm", "app.wasm", "--pem", "owner.pem"];
    let id = terminal.capture(&deploy)?;
    let status = terminal.quietly(&["replica", "status", "--json"])?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
    let url = status["url"]
        .as_str()
        .context("the status has no url")?
        .to_owned();
    let agent = agent(&url, &terminal.path("owner.pem")).await?;
    Ok(App {
        url,
        id: Principal::from_text(id.trim())?,
        agent,
    })
}

fn push(terminal: &Terminal) -> Result<()> {
    let database = terminal.path("cities.db");
    cities::build_database(&database)?;
    let size = std::fs::metadata(&database)?.len();
    terminal.say(&format!(
        "(cities.db: {} cities from GeoNames, {size} bytes, made by the SQLite of this computer)",
        cities::COUNT
    ));
    terminal.icwasi(&[
        "push",
        "cities.db",
        "app:/data/cities.db",
        "--pem",
        "owner.pem",
    ])
}

const LARGEST: &str = "SELECT name, country, population FROM cities \
    ORDER BY population DESC, id LIMIT 5";
const COUNTRIES: &str = "SELECT country, count(*) AS cities, sum(population) AS people FROM cities \
    GROUP BY country ORDER BY people DESC, country LIMIT 5";
const COUNT: &str = "SELECT count(*) AS cities FROM cities";
const INSERT: &str = "INSERT INTO cities VALUES \
    (99999999, 'Canister City', 'IC', 47.37, 8.54, 1, 'Europe/Zurich')";
const INSERTED: &str = "SELECT name, latitude, timezone FROM cities WHERE country = 'IC'";

async fn sql(terminal: &Terminal, app: &App) -> Result<()> {
    let database = terminal.path("cities.db");
    for sql in [COUNT, LARGEST, COUNTRIES] {
        same(app, &database, sql).await?;
    }
    println!("sql> {INSERT}");
    let changes = app.sqlite().execute(INSERT).await?;
    ensure!(changes == 1, "{changes} rows were inserted instead of 1");
    rusqlite::Connection::open(&database)?.execute(INSERT, [])?;
    same(app, &database, COUNT).await?;

    let before = app.sqlite().about().await?;
    let install = ["deploy", "app", "--wasm", "app2.wasm", "--pem", "owner.pem"];
    terminal.icwasi(&install)?;
    let after = app.sqlite().about().await?;
    ensure!(
        before.build == "1" && after.build == "2",
        "the new build does not run"
    );
    println!(
        "(build {} was upgraded to build {}, SQLite {}; its own log: {})",
        before.build,
        after.build,
        after.sqlite,
        after.log.join(", ")
    );
    for sql in [COUNT, INSERTED, LARGEST] {
        same(app, &database, sql).await?;
    }
    Ok(())
}

/// Shows the rows of a query in the canister, which must be those of the host's SQLite.
async fn same(app: &App, database: &Path, sql: &str) -> Result<()> {
    println!("sql> {sql}");
    let there = app.sqlite().query_sql(sql).await?;
    let here = cities::query(database, sql)?;
    print_rows(&there);
    ensure!(
        there == here,
        "this computer's SQLite finds other rows: {here:?}"
    );
    println!("(the same rows as this computer's SQLite finds)");
    Ok(())
}

fn print_rows(rows: &Rows) {
    let text = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(i) => i.to_string(),
        Value::Real(r) => r.to_string(),
        Value::Text(t) => t.clone(),
        Value::Blob(b) => format!("{} bytes", b.len()),
    };
    println!("  {}", rows.columns.join(" | "));
    for row in &rows.rows {
        println!("  {}", row.iter().map(text).collect::<Vec<_>>().join(" | "));
    }
}

fn files(terminal: &Terminal) -> Result<()> {
    let owner = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--pem", "owner.pem"]);
        terminal.icwasi(&all)
    };
    owner(&["ls", "-l", "app:/data"])?;
    owner(&["stat", "app:/data/cities.db"])?;
    owner(&["cat", "app:/data/canister.log"])?;
    owner(&["mkdir", "app:/backup"])?;
    std::fs::write(terminal.path("note.txt"), "a note\n")?;
    owner(&["push", "note.txt", "app:/backup/note.txt"])?;
    owner(&["mv", "app:/backup/note.txt", "app:/data/note.txt"])?;
    owner(&["ls", "app:/data"])?;
    owner(&["rm", "app:/data/note.txt"])?;
    owner(&["rm", "--recursive", "app:/backup"])?;
    let names = terminal
        .quietly(&["ls", "app:/", "--pem", "owner.pem"])?
        .text();
    ensure!(
        names.contains("data") && !names.contains("backup"),
        "left: {names}"
    );

    owner(&["pull", "app:/data/cities.db", "back.db"])?;
    let back = terminal.path("back.db");
    cities::check_integrity(&back)?;
    let inserted = cities::query(&back, INSERTED)?;
    ensure!(
        inserted.rows.len() == 1,
        "the inserted row is not in the pulled database"
    );
    let all = "SELECT * FROM cities ORDER BY id";
    let same = cities::query(&back, all)? == cities::query(&terminal.path("cities.db"), all)?;
    ensure!(same, "the pulled database holds other rows");
    let count = cities::query(&back, COUNT)?;
    terminal.say("(PRAGMA integrity_check of back.db: ok; all rows are there, the inserted too)");
    print_rows(&count);
    Ok(())
}

async fn strangers(terminal: &Terminal, app: &App) -> Result<()> {
    terminal.refused(&["ls", "app:/data", "--pem", "stranger.pem"])?;
    terminal.refused(&[
        "pull",
        "app:/data/cities.db",
        "x.db",
        "--pem",
        "stranger.pem",
    ])?;
    terminal.refused(&["push", "note.txt", "app:/data/x", "--pem", "stranger.pem"])?;
    terminal.refused(&["rm", "app:/data/cities.db", "--pem", "stranger.pem"])?;
    let stranger = agent(&app.url, &terminal.path("stranger.pem")).await?;
    let mut refused = Vec::new();
    for (method, args) in crate::admin::arguments_of_all_methods()? {
        let update = stranger
            .update(&app.id, method)
            .with_arg(args.clone())
            .call_and_wait()
            .await;
        ensure!(update.is_err(), "{method} ran for a stranger");
        let query = stranger.query(&app.id, method).with_arg(args).call().await;
        if let Ok(reply) = query {
            ensure!(
                crate::admin::is_refusal(&reply),
                "{method} answered a stranger"
            );
        }
        refused.push(method);
    }
    ensure!(
        refused.contains(&methods::INFO) && refused.len() >= 11,
        "{refused:?}"
    );
    println!(
        "(refused as updates and as queries: {})",
        refused.join(", ")
    );
    Ok(())
}

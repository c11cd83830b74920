//! The main job, in both modes: a SQLite database made on the host is pushed before first use,
//! queried and changed inside the canister, kept over an upgrade, and pulled back.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use candid::Principal;
use e2e::admin::{arguments_of_all_methods, is_refusal};
use e2e::canisters::{Mode, linked, sqlite, sqlite_second};
use e2e::cities;
use e2e::host::Host;
use e2e::network::Network;
use e2e::sqlite_app::City;
use rusqlite::Connection;

/// Queries that sort, group, search and join, by index and without.
const QUERIES: [&str; 7] = [
    "SELECT count(*), sum(population), min(latitude), max(longitude) FROM cities",
    "SELECT * FROM cities ORDER BY id",
    "SELECT name, population FROM cities ORDER BY population DESC, id LIMIT 25",
    "SELECT country, count(*) AS n, avg(latitude) FROM cities GROUP BY country HAVING n > 20 \
     ORDER BY n DESC, country",
    "SELECT name FROM cities WHERE name LIKE '%burg' ORDER BY name COLLATE NOCASE, id",
    "SELECT a.name, a.country, b.country FROM cities a JOIN cities b USING (name) \
     WHERE a.id < b.id ORDER BY a.id, b.id",
    "WITH ranked AS (SELECT name, timezone, rank() OVER (PARTITION BY timezone \
     ORDER BY population DESC) AS place FROM cities) \
     SELECT * FROM ranked WHERE place = 1 ORDER BY timezone, name",
];

const INSERT: &str = "INSERT INTO cities \
    SELECT 100000000 + id, name || ' (copy)', country, -latitude, longitude, population, timezone \
    FROM cities WHERE population > 1000000";

async fn same_rows(network: &Network, id: Principal, database: &Path) -> Result<()> {
    for sql in QUERIES {
        // A reply holds 2 MiB; the longest of these is one query for all rows.
        let sql = sql.replace("ORDER BY id", "WHERE id % 3 = 1 ORDER BY id");
        let here = cities::query(database, &sql)?;
        let there = network.app(id).query_sql(&sql).await?;
        ensure!(!here.rows.is_empty(), "no rows: {sql}");
        ensure!(here == there, "the canister's rows differ: {sql}");
    }
    Ok(())
}

async fn main_job(mode: Mode) -> Result<()> {
    let network = Network::start().await?;
    let icwasi = network.icwasi()?;
    let id = network.deploy(&linked(sqlite(mode), &["--admin"])?).await?;
    let remote = format!("{id}:/data/cities.db");

    // The module says what it offers: its own methods and the admin interface.
    let candid = network
        .owner
        .agent
        .read_state_canister_metadata(id, "candid:service")
        .await?;
    let candid = String::from_utf8(candid)?;
    for method in ["query_sql : ", "icwasi_info : ", "icwasi_upload_commit : "] {
        ensure!(candid.contains(method), "{method:?} is not in {candid}");
    }

    // Pushed before the first use.
    let database = network.path("cities.db");
    cities::build_database(&database)?;
    icwasi.call(&["push", "cities.db", &remote])?.success()?;
    same_rows(&network, id, &database).await?;

    // Changed in the canister, and on the host in the same way.
    let app = network.app(id);
    let added = app.execute(INSERT).await?;
    let city = City {
        id: 99_999_999,
        name: "Ünïcode-sur-Mer".into(),
        country: "ZZ".into(),
        latitude: -0.25,
        longitude: 180.0,
        population: 12,
        timezone: "Etc/UTC".into(),
    };
    app.add_city(&city).await?;
    let host = Connection::open(&database)?;
    let added_here = host.execute(INSERT, [])?;
    host.execute(
        "INSERT INTO cities VALUES (99999999, 'Ünïcode-sur-Mer', 'ZZ', -0.25, 180.0, 12, 'Etc/UTC')",
        [],
    )?;
    drop(host);
    ensure!(
        added == added_here as u64 && added > 100,
        "{added} and {added_here} rows were added"
    );
    same_rows(&network, id, &database).await?;
    ensure!(app.city("Ünïcode-sur-Mer").await? == std::slice::from_ref(&city));

    // A new build takes over the files.
    ensure!(app.about().await?.build == "1");
    network
        .upgrade(id, &linked(sqlite_second(mode), &["--admin"])?)
        .await?;
    let about = app.about().await?;
    ensure!(about.build == "2" && about.mode == mode.name(), "{about:?}");
    same_rows(&network, id, &database).await?;
    let top: Vec<String> = app
        .top(3)
        .await?
        .into_iter()
        .map(|city| city.name)
        .collect();
    ensure!(top[0] == "Shanghai", "{top:?}");
    app.add_city(&City {
        id: 99_999_998,
        ..city
    })
    .await?;

    // Back to the host.
    icwasi.call(&["pull", &remote, "back.db"])?.success()?;
    let back = network.path("back.db");
    cities::check_integrity(&back)?;
    let all = "SELECT * FROM cities WHERE id <> 99999998 ORDER BY id";
    ensure!(
        cities::query(&back, all)? == cities::query(&database, all)?,
        "pulled rows differ"
    );
    let one = cities::query(&back, "SELECT count(*) FROM cities WHERE id = 99999998")?;
    ensure!(one.rows[0][0] == e2e::sqlite_app::Value::Integer(1));
    network.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_rewired() -> Result<()> {
    main_job(Mode::Rewire).await
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_injected() -> Result<()> {
    main_job(Mode::Inject).await
}

/// `ls`, `stat`, `cat`, `mkdir`, `mv`, `rm`: each does it, and says so in JSON.
#[tokio::test(flavor = "multi_thread")]
async fn file_commands() -> Result<()> {
    let network = Network::start().await?;
    let icwasi = network.icwasi()?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let at = |path: &str| format!("{id}:{path}");

    let content: Vec<u8> = (0..5_000_000u32).map(|i| (i / 7) as u8).collect();
    std::fs::write(network.path("notes.bin"), &content)?;
    icwasi.call(&["mkdir", &at("/backup")])?.success()?;
    icwasi
        .call(&["push", "notes.bin", &at("/backup/notes.bin")])?
        .success()?;
    let cat = icwasi.call(&["cat", &at("/backup/notes.bin")])?.success()?;
    ensure!(cat.stdout == content, "cat gave {} bytes", cat.stdout.len());

    icwasi
        .call(&["mv", &at("/backup/notes.bin"), &at("/data/kept.bin")])?
        .success()?;
    let stat = icwasi
        .call(&["stat", &at("/data/kept.bin"), "--json"])?
        .success()?;
    let json: serde_json::Value = serde_json::from_slice(&stat.stdout)?;
    ensure!(json.to_string().contains("5000000"), "{json}");
    let list = icwasi.call(&["ls", "-l", &at("/data")])?.success()?.text();
    ensure!(
        list.contains("kept.bin") && list.contains("canister.log"),
        "{list}"
    );
    let list = icwasi.call(&["ls", &at("/backup")])?.success()?.text();
    ensure!(!list.contains("notes.bin"), "{list}");

    icwasi.call(&["rm", &at("/data/kept.bin")])?.success()?;
    let message = icwasi.call(&["stat", &at("/data/kept.bin")])?.failure()?;
    ensure!(message.contains("/data/kept.bin"), "{message}");
    network.stop().await
}

/// Nobody but a controller gets anything out of an admin method, by a query or by an update.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_on_every_admin_method() -> Result<()> {
    let methods = arguments_of_all_methods()?;
    ensure!(methods.len() >= 18, "{methods:?}");
    for mode in Mode::ALL {
        let network = Network::start().await?;
        let id = network.deploy(&linked(sqlite(mode), &["--admin"])?).await?;
        let before = admin(&network, id).tree().await?;
        let anonymous = e2e::network::anonymous(&network.replica.url()).await?;
        for agent in [&network.stranger.agent, &anonymous] {
            for (method, args) in &methods {
                // An update is turned away before it runs; so is a query method sent as one.
                let refused = agent
                    .update(&id, *method)
                    .with_arg(args.clone())
                    .call_and_wait()
                    .await;
                let error = match refused {
                    Ok(_) => anyhow::bail!("{method} ran for a stranger"),
                    Err(error) => error.to_string(),
                };
                ensure!(!error.contains("trap"), "{method}: {error}");
                // A query runs, and says no. An update method cannot be queried at all.
                if let Ok(reply) = agent
                    .query(&id, *method)
                    .with_arg(args.clone())
                    .call()
                    .await
                {
                    ensure!(is_refusal(&reply), "{method} answered a stranger");
                }
            }
        }
        let after = admin(&network, id).tree().await?;
        ensure!(before == after, "a stranger changed something");

        let icwasi = network.icwasi_as(&network.stranger)?;
        let commands = [
            vec!["ls", "/"],
            vec!["cat", "/data/canister.log"],
            vec!["stat", "/data"],
            vec!["mkdir", "/mine"],
            vec!["rm", "/data/canister.log"],
        ];
        for command in commands {
            let path = format!("{id}:{}", command[1]);
            let message = icwasi.call(&[command[0], &path])?.failure()?;
            let principal = network.stranger.principal()?.to_text();
            ensure!(
                message.contains(&principal) || message.contains("controller"),
                "does not say who was refused or who may: {message}"
            );
        }
        network.stop().await?;
    }
    Ok(())
}

/// What operators do besides copying files, with the commands that they have.
#[tokio::test(flavor = "multi_thread")]
async fn operators_set_grant_and_check() -> Result<()> {
    let network = Network::start().await?;
    let module = linked(sqlite(Mode::Inject), &["--admin"])?;
    let id = network.deploy(&module).await?;
    let app = id.to_text();
    let owner = network.icwasi()?;
    let other = network.icwasi_as(&network.stranger)?;
    let principal = network.stranger.principal()?.to_text();
    let root = format!("{app}:/");
    let made = format!("{app}:/made");

    let refused = other.call(&["fsck", &app])?.failure()?;
    ensure!(refused.contains("icwasi access grant"), "{refused}");
    owner
        .call(&["access", "grant", &app, &principal, "reader"])?
        .success()?;
    other.call(&["ls", &root])?.success()?;
    other.call(&["mkdir", &made])?.failure()?;
    owner
        .call(&["access", "grant", &app, &principal, "writer"])?
        .success()?;
    other.call(&["mkdir", &made])?.success()?;
    other.call(&["env", &app])?.failure()?;
    other.call(&["quota", &app, "none"])?.failure()?;

    owner.call(&["quota", &app, "300MiB"])?.success()?;
    owner
        .call(&["env", &app, "set", "MODE=test", "EMPTY="])?
        .success()?;
    owner.call(&["env", &app, "unset", "EMPTY"])?.success()?;
    network.upgrade(id, &module).await?;
    let json = |arguments: &[&str]| -> Result<serde_json::Value> {
        let output = owner.call(&[&["--json"], arguments].concat())?.success()?;
        Ok(serde_json::from_str(&output.text())?)
    };
    let access = json(&["access", "list", &app])?;
    ensure!(access["grants"][0]["principal"] == principal.as_str());
    ensure!(access["grants"][0]["role"] == "writer");
    let env = json(&["env", &app, "list"])?;
    ensure!(env["variables"] == serde_json::json!([{ "name": "MODE", "value": "test" }]));
    let df = json(&["df", &app])?;
    let (used, free) = (df["used_bytes"].as_u64(), df["free_bytes"].as_u64());
    ensure!(df["quota_bytes"] == 300 << 20 && used > Some(0));
    ensure!(used.zip(free).map(|(used, free)| used + free) == Some(300 << 20));
    let fsck = json(&["fsck", &app])?;
    ensure!(
        fsck["clean"] == true && fsck["parts"] == 1 && fsck["findings"] == serde_json::json!([])
    );
    ensure!(fsck["steps"] == 1, "{fsck}");

    owner
        .call(&["access", "revoke", &app, &principal])?
        .success()?;
    other.call(&["ls", &root])?.failure()?;
    let again = owner.call(&["access", "revoke", &app, &principal])?;
    ensure!(again.failure()?.contains("has no role"));
    network.stop().await
}

/// A check that needs many queries passes while nobody uses the files, and says so if somebody does.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_in_steps_sees_one_state() -> Result<()> {
    for mode in Mode::ALL {
        one_state(mode).await?;
    }
    Ok(())
}

async fn one_state(mode: Mode) -> Result<()> {
    let network = Network::start().await?;
    let module = linked(sqlite(mode), &["--admin"])?;
    let id = network.deploy(&module).await?;
    let app = id.to_text();
    let owner = network.icwasi()?;
    let deep = format!("{app}:{}", "/d".repeat(1_500));
    owner.call(&["mkdir", "-p", &deep])?.success()?;
    let check = ["--json", "fsck", &app, "--instructions", "0"];
    let output = owner.call(&check)?.success()?;
    let fsck: serde_json::Value = serde_json::from_str(&output.text())?;
    // 16 inodes a step.
    let steps = fsck["steps"].as_u64().context("steps")?;
    ensure!(fsck["clean"] == true && fsck["parts"] == 1, "{fsck}");
    ensure!((90..120).contains(&steps), "{steps} steps");

    let other = network.icwasi()?;
    let arguments = check.map(str::to_owned);
    let checking =
        tokio::task::spawn_blocking(move || other.call(&arguments.each_ref().map(String::as_str)));
    let used = admin(&network, id);
    while !checking.is_finished() {
        let made = used.mkdir("/d", true).await?;
        ensure!(made.is_ok(), "{made:?}");
    }
    let message = checking.await??.failure()?;
    ensure!(message.contains("icwasi image fsck"), "{message}");
    owner.call(&check)?.success()?;
    network.stop().await
}

fn admin(network: &Network, id: Principal) -> e2e::admin::Admin<'_> {
    e2e::admin::Admin {
        agent: &network.owner.agent,
        id,
    }
}

/// The guest's own hooks run, with files, and decide about the guest's own methods.
#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_the_guest_keep_working() -> Result<()> {
    for mode in Mode::ALL {
        let network = Network::start().await?;
        let id = network.deploy(&linked(sqlite(mode), &["--admin"])?).await?;
        let first = network.app(id).about().await?.log;
        ensure!(
            first.len() == 1 && first[0].ends_with(" installed"),
            "{first:?}"
        );
        network
            .upgrade(id, &linked(sqlite_second(mode), &["--admin"])?)
            .await?;
        let second = network.app(id).about().await?.log;
        ensure!(
            second.len() == 2 && second[1].ends_with(" upgraded"),
            "{second:?}"
        );

        // The guest's inspect_message turns a stranger away with its own words, and lets the
        // owner in.
        let stranger = e2e::sqlite_app::SqliteApp {
            agent: &network.stranger.agent,
            id,
        };
        let refused = match stranger.execute("CREATE TABLE t (x)").await {
            Ok(_) => anyhow::bail!("a stranger ran SQL"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(
            refused.contains("only controllers of this canister"),
            "{refused}"
        );
        network.app(id).execute("CREATE TABLE t (x)").await?;
        network.stop().await?;
    }
    Ok(())
}

/// SQLite's temporary files work: a table that does not fit in its cache.
#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_of_sqlite() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let app = network.app(id);
    app.execute(
        "CREATE TEMP TABLE big AS
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
           SELECT i, hex(zeroblob(200)) AS filler FROM n;
         CREATE TABLE result AS SELECT count(*) AS n, sum(i) AS total, sum(length(filler)) AS size
           FROM (SELECT * FROM big ORDER BY filler, i DESC);",
    )
    .await?;
    let rows = app
        .query_sql("SELECT n, total, size FROM result")
        .await?
        .rows;
    use e2e::sqlite_app::Value::Integer;
    ensure!(
        rows == [[Integer(20_000), Integer(200_010_000), Integer(8_000_000)]],
        "{rows:?}"
    );
    network.stop().await
}

/// A push may replace the database of a running canister: it sees the new one at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_database_replaces_the_open_one() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let app = network.app(id);
    // Opens the database, which is created empty.
    app.execute("INSERT INTO cities VALUES (1, 'Old', 'ZZ', 0.0, 0.0, 1, 'Etc/UTC')")
        .await?;
    cities::build_database(&network.path("cities.db"))?;
    let remote = format!("{id}:/data/cities.db");
    let icwasi = network.icwasi()?;
    let message = icwasi
        .call(&["push", "--no-clobber", "cities.db", &remote])?
        .failure()?;
    ensure!(message.contains("/data/cities.db"), "{message}");
    ensure!(
        app.city("Old").await?.len() == 1,
        "the refused push changed the database"
    );
    icwasi
        .run(&["push", "cities.db", &remote], Duration::from_secs(60))?
        .success()?;
    ensure!(app.city("Old").await?.is_empty());
    same_rows(&network, id, &network.path("cities.db")).await?;
    app.execute("DELETE FROM cities WHERE country = 'ZZ'")
        .await?;
    network.stop().await
}

/// What a message leaves behind in the program's memory does not make later ones dearer.
async fn steady(mode: Mode) -> Result<()> {
    // Only the replica in this process tells what a message took.
    let network = Network::on(Host::embedded().await?).await?;
    let id = network.deploy(&linked(sqlite(mode), &["--admin"])?).await?;
    let app = network.app(id);
    let cost = || {
        let (_, stats) = network.replica.last_stats(id).context("no message yet")?;
        anyhow::Ok(stats.instructions)
    };
    let sql = "UPDATE cities SET population = 1 WHERE id = 1";
    for _ in 0..20 {
        app.execute(sql).await?;
    }
    let early = cost()?;
    for _ in 0..200 {
        app.execute(sql).await?;
    }
    let late = cost()?;
    ensure!(
        late <= early + early / 50,
        "{} mode: {early} instructions became {late}",
        mode.name()
    );
    network.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_do_not_get_dearer() -> Result<()> {
    for mode in Mode::ALL {
        steady(mode).await?;
    }
    Ok(())
}

//! Bad input: each gives a clear error and a non-zero exit, and nothing is lost, changed half-way
//! or left visible.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use candid::Principal;
use e2e::admin::Admin;
use e2e::canisters::{Mode, linked, sqlite};
use e2e::cli::Icwasi;
use e2e::hostile::{Kind, canned};
use e2e::network::Network;
use icwasi_types::limits::{CHUNK_ALIGN, MAX_CHUNK};
use icwasi_types::{
    AdminError, Entry, FileType, Info, ListPage, ReadReply, Stat, UploadRequest, methods,
};
use serde_bytes::ByteBuf;

fn admin(network: &Network, id: Principal) -> Admin<'_> {
    Admin {
        agent: &network.owner.agent,
        id,
    }
}

/// Content that does not compress and whose parts differ.
fn noise(length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    blake3::Hasher::new()
        .update(b"noise")
        .finalize_xof()
        .fill(&mut content);
    content
}

// ---- modules that cannot be linked

#[test]
fn modules_that_cannot_be_linked() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let icwasi = Icwasi::new()?.in_directory(directory.path());
    let wasi = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
             (memory (export "memory") 1))"#,
    )?;
    let unknown = wat::parse_str(
        r#"(module (import "env" "frobnicate" (func (param i32)))
             (memory (export "memory") 1))"#,
    )?;
    let cases: [(&str, Vec<u8>, &[&str]); 6] = [
        (
            "truncated.wasm",
            wasi[..wasi.len() - 5].to_vec(),
            &["truncated.wasm"],
        ),
        ("empty.wasm", Vec::new(), &["empty.wasm"]),
        (
            "text.wasm",
            b"#!/bin/sh\necho hello\n".to_vec(),
            &["text.wasm"],
        ),
        (
            "component.wasm",
            wat::parse_str("(component)")?,
            &["component"],
        ),
        ("unknown.wasm", unknown, &["env", "frobnicate"]),
        (
            "elf.wasm",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(),
            &["elf.wasm"],
        ),
    ];
    for (name, bytes, words) in cases {
        std::fs::write(directory.path().join(name), bytes)?;
        for arguments in [
            vec!["link", name, "--output", "out.wasm", "--admin"],
            vec!["check", name],
        ] {
            // `check` reports what it can read of a module on stdout, and ends with 3.
            let output = icwasi.call(&arguments)?;
            let message = if arguments[0] == "check" && output.status.code() == Some(3) {
                output.text()
            } else {
                output.failure()?
            };
            for word in words {
                ensure!(
                    message.contains(word),
                    "{arguments:?} does not say {word:?}: {message}"
                );
            }
            ensure!(
                !directory.path().join("out.wasm").exists(),
                "{name}: an output was left"
            );
        }
    }
    // A failed link leaves an older output as it is.
    std::fs::write(directory.path().join("out.wasm"), b"older")?;
    icwasi
        .call(&["link", "unknown.wasm", "--output", "out.wasm"])?
        .failure()?;
    ensure!(std::fs::read(directory.path().join("out.wasm"))? == b"older");
    icwasi
        .call(&["link", "missing.wasm", "--output", "out.wasm"])?
        .failure()?;
    Ok(())
}

// ---- pushes that cannot work

#[tokio::test(flavor = "multi_thread")]
async fn pushes_to_what_is_not_there() -> Result<()> {
    let network = Network::start().await?;
    let icwasi = network.icwasi()?;
    std::fs::write(network.path("file"), noise(300_000))?;
    let fails = |target: String, words: &[&str]| -> Result<()> {
        let message = icwasi.call(&["push", "file", &target])?.failure()?;
        let lower = message.to_lowercase();
        for word in words {
            ensure!(
                lower.contains(word),
                "push to {target} does not say {word:?}: {message}"
            );
        }
        Ok(())
    };

    fails(
        "rrkah-fqaaa-aaaaa-aaaaq-cai:/data/file".into(),
        &["rrkah-fqaaa-aaaaa-aaaaq-cai"],
    )?;
    fails("no-such-name:/data/file".into(), &["no-such-name"])?;
    let empty = network.create().await?;
    fails(format!("{empty}:/data/file"), &["no code"])?;
    let plain = network.deploy(&linked(sqlite(Mode::Inject), &[])?).await?;
    fails(format!("{plain}:/data/file"), &["--admin"])?;

    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let before = admin(&network, id).tree().await?;
    fails(format!("{id}:/../file"), &[".."])?;
    fails(format!("{id}:/data/../../file"), &[".."])?;
    fails(format!("{id}:/data/{}", "n".repeat(256)), &["255"])?;
    fails(format!("{id}:/data/canister.log/file"), &["canister.log"])?;
    let message = icwasi
        .call(&["push", "missing", &format!("{id}:/x")])?
        .failure()?;
    ensure!(message.contains("missing"), "{message}");
    ensure!(
        admin(&network, id).tree().await? == before,
        "a push that failed changed something"
    );
    // 255 bytes are a name.
    let longest = format!("{id}:/data/{}", "n".repeat(255));
    icwasi.call(&["push", "file", &longest])?.success()?;
    network.stop().await
}

/// Names and paths that the command line cannot even send, sent directly.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_paths_sent_to_the_canister() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let admin = admin(&network, id);
    let before = admin.tree().await?;
    let long = format!("/data/{}", "n".repeat(256));
    let deep = "/d".repeat(100_000);
    for path in [
        "",
        "relative",
        "/nul\0byte",
        "/data/..",
        "/../etc",
        "/data/./x",
        &long,
        &deep,
    ] {
        let shown = &path[..path.len().min(20)];
        ensure!(
            admin.begin(path, b"content", true).await?.is_err(),
            "begin {shown:?}"
        );
        ensure!(admin.mkdir(path, true).await?.is_err(), "mkdir {shown:?}");
        ensure!(admin.stat(path).await?.is_err(), "stat {shown:?}");
        ensure!(admin.read(path, 0, 1).await?.is_err(), "read {shown:?}");
        ensure!(admin.list(path, None, 10).await?.is_err(), "list {shown:?}");
    }
    ensure!(
        admin
            .read("/data/canister.log", u64::MAX, u64::MAX)
            .await?
            .map_or(true, |r| r.data.is_empty())
    );
    ensure!(
        admin
            .list("/data", Some(u64::MAX), u32::MAX)
            .await?
            .map_or(true, |p| p.entries.is_empty())
    );
    ensure!(admin.tree().await? == before);
    network.stop().await
}

/// A full canister: the error says so, and what was there stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_canister_takes_no_more() -> Result<()> {
    let network = Network::start().await?;
    let icwasi = network.icwasi()?;
    let module = linked(sqlite(Mode::Inject), &["--admin", "--quota", "4194304"])?;
    let id = network.deploy(&module).await?;
    let admin = admin(&network, id);
    std::fs::write(network.path("small"), noise(1_000_000))?;
    std::fs::write(network.path("large"), noise(6_000_000))?;
    icwasi
        .call(&["push", "small", &format!("{id}:/data/file")])?
        .success()?;
    let before = admin.tree().await?;
    let used = admin.info().await?.map_err(|e| anyhow!("{e:?}"))?;
    ensure!(used.quota_bytes == Some(4_194_304), "{used:?}");

    for target in ["/data/file", "/data/new"] {
        let target = format!("{id}:{target}");
        let message = icwasi
            .call(&["push", "large", &target])?
            .failure()?
            .to_lowercase();
        ensure!(
            message.contains("space") || message.contains("full"),
            "{message}"
        );
    }
    ensure!(
        admin.tree().await? == before,
        "a push that did not fit changed something"
    );
    // The application gets ENOSPC from SQLite, and its transaction leaves nothing.
    let fill = "CREATE TABLE fill AS WITH RECURSIVE n(i) AS \
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, hex(zeroblob(200)) FROM n";
    let error = match network.app(id).execute(fill).await {
        Ok(_) => anyhow::bail!("8 MB went into 4 MB"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(error.contains("full") || error.contains("I/O"), "{error}");
    let left = "SELECT count(*) FROM sqlite_schema WHERE name = 'fill'";
    let rows = network.app(id).query_sql(left).await?.rows;
    ensure!(rows == [[e2e::sqlite_app::Value::Integer(0)]]);
    // Space that failed uploads held is given back: another small file fits.
    icwasi
        .call(&["push", "small", &format!("{id}:/data/second")])?
        .success()?;
    network.stop().await
}

// ---- pulls

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_does_not_replace_a_file_unasked() -> Result<()> {
    let network = Network::start().await?;
    let icwasi = network.icwasi()?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    std::fs::write(network.path("mine"), b"my own")?;
    let remote = format!("{id}:/data/canister.log");
    let message = icwasi.call(&["pull", &remote, "mine"])?.failure()?;
    ensure!(
        message.contains("mine") && message.contains("--overwrite"),
        "{message}"
    );
    ensure!(std::fs::read(network.path("mine"))? == b"my own");
    icwasi
        .call(&["pull", &format!("{id}:/data/nothing"), "new"])?
        .failure()?;
    ensure!(!network.path("new").exists(), "a failed pull left a file");
    icwasi
        .call(&["pull", "--overwrite", &remote, "mine"])?
        .success()?;
    ensure!(std::fs::read(network.path("mine"))?.ends_with(b" installed\n"));
    network.stop().await
}

/// A canister that lists names which lead elsewhere, or lies about sizes.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_never_writes_outside_its_directory() -> Result<()> {
    let network = Network::start().await?;
    let icwasi = network.icwasi()?;
    let names = [
        "../escaped",
        "/tmp/icwasi-escaped",
        "..",
        ".",
        "",
        "a/b",
        "nul\0byte",
        "a\\b\n\x1b[2Jc",
    ];
    for name in names {
        let module = wat::parse_str(canned(&hostile_replies(name)?))?;
        let path = network.path("hostile.wasm");
        std::fs::write(&path, module)?;
        let id = network.deploy(&path).await?;
        let target = network.path("work/target");
        std::fs::create_dir_all(&target)?;
        let before = listing(&network.path("work"))?;
        let output = icwasi.call(&["pull", "--recursive", &format!("{id}:/"), "work/target"])?;
        let after = listing(&network.path("work"))?;
        let outside = |paths: &[String]| {
            paths
                .iter()
                .filter(|p| !p.starts_with("target"))
                .cloned()
                .collect::<Vec<_>>()
        };
        ensure!(
            outside(&before) == outside(&after),
            "{name:?} wrote {after:?}"
        );
        ensure!(!Path::new("/tmp/icwasi-escaped").exists(), "{name:?}");
        // A name that Linux allows may be pulled; it must not reach the terminal as it is.
        if name.contains('\x1b') && output.status.success() {
            ensure!(!output.stderr.contains('\x1b') && !output.text().contains('\x1b'));
        } else {
            output.failure()?;
        }
        std::fs::remove_dir_all(&target)?;
    }
    network.stop().await
}

fn listing(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn hostile_replies(name: &str) -> Result<Vec<(&'static str, Kind, Vec<u8>)>> {
    let stat = |file_type, size| Stat {
        file_type,
        inode: 2,
        size,
        allocated: 4_096,
        links: 1,
        accessed: 0,
        modified: 0,
        changed: 0,
        version: 1,
    };
    let info = Info {
        free_bytes: None,
        quota_set: None,
        version: "0.1.0".into(),
        api_major: 1,
        api_minor: 0,
        format_major: 1,
        format_minor: 0,
        block_size: 4_096,
        used_bytes: 0,
        quota_bytes: None,
        inodes: 2,
        max_read: 65_536,
        max_chunk: MAX_CHUNK as u32,
        chunk_align: CHUNK_ALIGN as u32,
        max_list: 100,
        open_uploads: 0,
    };
    let page = ListPage {
        entries: vec![Entry {
            name: name.into(),
            stat: stat(FileType::Regular, 5),
        }],
        next: None,
    };
    let read = ReadReply {
        data: ByteBuf::from(b"pwned".to_vec()),
        size: 5,
        version: 1,
    };
    Ok(vec![
        (
            methods::INFO,
            Kind::Query,
            candid::encode_one(Ok::<_, AdminError>(info))?,
        ),
        (
            methods::STAT,
            Kind::Query,
            candid::encode_one(Ok::<_, AdminError>(stat(FileType::Directory, 0)))?,
        ),
        (
            methods::LIST,
            Kind::Query,
            candid::encode_one(Ok::<_, AdminError>(page))?,
        ),
        (
            methods::READ,
            Kind::Query,
            candid::encode_one(Ok::<_, AdminError>(read))?,
        ),
    ])
}

// ---- uploads

#[tokio::test(flavor = "multi_thread")]
async fn uploads_out_of_order_and_out_of_range() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let admin = admin(&network, id);
    let before = admin.tree().await?;
    let content = noise(3 * CHUNK_ALIGN as usize + 1_000);
    let granule = CHUNK_ALIGN as usize;
    let upload = admin
        .begin("/data/up", &content, false)
        .await?
        .map_err(|e| anyhow!("{e:?}"))?
        .id;

    // Out of range, misaligned, overflowing, of unknown uploads: refused, and nothing counts.
    let past = admin.chunk(upload, 4 * CHUNK_ALIGN, b"x").await?;
    ensure!(
        matches!(past, Err(AdminError::ChunkOutOfRange { .. })),
        "{past:?}"
    );
    let long = admin
        .chunk(upload, 3 * CHUNK_ALIGN, &content[..granule])
        .await?;
    ensure!(
        matches!(long, Err(AdminError::ChunkOutOfRange { .. })),
        "{long:?}"
    );
    let overflow = admin
        .chunk(upload, u64::MAX - CHUNK_ALIGN + 1, &content[..granule])
        .await?;
    ensure!(
        matches!(overflow, Err(AdminError::ChunkOutOfRange { .. })),
        "{overflow:?}"
    );
    let odd = admin.chunk(upload, 1, &content[1..granule + 1]).await?;
    ensure!(
        matches!(odd, Err(AdminError::ChunkMisaligned { .. })),
        "{odd:?}"
    );
    let unknown = admin.chunk(upload + 1_000, 0, &content[..granule]).await?;
    ensure!(
        matches!(unknown, Err(AdminError::UploadNotFound(_))),
        "{unknown:?}"
    );

    // Any order; the same again is fine; other bytes in the same place are not.
    let ok = |answer: Result<(), AdminError>| answer.map_err(|e| anyhow!("{e:?}"));
    ok(admin
        .chunk(upload, 3 * CHUNK_ALIGN, &content[3 * granule..])
        .await?)?;
    ok(admin.chunk(upload, 0, &content[..granule]).await?)?;
    ok(admin.chunk(upload, 0, &content[..granule]).await?)?;
    let other = admin.chunk(upload, 0, &vec![7; granule]).await?;
    ensure!(
        matches!(other, Err(AdminError::ChunkConflict { offset: 0 })),
        "{other:?}"
    );
    let early = admin.commit(upload).await?;
    ensure!(
        matches!(early, Err(AdminError::UploadIncomplete { .. })),
        "{early:?}"
    );
    ensure!(
        admin.tree().await? == before,
        "an unfinished upload is visible"
    );

    // Beginning the same again resumes it.
    let again = admin
        .begin("/data/up", &content, false)
        .await?
        .map_err(|e| anyhow!("{e:?}"))?;
    ensure!(again.id == upload, "not resumed");
    ensure!(
        again.missing.len() == 1 && again.missing[0].offset == CHUNK_ALIGN,
        "{again:?}"
    );
    ok(admin
        .chunk(upload, CHUNK_ALIGN, &content[granule..3 * granule])
        .await?)?;
    admin.commit(upload).await?.map_err(|e| anyhow!("{e:?}"))?;
    ensure!(admin.content("/data/up").await? == content);

    // After the commit: repeating it is accepted, chunks are not.
    let stat = admin.commit(upload).await?.map_err(|e| anyhow!("{e:?}"))?;
    ensure!(stat.size == content.len() as u64);
    let late = admin.chunk(upload, 0, &content[..granule]).await?;
    ensure!(
        matches!(late, Err(AdminError::UploadFinished(_))),
        "{late:?}"
    );
    ensure!(admin.content("/data/up").await? == content);
    network.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hash_is_found_at_commit() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let admin = admin(&network, id);
    let content = noise(200_000);
    let old = admin
        .begin("/data/file", b"old", false)
        .await?
        .map_err(|e| anyhow!("{e:?}"))?
        .id;
    admin
        .chunk(old, 0, b"old")
        .await?
        .map_err(|e| anyhow!("{e:?}"))?;
    admin.commit(old).await?.map_err(|e| anyhow!("{e:?}"))?;
    let before = admin.tree().await?;

    let request = UploadRequest {
        path: "/data/file".into(),
        size: content.len() as u64,
        hash: ByteBuf::from([0xAB; 32].to_vec()),
        overwrite: true,
        parents: false,
        modified: None,
    };
    let upload = admin
        .begin_with(&request)
        .await?
        .map_err(|e| anyhow!("{e:?}"))?
        .id;
    admin
        .chunk(upload, 0, &content)
        .await?
        .map_err(|e| anyhow!("{e:?}"))?;
    let commit = admin.commit(upload).await?;
    ensure!(
        matches!(commit, Err(AdminError::HashMismatch { .. })),
        "{commit:?}"
    );
    ensure!(
        admin.tree().await? == before,
        "the old file is gone or changed"
    );
    for request in [
        UploadRequest {
            hash: ByteBuf::from(vec![1; 31]),
            ..request.clone()
        },
        UploadRequest {
            size: u64::MAX,
            ..request.clone()
        },
        UploadRequest {
            overwrite: false,
            ..request
        },
    ] {
        let answer = admin.begin_with(&request).await?;
        ensure!(answer.is_err(), "{answer:?}");
    }
    ensure!(admin.tree().await? == before);
    network.stop().await
}

/// `kill -9` of the command in mid-push: nothing is visible, and the next push finishes the work.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_push_leaves_nothing_and_is_resumed() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let admin = admin(&network, id);
    let icwasi = network.icwasi()?;
    let content = noise(60_000_000);
    std::fs::write(network.path("large"), &content)?;
    let before = admin.tree().await?;
    let empty = admin
        .info()
        .await?
        .map_err(|e| anyhow!("{e:?}"))?
        .used_bytes;

    let target = format!("{id}:/data/large");
    let mut child = icwasi.spawn(&["push", "large", &target])?;
    // Until some of it has arrived.
    let start = std::time::Instant::now();
    loop {
        let info = admin.info().await?.map_err(|e| anyhow!("{e:?}"))?;
        if info.open_uploads == 1 && info.used_bytes > empty {
            break;
        }
        ensure!(
            child.try_wait()?.is_none(),
            "the push ended before it was killed"
        );
        ensure!(start.elapsed() < Duration::from_secs(60), "nothing arrived");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill()?;
    child.wait()?;
    ensure!(admin.tree().await? == before, "half of a file is visible");
    let open = admin
        .info()
        .await?
        .map_err(|e| anyhow!("{e:?}"))?
        .open_uploads;
    ensure!(open == 1, "the upload was finished before the kill");

    icwasi.call(&["push", "large", &target])?.success()?;
    ensure!(admin.content("/data/large").await? == content);
    let info = admin.info().await?.map_err(|e| anyhow!("{e:?}"))?;
    ensure!(info.open_uploads == 0, "{info:?}");
    network.stop().await
}

// ---- the application

/// A trap in the middle of writing takes everything of the message back, in both modes.
#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_mid_write_leaves_nothing() -> Result<()> {
    for mode in Mode::ALL {
        let network = Network::start().await?;
        let id = network.deploy(&linked(sqlite(mode), &["--admin"])?).await?;
        let app = network.app(id);
        app.execute("INSERT INTO cities VALUES (1, 'Here', 'ZZ', 0.0, 0.0, 4711, 'Etc/UTC')")
            .await?;
        let before = admin(&network, id).tree().await?;
        let error = match app.trap_after_write().await {
            Ok(()) => anyhow::bail!("it did not trap"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.contains("trapped on purpose"), "{error}");
        ensure!(
            admin(&network, id).tree().await? == before,
            "the trap left something"
        );
        // Everything goes on, with the same connection.
        ensure!(app.city("Here").await?[0].population == 4711);
        app.execute("UPDATE cities SET population = population + 1")
            .await?;
        ensure!(app.city("Here").await?[0].population == 4712);
        let rows = app.query_sql("PRAGMA integrity_check").await?.rows;
        ensure!(
            rows == [[e2e::sqlite_app::Value::Text("ok".into())]],
            "{rows:?}"
        );
        network.stop().await?;
    }
    Ok(())
}

/// SQL that fails is the caller's error, not a trap, and leaves the transaction undone.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_sql_is_answered() -> Result<()> {
    let network = Network::start().await?;
    let id = network
        .deploy(&linked(sqlite(Mode::Inject), &["--admin"])?)
        .await?;
    let app = network.app(id);
    for (sql, word) in [
        ("SELEC 1", "syntax error"),
        (
            "INSERT INTO cities VALUES (9, 'a', 'ZZ', 0.0, 0.0, 1, ''); INSERT INTO nowhere VALUES (1)",
            "nowhere",
        ),
    ] {
        let error = match app.execute(sql).await {
            Ok(_) => anyhow::bail!("ran: {sql}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.contains(word), "{error}");
    }
    ensure!(app.city("a").await?.is_empty(), "half a transaction stayed");
    for sql in ["DELETE FROM cities", "ATTACH '/data/other.db' AS other"] {
        ensure!(app.query_sql(sql).await.is_err(), "ran: {sql}");
    }
    network.stop().await
}

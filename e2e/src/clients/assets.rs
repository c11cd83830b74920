//! The asset canister of crate `ic-certified-assets`, filled by crate `ic-asset`.
//!
//! Both are compiled in `e2e/third-party`, which has a lock file of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use candid::Principal;

use super::Outcome;
use crate::cli::wait;
use crate::network::Network;

/// The first build compiles a client stack of its own.
const BUILD_LIMIT: Duration = Duration::from_secs(1_200);
const LIMIT: Duration = Duration::from_secs(120);

/// Builds what cargo calls `package`; where it is put.
fn build(package: &str, options: &[&str], output: &str) -> Result<PathBuf> {
    let directory = xtask::guests::target_dir().join("third-party");
    std::fs::create_dir_all(&directory)?;
    let log_path = directory.join(format!("{package}.log"));
    let log = std::fs::File::create(&log_path)?;
    let mut cargo = xtask::process::cargo();
    cargo
        .current_dir(xtask::process::root().join("e2e/third-party"))
        .args(["build", "--locked", "--package", package])
        .args(options)
        .arg("--target-dir")
        .arg(&directory)
        // What cargo sets for the process that runs this is not meant for the inner build.
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut child = cargo.spawn().context("cannot start cargo")?;
    let status = wait(&mut child, BUILD_LIMIT)?;
    if !status.success() {
        let text = std::fs::read_to_string(&log_path).unwrap_or_default();
        bail!("building {package}: {status}\n{text}");
    }
    Ok(directory.join(output))
}

/// Syncs a directory, fetches what was synced, changes, upgrades, fetches again.
///
/// # Errors
/// With the step that went wrong.
pub async fn run() -> Result<Outcome> {
    let (module, sync) = tokio::task::spawn_blocking(|| {
        let module = build(
            "asset-canister",
            &["--release", "--target", "wasm32-unknown-unknown"],
            "wasm32-unknown-unknown/release/asset_canister.wasm",
        )?;
        let sync = build("asset-sync", &[], "debug/asset-sync")?;
        anyhow::Ok((module, sync))
    })
    .await??;
    let network = Network::start().await?;
    let site = network.path("site");
    std::fs::create_dir_all(site.join("sub"))?;
    let page = "<!doctype html><title>Certified</title>".repeat(100);
    std::fs::write(site.join("index.html"), &page)?;
    std::fs::write(site.join("sub/note.txt"), "a note")?;
    // Larger than a message, and not compressible: it goes up and comes down in pieces.
    let noise: Vec<u8> = (0..2_500_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    std::fs::write(site.join("noise.bin"), &noise)?;

    let id = network.create().await?;
    network.reinstall(id, &module).await?;
    let fill = Sync {
        program: sync,
        network: &network,
        id,
    };
    let lines = fill
        .run(&site, &["/index.html", "/sub/note.txt", "/"])
        .await?;
    ensure!(
        lines.len() == 3
            && lines[0].starts_with("/index.html 200 gzip ")
            && lines[1].ends_with(" 6 v2")
            && lines[2].starts_with("/ 200 gzip "),
        "{lines:#?}"
    );
    let stored = asset(&network, id, "/noise.bin").await?;
    ensure!(
        stored.0 == noise.len() as u64 && noise.starts_with(&stored.1),
        "the large file has {} bytes",
        stored.0
    );

    // The same through the gateway, which verifies as well and collects the pieces.
    for (path, content) in [
        ("/", page.as_bytes()),
        ("/sub/note.txt", &b"a note"[..]),
        ("/noise.bin", &noise[..]),
    ] {
        let (status, body) = get(&network, id, path).await?;
        ensure!(
            status == 200 && body == content,
            "{path} through the gateway: {status}, {} bytes",
            body.len()
        );
    }
    // For pages of which it knows nothing it gives, and has certified, the index.
    let (status, body) = get(&network, id, "/missing.txt").await?;
    ensure!(
        status == 200 && body == page.as_bytes(),
        "a page that is not there: {status}"
    );

    // Another content, and one file less.
    std::fs::write(site.join("sub/note.txt"), "another note")?;
    std::fs::remove_file(site.join("noise.bin"))?;
    let lines = fill.run(&site, &["/sub/note.txt"]).await?;
    ensure!(lines[0].ends_with(" 12 v2"), "{lines:#?}");
    ensure!(
        asset(&network, id, "/noise.bin").await.is_err(),
        "what was removed is gone"
    );

    network.upgrade(id, &module).await?;
    let kept = asset(&network, id, "/sub/note.txt").await?;
    ensure!(kept.1 == b"another note", "kept over an upgrade");
    let lines = fill.run(&site, &["/index.html", "/sub/note.txt"]).await?;
    ensure!(lines.len() == 2, "certified again after it: {lines:#?}");
    network.stop().await?;
    Ok(Outcome::Passed(
        "ic-certified-assets 0.3.0, ic-asset 0.29.0: sync, also of 2.5 MB in chunks; fetch, \
         certificates of version 2 verified; the same through the gateway; sync of changes; upgrade"
            .into(),
    ))
}

struct Sync<'a> {
    program: PathBuf,
    network: &'a Network,
    id: Principal,
}

impl Sync<'_> {
    /// Makes `directory` the assets, fetches and verifies `paths`; a line for each.
    async fn run(&self, directory: &Path, paths: &[&str]) -> Result<Vec<String>> {
        let out = self.network.path("sync.out");
        let errors = self.network.path("sync.errors");
        let mut child = Command::new(&self.program)
            .arg(self.network.replica.url())
            .arg(&self.network.owner.pem)
            .arg(self.id.to_text())
            .arg(directory)
            .args(paths)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(std::fs::File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        // The replica is in this process: do not block its threads.
        let status = tokio::task::spawn_blocking(move || wait(&mut child, LIMIT)).await??;
        let errors = std::fs::read_to_string(&errors)?;
        ensure!(status.success(), "asset-sync: {status}\n{errors}");
        let text = std::fs::read_to_string(&out)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// What a browser would get: status and body.
async fn get(network: &Network, id: Principal, path: &str) -> Result<(u16, Vec<u8>)> {
    let url = network.replica.url();
    let port = url.rsplit(':').next().unwrap_or_default();
    let response = reqwest::Client::new()
        .get(format!("{url}{path}"))
        .header("Host", format!("{id}.localhost:{port}"))
        .timeout(LIMIT)
        .send()
        .await?;
    let status = response.status().as_u16();
    Ok((status, response.bytes().await?.to_vec()))
}

/// Length of an asset, and its first piece, uncompressed.
async fn asset(network: &Network, id: Principal, key: &str) -> Result<(u64, Vec<u8>)> {
    #[derive(candid::CandidType)]
    struct Get<'a> {
        key: &'a str,
        accept_encodings: Vec<&'a str>,
    }
    #[derive(candid::CandidType, serde::Deserialize)]
    struct Encoded {
        content: serde_bytes::ByteBuf,
        total_length: candid::Nat,
    }
    let get = Get {
        key,
        accept_encodings: vec!["identity"],
    };
    let agent = &network.owner.agent;
    let call = agent.query(&id, "get").with_arg(candid::encode_one(get)?);
    let encoded: Encoded = candid::decode_one(&call.call().await?)?;
    let total = u64::try_from(&encoded.total_length.0)?;
    Ok((total, encoded.content.into_vec()))
}

//! `asset-sync URL PEM CANISTER DIRECTORY PATH...`: makes the canister's assets those of the
//! directory, then fetches each path by `http_request` and verifies its certificate.
//!
//! Prints a line a path: status, encoding, bytes of the body, version of the certification.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ic_agent::Agent;
use ic_agent::export::Principal;
use ic_agent::identity::BasicIdentity;
use ic_http_certification::{HttpRequest, HttpResponse, StatusCode};
use ic_response_verification::verify_request_response_pair;
use ic_utils::call::SyncCall;
use ic_utils::canister::Canister;
use ic_utils::interfaces::HttpRequestCanister;
use ic_utils::interfaces::http_request::HeaderField;

/// Clocks may differ, and a certificate may be as old, by so much.
const MAX_OFFSET_NANOS: u128 = 300_000_000_000;
const VERSION: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, pem, canister, directory, paths @ ..] = arguments.as_slice() else {
        anyhow::bail!("asset-sync URL PEM CANISTER DIRECTORY PATH...");
    };
    let agent = Agent::builder()
        .with_url(url)
        .with_identity(BasicIdentity::from_pem_file(pem)?)
        .build()?;
    agent.fetch_root_key().await?;
    let id = Principal::from_text(canister)?;
    let assets = Canister::builder()
        .with_agent(&agent)
        .with_canister_id(id)
        .build()?;
    let log = slog::Logger::root(slog::Discard, slog::o!());
    ic_asset::sync(&assets, &[Path::new(directory)], false, &log, None)
        .await
        .context("ic-asset")?;
    for path in paths {
        fetch(&agent, id, path).await.with_context(|| path.clone())?;
    }
    Ok(())
}

async fn fetch(agent: &Agent, id: Principal, path: &str) -> Result<()> {
    let server = HttpRequestCanister::create(agent, id);
    let headers = [HeaderField("accept-encoding".into(), "gzip".into())];
    let (reply,) = server
        .http_request("GET", path, headers.clone(), b"", Some(&u16::from(VERSION)))
        .call()
        .await?;
    let status = reply.status_code;
    let encoding = reply
        .headers
        .iter()
        .find(|field| field.0.eq_ignore_ascii_case("content-encoding"))
        .map_or("identity".to_owned(), |field| field.1.to_string());
    let request = HttpRequest::get(path)
        .with_headers(
            headers
                .iter()
                .map(|field| (field.0.to_string(), field.1.to_string()))
                .collect(),
        )
        .build();
    let response = HttpResponse::builder()
        .with_status_code(StatusCode::from_u16(status)?)
        .with_headers(
            reply
                .headers
                .iter()
                .map(|field| (field.0.to_string(), field.1.to_string()))
                .collect(),
        )
        .with_body(reply.body.clone())
        .build();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let verified = verify_request_response_pair(
        request,
        response,
        id.as_slice(),
        now.as_nanos(),
        MAX_OFFSET_NANOS,
        &agent.read_root_key(),
        VERSION,
    )?;
    ensure!(
        verified.verification_version == u16::from(VERSION),
        "certified by version {}",
        verified.verification_version
    );
    println!(
        "{path} {status} {encoding} {} v{}",
        reply.body.len(),
        verified.verification_version
    );
    Ok(())
}

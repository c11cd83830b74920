//! A PocketIC server: its own process, one instance with one application subnet, and an HTTP
//! gateway in front of it that real clients can talk to.
//!
//! Spoken is the server's HTTP interface (JSON). Nothing is downloaded: the program is the one
//! that `POCKET_IC_BIN` names.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use candid::Principal;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(30);
/// The server ends by itself when nobody has asked it anything for so many seconds.
const IDLE_SECONDS: &str = "600";

/// A server with an instance that makes progress by itself.
pub struct PocketIc {
    server: Child,
    gateway: u16,
    effective_canister: Principal,
    _directory: TempDir,
}

impl Drop for PocketIc {
    fn drop(&mut self) {
        // It is our child and was not waited for, so the id is its.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[derive(Deserialize)]
enum Created {
    Created {
        topology: Topology,
        http_gateway_info: Option<Gateway>,
    },
    Error {
        message: String,
    },
}

#[derive(Deserialize)]
struct Topology {
    default_effective_canister_id: CanisterId,
}

#[derive(Deserialize)]
struct CanisterId {
    canister_id: String,
}

#[derive(Deserialize)]
struct Gateway {
    port: u16,
}

impl PocketIc {
    /// Starts the server that `POCKET_IC_BIN` names.
    ///
    /// # Errors
    /// If the variable is not set, the program is missing or is not PocketIC.
    pub async fn from_environment() -> Result<Self> {
        let program = std::env::var_os("POCKET_IC_BIN")
            .context("POCKET_IC_BIN is not set: it has to name the program of a PocketIC server")?;
        Self::start(Path::new(&program), START_LIMIT).await
    }

    async fn start(program: &Path, limit: Duration) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port_file = directory.path().join("port");
        let log = directory.path().join("log");
        let output = std::fs::File::create(&log)?;
        let server = Command::new(program)
            .arg("--port-file")
            .arg(&port_file)
            .args(["--ttl", IDLE_SECONDS])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("POCKET_IC_BIN: cannot start {}", program.display()))?;
        // From here on it is ended whatever happens.
        let mut started = Self {
            server,
            gateway: 0,
            effective_canister: Principal::management_canister(),
            _directory: directory,
        };
        let port = started.port(program, &port_file, &log, limit).await?;
        let reply = post(port, "/instances", &instance()).await?;
        let created = serde_json::from_value(reply.clone())
            .with_context(|| format!("this is no answer of a PocketIC server: {reply}"))?;
        match created {
            Created::Error { message } => bail!("PocketIC made no instance: {message}"),
            Created::Created {
                topology,
                http_gateway_info,
            } => {
                let gateway = http_gateway_info.context(
                    "PocketIC made an instance without a gateway; the tests need a server of \
                     version 10 or newer",
                )?;
                started.gateway = gateway.port;
                let id = STANDARD
                    .decode(topology.default_effective_canister_id.canister_id)
                    .context("the canister id of the instance's subnet")?;
                started.effective_canister = Principal::try_from_slice(&id)?;
            }
        }
        Ok(started)
    }

    /// Waits until the server has said on which port it listens.
    async fn port(
        &mut self,
        program: &Path,
        file: &Path,
        log: &Path,
        limit: Duration,
    ) -> Result<u16> {
        let start = Instant::now();
        loop {
            // The line is complete when it has an end.
            if let Ok(text) = std::fs::read_to_string(file)
                && let Some(line) = text.strip_suffix('\n')
            {
                return line.trim().parse().with_context(|| {
                    format!("{} said that its port is {line:?}", program.display())
                });
            }
            let said = || {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                text.chars().take(2_000).collect::<String>()
            };
            if let Some(status) = self.server.try_wait()? {
                bail!(
                    "{} is not a PocketIC server, or cannot run here: it ended with {status}.\n{}",
                    program.display(),
                    said()
                );
            }
            ensure!(
                start.elapsed() < limit,
                "{} is not a PocketIC server: it wrote no port file within {} s.\n{}",
                program.display(),
                limit.as_secs(),
                said()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where clients reach the instance.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }

    /// A canister id of the application subnet.
    pub fn effective_canister(&self) -> Principal {
        self.effective_canister
    }

    /// Ends the server.
    ///
    /// # Errors
    /// If it has ended by itself before.
    pub fn stop(mut self) -> Result<()> {
        if let Some(status) = self.server.try_wait()? {
            bail!("the PocketIC server ended by itself: {status}");
        }
        Ok(())
    }
}

/// One application subnet with the limits of the IC, live, and a gateway on a free port.
///
/// Limits of rate are off: the tests install many modules one after the other.
fn instance() -> Value {
    json!({
        "subnet_config_set": {
            "nns": null,
            "sns": null,
            "ii": null,
            "fiduciary": null,
            "bitcoin": null,
            "system": [],
            "application": [{ "state_config": "New", "instruction_config": "Production" }],
            "verified_application": [],
        },
        "http_gateway_config": {
            "ip_addr": "127.0.0.1",
            "port": null,
            "domains": null,
            "https_config": null,
        },
        "icp_config": { "canister_execution_rate_limiting": "Disabled" },
        "initial_time": { "AutoProgress": { "artificial_delay_ms": null } },
        "log_level": "ERROR",
    })
}

async fn post(port: u16, path: &str, body: &Value) -> Result<Value> {
    let response = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}{path}"))
        .header("Content-Type", "application/json")
        .timeout(Duration::from_secs(60))
        .body(body.to_string())
        .send()
        .await
        .with_context(|| format!("no answer from the PocketIC server at port {port}"))?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{path}: {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("{path}: not JSON: {text:.200}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// An executable script in `directory`.
    fn script(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("pocket-ic");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn failure(program: &Path) -> String {
        match PocketIc::start(program, Duration::from_secs(1)).await {
            Ok(_) => panic!("{} is no PocketIC server", program.display()),
            Err(error) => format!("{error:#}"),
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_pocket_ic_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = failure(&directory.path().join("none")).await;
        assert!(missing.contains("cannot start"), "{missing}");
        let other = failure(&script(directory.path(), "echo what is $1 >&2; exit 3")).await;
        assert!(other.contains("not a PocketIC server"), "{other}");
        assert!(other.contains("what is --port-file"), "{other}");
        let silent = failure(&script(directory.path(), "exec sleep 20")).await;
        assert!(silent.contains("no port file"), "{silent}");
    }

    /// A server that answers like PocketIC: the request is read, and its reply used.
    #[tokio::test]
    async fn an_instance_is_asked_for_and_its_gateway_used() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut piece = [0; 4096];
                let n = stream.read(&mut piece).unwrap();
                assert!(n > 0, "the request ended early");
                request.extend_from_slice(&piece[..n]);
            }
            let reply = json!({ "Created": {
                "instance_id": 7,
                "topology": {
                    "subnet_configs": {},
                    "default_effective_canister_id": { "canister_id": "f////8AAAAABAQ==" },
                },
                "http_gateway_info": { "instance_id": 1, "port": 4321 },
            }})
            .to_string();
            write!(
                stream,
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reply}",
                reply.len()
            )
            .unwrap();
            String::from_utf8(request).unwrap()
        });
        let directory = tempfile::tempdir().unwrap();
        let program = script(
            directory.path(),
            &format!("echo {port} > \"$2\"; exec sleep 20"),
        );
        let started = PocketIc::start(&program, START_LIMIT).await.unwrap();
        assert_eq!(started.url(), "http://127.0.0.1:4321");
        assert_eq!(
            started.effective_canister().as_slice(),
            [0x7f, 0xff, 0xff, 0xff, 0xc0, 0, 0, 0, 1, 1]
        );
        started.stop().unwrap();
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /instances "), "{request}");
        assert!(request.contains("AutoProgress"), "{request}");
    }
}

//! Networks: by name, as icwasi, icp and dfx know them, or by URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candid::Principal;
use ic_agent::export::reqwest;
use ic_agent::{Agent, Identity};
use thiserror::Error;

use super::RemoteError;
use crate::local_replica;
use crate::project::{Project, dfx_shared_network};

/// Mainnet's HTTP interface.
pub const MAINNET_URL: &str = "https://icp-api.io";

/// How the root key of a network is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootKey {
    /// Mainnet's, built in.
    Mainnet,
    /// Ask the network: only safe where nobody else can answer.
    Fetch,
    /// DER.
    Given(Vec<u8>),
}

/// Where canisters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `local`, `ic`, a name of the project's, or the URL.
    pub name: String,
    /// HTTP interface.
    pub url: String,
    /// Its root key.
    pub root_key: RootKey,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Neither an URL nor a known name.
    #[error(
        "unknown network {0:?}: use `local`, `ic`, an URL such as http://127.0.0.1:8000, \
         or define it in dfx.json or icp.yaml"
    )]
    UnknownNetwork(String),
    /// The URL can't be parsed.
    #[error("{0:?} is not an URL of a network")]
    BadUrl(String),
    /// A key is needed.
    #[error(
        "{0} is neither mainnet nor on this computer: say what its root key is with \
         --root-key HEX, or --root-key fetch to trust whoever answers there"
    )]
    RootKeyNeeded(String),
    /// The key is malformed.
    #[error("root key {0:?}: expected `mainnet`, `fetch` or 266 hexadecimal digits")]
    BadRootKey(String),
    /// Mainnet's key is never fetched.
    #[error("the root key of mainnet is built in and never fetched")]
    FetchOnMainnet,
    /// The agent could not be made.
    #[error("cannot set up a client for {url}: {message}")]
    Client {
        /// The URL.
        url: String,
        /// Why.
        message: String,
    },
    /// The network does not answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// True if the URL's host is this computer.
pub fn is_loopback(url: &str) -> bool {
    match host(url) {
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || host.ends_with(".localhost")
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

fn is_mainnet(url: &str) -> bool {
    let Some(host) = host(url) else { return false };
    ["icp-api.io", "ic0.app", "icp0.io", "internetcomputer.org"]
        .iter()
        .any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

fn host(url: &str) -> Option<String> {
    reqwest::Url::parse(url)
        .ok()?
        .host_str()
        .map(str::to_lowercase)
}

/// Finds the network `name` for `project`. `root_key` is what the user said about the key.
pub fn find_network(
    name: &str,
    root_key: Option<&str>,
    project: &Project,
) -> Result<Network, ConnectError> {
    let (name, url, known_key) = locate(name, project)?;
    let parsed = reqwest::Url::parse(&url).map_err(|_| ConnectError::BadUrl(url.clone()))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(ConnectError::BadUrl(url));
    }
    let mainnet = is_mainnet(&url);
    let known_key = known_key.filter(|k| !k.is_empty());
    let root_key = match root_key.or(known_key.as_deref()) {
        Some("mainnet") => RootKey::Mainnet,
        Some("fetch") if mainnet => return Err(ConnectError::FetchOnMainnet),
        Some("fetch") => RootKey::Fetch,
        Some(text) => match hex::decode(text) {
            Ok(key) if key.len() == 133 => RootKey::Given(key),
            _ => return Err(ConnectError::BadRootKey(text.to_owned())),
        },
        None if mainnet => RootKey::Mainnet,
        None if is_loopback(&url) => RootKey::Fetch,
        None => return Err(ConnectError::RootKeyNeeded(url)),
    };
    Ok(Network {
        name,
        url,
        root_key,
    })
}

/// Name, URL, and the root key if a file says it.
fn locate(name: &str, project: &Project) -> Result<(String, String, Option<String>), ConnectError> {
    if name.contains("://") {
        return Ok((name.to_owned(), name.to_owned(), None));
    }
    if name == "ic" || name == "mainnet" {
        return Ok(("ic".to_owned(), MAINNET_URL.to_owned(), None));
    }
    if name == "local"
        && let Some(run) = local_replica::running(&project.state_dir().join("replica"))
    {
        return Ok((name.to_owned(), run.url, None));
    }
    if let Some(entry) = project.network(name) {
        return Ok((name.to_owned(), entry.url, entry.root_key));
    }
    let shared = dfx_config_dir().map(|d| d.join("networks.json"));
    if let Some(entry) = shared.and_then(|f| dfx_shared_network(&f, name)) {
        return Ok((name.to_owned(), entry.url, entry.root_key));
    }
    if name == "local" {
        let port = if project.has_dfx() && !project.has_icp() {
            4943
        } else {
            8000
        };
        return Ok((name.to_owned(), format!("http://127.0.0.1:{port}"), None));
    }
    Err(ConnectError::UnknownNetwork(name.to_owned()))
}

/// Where dfx keeps what belongs to the user.
pub(crate) fn dfx_config_dir() -> Option<PathBuf> {
    if let Some(root) = std::env::var_os("DFX_CONFIG_ROOT") {
        return Some(Path::new(&root).join(".config/dfx"));
    }
    std::env::home_dir().map(|home| home.join(".config/dfx"))
}

/// A network and who we are on it.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub agent: Arc<Agent>,
    /// Where.
    pub network: Network,
    /// As whom.
    pub caller: Principal,
}

/// Connects to `network` as `identity`: one request where the root key has to be fetched,
/// otherwise none.
pub async fn connect(
    network: Network,
    identity: Arc<dyn Identity>,
) -> Result<Connection, ConnectError> {
    let fail = |message: String| ConnectError::Client {
        url: network.url.clone(),
        message,
    };
    let caller = identity.sender().map_err(fail)?;
    let mut http = reqwest::Client::builder().timeout(Duration::from_secs(360));
    if is_loopback(&network.url) {
        http = http.no_proxy();
    }
    let http = http.build().map_err(|e| fail(e.to_string()))?;
    let agent = Agent::builder()
        .with_url(&network.url)
        .with_arc_identity(identity)
        .with_http_client(http)
        .build()
        .map_err(|e| fail(e.to_string()))?;
    match &network.root_key {
        RootKey::Mainnet => {}
        RootKey::Given(key) => agent.set_root_key(key.clone()),
        RootKey::Fetch => agent.fetch_root_key().await.map_err(|e| {
            let canister = Principal::management_canister();
            RemoteError::from_agent(e, caller, canister, "status", &network.url)
        })?,
    }
    Ok(Connection {
        agent: Arc::new(agent),
        network,
        caller,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str, key: Option<&str>) -> Result<Network, ConnectError> {
        let dir = tempfile::tempdir().expect("temporary directory");
        find_network(
            name,
            key,
            &Project::discover(dir.path()).expect("empty project"),
        )
    }

    #[test]
    fn root_keys_are_fetched_from_this_computer_only() {
        for url in [
            "http://127.0.0.1:1",
            "http://localhost:4943",
            "http://[::1]:9",
        ] {
            assert_eq!(find(url, None).expect("local").root_key, RootKey::Fetch);
        }
        for url in ["ic", "https://icp-api.io", "https://x.raw.icp0.io"] {
            assert_eq!(find(url, None).expect("mainnet").root_key, RootKey::Mainnet);
            assert!(matches!(
                find(url, Some("fetch")),
                Err(ConnectError::FetchOnMainnet)
            ));
        }
        let other = "http://127.0.0.1.example.com";
        assert!(matches!(
            find(other, None),
            Err(ConnectError::RootKeyNeeded(_))
        ));
        assert_eq!(
            find(other, Some("fetch")).expect("explicit").root_key,
            RootKey::Fetch
        );
        assert!(matches!(
            find(other, Some("abcd")),
            Err(ConnectError::BadRootKey(_))
        ));
        assert!(matches!(
            find("nowhere", None),
            Err(ConnectError::UnknownNetwork(_))
        ));
        assert!(matches!(
            find("ftp://127.0.0.1", None),
            Err(ConnectError::BadUrl(_))
        ));
    }
}

//! The parts of `dfx.json` and `icp.yaml` that icwasi reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{NetworkEntry, ProjectError};

/// `dfx.json`
#[derive(Debug, Default, Deserialize)]
pub(super) struct DfxJson {
    #[serde(default)]
    canisters: BTreeMap<String, DfxCanister>,
    #[serde(default)]
    networks: BTreeMap<String, DfxNetwork>,
}

#[derive(Debug, Deserialize)]
struct DfxCanister {
    // A path for one file; other forms are not read.
    wasm: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct DfxNetwork {
    bind: Option<String>,
    providers: Option<Vec<String>>,
}

impl DfxJson {
    pub(super) fn wasm(&self, canister: &str) -> Option<PathBuf> {
        let wasm = self.canisters.get(canister)?.wasm.as_ref()?;
        wasm.as_str().map(PathBuf::from)
    }

    pub(super) fn network(&self, name: &str) -> Option<NetworkEntry> {
        self.networks.get(name).and_then(dfx_entry)
    }
}

fn dfx_entry(network: &DfxNetwork) -> Option<NetworkEntry> {
    let provider = network.providers.as_ref().and_then(|p| p.first().cloned());
    let url = provider.or_else(|| network.bind.as_ref().map(|b| format!("http://{b}")))?;
    Some(NetworkEntry {
        url,
        root_key: None,
    })
}

/// A network in dfx's `networks.json` of the user.
pub(crate) fn dfx_shared_network(file: &Path, name: &str) -> Option<NetworkEntry> {
    let text = std::fs::read_to_string(file).ok()?;
    let networks: BTreeMap<String, DfxNetwork> = serde_json::from_str(&text).ok()?;
    networks.get(name).and_then(dfx_entry)
}

/// `icp.yaml`
#[derive(Debug, Default, Deserialize)]
pub(super) struct IcpYaml {
    #[serde(default)]
    networks: Vec<IcpNetwork>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct IcpNetwork {
    name: Option<String>,
    url: Option<String>,
    root_key: Option<String>,
    gateway: Option<IcpGateway>,
}

#[derive(Debug, Deserialize)]
struct IcpGateway {
    host: Option<String>,
    bind: Option<String>,
    port: Option<u16>,
}

impl IcpYaml {
    pub(super) fn network(&self, name: &str) -> Option<NetworkEntry> {
        let network = self
            .networks
            .iter()
            .find(|n| n.name.as_deref() == Some(name))?;
        if let Some(url) = &network.url {
            return Some(NetworkEntry {
                url: url.clone(),
                root_key: network.root_key.clone(),
            });
        }
        let gateway = network.gateway.as_ref()?;
        let host = gateway.host.as_ref().or(gateway.bind.as_ref());
        let host = host.map_or("127.0.0.1", String::as_str);
        // Port 0 means "any": then only the network's descriptor knows it.
        let port = gateway.port.filter(|p| *p != 0)?;
        Some(NetworkEntry {
            url: format!("http://{host}:{port}"),
            root_key: None,
        })
    }
}

fn read(path: &Path) -> Result<Option<String>, ProjectError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ProjectError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads a JSON file; `None` if there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ProjectError> {
    let parse = |text: String| {
        serde_json::from_str(&text).map_err(|e| ProjectError::Invalid {
            path: path.to_owned(),
            message: e.to_string(),
        })
    };
    read(path)?.map(parse).transpose()
}

/// Reads a YAML file; `None` if there is none.
pub(super) fn read_yaml<T: DeserializeOwned + Default>(
    path: &Path,
) -> Result<Option<T>, ProjectError> {
    let parse = |text: String| {
        serde_yaml_ng::from_str::<Option<T>>(&text)
            .map(Option::unwrap_or_default)
            .map_err(|e| ProjectError::Invalid {
                path: path.to_owned(),
                message: e.to_string(),
            })
    };
    read(path)?.map(parse).transpose()
}

//! The project around the current directory, as dfx and icp keep it.

mod error;
mod ids;
mod manifest;

pub use error::ProjectError;
pub(crate) use manifest::dfx_shared_network;

use std::path::{Path, PathBuf};

use manifest::{DfxJson, IcpYaml};

/// A directory with `dfx.json`, `icp.yaml` or neither.
#[derive(Debug)]
pub struct Project {
    root: PathBuf,
    dfx: Option<DfxJson>,
    icp: Option<IcpYaml>,
}

impl Project {
    /// Looks for `dfx.json`, `icp.yaml` or `.icwasi` in `start` and upwards. Without any, the
    /// project is `start` itself, with nothing configured.
    pub fn discover(start: &Path) -> Result<Project, ProjectError> {
        let found = start.ancestors().find(|dir| {
            dir.join("dfx.json").is_file()
                || dir.join("icp.yaml").is_file()
                || dir.join(".icwasi").is_dir()
        });
        let root = found.unwrap_or(start).to_owned();
        let dfx = manifest::read_json(&root.join("dfx.json"))?;
        let icp = manifest::read_yaml(&root.join("icp.yaml"))?;
        Ok(Project { root, dfx, icp })
    }

    /// The directory that holds the project file, or where the search began.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether dfx or icp know this project.
    pub fn has_dfx(&self) -> bool {
        self.dfx.is_some()
    }

    /// Whether there is an `icp.yaml`.
    pub fn has_icp(&self) -> bool {
        self.icp.is_some()
    }

    /// Directory of what icwasi itself keeps for the project.
    pub fn state_dir(&self) -> PathBuf {
        self.root.join(".icwasi")
    }

    /// URL and root key of a network that the project defines.
    pub fn network(&self, name: &str) -> Option<NetworkEntry> {
        let dfx = self.dfx.as_ref().and_then(|d| d.network(name));
        dfx.or_else(|| self.icp.as_ref().and_then(|i| i.network(name)))
            .or_else(|| ids::icp_descriptor(&self.root, name))
    }

    /// The wasm file that the project says `canister` is built to, if it says so.
    pub fn wasm(&self, canister: &str) -> Option<PathBuf> {
        let dfx = self.dfx.as_ref().and_then(|d| d.wasm(canister));
        if let Some(path) = dfx {
            return Some(self.root.join(path));
        }
        let artifact = self.root.join(".icp/cache/artifacts").join(canister);
        (is_plain_name(canister) && artifact.is_file()).then_some(artifact)
    }
}

/// A network as a project file defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEntry {
    /// Where its HTTP interface is.
    pub url: String,
    /// In hexadecimal, if given.
    pub root_key: Option<String>,
}

/// Names from the command line become parts of file names.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

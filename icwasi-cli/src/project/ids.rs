//! Where the ids of canisters are kept, by network.

use std::io::Write;
use std::path::{Path, PathBuf};

use candid::Principal;
use serde_json::{Map, Value};

use super::{NetworkEntry, Project, ProjectError, is_plain_name, manifest};

/// How a file maps names to ids.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `{"app": {"local": "aaaaa-aa"}}`
    Dfx,
    /// `{"app": "aaaaa-aa"}`
    Icp,
}

impl Project {
    /// The id of `canister`, a principal or a name, on the network called `network`.
    pub fn resolve(&self, canister: &str, network: &str) -> Result<Principal, ProjectError> {
        match self.lookup(canister, network)? {
            Some(id) => Ok(id),
            None => Err(ProjectError::UnknownCanister {
                name: canister.to_owned(),
                network: network.to_owned(),
                looked: self.looked(network),
            }),
        }
    }

    /// As [`Project::resolve`], `None` if no file knows the name.
    pub fn lookup(&self, canister: &str, network: &str) -> Result<Option<Principal>, ProjectError> {
        if let Ok(id) = Principal::from_text(canister) {
            return Ok(Some(id));
        }
        if !is_plain_name(canister) {
            return Err(ProjectError::BadName(canister.to_owned()));
        }
        for (path, layout) in self.id_files(network) {
            let Some(ids) = manifest::read_json::<Value>(&path)? else {
                continue;
            };
            let entry = ids.get(canister);
            let entry = match layout {
                Layout::Dfx => entry.and_then(|e| e.get(network)),
                Layout::Icp => entry,
            };
            if let Some(text) = entry.and_then(Value::as_str) {
                let bad = |_| ProjectError::BadId {
                    path: path.clone(),
                    name: canister.to_owned(),
                    id: text.to_owned(),
                };
                return Principal::from_text(text).map(Some).map_err(bad);
            }
        }
        Ok(None)
    }

    /// Records the id of `canister` where the project's own tools look for it, in
    /// `.icwasi/<network>/canister_ids.json` if there are none or the network is only an URL.
    /// Returns the files that were written.
    pub fn record(
        &self,
        canister: &str,
        network: &str,
        id: Principal,
    ) -> Result<Vec<PathBuf>, ProjectError> {
        if !is_plain_name(canister) {
            return Err(ProjectError::BadName(canister.to_owned()));
        }
        let own = self.own_ids(network);
        let mut targets = Vec::new();
        if is_plain_name(network) {
            if self.has_icp() {
                let dir = self.root.join(".icp/cache/mappings");
                targets.push((dir.join(format!("{network}.ids.json")), Layout::Icp));
            }
            if self.has_dfx() {
                targets.push((
                    self.root.join(format!(".dfx/{network}/canister_ids.json")),
                    Layout::Dfx,
                ));
            }
        }
        if targets.is_empty() {
            targets.push((own, Layout::Dfx));
        }
        for (path, layout) in &targets {
            let ids = manifest::read_json::<Value>(path)?.unwrap_or(Value::Object(Map::new()));
            let Value::Object(mut ids) = ids else {
                let message = "expected an object".to_owned();
                return Err(ProjectError::Invalid {
                    path: path.clone(),
                    message,
                });
            };
            match layout {
                Layout::Icp => {
                    ids.insert(canister.to_owned(), id.to_text().into());
                }
                Layout::Dfx => {
                    let entry = ids
                        .entry(canister)
                        .or_insert_with(|| Value::Object(Map::new()));
                    if !entry.is_object() {
                        *entry = Value::Object(Map::new());
                    }
                    entry[network] = id.to_text().into();
                }
            }
            write(path, &Value::Object(ids))?;
        }
        Ok(targets.into_iter().map(|(path, _)| path).collect())
    }

    /// Files to look in, best first.
    fn id_files(&self, network: &str) -> Vec<(PathBuf, Layout)> {
        let mut files = Vec::new();
        if is_plain_name(network) {
            for kind in ["cache", "data"] {
                let name = format!(".icp/{kind}/mappings/{network}.ids.json");
                files.push((self.root.join(name), Layout::Icp));
            }
            files.push((self.root.join("canister_ids.json"), Layout::Dfx));
            files.push((
                self.root.join(format!(".dfx/{network}/canister_ids.json")),
                Layout::Dfx,
            ));
        }
        files.push((self.own_ids(network), Layout::Dfx));
        files
    }

    fn own_ids(&self, network: &str) -> PathBuf {
        self.state_dir()
            .join(directory_name(network))
            .join("canister_ids.json")
    }

    fn looked(&self, network: &str) -> String {
        let files = self.id_files(network);
        files
            .iter()
            .map(|(p, _)| p.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A file name for a network that may be an URL.
fn directory_name(network: &str) -> String {
    let name = network
        .split("://")
        .last()
        .unwrap_or(network)
        .trim_end_matches('/');
    let name = name.trim_start_matches('.');
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect()
}

/// The running network that icp describes for the project.
pub(super) fn icp_descriptor(root: &Path, name: &str) -> Option<NetworkEntry> {
    if !is_plain_name(name) {
        return None;
    }
    let path = root.join(format!(".icp/cache/networks/{name}/descriptor.json"));
    let value: Value = manifest::read_json(&path).ok()??;
    let gateway = value.get("gateway")?;
    let host = gateway
        .get("host")
        .and_then(Value::as_str)
        .unwrap_or("127.0.0.1");
    let port = gateway.get("port").and_then(Value::as_u64)?;
    let root_key = value
        .get("root-key")
        .and_then(Value::as_str)
        .map(str::to_owned);
    Some(NetworkEntry {
        url: format!("http://{host}:{port}"),
        root_key,
    })
}

/// Writes through a temporary file, so that a crash leaves the old ids or the new.
fn write(path: &Path, value: &Value) -> Result<(), ProjectError> {
    let fail = |source| ProjectError::Write {
        path: path.to_owned(),
        source,
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(fail)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    let text = format!("{value:#}\n");
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has a parent")).expect("mkdir");
            std::fs::write(path, text).expect("write");
        }
        let sub = dir.path().join("src/deep");
        std::fs::create_dir_all(&sub).expect("mkdir");
        let project = Project::discover(&sub).expect("discover");
        (dir, project)
    }

    const ID: &str = "bkyz2-fmaaa-aaaaa-qaaaq-cai";

    #[test]
    fn finds_ids_of_dfx_and_icp() {
        let dfx = format!(r#"{{"app":{{"local":"{ID}","ic":"aaaaa-aa"}}}}"#);
        let (_d, p) = project(&[("dfx.json", "{}"), (".dfx/local/canister_ids.json", &dfx)]);
        assert_eq!(p.resolve("app", "local").expect("known").to_text(), ID);
        assert!(p.resolve("app", "staging").is_err());
        let icp = format!(r#"{{"app":"{ID}"}}"#);
        let (_d, p) = project(&[("icp.yaml", ""), (".icp/data/mappings/ic.ids.json", &icp)]);
        assert_eq!(p.resolve("app", "ic").expect("known").to_text(), ID);
        assert_eq!(p.resolve(ID, "anywhere").expect("principal").to_text(), ID);
        assert!(matches!(
            p.resolve("../x", "ic"),
            Err(ProjectError::BadName(_))
        ));
    }

    #[test]
    fn records_where_the_tools_look() {
        let id = Principal::from_text(ID).expect("valid");
        for kind in ["dfx.json", "icp.yaml", ".icwasi/x"] {
            for network in ["local", "http://127.0.0.1:8000/"] {
                let (dir, p) = project(&[(kind, "{}")]);
                let files = p.record("app", network, id).expect("recorded");
                assert!(files.iter().all(|f| f.starts_with(dir.path())));
                p.record("other", network, Principal::management_canister())
                    .expect("recorded");
                assert_eq!(
                    p.resolve("app", network).expect("known"),
                    id,
                    "{kind} {network}"
                );
            }
        }
    }

    #[test]
    fn networks_of_project_files() {
        let (_d, p) = project(&[(
            "dfx.json",
            r#"{"networks":{"local":{"bind":"127.0.0.1:4943"},"t":{"providers":["https://t"]}},
                "canisters":{"app":{"type":"custom","wasm":"out/app.wasm"}}}"#,
        )]);
        assert_eq!(
            p.network("local").expect("defined").url,
            "http://127.0.0.1:4943"
        );
        assert_eq!(p.network("t").expect("defined").url, "https://t");
        assert!(p.wasm("app").expect("defined").ends_with("out/app.wasm"));
        let (_d, p) = project(&[(
            "icp.yaml",
            "networks:\n  - name: x\n    mode: connected\n    url: http://h:1\n    root-key: ab\n",
        )]);
        assert_eq!(
            p.network("x").expect("defined").root_key.as_deref(),
            Some("ab")
        );
    }
}

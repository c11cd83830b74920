//! Identities: a PEM file, a name in the stores of icp and dfx, or a key kept for development.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ic_agent::Identity;
use ic_agent::identity::{AnonymousIdentity, BasicIdentity, Prime256v1Identity, Secp256k1Identity};
use serde_json::Value;
use thiserror::Error;

use super::connect::dfx_config_dir;
use crate::project::{Project, is_plain_name};

/// Who to be, as the user said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing was said.
    Default,
    /// A name, or `anonymous`.
    Named(String),
    /// The key in a file.
    Pem(PathBuf),
}

/// An identity and where it came from.
pub struct Loaded {
    /// Signs requests.
    pub identity: Arc<dyn Identity>,
    /// Something the user should know, such as that a key was made.
    pub note: Option<String>,
}

/// Why there is no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The development key can't be kept.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No key in the file.
    #[error("{}: no usable private key: {reason}", path.display())]
    BadPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Encrypted, in a keyring or a hardware device.
    #[error(
        "identity {name} is {kind}, which is not supported yet: \
         export it to a PEM file and use --pem FILE"
    )]
    Unsupported {
        /// Name or file.
        name: String,
        /// How it is kept.
        kind: String,
    },
    /// Nobody knows the name.
    #[error("no identity named {name:?}. Looked in: {looked}")]
    Unknown {
        /// The name.
        name: String,
        /// Directories.
        looked: String,
    },
    /// On a network that counts, somebody has to be chosen.
    #[error("no identity is configured for {0}: use --identity NAME or --pem FILE")]
    NoneConfigured(String),
    /// No home directory.
    #[error("no home directory: set HOME or ICWASI_HOME")]
    NoHome,
}

/// Loads the identity of `choice`.
///
/// By default that is what icp or dfx have selected. If they have nothing that can be used and
/// `local` says that the network is this computer's, a key for development is made and kept.
pub fn load(choice: &Choice, project: &Project, local: bool) -> Result<Loaded, IdentityError> {
    let plain = |identity| Loaded {
        identity,
        note: None,
    };
    match choice {
        Choice::Pem(path) => read_pem(path).map(plain),
        Choice::Named(name) => by_name(name, project).map(plain),
        Choice::Default => {
            let selected = selected(project);
            let result = match &selected {
                Some(name) => by_name(name, project).map(plain),
                None => Err(IdentityError::NoneConfigured("this network".to_owned())),
            };
            match result {
                Err(IdentityError::Read { path, source }) if !local => {
                    Err(IdentityError::Read { path, source })
                }
                Err(reason) if local => {
                    let (identity, mut note) = development()?;
                    if selected.is_some() {
                        note = Some(format!("{reason}; using icwasi's development identity"));
                    }
                    Ok(Loaded { identity, note })
                }
                other => other,
            }
        }
    }
}

/// The identity that icp or dfx use by default; icp first, unless only dfx knows the project.
fn selected(project: &Project) -> Option<String> {
    let read = |path: PathBuf| -> Option<String> {
        let text = std::fs::read_to_string(path).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        value
            .get("default")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let icp = || icp_store().and_then(|d| read(d.join("identity_defaults.json")));
    let dfx = || dfx_config_dir().and_then(|d| read(d.join("identity.json")));
    if dfx_first(project) {
        dfx().or_else(icp)
    } else {
        icp().or_else(dfx)
    }
}

fn dfx_first(project: &Project) -> bool {
    project.has_dfx() && !project.has_icp()
}

fn icp_store() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("ICP_HOME") {
        return Some(Path::new(&home).join("identity"));
    }
    std::env::home_dir().map(|home| home.join(".local/share/icp-cli/identity"))
}

fn by_name(name: &str, project: &Project) -> Result<Arc<dyn Identity>, IdentityError> {
    if name == "anonymous" {
        return Ok(Arc::new(AnonymousIdentity));
    }
    let stores = [icp_store(), dfx_config_dir().map(|d| d.join("identity"))];
    if is_plain_name(name) {
        let icp = || stores[0].as_ref().and_then(|s| in_icp_store(s, name));
        let dfx = || stores[1].as_ref().and_then(|s| in_dfx_store(s, name));
        let found = if dfx_first(project) {
            dfx().or_else(icp)
        } else {
            icp().or_else(dfx)
        };
        if let Some(result) = found {
            return read_pem(&result?);
        }
    }
    let looked = stores.iter().flatten().map(|s| s.display().to_string());
    let looked = looked.collect::<Vec<_>>().join(", ");
    Err(IdentityError::Unknown {
        name: name.to_owned(),
        looked,
    })
}

fn in_icp_store(store: &Path, name: &str) -> Option<Result<PathBuf, IdentityError>> {
    let text = std::fs::read_to_string(store.join("identity_list.json")).ok()?;
    let list: Value = serde_json::from_str(&text).ok()?;
    let entry = list.get("identities")?.get(name)?;
    let word = |key| entry.get(key).and_then(Value::as_str).unwrap_or("unknown");
    let kind = match (word("kind"), word("format")) {
        ("pem", "plaintext") => {
            return Some(Ok(store.join("keys").join(format!("{name}.pem"))));
        }
        ("pem", _) => "encrypted".to_owned(),
        (kind, _) => format!("kept by icp as {kind:?}"),
    };
    Some(Err(IdentityError::Unsupported {
        name: name.to_owned(),
        kind,
    }))
}

fn in_dfx_store(store: &Path, name: &str) -> Option<Result<PathBuf, IdentityError>> {
    let dir = store.join(name);
    let unsupported = |kind: &str| {
        Err(IdentityError::Unsupported {
            name: name.to_owned(),
            kind: kind.into(),
        })
    };
    if dir.join("identity.pem").is_file() {
        Some(Ok(dir.join("identity.pem")))
    } else if dir.join("identity.pem.encrypted").is_file() {
        Some(unsupported("encrypted"))
    } else if dir.join("identity.json").is_file() {
        Some(unsupported("in a keyring or a hardware device"))
    } else {
        None
    }
}

/// Reads a private key: PKCS#8 or SEC1, Ed25519, secp256k1 or P-256.
fn read_pem(path: &Path) -> Result<Arc<dyn Identity>, IdentityError> {
    let text = std::fs::read_to_string(path).map_err(|source| IdentityError::Read {
        path: path.to_owned(),
        source,
    })?;
    let bad = |reason: String| IdentityError::BadPem {
        path: path.to_owned(),
        reason,
    };
    if text.contains("ENCRYPTED") {
        let name = path.display().to_string();
        return Err(IdentityError::Unsupported {
            name,
            kind: "encrypted".to_owned(),
        });
    }
    let der = match pem_body(&text, "EC PRIVATE KEY").or_else(|| pem_body(&text, "PRIVATE KEY")) {
        Some(body) => body.ok_or_else(|| bad("the base64 text is damaged".to_owned()))?,
        None => return Err(bad("expected a PEM block of type PRIVATE KEY".to_owned())),
    };
    // EC keys name their curve within the key or in a block before it.
    let parameters = pem_body(&text, "EC PARAMETERS")
        .flatten()
        .unwrap_or_default();
    let names = |oid: &[u8]| {
        let holds = |bytes: &[u8]| bytes.windows(oid.len()).any(|w| w == oid);
        holds(&der) || holds(&parameters)
    };
    let failed = |e: ic_agent::identity::PemError| bad(e.to_string());
    if names(SECP256K1) {
        Ok(Arc::new(
            Secp256k1Identity::from_pem(&text).map_err(failed)?,
        ))
    } else if names(PRIME256V1) {
        Ok(Arc::new(
            Prime256v1Identity::from_pem(&text).map_err(failed)?,
        ))
    } else if names(ED25519) {
        Ok(Arc::new(BasicIdentity::from_pem(&text).map_err(failed)?))
    } else {
        Err(bad(
            "the key is neither Ed25519, secp256k1 nor P-256 (prime256v1)".to_owned(),
        ))
    }
}

// Object identifiers with their DER tags and lengths.
const SECP256K1: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 10];
const PRIME256V1: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

/// The bytes of the first block with this label; the inner `None` means damaged base64.
fn pem_body(text: &str, label: &str) -> Option<Option<Vec<u8>>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let body = text.split_once(&begin)?.1.split_once(&end)?.0;
    Some(base64(body))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in text
        .bytes()
        .filter(|c| !c.is_ascii_whitespace() && *c != b'=')
    {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

/// Directory of what icwasi keeps for the user.
fn home() -> Result<PathBuf, IdentityError> {
    if let Some(home) = std::env::var_os("ICWASI_HOME") {
        return Ok(home.into());
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|d| Path::new(d).is_absolute()) {
        return Ok(Path::new(&data).join("icwasi"));
    }
    let home = std::env::home_dir().ok_or(IdentityError::NoHome)?;
    Ok(home.join(".local/share/icwasi"))
}

/// The key for development, made when it is first needed; readable by its owner only.
fn development() -> Result<(Arc<dyn Identity>, Option<String>), IdentityError> {
    let path = home()?.join("identity/development.pem");
    match read_pem(&path) {
        Ok(identity) => return Ok((identity, None)),
        Err(IdentityError::Read { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let fail = |source| IdentityError::Write {
        path: path.clone(),
        source,
    };
    let dir = path.parent().expect("a joined path has a parent");
    std::fs::create_dir_all(dir).map_err(fail)?;
    let key = ic_ed25519::PrivateKey::generate();
    let pem = key.serialize_pkcs8_pem(ic_ed25519::PrivateKeyFormat::Pkcs8v1);
    // Temporary files are readable by their owner only, and stay so when renamed.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    file.write_all(pem.as_bytes()).map_err(fail)?;
    match file.persist_noclobber(&path) {
        Ok(_) => {}
        // Another process was first: its key is the one.
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(fail(e.error)),
    }
    let note = format!(
        "made an identity for development, used on local networks only: {}",
        path.display()
    );
    Ok((read_pem(&path)?, Some(note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys made with openssl for this test alone.
    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name)
    }

    #[test]
    fn reads_each_kind_of_key() {
        // Principals computed with openssl and SHA-224, without this crate.
        for (name, principal) in [
            (
                "secp256k1.sec1.pem",
                "d72ea-mqx7u-izf5v-aigrx-ydg3i-pbmdc-pofy6-bluhj-lmeg7-jednx-aqe",
            ),
            (
                "prime256v1.noparam.pem",
                "rys6k-zruod-re7ad-v7xyi-dnapa-htrwj-trvxc-i66pp-i5ztj-mqar4-iqe",
            ),
            (
                "prime256v1.p8.pem",
                "fg3rg-dnnzm-5yddm-izd6s-7eqxo-fmhei-ch5ra-564vo-irbgs-e4v75-wae",
            ),
            (
                "ed25519.pem",
                "v5lt6-lo7ok-xu3ph-w6nrl-4k2mx-o4xxu-semrc-3kdcr-j45uw-y55ng-6ae",
            ),
        ] {
            let identity = read_pem(&data(name)).expect(name);
            assert_eq!(
                identity.sender().expect("has a sender").to_text(),
                principal,
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        assert!(matches!(
            read_pem(&data("enc.pem")),
            Err(IdentityError::Unsupported { .. })
        ));
        assert!(matches!(
            read_pem(&data("p384.pem")),
            Err(IdentityError::BadPem { .. })
        ));
        assert!(matches!(
            read_pem(&data("none.pem")),
            Err(IdentityError::Read { .. })
        ));
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let broken = "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n";
        for text in ["", "hello", broken, "-----BEGIN PRIVATE KEY-----\nAAAA\n"] {
            std::fs::write(file.path(), text).expect("write");
            assert!(
                matches!(read_pem(file.path()), Err(IdentityError::BadPem { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn names_come_from_the_stores_of_dfx_and_icp() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = dir.path();
        std::fs::create_dir(store.join("alice")).expect("mkdir");
        std::fs::write(store.join("alice/identity.pem"), "x").expect("write");
        std::fs::create_dir(store.join("bob")).expect("mkdir");
        std::fs::write(store.join("bob/identity.pem.encrypted"), "x").expect("write");
        assert!(matches!(in_dfx_store(store, "alice"), Some(Ok(_))));
        assert!(matches!(
            in_dfx_store(store, "bob"),
            Some(Err(IdentityError::Unsupported { .. }))
        ));
        assert!(in_dfx_store(store, "carol").is_none());

        let list = r#"{"v":1,"identities":{
            "alice":{"kind":"pem","format":"plaintext"},
            "bob":{"kind":"pem","format":"pbes2"},
            "carol":{"kind":"keyring"}}}"#;
        std::fs::write(store.join("identity_list.json"), list).expect("write");
        let path = in_icp_store(store, "alice")
            .expect("listed")
            .expect("plain");
        assert!(path.ends_with("keys/alice.pem"));
        for name in ["bob", "carol"] {
            assert!(in_icp_store(store, name).expect("listed").is_err());
        }
        assert!(in_icp_store(store, "dave").is_none());
    }
}

//! `deploy`: a canister on a local network, created when it is needed, with the given code.

use std::path::{Path, PathBuf};

use candid::Principal;
use ic_agent::AgentError;
use ic_utils::interfaces::ManagementCanister;
use ic_utils::interfaces::management_canister::builders::CanisterInstallMode;
use thiserror::Error;

use super::{ArgumentError, encode_argument, service_of};
use crate::project::{Project, ProjectError};
use crate::remote::RemoteError;
use crate::remote::connect::{Connection, is_loopback};

/// What to do with a canister that may hold code and data already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Install if it is empty, else upgrade.
    Auto,
    /// Only if it is empty.
    Install,
    /// Drop its data first.
    Reinstall,
    /// Keep its data.
    Upgrade,
}

/// Why a deployment failed.
#[derive(Debug, Error)]
pub enum DeployError {
    /// Only for development.
    #[error(
        "{0} is not on this computer: deploy there with `icp deploy` or `dfx deploy`, \
         which take care of cycles and controllers"
    )]
    NotLocal(String),
    /// No module to install.
    #[error("which module? Use --wasm FILE: the project does not say what {0} is built to")]
    NoWasm(String),
    /// The module can't be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadWasm {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a module.
    #[error("{} is not a WebAssembly module (nor one that is compressed with gzip)", path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing that could be upgraded.
    #[error("canister {0} is empty, there is nothing to upgrade: use --mode install or auto")]
    NothingToUpgrade(Principal),
    /// It holds code.
    #[error(
        "canister {0} holds code already: use --mode upgrade to keep its data, \
         --mode reinstall to drop it"
    )]
    Occupied(Principal),
    /// The principal does not exist and can't be created.
    #[error("canister {id} does not exist on {network}")]
    NoSuchCanister {
        /// The id.
        id: Principal,
        /// The URL.
        network: String,
    },
    /// The init argument.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// Names and ids.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The network.
    #[error("{action}: {source}")]
    Remote {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: RemoteError,
    },
}

/// A canister that was deployed.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its id.
    pub id: Principal,
    /// Whether it was created.
    pub created: bool,
    /// `install`, `reinstall` or `upgrade`.
    pub mode: &'static str,
    /// Size of the module as it was sent, in bytes.
    pub wasm_bytes: u64,
    /// Files that hold the id now, if it was created.
    pub recorded: Vec<PathBuf>,
}

/// Creates `canister` unless it exists and installs the module `wasm`, in chunks if it does not
/// fit in one message. `argument` is candid text; an empty argument is sent if it is `None`.
pub async fn deploy(
    connection: &Connection,
    project: &Project,
    canister: &str,
    wasm: Option<&Path>,
    mode: Mode,
    argument: Option<&str>,
) -> Result<Deployed, DeployError> {
    let network = &connection.network;
    if !is_loopback(&network.url) {
        return Err(DeployError::NotLocal(network.url.clone()));
    }
    // All that can be wrong here is found before anything is created.
    let path = wasm.map(Path::to_owned).or_else(|| project.wasm(canister));
    let path = path.ok_or_else(|| DeployError::NoWasm(canister.to_owned()))?;
    let module = read_module(&path)?;
    let argument = match argument {
        Some(text) => encode_argument(text, interface(&module).as_ref(), None)?,
        None => b"DIDL\0\0".to_vec(),
    };
    let known = project.lookup(canister, &network.name)?;
    let state = match known {
        Some(id) => module_of(connection, id).await?,
        None => State::Missing,
    };
    let is_principal = Principal::from_text(canister).is_ok();
    let (id, created, state) = match (known, state) {
        (Some(id), State::Missing) if is_principal => {
            return Err(DeployError::NoSuchCanister {
                id,
                network: network.url.clone(),
            });
        }
        // A recorded id that the network does not know: the network began anew.
        (_, State::Missing) => (create(connection).await?, true, State::Empty),
        (Some(id), state) => (id, false, state),
        (None, _) => unreachable!("without an id, the state is missing"),
    };
    let recorded = if created {
        project.record(canister, &network.name, id)?
    } else {
        Vec::new()
    };
    let (mode, name) = match (mode, state) {
        (Mode::Auto | Mode::Install, State::Empty) => (CanisterInstallMode::Install, "install"),
        (Mode::Auto | Mode::Upgrade, State::Installed) => {
            (CanisterInstallMode::Upgrade(None), "upgrade")
        }
        (Mode::Reinstall, _) => (CanisterInstallMode::Reinstall, "reinstall"),
        (Mode::Install, _) => return Err(DeployError::Occupied(id)),
        (Mode::Upgrade | Mode::Auto, _) => return Err(DeployError::NothingToUpgrade(id)),
    };
    let management = ManagementCanister::create(&connection.agent);
    let install = management
        .install(&id, &module)
        .with_raw_arg(argument)
        .with_mode(mode);
    let install = install.call_and_wait().await;
    install.map_err(|e| {
        remote(
            connection,
            id,
            "install_code",
            "cannot install the module",
            e,
        )
    })?;
    let wasm_bytes = module.len() as u64;
    Ok(Deployed {
        id,
        created,
        mode: name,
        wasm_bytes,
        recorded,
    })
}

fn read_module(path: &Path) -> Result<Vec<u8>, DeployError> {
    let module = std::fs::read(path).map_err(|source| DeployError::ReadWasm {
        path: path.to_owned(),
        source,
    })?;
    if module.starts_with(b"\0asm") || module.starts_with(&[0x1f, 0x8b, 0x08]) {
        Ok(module)
    } else {
        Err(DeployError::NotWasm {
            path: path.to_owned(),
        })
    }
}

/// The interface that the module carries, if it does.
fn interface(module: &[u8]) -> Option<super::argument::Service> {
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let wasmparser::Payload::CustomSection(section) = payload.ok()?
            && matches!(
                section.name(),
                "icp:public candid:service" | "icp:private candid:service"
            )
        {
            return service_of(std::str::from_utf8(section.data()).ok()?);
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Empty,
    Installed,
}

/// What the network's certified state says about `id`.
async fn module_of(connection: &Connection, id: Principal) -> Result<State, DeployError> {
    let agent = &connection.agent;
    let fail = |e| {
        remote(
            connection,
            id,
            "read_state",
            "cannot look at the canister",
            e,
        )
    };
    match agent.read_state_canister_module_hash(id).await {
        Ok(_) => return Ok(State::Installed),
        Err(AgentError::LookupPathAbsent(_)) => {}
        Err(e) => {
            return match fail(e) {
                DeployError::Remote {
                    source: RemoteError::CanisterNotFound { .. },
                    ..
                } => Ok(State::Missing),
                e => Err(e),
            };
        }
    }
    match agent.read_state_canister_controllers(id).await {
        Ok(_) => Ok(State::Empty),
        Err(AgentError::LookupPathAbsent(_)) => Ok(State::Missing),
        Err(e) => Err(fail(e)),
    }
}

async fn create(connection: &Connection) -> Result<Principal, DeployError> {
    let management = ManagementCanister::create(&connection.agent);
    let create = management
        .create_canister()
        .as_provisional_create_with_amount(None);
    let (id,) = create.call_and_wait().await.map_err(|e| {
        let id = Principal::management_canister();
        let method = "provisional_create_canister_with_cycles";
        remote(connection, id, method, "cannot create the canister", e)
    })?;
    Ok(id)
}

fn remote(
    connection: &Connection,
    id: Principal,
    method: &str,
    action: &'static str,
    error: AgentError,
) -> DeployError {
    let url = &connection.network.url;
    let source = RemoteError::from_agent(error, connection.caller, id, method, url);
    DeployError::Remote { action, source }
}

//! `POST /api/v3/{canister,subnet}/<id>/read_state`.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use candid::Principal;
use ic_transport_types::{EnvelopeContent, ReadStateResponse};

use super::{AppState, HttpError, cbor, parse_id, read_body};
use crate::core::Core;
use crate::executor::Shared;
use crate::ingress::auth::Scope;
use crate::ingress::envelope::{self, EnvelopeError};
use crate::state_tree::{self, CanisterView, SubnetFigures, Tree};

/// Most paths in one request.
const MAX_PATHS: usize = 1_000;
/// Most labels in one path.
const MAX_LABELS: usize = 127;

/// Reads under the id of a canister.
pub async fn canister(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let id = parse_id(&path)?;
    read_state(app, Endpoint::Canister(id), body).await
}

/// Version 2, under the id of the subnet.
pub async fn subnet_v2(
    state: State<AppState>,
    path: Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    subnet(state, path, body, false).await
}

/// Version 3, under the id of the subnet: the status of calls can be read here too.
pub async fn subnet_v3(
    state: State<AppState>,
    path: Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    subnet(state, path, body, true).await
}

async fn subnet(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
    calls: bool,
) -> Result<Response, HttpError> {
    let id = parse_id(&path)?;
    super::subnet::check_id(&app, id)?;
    read_state(app, Endpoint::Subnet { calls }, body).await
}

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Canister(Principal),
    Subnet {
        /// Whether the status of calls can be read.
        calls: bool,
    },
}

/// What the paths of one request ask for.
#[derive(Debug, Default)]
struct Wanted {
    subnet: bool,
    boundary_nodes: bool,
    request: Option<[u8; 32]>,
    canister: Option<Principal>,
    metadata: BTreeSet<String>,
}

async fn read_state(app: AppState, endpoint: Endpoint, body: Body) -> Result<Response, HttpError> {
    let body = read_body(body).await?;
    let now = app.shared.clock.now();
    let request = envelope::open(&body, now, app.shared.keys.root_raw())?;
    let EnvelopeContent::ReadState { sender, paths, .. } = request.content else {
        return Err(EnvelopeError::Kind("read_state").into());
    };
    if paths.len() > MAX_PATHS || paths.iter().any(|path| path.len() > MAX_LABELS) {
        return Err(HttpError::bad_request(format!(
            "at most {MAX_PATHS} paths of at most {MAX_LABELS} labels may be read at once"
        )));
    }
    let paths: Vec<Vec<&[u8]>> = paths
        .iter()
        .map(|path| path.iter().map(|label| label.as_bytes()).collect())
        .collect();
    let wanted = parse_paths(&paths, endpoint)?;

    let mut tree = state_tree::with_time(app.shared.clock.now());
    if wanted.subnet {
        let figures = app
            .executor
            .read(None, |core, shared| figures(core, shared))
            .await?;
        state_tree::add_subnet(&mut tree, &app.shared.keys, figures);
    }
    if wanted.boundary_nodes {
        tree.insert(&[b"api_boundary_nodes"], Tree::node());
    }
    if let Some(id) = wanted.request {
        add_request(&app, &mut tree, &id, sender, endpoint, &request.scope)?;
    }
    if let Some(id) = wanted.canister {
        let view = app
            .executor
            .read(Some(id), move |core, _| {
                canister_view(core, id, sender, &wanted.metadata)
            })
            .await??;
        state_tree::add_canister(&mut tree, id, view.as_ref());
    }
    let certificate = app.shared.keys.certify(tree.to_hash_tree());
    Ok(cbor::response(
        StatusCode::OK,
        &ReadStateResponse { certificate },
    ))
}

/// Sorts the paths; refuses those that may not be read here.
fn parse_paths(paths: &[Vec<&[u8]>], endpoint: Endpoint) -> Result<Wanted, HttpError> {
    let mut wanted = Wanted::default();
    for path in paths {
        match (path.as_slice(), endpoint) {
            ([b"time"], _) => {}
            (
                [b"subnet"]
                | [b"subnet", _]
                | [
                    b"subnet",
                    _,
                    b"public_key" | b"type" | b"node" | b"canister_ranges",
                ]
                | [b"subnet", _, b"node", _]
                | [b"subnet", _, b"node", _, b"public_key"],
                _,
            )
            | ([b"subnet", _, b"metrics"], Endpoint::Subnet { .. })
            | ([b"canister_ranges", _], Endpoint::Subnet { .. }) => wanted.subnet = true,
            (
                [b"api_boundary_nodes"]
                | [b"api_boundary_nodes", _]
                | [
                    b"api_boundary_nodes",
                    _,
                    b"domain" | b"ipv4_address" | b"ipv6_address",
                ],
                _,
            ) => wanted.boundary_nodes = true,
            (
                [b"request_status", id]
                | [
                    b"request_status",
                    id,
                    b"status" | b"reply" | b"reject_code" | b"reject_message" | b"error_code",
                ],
                Endpoint::Canister(_) | Endpoint::Subnet { calls: true },
            ) => {
                let id: [u8; 32] = (*id).try_into().map_err(|_| {
                    HttpError::bad_request("Invalid request id in paths: it must have 32 bytes")
                })?;
                if wanted.request.is_some_and(|held| held != id) {
                    return Err(HttpError::bad_request(
                        "More than one non-unique request ID exists in request_status paths",
                    ));
                }
                wanted.request = Some(id);
            }
            ([b"canister", id, rest @ ..], Endpoint::Canister(effective)) => {
                parse_canister_path(id, rest, effective, &mut wanted)?;
            }
            _ => {
                let shown: Vec<_> = path
                    .iter()
                    .map(|label| String::from_utf8_lossy(label))
                    .collect();
                return Err(HttpError::new(
                    StatusCode::NOT_FOUND,
                    format!("Invalid path requested: /{}", shown.join("/")),
                ));
            }
        }
    }
    Ok(wanted)
}

fn parse_canister_path(
    id: &[u8],
    rest: &[&[u8]],
    effective: Principal,
    wanted: &mut Wanted,
) -> Result<(), HttpError> {
    let id = Principal::try_from_slice(id)
        .map_err(|error| HttpError::bad_request(format!("Invalid canister id: {error}")))?;
    if id != effective {
        return Err(HttpError::bad_request(format!(
            "Effective principal id in URL {effective} does not match requested principal id {id}"
        )));
    }
    match rest {
        [b"controllers" | b"module_hash"] => {}
        [b"metadata", name] => {
            let name = std::str::from_utf8(name).map_err(|_| {
                HttpError::bad_request("Could not parse the custom section name: not UTF-8")
            })?;
            wanted.metadata.insert(name.to_string());
        }
        _ => {
            return Err(HttpError::new(
                StatusCode::NOT_FOUND,
                "Invalid path requested: under /canister/<id> only controllers, module_hash and \
                 metadata/<name> can be read",
            ));
        }
    }
    wanted.canister = Some(id);
    Ok(())
}

/// Adds the status of a call, for its sender only.
fn add_request(
    app: &AppState,
    tree: &mut Tree,
    id: &[u8; 32],
    sender: Principal,
    endpoint: Endpoint,
    scope: &Scope,
) -> Result<(), HttpError> {
    let history = app.shared.history();
    let entry = history.get(id);
    if let Some(entry) = entry {
        if entry.sender != sender {
            return Err(HttpError::forbidden(
                "The user tries to access Request ID not signed by the caller.",
            ));
        }
        if !scope.allows(&entry.receiver) {
            return Err(HttpError::forbidden(
                "The user tries to access request IDs for canisters not belonging to sender \
                 delegation targets.",
            ));
        }
        if matches!(endpoint, Endpoint::Canister(effective) if effective != entry.effective) {
            return Err(HttpError::bad_request(
                "the request was sent under another effective canister id",
            ));
        }
    }
    state_tree::add_request_status(tree, id, entry);
    Ok(())
}

fn figures(core: &Core, shared: &Shared) -> SubnetFigures {
    SubnetFigures {
        canisters: core.canister_ids().count() as u64,
        state_bytes: 0,
        updates: shared.updates.load(std::sync::atomic::Ordering::Relaxed),
    }
}

/// What `sender` may see of a canister.
fn canister_view(
    core: &Core,
    id: Principal,
    sender: Principal,
    metadata: &BTreeSet<String>,
) -> Result<Option<CanisterView>, HttpError> {
    let Some(canister) = core.canister(&id) else {
        return Ok(None);
    };
    let mut view = CanisterView {
        module_hash: canister.module_hash(),
        controllers: canister.settings.controllers.clone(),
        ..CanisterView::default()
    };
    for name in metadata {
        let Some(section) = canister.metadata().and_then(|all| all.get(name)) else {
            continue;
        };
        if !section.public && !canister.settings.controllers.contains(&sender) {
            return Err(HttpError::forbidden(format!(
                "Custom section {name:.100} can only be requested by the controllers of the canister."
            )));
        }
        view.metadata.insert(name.clone(), section.content.clone());
    }
    Ok(Some(view))
}

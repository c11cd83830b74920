//! `POST /api/v4/subnet/<id>/call` and `POST /api/v3/subnet/<id>/query`.
//!
//! On the IC these are for administrators of a subnet, who may create canisters on it and list
//! them. This network has none, so who is authentic is refused all the same, in the form that
//! clients expect.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use candid::Principal;
use ic_transport_types::EnvelopeContent;

use super::{AppState, HttpError, call, parse_id, query, read_body};
use crate::core::{ErrorCode, UserError};
use crate::ingress::envelope::{self, EnvelopeError, Request};

const CALL: &str = "create_canister";
const QUERY: &str = "list_canisters";

/// Refuses `create_canister`.
pub async fn call(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let request = open(&app, &path, body).await?;
    let EnvelopeContent::Call {
        canister_id,
        method_name,
        ..
    } = request.content
    else {
        return Err(EnvelopeError::Kind("call").into());
    };
    check(canister_id, &method_name, CALL)?;
    Ok(call::refused(&not_an_administrator(CALL)))
}

/// Refuses `list_canisters`.
pub async fn query(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let request = open(&app, &path, body).await?;
    let EnvelopeContent::Query {
        canister_id,
        method_name,
        ..
    } = request.content
    else {
        return Err(EnvelopeError::Kind("query").into());
    };
    check(canister_id, &method_name, QUERY)?;
    let refusal = Err(not_an_administrator(QUERY));
    Ok(query::signed(&app, request.id, refusal))
}

async fn open(app: &AppState, path: &str, body: Body) -> Result<Request, HttpError> {
    let id = parse_id(path)?;
    let body = read_body(body).await?;
    check_id(app, id)?;
    let now = app.shared.clock.now();
    Ok(envelope::open(&body, now, app.shared.keys.root_raw())?)
}

/// Whether `id` is this subnet.
pub(super) fn check_id(app: &AppState, id: Principal) -> Result<(), HttpError> {
    let own = app.shared.keys.subnet_id();
    if id == own {
        return Ok(());
    }
    Err(HttpError::bad_request(format!(
        "this replica is the subnet {own}, not {id}"
    )))
}

fn check(canister: Principal, method: &str, allowed: &str) -> Result<(), HttpError> {
    if canister == Principal::management_canister() && method == allowed {
        return Ok(());
    }
    Err(HttpError::bad_request(format!(
        "under the id of a subnet only {allowed} of the management canister can be called, not \
         {method:.100} of {canister}"
    )))
}

fn not_an_administrator(method: &str) -> UserError {
    UserError::new(
        ErrorCode::CanisterRejectedMessage,
        format!(
            "{method} under the id of a subnet is for administrators of the subnet; this network \
             has none"
        ),
    )
}

//! `POST /api/v3/canister/<id>/query`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use candid::Principal;
use ic_transport_types::{
    EnvelopeContent, QueryResponse, RejectCode, RejectResponse, ReplyResponse, RequestId,
};

use super::{AppState, HttpError, cbor, parse_id, read_body};
use crate::core::{Core, UserError};
use crate::executor::{ExecutorError, Shared, State};
use crate::fakes;
use crate::ingress::envelope::{self, EnvelopeError};
use crate::management;

/// Runs a query and signs what it gives, error or not.
pub async fn query(
    axum::extract::State(app): axum::extract::State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let effective = parse_id(&path)?;
    let body = read_body(body).await?;
    let now = app.shared.clock.now();
    let request = envelope::open(&body, now, app.shared.keys.root_raw())?;
    let EnvelopeContent::Query {
        sender,
        canister_id,
        method_name,
        arg,
        ..
    } = request.content
    else {
        return Err(EnvelopeError::Kind("query").into());
    };
    super::check_effective(canister_id, &method_name, &arg, effective)?;
    let query = Query {
        sender,
        canister: canister_id,
        method: method_name,
        arg,
    };
    let result = execute(&app, query).await?;
    Ok(signed(&app, request.id, result))
}

/// The outcome of a query, signed by the node.
pub(super) fn signed(
    app: &AppState,
    id: RequestId,
    result: Result<Vec<u8>, UserError>,
) -> Response {
    let mut response = match result {
        Ok(arg) => QueryResponse::Replied {
            reply: ReplyResponse { arg },
            signatures: vec![],
        },
        Err(error) => QueryResponse::Rejected {
            reject: reject_response(&error),
            signatures: vec![],
        },
    };
    app.shared
        .keys
        .sign_query(&mut response, id, app.shared.clock.now());
    cbor::response(StatusCode::OK, &response)
}

/// A query whose sender is known.
struct Query {
    sender: Principal,
    canister: Principal,
    method: String,
    arg: Vec<u8>,
}

/// Runs a query. One to a canister does not wait for messages that run.
async fn execute(
    app: &AppState,
    query: Query,
) -> Result<Result<Vec<u8>, UserError>, ExecutorError> {
    let Query {
        sender,
        canister,
        method,
        arg,
    } = query;
    if canister == Principal::management_canister() {
        let run = move |state: &mut State| {
            state.core.set_time(state.shared.clock.round_time());
            management::query(state, sender, &method, &arg)
        };
        return app.executor.run(run).await;
    }
    if fakes::stands_in(&canister) {
        let run = move |state: &mut State| {
            state.core.set_time(state.shared.clock.round_time());
            if fakes::serves(&state.core, &canister) {
                let kind = fakes::Kind::Query;
                return fakes::from_outside(state, &canister, kind, sender, &method, &arg);
            }
            ask(
                &mut state.core,
                &state.shared,
                canister,
                sender,
                &method,
                arg,
            )
        };
        return app.executor.run(run).await;
    }
    let read =
        move |core: &mut Core, shared: &Shared| ask(core, shared, canister, sender, &method, arg);
    app.executor.read(Some(canister), read).await
}

/// Asks a canister.
fn ask(
    core: &mut Core,
    shared: &Shared,
    canister: Principal,
    sender: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, UserError> {
    let result = core.query(&canister, sender, method, arg);
    shared.note_stats(canister, method, &result);
    result.map(|outcome| outcome.reply)
}

/// An error as clients see it.
pub(super) fn reject_response(error: &UserError) -> RejectResponse {
    RejectResponse {
        // Code 6 (unknown) only occurs between canisters.
        reject_code: RejectCode::try_from(error.reject_code() as u64)
            .unwrap_or(RejectCode::SysTransient),
        reject_message: error.message.clone(),
        error_code: Some(error.code.to_string()),
    }
}

//! `POST /api/v3/canister/<id>/query`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use candid::Principal;
use ic_transport_types::{
    EnvelopeContent, QueryResponse, RejectCode, RejectResponse, ReplyResponse,
};

use super::{AppState, HttpError, cbor, parse_id, read_body};
use crate::core::UserError;
use crate::fakes;
use crate::ingress::envelope::{self, EnvelopeError};
use crate::management;

/// Runs a query and signs what it gives, error or not.
pub async fn query(
    State(app): State<AppState>,
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
    if canister_id != Principal::management_canister() && canister_id != effective {
        return Err(HttpError::bad_request(format!(
            "Specified CanisterId {canister_id} does not match effective canister id {effective} in URL."
        )));
    }
    if canister_id == Principal::management_canister() {
        management::check_effective_id(&method_name, &arg, effective)
            .map_err(HttpError::bad_request)?;
    }
    let result = app
        .executor
        .run(move |state| {
            state.core.set_time(state.shared.clock.round_time());
            if canister_id == Principal::management_canister() {
                return management::query(state, sender, &method_name, &arg);
            }
            if fakes::serves(&state.core, &canister_id) {
                let kind = fakes::Kind::Query;
                return fakes::call(state, &canister_id, kind, sender, &method_name, &arg);
            }
            let result = state.core.query(&canister_id, sender, &method_name, arg);
            state.shared.note_stats(canister_id, &method_name, &result);
            result.map(|outcome| outcome.reply)
        })
        .await?;
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
        .sign_query(&mut response, request.id, app.shared.clock.now());
    Ok(cbor::response(StatusCode::OK, &response))
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

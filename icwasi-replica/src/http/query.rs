//! `POST /api/v3/canister/<id>/query`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use candid::Principal;
use ic_transport_types::{
    EnvelopeContent, QueryResponse, RejectCode, RejectResponse, ReplyResponse,
};

use super::{AppState, HttpError, cbor, parse_id, read_body};
use crate::core::UserError;
use crate::executor::{ExecutorError, State};
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

/// A query whose sender is known.
pub(super) struct Query {
    pub sender: Principal,
    pub canister: Principal,
    pub method: String,
    pub arg: Vec<u8>,
}

/// Runs a query on the executor.
pub(super) async fn execute(
    app: &AppState,
    query: Query,
) -> Result<Result<Vec<u8>, UserError>, ExecutorError> {
    let run = move |state: &mut State| {
        let Query {
            sender,
            canister,
            method,
            arg,
        } = query;
        state.core.set_time(state.shared.clock.round_time());
        if canister == Principal::management_canister() {
            return management::query(state, sender, &method, &arg);
        }
        if fakes::serves(&state.core, &canister) {
            return fakes::from_outside(
                state,
                &canister,
                fakes::Kind::Query,
                sender,
                &method,
                &arg,
            );
        }
        let result = state.core.query(&canister, sender, &method, arg);
        state.shared.note_stats(canister, &method, &result);
        result.map(|outcome| outcome.reply)
    };
    app.executor.run(run).await
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

//! `POST /api/v{2,3,4}/canister/<id>/call`.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use candid::Principal;
use ic_transport_types::{EnvelopeContent, RejectResponse, RequestId, TransportCallResponse};
use serde::Serialize;
use tokio::sync::{oneshot, watch};

use super::query::reject_response;
use super::{AppState, HttpError, cbor, parse_id, read_body};
use crate::core::UserError;
use crate::executor;
use crate::fakes;
use crate::ingress::envelope::{self, EnvelopeError};
use crate::ingress::history::{IngressEntry, IngressStatus, Offer, Reject};
use crate::management;
use crate::persist;
use crate::state_tree;

/// How long a synchronous call waits for the outcome before the client has to poll.
const SYNC_WAIT: Duration = Duration::from_secs(10);

/// Version 2: answers as soon as the call is accepted.
pub async fn call_async(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let submitted = submit(&app, &path, body).await?;
    match tokio::time::timeout(SYNC_WAIT, submitted.accepted).await {
        Ok(Ok(Err(refusal))) => {
            #[derive(Serialize)]
            struct Body<'a> {
                reject_code: u64,
                reject_message: &'a str,
                error_code: String,
            }
            let body = Body {
                reject_code: refusal.reject_code() as u64,
                reject_message: &refusal.message,
                error_code: refusal.code.to_string(),
            };
            Ok(cbor::response(StatusCode::OK, &body))
        }
        _ => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

/// Versions 3 and 4: waits for the outcome and certifies it.
pub async fn call_sync(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let deadline = tokio::time::Instant::now() + SYNC_WAIT;
    let mut submitted = submit(&app, &path, body).await?;
    match tokio::time::timeout_at(deadline, &mut submitted.accepted).await {
        Err(_) => return Ok(StatusCode::ACCEPTED.into_response()),
        Ok(Ok(Err(refusal))) => return Ok(non_replicated(reject_response(&refusal))),
        // Accepted, or a repetition of a call that somebody else sent.
        Ok(_) => {}
    }
    let finished = submitted.finished.wait_for(|finished| *finished);
    if tokio::time::timeout_at(deadline, finished).await.is_err() {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let mut tree = state_tree::with_time(app.shared.clock.now());
    {
        let history = app.shared.history();
        let Some(entry) = history.get(&submitted.id) else {
            // The first sender's call was refused, which is not recorded; the same goes for this.
            return Err(HttpError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the same request was refused a moment ago; try again",
            ));
        };
        state_tree::add_request_status(&mut tree, &submitted.id, Some(entry));
    }
    let certificate = app.shared.keys.certify(tree.to_hash_tree());
    Ok(cbor::response(
        StatusCode::OK,
        &TransportCallResponse::Replied { certificate },
    ))
}

fn non_replicated(reject: RejectResponse) -> Response {
    cbor::response(
        StatusCode::OK,
        &TransportCallResponse::NonReplicatedRejection(reject),
    )
}

/// A call that is on its way.
struct Submitted {
    id: RequestId,
    /// `Err` when the canister (or the rules) refuse it. Closed without a value for repetitions.
    accepted: oneshot::Receiver<Result<(), UserError>>,
    finished: watch::Receiver<bool>,
}

async fn submit(app: &AppState, path: &str, body: Body) -> Result<Submitted, HttpError> {
    let effective = parse_id(path)?;
    let body = read_body(body).await?;
    let now = app.shared.clock.now();
    let request = envelope::open(&body, now, app.shared.keys.root_raw())?;
    if body.len() > app.shared.ingress_bytes {
        return Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "Request {} is too large. Message byte size {} is larger than the max allowed {}.",
                request.id,
                body.len(),
                app.shared.ingress_bytes
            ),
        ));
    }
    let id = request.id;
    let EnvelopeContent::Call {
        sender,
        canister_id,
        method_name,
        arg,
        ingress_expiry,
        ..
    } = request.content
    else {
        return Err(EnvelopeError::Kind("call").into());
    };
    if canister_id == Principal::management_canister() {
        management::check_effective_id(&method_name, &arg, effective)
            .map_err(HttpError::bad_request)?;
    } else if canister_id != effective {
        return Err(HttpError::bad_request(format!(
            "Specified CanisterId {canister_id} does not match effective canister id {effective} in URL."
        )));
    }

    let entry = IngressEntry {
        sender,
        receiver: canister_id,
        effective,
        expiry: ingress_expiry,
        changed: now,
        status: IngressStatus::Received,
    };
    let (accept, accepted) = oneshot::channel();
    let offer = app.shared.history().offer(*id, entry);
    let finished = match offer {
        Offer::Known(finished) => {
            return Ok(Submitted {
                id,
                accepted,
                finished,
            });
        }
        Offer::New(finished) => finished,
    };
    let call = Call {
        id,
        sender,
        canister: canister_id,
        method: method_name,
        arg,
    };
    let queued = app
        .executor
        .queue(move |state| execute(state, call, accept));
    if let Err(error) = queued {
        app.shared.history().withdraw(&id);
        return Err(error.into());
    }
    Ok(Submitted {
        id,
        accepted,
        finished,
    })
}

struct Call {
    id: RequestId,
    sender: Principal,
    canister: Principal,
    method: String,
    arg: Vec<u8>,
}

/// Runs on the executor: filters, then runs the call to its end.
fn execute(
    state: &mut executor::State,
    call: Call,
    accept: oneshot::Sender<Result<(), UserError>>,
) {
    state.begin_message();
    let to_management = call.canister == Principal::management_canister();
    let to_fake = fakes::serves(&state.core, &call.canister);
    let filtered = if to_management {
        management::inspect(&state.core, call.sender, &call.method, &call.arg)
    } else if to_fake {
        Ok(())
    } else {
        state
            .core
            .inspect_message(&call.canister, call.sender, &call.method, &call.arg)
    };
    let shared = state.shared.clone();
    if let Err(refusal) = filtered {
        let status = rejected(&refusal);
        match accept.send(Err(refusal)) {
            Ok(()) => shared.history().withdraw(&call.id),
            // The client has been told to poll by now, so it gets the refusal that way.
            Err(_) => state.finish_call(*call.id, status),
        }
        return;
    }
    let _ = accept.send(Ok(()));
    let entry = {
        let mut history = shared.history();
        history.processing(&call.id, shared.clock.now());
        history.get(&call.id).cloned()
    };
    if let (Some(store), Some(entry)) = (&state.store, entry) {
        persist::lock(store).begin(*call.id, entry);
    }
    let result = if to_management {
        management::ingress(state, call.sender, &call.method, &call.arg)
    } else if to_fake {
        let kind = fakes::Kind::Update;
        fakes::call(
            state,
            &call.canister,
            kind,
            call.sender,
            &call.method,
            &call.arg,
        )
    } else {
        let result = state
            .core
            .update(&call.canister, call.sender, &call.method, call.arg);
        shared.note_stats(call.canister, &call.method, &result);
        result.map(|outcome| outcome.reply)
    };
    executor::count_update(&shared);
    let status = match result {
        Ok(reply) => IngressStatus::Replied(reply),
        Err(error) => rejected(&error),
    };
    state.finish_call(*call.id, status);
}

fn rejected(error: &UserError) -> IngressStatus {
    let reject = reject_response(error);
    IngressStatus::Rejected(Reject {
        code: reject.reject_code as u64,
        message: reject.reject_message,
        error_code: error.code.to_string(),
    })
}

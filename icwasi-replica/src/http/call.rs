//! `POST /api/v{2,3,4}/canister/<id>/call`.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use candid::Principal;
use ic_transport_types::{EnvelopeContent, RequestId, TransportCallResponse};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::query::reject_response;
use super::{AppState, HttpError, cbor, parse_id, read_body};
use crate::core::UserError;
use crate::executor;
use crate::fakes;
use crate::ingress::envelope::{self, EnvelopeError};
use crate::ingress::history::{IngressEntry, IngressStatus, Offer, Reject};
use crate::management;

/// Version 2: answers as soon as the call is accepted.
pub async fn call_async(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let deadline = deadline(app.shared.sync_wait);
    let mut submitted = receive(&app, &path, body).await?;
    match submitted.refusal(deadline).await {
        Some(refusal) => {
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
        None => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

/// Versions 3 and 4: waits for the outcome and certifies it.
pub async fn call_sync(
    State(app): State<AppState>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, HttpError> {
    let deadline = deadline(app.shared.sync_wait);
    let mut submitted = receive(&app, &path, body).await?;
    if let Some(refusal) = submitted.refusal(deadline).await {
        return Ok(refused(&refusal));
    }
    if !submitted.finished(deadline).await {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let Some(certificate) = app.certifier.certify(submitted.id).await else {
        // The first sender's call was refused, which is not recorded; the same goes for this.
        return Err(HttpError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the same request was refused a moment ago; try again",
        ));
    };
    Ok(cbor::response(
        StatusCode::OK,
        &TransportCallResponse::Replied { certificate },
    ))
}

/// The answer to a call that was not accepted.
pub(super) fn refused(refusal: &UserError) -> Response {
    let reject = reject_response(refusal);
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

impl Submitted {
    /// Waits until the call is accepted or refused; the refusal. `None` also for a repetition of a
    /// call, and when it takes too long.
    async fn refusal(&mut self, deadline: Option<Instant>) -> Option<UserError> {
        let deadline = deadline?;
        let answer = match tokio::time::timeout_at(deadline, &mut self.accepted).await {
            Ok(answer) => answer.ok()?,
            Err(_) => {
                // From here on a refusal goes where the client will look for it.
                self.accepted.close();
                self.accepted.try_recv().ok()?
            }
        };
        answer.err()
    }

    /// Whether it is finished in time.
    async fn finished(&mut self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            return false;
        };
        let finished = self.finished.wait_for(|finished| *finished);
        tokio::time::timeout_at(deadline, finished).await.is_ok()
    }
}

/// When `wait` is over; `None` if there is no waiting at all.
fn deadline(wait: Duration) -> Option<Instant> {
    (!wait.is_zero()).then(|| Instant::now() + wait)
}

/// Gives a call to the executor, unless the same one came before.
async fn receive(app: &AppState, path: &str, body: Body) -> Result<Submitted, HttpError> {
    let effective = parse_id(path)?;
    let body = read_body(body).await?;
    let now = app.shared.clock.now();
    let request = envelope::open(&body, now, app.shared.keys.root_raw())?;
    let id = request.id;
    if body.len() > app.shared.ingress_bytes {
        return Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "Request {id} is too large. Message byte size {} is larger than the max allowed {}.",
                body.len(),
                app.shared.ingress_bytes
            ),
        ));
    }
    drop(body);
    let EnvelopeContent::Call {
        sender,
        canister_id: canister,
        method_name: method,
        arg,
        ingress_expiry: expiry,
        ..
    } = request.content
    else {
        return Err(EnvelopeError::Kind("call").into());
    };
    super::check_effective(canister, &method, &arg, effective)?;
    let call = Call {
        id,
        sender,
        canister,
        method,
        arg,
    };
    let entry = IngressEntry {
        sender,
        receiver: canister,
        effective,
        expiry,
        changed: app.shared.clock.now(),
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

/// Runs on the executor: filters, then begins the call.
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
    let Call {
        id,
        sender,
        canister,
        method,
        arg,
    } = call;
    let ran = (!to_management && !to_fake).then(|| (canister, method.clone()));
    let number = state.open_call(*id, move |state, outcome| {
        if let Some((canister, method)) = ran {
            state.shared.note_stats(canister, &method, &outcome);
        }
        executor::count_update(&state.shared);
        let status = match outcome {
            Ok(outcome) => IngressStatus::Replied(outcome.reply),
            Err(error) => rejected(&error),
        };
        state.finish_call(*id, status);
    });
    if to_management || to_fake {
        state.core.enter_call(number);
        let answer = if to_management {
            management::ingress(state, sender, &method, &arg)
        } else {
            let kind = fakes::Kind::Update;
            fakes::from_outside(state, &canister, kind, sender, &method, &arg)
        };
        state.core.leave_call(answer);
    } else {
        state.core.submit(number, &canister, sender, &method, arg);
    }
}

fn rejected(error: &UserError) -> IngressStatus {
    let reject = reject_response(error);
    IngressStatus::Rejected(Reject {
        code: reject.reject_code as u64,
        message: reject.reject_message,
        error_code: error.code.to_string(),
    })
}

//! The IC's HTTP interface. One file per kind of request.

pub mod cbor;

mod call;
pub mod certifier;
mod gateway;
mod query;
mod read_state;
mod status;
mod subnet;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use candid::Principal;

use self::certifier::Certifier;
use self::gateway::Gateway;
use crate::executor::{Executor, ExecutorError, Shared};
use crate::ingress::envelope::EnvelopeError;
use crate::management;

/// Largest request body.
pub const MAX_BODY_BYTES: usize = 5 << 20;

/// What every handler has.
#[derive(Clone)]
pub struct AppState {
    /// Keys, time, status of calls.
    pub shared: Arc<Shared>,
    /// Runs jobs on canisters.
    pub executor: Executor,
    /// Signs outcomes of calls.
    pub certifier: Certifier,
}

/// All paths of the replica.
pub fn router(state: AppState) -> Router {
    let api = api(state.clone());
    let gateway = Gateway::new(api.clone(), state.shared.keys.root_der());
    api.fallback(move |request| gateway.clone().serve(request))
        .layer(middleware::from_fn(cross_origin))
}

/// The interface of the IC.
fn api(state: AppState) -> Router {
    Router::new()
        .route("/api/v2/status", get(status::status))
        .route("/api/v2/canister/{id}/call", post(call::call_async))
        .route("/api/v3/canister/{id}/call", post(call::call_sync))
        .route("/api/v4/canister/{id}/call", post(call::call_sync))
        .route("/api/v2/canister/{id}/query", post(query::query))
        .route("/api/v3/canister/{id}/query", post(query::query))
        .route(
            "/api/v2/canister/{id}/read_state",
            post(read_state::canister),
        )
        .route(
            "/api/v3/canister/{id}/read_state",
            post(read_state::canister),
        )
        .route(
            "/api/v2/subnet/{id}/read_state",
            post(read_state::subnet_v2),
        )
        .route(
            "/api/v3/subnet/{id}/read_state",
            post(read_state::subnet_v3),
        )
        .route("/api/v4/subnet/{id}/call", post(subnet::call))
        .route("/api/v3/subnet/{id}/query", post(subnet::query))
        .with_state(state)
}

/// Lets pages from anywhere use the replica, as the IC does: requests authenticate themselves.
/// What canisters serve over HTTP is theirs to share.
async fn cross_origin(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, HEAD, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, range, if-none-match"),
    );
    response
}

/// A request that is not served, with the status and the plain text that clients get.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    text: String,
}

impl HttpError {
    /// With any status.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// 400.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 403.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        tracing::debug!("refused with {}: {}", self.status, self.text);
        (self.status, self.text).into_response()
    }
}

impl From<EnvelopeError> for HttpError {
    fn from(error: EnvelopeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<ExecutorError> for HttpError {
    fn from(error: ExecutorError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`].
pub(crate) async fn read_body(body: Body) -> Result<Bytes, HttpError> {
    axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|error| {
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                if cause.to_string().contains("length limit exceeded") {
                    return HttpError::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        format!("the request body is larger than {MAX_BODY_BYTES} bytes"),
                    );
                }
                source = cause.source();
            }
            HttpError::bad_request(format!("the request body could not be read: {error}"))
        })
}

/// Whether a request to `canister` may come under `effective`.
pub(crate) fn check_effective(
    canister: Principal,
    method: &str,
    arg: &[u8],
    effective: Principal,
) -> Result<(), HttpError> {
    if canister == Principal::management_canister() {
        return management::check_effective_id(method, arg, effective)
            .map_err(HttpError::bad_request);
    }
    if canister == effective {
        return Ok(());
    }
    Err(HttpError::bad_request(format!(
        "Specified CanisterId {canister} does not match effective canister id {effective} in URL."
    )))
}

/// Reads the id in a path.
pub(crate) fn parse_id(text: &str) -> Result<Principal, HttpError> {
    Principal::from_text(text)
        .map_err(|error| HttpError::bad_request(format!("Invalid principal in the path: {error}")))
}

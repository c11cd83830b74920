//! Checks that a response is the one that the canister certified.

use axum::http::{Method, StatusCode};
use candid::Principal;
use ic_http_certification::{HttpRequest, HttpResponse};
use ic_response_verification::types::VerificationInfo;
use ic_response_verification::{MIN_VERIFICATION_VERSION, verify_request_response_pair};

use super::canister::{CanisterRequest, CanisterResponse};
use super::{AppState, HttpError};

/// How old a certificate may be.
const MAX_AGE_NANOS: u128 = 300_000_000_000;

/// What is certified of a response.
pub enum Certified {
    /// The content only: status and headers come from the canister unchecked.
    Body,
    /// Status, content and these headers.
    Headers(Vec<(String, String)>),
    /// That it is not certified.
    Nothing,
}

/// Verifies `response`. Costs a BLS verification (milliseconds) unless the certificate was seen
/// before.
pub async fn verify(
    app: &AppState,
    id: Principal,
    request: &CanisterRequest,
    response: &CanisterResponse,
) -> Result<Certified, HttpError> {
    let status = StatusCode::from_u16(response.status_code)
        .map_err(|_| super::bad_status(response.status_code))?;
    let method: Method = request
        .method
        .parse()
        .map_err(|_| HttpError::bad_request("the method is not valid"))?;
    let request = HttpRequest::builder()
        .with_method(method)
        .with_url(request.url.clone())
        .with_headers(request.headers.clone())
        .with_body(request.body.clone())
        .build();
    let response = HttpResponse::builder()
        .with_status_code(status)
        .with_headers(response.headers.clone())
        .with_body(response.body.clone())
        .build();
    let shared = app.shared.clone();
    let verified = tokio::task::spawn_blocking(move || {
        verify_request_response_pair(
            request,
            response,
            id.as_slice(),
            u128::from(shared.clock.now()),
            MAX_AGE_NANOS,
            shared.keys.root_der(),
            MIN_VERIFICATION_VERSION,
        )
    })
    .await
    .map_err(|error| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    match verified {
        Ok(VerificationInfo {
            verification_version: 1,
            ..
        }) => Ok(Certified::Body),
        Ok(VerificationInfo {
            response: Some(response),
            ..
        }) => Ok(Certified::Headers(response.headers)),
        Ok(_) => Ok(Certified::Nothing),
        Err(error) => Err(HttpError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "response verification failed: {error}; responses that are not certified are \
                 served under <canister-id>.raw.<domain>"
            ),
        )),
    }
}

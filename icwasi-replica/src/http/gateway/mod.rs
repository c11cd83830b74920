//! The HTTP gateway: serves what canisters answer to `http_request` under their own host names.
//!
//! The crate `ic-http-gateway` speaks with the canisters and verifies what they certified; its
//! agent asks the replica in this process (`transport`). What is here: which canister a request is
//! for, what of the response a browser gets, and the status of what cannot be served.

mod error;
mod target;
mod transport;

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt};
use ic_http_gateway::{
    HttpGatewayClient, HttpGatewayClientArgs, HttpGatewayRequestArgs, HttpGatewayResponse,
    HttpGatewayResponseBody,
};

use super::{HttpError, read_body};

/// Headers of a canister that are between the gateway and the browser.
const OWN_HEADERS: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Most headers of a response. A map of them panics when it gets one more than fit, about 24,000.
const MAX_HEADERS: usize = 1_000;

/// Serves requests that are for canisters; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    client: HttpGatewayClient,
}

impl Gateway {
    /// A gateway that reaches canisters through `api`, the replica's interface of the IC, and
    /// trusts what is signed by `root_key` (DER).
    pub fn new(api: Router, root_key: &[u8]) -> Self {
        let agent = transport::agent(api, root_key);
        let client = HttpGatewayClient::new(HttpGatewayClientArgs { agent });
        Self { client }
    }

    /// Serves a request that is for a canister; 404 for all others.
    pub async fn serve(self, request: Request) -> Response {
        self.answer(request)
            .await
            .unwrap_or_else(IntoResponse::into_response)
    }

    async fn answer(&self, request: Request) -> Result<Response, HttpError> {
        let Some(target) = target::find(request.uri(), request.headers()) else {
            return Err(HttpError::new(
                StatusCode::NOT_FOUND,
                "there is nothing here; canisters are served under \
                 http://<canister-id>.localhost:PORT/ and with ?canisterId=<canister-id>, the \
                 interface of the IC under /api/",
            ));
        };
        let head = request.method() == Method::HEAD;
        let (parts, body) = request.into_parts();
        let mut request = self.client.request(HttpGatewayRequestArgs {
            canister_request: Request::from_parts(parts, read_body(body).await?),
            canister_id: target.id,
        });
        request.unsafe_set_skip_verification(target.raw);
        // What canisters answer is decoded and compared in there: it must not matter to others
        // what a strange one does to that.
        let served = AssertUnwindSafe(request.send()).catch_unwind().await;
        let served = served.map_err(|_| {
            HttpError::new(
                StatusCode::BAD_GATEWAY,
                "the gateway failed at the canister's answer",
            )
        })?;
        match &served.metadata.internal_error {
            Some(error) => Err(error::explain(error, target.id)),
            None => respond(served, head),
        }
    }
}

/// The response for the browser.
fn respond(served: HttpGatewayResponse, head: bool) -> Result<Response, HttpError> {
    let (mut parts, body) = served.canister_response.into_parts();
    if parts.status.is_informational() {
        return Err(HttpError::new(
            StatusCode::BAD_GATEWAY,
            format!("the canister's status {} is no final one", parts.status),
        ));
    }
    if parts.headers.len() > MAX_HEADERS {
        return Err(HttpError::new(
            StatusCode::BAD_GATEWAY,
            format!("the canister's response has more than {MAX_HEADERS} headers"),
        ));
    }
    let streamed = matches!(body, HttpGatewayResponseBody::Left(_));
    // A content in ranges that is put together: the only stream that is verified, and, where
    // nothing is verified, the only one whose Content-Range is not removed.
    let whole = streamed
        && parts.status == StatusCode::OK
        && (served.metadata.response_verification_version.is_some()
            || parts.headers.contains_key(header::CONTENT_RANGE));
    // That of the whole comes after those of the canister. Otherwise the canister may only choose
    // the length in the answer to HEAD.
    let length = parts
        .headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .next_back()
        .filter(|length| (whole || head) && is_number(length))
        .cloned();
    for name in OWN_HEADERS {
        parts.headers.remove(name);
    }
    if whole {
        parts.headers.remove(header::CONTENT_RANGE);
    }
    if let Some(length) = length {
        parts.headers.insert(header::CONTENT_LENGTH, length);
    }
    let body = match body {
        _ if head => Body::empty(),
        HttpGatewayResponseBody::Left(stream) => followed(Body::new(stream)),
        HttpGatewayResponseBody::Right(whole) => Body::new(whole),
    };
    Ok(Response::from_parts(parts, body))
}

fn is_number(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
}

/// A body that is still being asked for. An error or a panic in that ends the response early: the
/// client sees that it is not complete.
fn followed(body: Body) -> Body {
    let parts = AssertUnwindSafe(body.into_data_stream())
        .catch_unwind()
        .then(async |part| {
            let reason = match part {
                Ok(Ok(bytes)) => return Ok::<Bytes, _>(bytes),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the gateway failed at a part of it".to_string(),
            };
            tracing::warn!("a streamed response was cut: {reason:.1000}");
            // The server drops what it has not sent yet when it gets an error.
            tokio::task::yield_now().await;
            Err(std::io::Error::other("the response was cut"))
        });
    Body::from_stream(parts)
}

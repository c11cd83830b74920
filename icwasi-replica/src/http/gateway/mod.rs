//! The HTTP gateway: serves what canisters answer to `http_request` under their own host names.
//!
//! Follows the rules of the crate `ic-http-gateway`, with the verification it uses
//! (`ic-response-verification`), but asks the executor directly: that crate brings an agent of
//! another version, and an agent would send every request once more through HTTP.

mod body;
mod canister;
mod target;
mod verify;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::body::Collected;
use self::canister::{CanisterRequest, StreamingStrategy};
use self::verify::Certified;
use super::{AppState, HttpError, read_body};

/// Headers of a canister that are between the gateway and the browser.
const OWN_HEADERS: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves a request that is for a canister; 404 for all others.
pub async fn serve(State(app): State<AppState>, request: Request) -> Response {
    answer(app, request)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn answer(app: AppState, request: Request) -> Result<Response, HttpError> {
    let Some(target) = target::find(request.uri(), request.headers()) else {
        return Err(HttpError::new(
            StatusCode::NOT_FOUND,
            "there is nothing here; canisters are served under http://<canister-id>.localhost:PORT/ \
             and with ?canisterId=<canister-id>, the interface of the IC under /api/",
        ));
    };
    let head = request.method() == Method::HEAD;
    let request = convert(request).await?;
    let asks_range = request
        .headers
        .iter()
        .any(|(name, _)| name == header::RANGE.as_str() || name == header::IF_RANGE.as_str());

    let mut response = canister::ask(&app, target.id, &request).await?;
    let upgraded = response.upgrade == Some(true);
    if upgraded {
        response = canister::update(&app, target.id, &request).await?;
    }
    let mut streamed = None;
    if let Some(StreamingStrategy::Callback(strategy)) = response.streaming_strategy.take() {
        let first = std::mem::take(&mut response.body);
        match body::collect(&app, first, strategy).await? {
            Collected::Whole(content) => response.body = content,
            Collected::Streamed(content) => streamed = Some(content),
        }
    }
    // The outcome of an update is certified as such; what is streamed cannot be checked.
    let certified = if target.raw || upgraded || streamed.is_some() {
        Certified::Nothing
    } else {
        verify::verify(&app, target.id, &request, &response).await?
    };
    if let Certified::Body = certified
        && (300..400).contains(&response.status_code)
    {
        return Err(HttpError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "response verification failed: version 1 does not certify redirects",
        ));
    }

    let whole_of_parts =
        response.status_code == 206 && !asks_range && !upgraded && streamed.is_none();
    let headers = match certified {
        Certified::Headers(headers) => headers,
        Certified::Body => without(&response.headers, &[header::CACHE_CONTROL]),
        Certified::Nothing => response.headers.clone(),
    };
    if whole_of_parts {
        let headers = without(&headers, &[header::CONTENT_RANGE]);
        let (content, length) = body::ranges(app, target.id, request, response, target.raw)?;
        let mut built = build(200, &headers, content, false)?;
        built
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        return Ok(built);
    }
    let content = match streamed {
        _ if head => Body::empty(),
        Some(content) => content,
        None => Body::from(response.body),
    };
    build(response.status_code, &headers, content, head)
}

/// The request as the canister gets it.
async fn convert(request: Request) -> Result<CanisterRequest, HttpError> {
    let (parts, body) = request.into_parts();
    let mut headers = Vec::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        let mut value = value
            .to_str()
            .map_err(|_| HttpError::bad_request(format!("the header {name} is not text")))?
            .to_string();
        if name == header::ACCEPT_ENCODING
            && !value
                .split(',')
                .any(|encoding| encoding.trim().eq_ignore_ascii_case("identity"))
        {
            value.push_str(", identity");
        }
        headers.push((name.to_string(), value));
    }
    let url = parts
        .uri
        .path_and_query()
        .map_or_else(|| "/".to_string(), ToString::to_string);
    Ok(CanisterRequest {
        method: parts.method.to_string(),
        url,
        headers,
        body: read_body(body).await?.to_vec(),
    })
}

fn without(headers: &[(String, String)], names: &[HeaderName]) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !names.iter().any(|n| name.eq_ignore_ascii_case(n.as_str())))
        .cloned()
        .collect()
}

/// The response for the browser. `length`: keeps the `Content-Length` of the canister, which only
/// the answer to `HEAD` may choose freely.
fn build(
    status: u16,
    headers: &[(String, String)],
    body: Body,
    length: bool,
) -> Result<Response, HttpError> {
    let status = StatusCode::from_u16(status)
        .ok()
        // Informational ones are no final answer.
        .filter(|status| !status.is_informational())
        .ok_or_else(|| bad_status(status))?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value))
        else {
            return Err(HttpError::new(
                StatusCode::BAD_GATEWAY,
                format!("the canister's header {name:.100} is not valid"),
            ));
        };
        let kept = length
            && name == header::CONTENT_LENGTH
            && value.as_bytes().iter().all(u8::is_ascii_digit);
        if kept || !OWN_HEADERS.contains(&name) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn bad_status(status: u16) -> HttpError {
    HttpError::new(
        StatusCode::BAD_GATEWAY,
        format!("the canister's status {status} is not one of HTTP"),
    )
}

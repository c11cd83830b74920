//! The methods that canisters serve HTTP with, and their candid types.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use candid::de::DecoderConfig;
use candid::types::reference::FuncVisitor;
use candid::types::value::{IDLArgs, IDLValue, IDLValueVisitor};
use candid::types::{Serializer, Type, TypeInner};
use candid::{CandidType, Func, Principal};
use ic_transport_types::{EnvelopeContent, RejectCode};
use serde::Deserialize;
use serde::de::Deserializer;
use serde::ser::Error as _;

use super::super::call::{self, Incoming};
use super::super::query::{self, Query};
use super::super::{AppState, HttpError};
use crate::ingress::envelope::MAX_INGRESS_TTL_NANOS;
use crate::ingress::history::IngressStatus;

/// Newest version of response certification that the gateway verifies.
const CERTIFICATE_VERSION: u16 = 2;
/// How long an update may take before the browser is told to try again.
const UPDATE_WAIT: Duration = Duration::from_secs(300);
/// Work that decoding a response may cause, in the units of candid: a body of 3 MiB needs 3 Mi.
const DECODING_QUOTA: usize = 64 << 20;

/// An HTTP request as canisters see it.
#[derive(Debug, Clone)]
pub struct CanisterRequest {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub url: String,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    /// Content.
    pub body: Vec<u8>,
}

#[derive(CandidType)]
struct QueryArg<'a> {
    method: &'a str,
    url: &'a str,
    headers: &'a [(String, String)],
    body: &'a serde_bytes::Bytes,
    certificate_version: Option<u16>,
}

#[derive(CandidType)]
struct UpdateArg<'a> {
    method: &'a str,
    url: &'a str,
    headers: &'a [(String, String)],
    body: &'a serde_bytes::Bytes,
}

/// What a canister answers.
#[derive(Debug, Clone, CandidType, Deserialize)]
pub struct CanisterResponse {
    /// 200.
    pub status_code: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Content, or its first part.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// Where the rest of the content is.
    pub streaming_strategy: Option<StreamingStrategy>,
    /// The request has to be sent as an update.
    pub upgrade: Option<bool>,
}

/// How the rest of a response is fetched.
#[derive(Debug, Clone, CandidType, Deserialize)]
pub enum StreamingStrategy {
    /// By calling a query until it gives no token any more.
    Callback(CallbackStrategy),
}

/// The query to be called for the rest.
#[derive(Debug, Clone, CandidType, Deserialize)]
pub struct CallbackStrategy {
    /// The query.
    pub callback: Callback,
    /// Its argument.
    pub token: Token,
}

#[derive(CandidType, Deserialize)]
struct CallbackResponse {
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    token: Option<Token>,
}

/// A reference to a method of any type: which one it has is between the canister and itself.
#[derive(Debug, Clone)]
pub struct Callback(pub Func);

/// A value of any type.
#[derive(Debug, Clone)]
pub struct Token(pub IDLValue);

// `reserved` is what every type is a subtype of. Only decoding makes sense.
macro_rules! any_type {
    ($name:ident, $visitor:ident) => {
        impl CandidType for $name {
            fn _ty() -> Type {
                TypeInner::Reserved.into()
            }
            fn idl_serialize<S: Serializer>(&self, _: S) -> Result<(), S::Error> {
                Err(S::Error::custom("its candid type is not known"))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_ignored_any($visitor).map(Self)
            }
        }
    };
}
any_type!(Callback, FuncVisitor);
any_type!(Token, IDLValueVisitor);

/// Asks `http_request`.
pub async fn ask(
    app: &AppState,
    canister: Principal,
    request: &CanisterRequest,
) -> Result<CanisterResponse, HttpError> {
    let arg = QueryArg {
        method: &request.method,
        url: &request.url,
        headers: &request.headers,
        body: serde_bytes::Bytes::new(&request.body),
        certificate_version: Some(CERTIFICATE_VERSION),
    };
    decode(&query(app, canister, "http_request", encode(&arg)?).await?)
}

/// Asks a streaming callback for the next part.
pub async fn next_part(
    app: &AppState,
    callback: &Func,
    token: Token,
) -> Result<(Vec<u8>, Option<Token>), HttpError> {
    let arg = IDLArgs::new(&[token.0]).to_bytes().map_err(bad_answer)?;
    let reply = query(app, callback.principal, &callback.method, arg).await?;
    let part: CallbackResponse = decode(&reply)?;
    Ok((part.body, part.token))
}

async fn query(
    app: &AppState,
    canister: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, HttpError> {
    let query = Query {
        sender: Principal::anonymous(),
        canister,
        method: method.to_string(),
        arg,
    };
    query::execute(app, query).await?.map_err(|error| {
        let reject = query::reject_response(&error);
        rejected(
            reject.reject_code as u64,
            &reject.reject_message,
            &error.code.to_string(),
        )
    })
}

/// Calls `http_request_update` as an anonymous user, through `canister_inspect_message` and with
/// everything else that such a call passes.
pub async fn update(
    app: &AppState,
    canister: Principal,
    request: &CanisterRequest,
) -> Result<CanisterResponse, HttpError> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let arg = encode(&UpdateArg {
        method: &request.method,
        url: &request.url,
        headers: &request.headers,
        body: serde_bytes::Bytes::new(&request.body),
    })?;
    if arg.len() > app.shared.ingress_bytes {
        return Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the request is larger than the {} bytes that an update call may have",
                app.shared.ingress_bytes
            ),
        ));
    }
    // A nonce of its own: the same request sent twice is meant twice.
    let nonce = CALLS.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
    let content = EnvelopeContent::Call {
        nonce: Some(nonce),
        ingress_expiry: app.shared.clock.now() + MAX_INGRESS_TTL_NANOS,
        sender: Principal::anonymous(),
        canister_id: canister,
        method_name: "http_request_update".to_string(),
        arg,
        sender_info: None,
    };
    let id = content.to_request_id();
    let submitted = call::submit(app, Incoming::new(id, content, canister)?)?;
    match submitted.outcome(app, UPDATE_WAIT).await {
        Some(IngressStatus::Replied(reply)) => decode(&reply),
        Some(IngressStatus::Rejected(reject)) => {
            Err(rejected(reject.code, &reject.message, &reject.error_code))
        }
        _ => Err(HttpError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the canister has not answered in time",
        )),
    }
}

fn encode<T: CandidType>(value: &T) -> Result<Vec<u8>, HttpError> {
    candid::encode_one(value).map_err(|error| HttpError::bad_request(error.to_string()))
}

fn decode<T: CandidType + serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    let mut config = DecoderConfig::new();
    config.set_decoding_quota(DECODING_QUOTA);
    candid::utils::decode_one_with_config(bytes, &config).map_err(bad_answer)
}

fn bad_answer(error: impl std::fmt::Display) -> HttpError {
    HttpError::new(
        StatusCode::BAD_GATEWAY,
        format!("the canister's answer is not an HTTP response: {error:#}"),
    )
}

fn rejected(code: u64, message: &str, error_code: &str) -> HttpError {
    let status = if code == RejectCode::DestinationInvalid as u64 {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::BAD_GATEWAY
    };
    HttpError::new(
        status,
        format!(
            "the canister did not serve the request: reject code {code}, {error_code}: {message}"
        ),
    )
}

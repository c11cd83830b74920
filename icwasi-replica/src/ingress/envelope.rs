//! Decoding and checking the envelope around a request.

use std::borrow::Cow;

use candid::Principal;
use ic_certification::Label;
use ic_transport_types::{EnvelopeContent, RequestId, SenderInfo, SignedDelegation, to_request_id};
use serde::{Deserialize, Serialize};

use super::auth::{AuthError, Proof, Scope, authenticate};

/// How far ahead `ingress_expiry` may lie.
pub const MAX_INGRESS_TTL_NANOS: u64 = 5 * 60 * 1_000_000_000;
/// Clock difference that is forgiven on top of it.
pub const PERMITTED_DRIFT_NANOS: u64 = 30 * 1_000_000_000;
/// Longest nonce.
pub const MAX_NONCE_BYTES: usize = 32;

/// Why a request is refused before anything is done for it. Answered with HTTP 400.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not CBOR, or not an envelope.
    #[error("Could not parse body as CBOR request: {0}")]
    Cbor(#[from] serde_cbor::Error),
    /// Clients look for this text to set their clock.
    #[error(
        "Invalid request expiry: Specified ingress_expiry not within expected range: \
         Minimum allowed expiry: {now}, Maximum allowed expiry: {max}, Provided expiry: {given}"
    )]
    Expiry {
        /// Nanoseconds since 1970.
        now: u64,
        /// Nanoseconds since 1970.
        max: u64,
        /// Nanoseconds since 1970.
        given: u64,
    },
    /// More than 32 bytes.
    #[error("Invalid request: the nonce has {0} bytes, at most {MAX_NONCE_BYTES}")]
    Nonce(usize),
    /// A field that this kind of request must have.
    #[error("Could not parse body as CBOR request: missing field `{0}`")]
    Missing(&'static str),
    /// The content has no hash.
    #[error("Could not parse body as CBOR request: {0}")]
    Id(String),
    /// A request of another kind than the path is for.
    #[error("Invalid request: request_type must be \"{0}\" on this path")]
    Kind(&'static str),
    /// Certified sender information is part of the interface, but not of this replica.
    #[error("Invalid request: sender_info is not supported by this replica")]
    SenderInfo,
    /// The sender did not sign it.
    #[error("Failed to authenticate request {id}: {source}")]
    Auth {
        /// Hex.
        id: String,
        /// What is wrong.
        source: AuthError,
    },
    /// Delegations that don't reach this canister.
    #[error("Failed to authenticate request {id}: the delegation does not include canister {to}")]
    Target {
        /// Hex.
        id: String,
        /// The canister of the request.
        to: Principal,
    },
}

/// An authenticated request.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub content: EnvelopeContent,
    /// Hash of the content.
    pub id: RequestId,
    /// Canisters that the sender's delegations allow.
    pub scope: Scope,
}

/// The envelope as it comes. Bytes are borrowed from the body, of which an upload is most.
#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    content: RawContent<'a>,
    #[serde(borrow, default, with = "serde_bytes")]
    sender_pubkey: Option<Cow<'a, [u8]>>,
    #[serde(borrow, default, with = "serde_bytes")]
    sender_sig: Option<Cow<'a, [u8]>>,
    #[serde(default)]
    sender_delegation: Option<Vec<SignedDelegation>>,
}

/// The content of any kind of request. The hash of its fields is the id of the request.
#[derive(Deserialize, Serialize)]
struct RawContent<'a> {
    #[serde(borrow)]
    request_type: Cow<'a, str>,
    #[serde(borrow, default, with = "serde_bytes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<Cow<'a, [u8]>>,
    ingress_expiry: u64,
    sender: Principal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canister_id: Option<Principal>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    method_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, with = "serde_bytes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    arg: Option<Cow<'a, [u8]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<Vec<Label>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender_info: Option<SenderInfo>,
}

impl RawContent<'_> {
    fn into_content(self) -> Result<EnvelopeContent, EnvelopeError> {
        let ingress_expiry = self.ingress_expiry;
        let sender = self.sender;
        if self.request_type == "read_state" {
            let paths = self.paths.ok_or(EnvelopeError::Missing("paths"))?;
            return Ok(EnvelopeContent::ReadState {
                ingress_expiry,
                sender,
                paths,
            });
        }
        let nonce = self.nonce.map(Cow::into_owned);
        let canister_id = self
            .canister_id
            .ok_or(EnvelopeError::Missing("canister_id"))?;
        let method_name = self
            .method_name
            .ok_or(EnvelopeError::Missing("method_name"))?
            .into_owned();
        let arg = self.arg.ok_or(EnvelopeError::Missing("arg"))?.into_owned();
        let sender_info = None;
        match &*self.request_type {
            "call" => Ok(EnvelopeContent::Call {
                nonce,
                ingress_expiry,
                sender,
                canister_id,
                method_name,
                arg,
                sender_info,
            }),
            "query" => Ok(EnvelopeContent::Query {
                nonce,
                ingress_expiry,
                sender,
                canister_id,
                method_name,
                arg,
                sender_info,
            }),
            _ => Err(EnvelopeError::Kind("call, query or read_state")),
        }
    }
}

/// Decodes `body`, and checks expiry, nonce, signature and delegations at time `now`.
///
/// Expiry comes first, as a client with a wrong clock should learn that before anything else.
/// Anonymous requests that change nothing do not expire.
pub fn open(body: &[u8], now: u64, root_key: &[u8]) -> Result<Request, EnvelopeError> {
    let envelope: RawEnvelope<'_> = serde_cbor::from_slice(body)?;
    let content = envelope.content;
    let update = content.request_type == "call";
    let given = content.ingress_expiry;
    let max = now.saturating_add(MAX_INGRESS_TTL_NANOS + PERMITTED_DRIFT_NANOS);
    let expires = update || content.sender != Principal::anonymous();
    if expires && (given < now || given > max) {
        return Err(EnvelopeError::Expiry { now, max, given });
    }
    if let Some(nonce) = &content.nonce
        && nonce.len() > MAX_NONCE_BYTES
    {
        return Err(EnvelopeError::Nonce(nonce.len()));
    }
    if content.sender_info.is_some() {
        return Err(EnvelopeError::SenderInfo);
    }
    let id = to_request_id(&content).map_err(|error| EnvelopeError::Id(error.to_string()))?;
    let proof = Proof {
        public_key: envelope.sender_pubkey.as_deref(),
        signature: envelope.sender_sig.as_deref(),
        delegations: envelope.sender_delegation.as_deref().unwrap_or_default(),
    };
    let scope = authenticate(content.sender, &id.signable(), proof, update, now, root_key)
        .map_err(|source| EnvelopeError::Auth {
            id: id.to_string(),
            source,
        })?;
    if let Some(to) = content.canister_id
        && !scope.allows(&to)
    {
        return Err(EnvelopeError::Target {
            id: id.to_string(),
            to,
        });
    }
    let content = content.into_content()?;
    Ok(Request { content, id, scope })
}

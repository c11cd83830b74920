//! Decoding and checking the envelope around a request.

use candid::Principal;
use ic_transport_types::{Envelope, EnvelopeContent, RequestId};

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

/// Decodes `body`, and checks expiry, nonce, signature and delegations at time `now`.
///
/// Expiry comes first, as a client with a wrong clock should learn that before anything else.
pub fn open(body: &[u8], now: u64, root_key: &[u8]) -> Result<Request, EnvelopeError> {
    let envelope: Envelope<'static> = crate::http::cbor::decode(body)?;
    let content = envelope.content.into_owned();
    let given = content.ingress_expiry();
    let max = now.saturating_add(MAX_INGRESS_TTL_NANOS + PERMITTED_DRIFT_NANOS);
    if given < now || given > max {
        return Err(EnvelopeError::Expiry { now, max, given });
    }
    let (nonce, sender_info, update) = match &content {
        EnvelopeContent::Call {
            nonce, sender_info, ..
        } => (nonce, sender_info.is_some(), true),
        EnvelopeContent::Query {
            nonce, sender_info, ..
        } => (nonce, sender_info.is_some(), false),
        EnvelopeContent::ReadState { .. } => (&None, false, false),
    };
    if let Some(nonce) = nonce
        && nonce.len() > MAX_NONCE_BYTES
    {
        return Err(EnvelopeError::Nonce(nonce.len()));
    }
    if sender_info {
        return Err(EnvelopeError::SenderInfo);
    }
    let id = content.to_request_id();
    let proof = Proof {
        public_key: envelope.sender_pubkey.as_deref(),
        signature: envelope.sender_sig.as_deref(),
        delegations: envelope.sender_delegation.as_deref().unwrap_or_default(),
    };
    let scope = authenticate(
        *content.sender(),
        &id.signable(),
        proof,
        update,
        now,
        root_key,
    )
    .map_err(|source| EnvelopeError::Auth {
        id: id.to_string(),
        source,
    })?;
    if let EnvelopeContent::Call { canister_id, .. } | EnvelopeContent::Query { canister_id, .. } =
        &content
        && !scope.allows(canister_id)
    {
        return Err(EnvelopeError::Target {
            id: id.to_string(),
            to: *canister_id,
        });
    }
    Ok(Request { content, id, scope })
}

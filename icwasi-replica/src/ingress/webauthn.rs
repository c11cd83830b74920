//! Signatures of WebAuthn authenticators (passkeys): ECDSA on P-256.
//!
//! The key is a COSE key; what is signed is `authenticator_data || SHA-256(client_data_json)`, and
//! the challenge in the client data is the message.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Verifier;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use serde_cbor::Value;
use sha2::{Digest, Sha256};

use super::auth::AuthError;

/// Labels and values of COSE keys (RFC 9053).
const KEY_TYPE: i128 = 1;
const ALGORITHM: i128 = 3;
const CURVE: i128 = -1;
const X: i128 = -2;
const Y: i128 = -3;
const KEY_TYPE_EC2: i128 = 2;
const KEY_TYPE_RSA: i128 = 3;
const ALGORITHM_ES256: i128 = -7;
const CURVE_P256: i128 = 1;

/// What an authenticator gives, as the IC's interface wraps it.
#[derive(Deserialize)]
struct Signature {
    authenticator_data: ByteBuf,
    client_data_json: ByteBuf,
    signature: ByteBuf,
}

#[derive(Deserialize)]
struct ClientData {
    r#type: String,
    challenge: String,
}

/// Verifies the CBOR `signature` over `message` with a COSE key.
pub fn verify(cose: &[u8], message: &[u8], signature: &[u8]) -> Result<(), AuthError> {
    let key = public_key(cose)?;
    let bad = |why: String| AuthError::Signature(format!("WebAuthn: {why}"));
    let parts: Signature =
        serde_cbor::from_slice(signature).map_err(|error| bad(error.to_string()))?;
    let client: ClientData = serde_json::from_slice(&parts.client_data_json)
        .map_err(|error| bad(format!("client data: {error}")))?;
    if client.r#type != "webauthn.get" {
        return Err(bad("the client data is not of an assertion".to_string()));
    }
    let challenge = URL_SAFE_NO_PAD
        .decode(&client.challenge)
        .or_else(|_| URL_SAFE.decode(&client.challenge))
        .map_err(|error| bad(format!("challenge: {error}")))?;
    if challenge != message {
        return Err(bad("the challenge is not this request".to_string()));
    }
    let mut signed = parts.authenticator_data.into_vec();
    signed.extend_from_slice(&Sha256::digest(&parts.client_data_json));
    let signature = p256::ecdsa::Signature::from_der(&parts.signature)
        .map_err(|error| bad(error.to_string()))?;
    key.verify(&signed, &signature)
        .map_err(|_| bad("the signature could not be verified".to_string()))
}

fn public_key(cose: &[u8]) -> Result<p256::ecdsa::VerifyingKey, AuthError> {
    let bad = |why: &str| AuthError::Key(format!("COSE: {why}"));
    let map: BTreeMap<i128, Value> =
        serde_cbor::from_slice(cose).map_err(|error| bad(&error.to_string()))?;
    let number = |label: i128| match map.get(&label) {
        Some(Value::Integer(n)) => Some(*n),
        _ => None,
    };
    if number(KEY_TYPE) == Some(KEY_TYPE_RSA) {
        return Err(bad("RSA keys are not supported by this replica"));
    }
    let known = number(KEY_TYPE) == Some(KEY_TYPE_EC2)
        && number(ALGORITHM) == Some(ALGORITHM_ES256)
        && number(CURVE) == Some(CURVE_P256);
    let (true, Some(Value::Bytes(x)), Some(Value::Bytes(y))) = (known, map.get(&X), map.get(&Y))
    else {
        return Err(bad("only ECDSA on P-256 with SHA-256 is known"));
    };
    let mut point = vec![4];
    point.extend_from_slice(x);
    point.extend_from_slice(y);
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|error| bad(&error.to_string()))
}

//! Signatures of WebAuthn authenticators (passkeys): ECDSA on P-256, and RSA (PKCS #1 v1.5, 2,048 to
//! 8,192 bits), both with SHA-256.
//!
//! The key is a COSE key; what is signed is `authenticator_data || SHA-256(client_data_json)`, and
//! the challenge in the client data is the message.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Verifier;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use serde_cbor::Value;
use sha2::{Digest, Sha256};

use super::auth::AuthError;

/// Labels and values of COSE keys (RFC 9053, RFC 8230).
const KEY_TYPE: i128 = 1;
const ALGORITHM: i128 = 3;
const CURVE: i128 = -1;
const X: i128 = -2;
const Y: i128 = -3;
const KEY_TYPE_EC2: i128 = 2;
const KEY_TYPE_RSA: i128 = 3;
const MODULUS: i128 = -1;
const EXPONENT: i128 = -2;
const ALGORITHM_ES256: i128 = -7;
const ALGORITHM_RS256: i128 = -257;
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
    let good = match &key {
        Key::Ecdsa(key) => {
            let signature = p256::ecdsa::Signature::from_der(&parts.signature)
                .map_err(|error| bad(error.to_string()))?;
            key.verify(&signed, &signature).is_ok()
        }
        Key::Rsa(key) => key
            .verify(&RSA_PKCS1_2048_8192_SHA256, &signed, &parts.signature)
            .is_ok(),
    };
    if good {
        Ok(())
    } else {
        Err(bad("the signature could not be verified".to_string()))
    }
}

enum Key {
    Ecdsa(p256::ecdsa::VerifyingKey),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

fn public_key(cose: &[u8]) -> Result<Key, AuthError> {
    let bad = |why: &str| AuthError::Key(format!("COSE: {why}"));
    let map: BTreeMap<i128, Value> =
        serde_cbor::from_slice(cose).map_err(|error| bad(&error.to_string()))?;
    let number = |label: i128| match map.get(&label) {
        Some(Value::Integer(n)) => Some(*n),
        _ => None,
    };
    let bytes = |label: i128| match map.get(&label) {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    };
    let kind = (number(KEY_TYPE), number(ALGORITHM));
    if kind == (Some(KEY_TYPE_RSA), Some(ALGORITHM_RS256)) {
        let (Some(n), Some(e)) = (bytes(MODULUS), bytes(EXPONENT)) else {
            return Err(bad("an RSA key without modulus or exponent"));
        };
        let (n, e) = (n.clone(), e.clone());
        return Ok(Key::Rsa(RsaPublicKeyComponents { n, e }));
    }
    let known =
        kind == (Some(KEY_TYPE_EC2), Some(ALGORITHM_ES256)) && number(CURVE) == Some(CURVE_P256);
    let (true, Some(x), Some(y)) = (known, bytes(X), bytes(Y)) else {
        return Err(bad("only ECDSA on P-256 and RSA, with SHA-256, are known"));
    };
    let mut point = vec![4];
    point.extend_from_slice(x);
    point.extend_from_slice(y);
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
        .map(Key::Ecdsa)
        .map_err(|error| bad(&error.to_string()))
}

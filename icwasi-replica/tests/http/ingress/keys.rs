//! Kinds of keys that need more than a signature over the request: passkeys, canisters, long
//! chains of delegations.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use candid::Principal;
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::identity::{Delegation, Identity, SignedDelegation};
use ic_certification::HashTree;
use ic_certification::hash_tree::{label, leaf};
use p256::ecdsa::signature::Signer;
use sha2::{Digest, Sha256};

use super::{delegate, text};
use crate::support::*;

/// A DER SubjectPublicKeyInfo with one of the IC's own algorithms (1.3.6.1.4.1.56387.1.N).
fn der(algorithm: u8, key: &[u8]) -> Vec<u8> {
    let element = |tag: u8, content: Vec<u8>| {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=0x7f => out.push(short as u8),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend(content);
        out
    };
    let object = [
        0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, algorithm,
    ];
    let mut body = element(0x30, element(0x06, object.to_vec()));
    body.extend(element(0x03, [&[0], key].concat()));
    element(0x30, body)
}

fn cbor(value: &impl serde::Serialize) -> Vec<u8> {
    serde_cbor::to_vec(value).expect("these types have only what CBOR can express")
}

/// A COSE key as authenticators give it: `-2` and `-3` are the coordinates of the point.
fn cose(secret: &p256::ecdsa::SigningKey) -> Vec<u8> {
    use serde_cbor::Value;
    let point = secret.verifying_key().to_encoded_point(false);
    let part = |bytes: Option<&p256::FieldBytes>| {
        Value::Bytes(bytes.expect("not compressed, not zero").to_vec())
    };
    let entries = [
        (1, Value::Integer(2)),
        (3, Value::Integer(-7)),
        (-1, Value::Integer(1)),
        (-2, part(point.x())),
        (-3, part(point.y())),
    ];
    let map = entries.map(|(k, v)| (Value::Integer(k), v));
    cbor(&Value::Map(map.into_iter().collect()))
}

#[derive(serde::Serialize)]
struct Assertion {
    authenticator_data: serde_bytes::ByteBuf,
    client_data_json: serde_bytes::ByteBuf,
    signature: serde_bytes::ByteBuf,
}

fn assertion(secret: &p256::ecdsa::SigningKey, kind: &str, challenge: &[u8]) -> Assertion {
    signed_assertion(kind, challenge, |signed| {
        let signature: p256::ecdsa::Signature = secret.sign(signed);
        signature.to_der().as_bytes().to_vec()
    })
}

fn signed_assertion(
    kind: &str,
    challenge: &[u8],
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Assertion {
    let client = format!(
        r#"{{"type":"{kind}","challenge":"{}","origin":"http://localhost","crossOrigin":false}}"#,
        URL_SAFE_NO_PAD.encode(challenge)
    );
    let data = vec![5; 37];
    let signed = [&data[..], &Sha256::digest(&client)[..]].concat();
    let signature = sign(&signed);
    Assertion {
        authenticator_data: data.into(),
        client_data_json: client.into_bytes().into(),
        signature: signature.into(),
    }
}

fn envelope(content: EnvelopeContent, key: &[u8], signature: Vec<u8>) -> Envelope<'static> {
    Envelope {
        content: std::borrow::Cow::Owned(content),
        sender_pubkey: Some(key.to_vec()),
        sender_sig: Some(signature),
        sender_delegation: None,
    }
}

#[tokio::test]
async fn passkeys_sign() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let secret = p256::ecdsa::SigningKey::from_slice(&[9; 32]).expect("a valid scalar");
    let key = der(1, &cose(&secret));
    let content = call(Principal::self_authenticating(&key), id, "inc");
    let message = content.to_request_id().signable();
    let good = || assertion(&secret, "webauthn.get", &message);

    let mut other_data = good();
    other_data.authenticator_data[3] ^= 1;
    let mut other_client = good();
    let at = other_client.client_data_json.len() - 4;
    other_client.client_data_json[at] ^= 1;
    for (name, bad) in [
        (
            "another challenge",
            assertion(&secret, "webauthn.get", b"x"),
        ),
        (
            "a registration",
            assertion(&secret, "webauthn.create", &message),
        ),
        ("other authenticator data", other_data),
        ("other client data", other_client),
    ] {
        let envelope = envelope(content.clone(), &key, cbor(&bad));
        let (status, text) = text(post_call(&replica.url(), id, &envelope).await);
        assert_eq!(status, 400, "{name}: {text}");
        assert!(text.contains("WebAuthn"), "{name}: {text}");
    }
    assert_eq!(get(&owner, id).await, 0);
    let envelope = envelope(content, &key, cbor(&good()));
    let (status, said) = text(post_call(&replica.url(), id, &envelope).await);
    assert_eq!(status, 200, "{said}");
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

/// The COSE key of an RSA key of 2,048 bits with exponent 65,537.
fn rsa_cose(secret: &aws_lc_rs::rsa::KeyPair) -> Vec<u8> {
    use aws_lc_rs::signature::KeyPair;
    use serde_cbor::Value;
    // SEQUENCE of two INTEGERs: nine bytes, the modulus, two bytes, the exponent.
    let der = secret.public_key().as_ref();
    assert_eq!((der.len(), &der[265..267]), (270, &[2, 3][..]));
    let entries = [
        (1, Value::Integer(3)),
        (3, Value::Integer(-257)),
        (-1, Value::Bytes(der[9..265].to_vec())),
        (-2, Value::Bytes(der[267..].to_vec())),
    ];
    let map = entries.map(|(k, v)| (Value::Integer(k), v));
    cbor(&Value::Map(map.into_iter().collect()))
}

#[tokio::test]
async fn passkeys_with_rsa_sign() {
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::{rand, signature};
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let secret = KeyPair::generate(KeySize::Rsa2048).expect("keys can be generated");
    let sign = |signed: &[u8]| {
        let mut out = vec![0; secret.public_modulus_len()];
        let random = rand::SystemRandom::new();
        let done = secret.sign(&signature::RSA_PKCS1_SHA256, &random, signed, &mut out);
        done.map(|()| out).expect("it is as long as the modulus")
    };
    let key = der(1, &rsa_cose(&secret));
    let content = call(Principal::self_authenticating(&key), id, "inc");
    let message = content.to_request_id().signable();

    let mut flipped = signed_assertion("webauthn.get", &message, sign);
    flipped.signature[100] ^= 1;
    let other = signed_assertion("webauthn.get", b"another request", sign);
    for bad in [flipped, other] {
        let envelope = envelope(content.clone(), &key, cbor(&bad));
        let (status, said) = text(post_call(&replica.url(), id, &envelope).await);
        assert_eq!((status, said.contains("WebAuthn")), (400, true), "{said}");
    }
    assert_eq!(get(&owner, id).await, 0);
    let good = signed_assertion("webauthn.get", &message, sign);
    let envelope = envelope(content, &key, cbor(&good));
    let (status, said) = text(post_call(&replica.url(), id, &envelope).await);
    assert_eq!(status, 200, "{said}");
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

/// As Internet Identity works: a canister certifies that it delegates to a session key.
#[tokio::test]
async fn canisters_sign_delegations() {
    #[derive(serde::Serialize)]
    struct CanisterSignature {
        certificate: serde_bytes::ByteBuf,
        tree: HashTree,
    }
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let seed = b"user 7";
    let raw = [&[id.as_slice().len() as u8], id.as_slice(), seed].concat();
    let key = der(2, &raw);
    let session = identity(5);
    let delegation = Delegation {
        pubkey: session.public_key().expect("it has a key"),
        expiration: expiry(600),
        targets: None,
        permissions: None,
    };
    let tree: HashTree = label(
        "sig",
        label(
            Sha256::digest(seed).to_vec(),
            label(Sha256::digest(delegation.signable()).to_vec(), leaf(vec![])),
        ),
    );
    owner
        .update(&id, "set_cert")
        .with_arg(tree.digest().to_vec())
        .call_and_wait()
        .await
        .expect("it certifies");
    let certificate = owner.query(&id, "cert").with_arg([]).call().await;
    let certificate = certificate.expect("it has a certificate").into();
    let mut signature = vec![0xd9, 0xd9, 0xf7];
    signature.extend(cbor(&CanisterSignature { certificate, tree }));

    let content = call(Principal::self_authenticating(&key), id, "inc");
    let by = |delegation: Delegation| {
        let signed = session.sign(&content).expect("it signs");
        Envelope {
            sender_delegation: Some(vec![SignedDelegation {
                delegation,
                signature: signature.clone(),
            }]),
            ..envelope(
                content.clone(),
                &key,
                signed.signature.expect("a signature"),
            )
        }
    };
    let longer = Delegation {
        expiration: expiry(6000),
        ..delegation.clone()
    };
    let (status, said) = text(post_call(&replica.url(), id, &by(longer)).await);
    assert_eq!(
        (status, said.contains("canister signature")),
        (400, true),
        "{said}"
    );
    assert_eq!(get(&owner, id).await, 0);
    let (status, said) = text(post_call(&replica.url(), id, &by(delegation)).await);
    assert_eq!(status, 200, "{said}");
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn chains_and_targets_are_limited() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let content = call(identity(1).sender().expect("sender"), id, "inc");
    let send = async |chain: Vec<SignedDelegation>, last: u8| {
        let signed = identity(last).sign(&content).expect("it signs");
        let envelope = Envelope {
            sender_delegation: Some(chain),
            ..envelope(
                content.clone(),
                &identity(1).public_key().expect("it has a key"),
                signed.signature.expect("a signature"),
            )
        };
        text(post_call(&replica.url(), id, &envelope).await)
    };
    let link =
        |from: u8, to: u8, targets| delegate(&identity(from), &identity(to), 600, targets, None);
    let chain = |length: u8| (1..=length).map(|n| link(n, n + 1, None)).collect();
    let (status, said) = send(chain(21), 22).await;
    assert_eq!((status, said.contains("at most 20")), (400, true), "{said}");
    let many = |count: u64| {
        let mut ids: Vec<_> = (1..count)
            .map(|n| Principal::from_slice(&n.to_be_bytes()))
            .collect();
        ids.push(id);
        Some(ids)
    };
    let (status, said) = send(vec![link(1, 2, many(1001))], 2).await;
    assert_eq!(
        (status, said.contains("at most 1000")),
        (400, true),
        "{said}"
    );
    let cycle = vec![link(1, 2, None), link(2, 3, None), link(3, 2, None)];
    let (status, said) = send(cycle, 2).await;
    assert_eq!((status, said.contains("cycle")), (400, true), "{said}");
    assert_eq!(get(&owner, id).await, 0);
    let (status, said) = send(vec![link(1, 2, many(1000))], 2).await;
    assert_eq!(status, 200, "{said}");
    // The same request: it ran already.
    let (status, said) = send(chain(20), 21).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

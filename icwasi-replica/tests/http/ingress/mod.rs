//! What the replica believes and what it does not: signatures, delegations, expiry, replay, sizes.

mod keys;
mod paths;

use crate::support::*;
use ic_agent::AgentError;
use ic_agent::agent::{CallResponse, EnvelopeContent, RejectCode};
use ic_agent::identity::{
    AnonymousIdentity, DelegatedIdentity, Delegation, Identity, Prime256v1Identity,
    Secp256k1Identity, SignedDelegation,
};
use ic_transport_types::DelegationPermissions;

fn text(answer: (u16, Vec<u8>)) -> (u16, String) {
    (answer.0, String::from_utf8_lossy(&answer.1).into_owned())
}

#[tokio::test]
async fn the_same_request_runs_once() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let signed = owner.update(&id, "inc").with_arg([]).sign().expect("signs");
    let send = || owner.update_signed(id, signed.signed_update.clone());
    let answers = futures_join(send(), send(), send()).await;
    for answer in [answers.0, answers.1, answers.2, send().await] {
        match answer.expect("every copy is answered") {
            CallResponse::Response(reply) => assert_eq!(reply, 1u32.to_le_bytes()),
            CallResponse::Poll(_) => panic!("a short call is answered at once"),
        }
    }
    assert_eq!(get(&owner, id).await, 1);
    // Another nonce makes it another call.
    assert_eq!(inc(&owner, id).await, 2);
    replica.stop().await.expect("stops");
}

async fn futures_join<T>(
    a: impl Future<Output = T>,
    b: impl Future<Output = T>,
    c: impl Future<Output = T>,
) -> (T, T, T) {
    tokio::join!(a, b, c)
}

#[tokio::test]
async fn version_two_answers_at_once_and_the_status_is_for_the_sender() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let envelope = sign(
        &identity(1),
        call(identity(1).sender().expect("sender"), id, "inc"),
    );
    let request = envelope.content.to_request_id();
    let path = format!("/api/v2/canister/{id}/call");
    let answer = post(&replica.url(), &path, &envelope.encode_bytes()).await;
    assert_eq!(answer, (202, vec![]));
    let (reply, _) = owner.wait(&request, id).await.expect("it can be polled");
    assert_eq!(reply, 1u32.to_le_bytes());

    let stranger = agent(&replica.url(), identity(2)).await;
    let refused = stranger.request_status_raw(&request, id).await;
    assert!(
        matches!(&refused, Err(AgentError::HttpError(e)) if e.status == 403),
        "{refused:?}"
    );

    let envelope = sign(
        &identity(1),
        call(identity(1).sender().expect("sender"), id, "closed"),
    );
    let (status, body) = post(&replica.url(), &path, &envelope.encode_bytes()).await;
    assert_eq!(status, 200);
    let reject: ic_transport_types::RejectResponse =
        serde_cbor::from_slice(&body).expect("a rejection");
    assert_eq!(reject.reject_code, RejectCode::CanisterReject);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn expiry_must_be_near() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let sender = identity(1).sender().expect("sender");
    for (seconds, good) in [(-1, false), (-3600, false), (300, true), (3600, false)] {
        let mut content = call(sender, id, "inc");
        if let EnvelopeContent::Call { ingress_expiry, .. } = &mut content {
            *ingress_expiry = expiry(seconds);
        }
        let answer = text(post_call(&replica.url(), id, &sign(&identity(1), content)).await);
        if good {
            assert_eq!(answer.0, 200, "{seconds}: {}", answer.1);
        } else {
            assert_eq!(answer.0, 400, "{seconds}");
            assert!(
                answer.1.starts_with("Invalid request expiry: "),
                "{}",
                answer.1
            );
        }
    }
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn only_the_sender_can_speak_for_itself() {
    let replica = replica().await;
    let url = replica.url();
    let owner = agent(&url, identity(1)).await;
    let id = install(&owner, &counter()).await;
    let (me, other) = (identity(1), identity(2));
    let sender = me.sender().expect("sender");
    let good = sign(&me, call(sender, id, "inc"));

    let mut flipped = good.clone();
    flipped.sender_sig.as_mut().expect("signed")[5] ^= 1;
    let mut other_content = good.clone();
    other_content.content = std::borrow::Cow::Owned(call(sender, id, "boom"));
    let mut unsigned = good.clone();
    (unsigned.sender_sig, unsigned.sender_pubkey) = (None, None);
    let mut no_key = good.clone();
    no_key.sender_pubkey = None;
    let mut rubbish_key = good.clone();
    rubbish_key.sender_pubkey = Some(vec![1, 2, 3]);
    let mut other_key = sign(&other, call(other.sender().expect("sender"), id, "inc"));
    other_key.content = good.content.clone();
    let mut signed_anonymous = good.clone();
    signed_anonymous.content =
        std::borrow::Cow::Owned(call(AnonymousIdentity.sender().expect("sender"), id, "inc"));
    let mut long_nonce = call(sender, id, "inc");
    if let EnvelopeContent::Call { nonce, .. } = &mut long_nonce {
        *nonce = Some(vec![0; 33]);
    }
    let cases = [
        ("flipped bit", flipped),
        ("other content", other_content),
        ("unsigned", unsigned),
        ("no key", no_key),
        ("rubbish key", rubbish_key),
        ("other key", other_key),
        ("anonymous with a signature", signed_anonymous),
        ("long nonce", sign(&me, long_nonce)),
    ];
    for (name, envelope) in &cases {
        let answer = text(post_call(&url, id, envelope).await);
        assert_eq!(answer.0, 400, "{name}: {}", answer.1);
        assert!(!answer.1.is_empty(), "{name}");
    }
    assert_eq!(get(&owner, id).await, 0);
    assert_eq!(post_call(&url, id, &good).await.0, 200);
    assert_eq!(get(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn every_kind_of_key_signs() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let p256 = p256::SecretKey::from_slice(&[3; 32]).expect("a valid scalar");
    let k256 = k256::SecretKey::from_slice(&[4; 32]).expect("a valid scalar");
    let identities: Vec<Box<dyn Identity>> = vec![
        Box::new(identity(2)),
        Box::new(Prime256v1Identity::from_private_key(p256)),
        Box::new(Secp256k1Identity::from_private_key(k256)),
        Box::new(AnonymousIdentity),
    ];
    for (n, identity) in identities.into_iter().enumerate() {
        let principal = identity.sender().expect("sender");
        let agent = agent(&replica.url(), identity).await;
        assert_eq!(inc(&agent, id).await, n as u32 + 1);
        let who = agent
            .query(&id, "who")
            .with_arg([])
            .call()
            .await
            .expect("who replies");
        assert_eq!(who, principal.as_slice());
    }
    replica.stop().await.expect("stops");
}

/// A delegation from `from` to `to`.
fn delegate(
    from: &dyn Identity,
    to: &dyn Identity,
    seconds: i64,
    targets: Option<Vec<candid::Principal>>,
    permissions: Option<DelegationPermissions>,
) -> SignedDelegation {
    let delegation = Delegation {
        pubkey: to.public_key().expect("it has a key"),
        expiration: expiry(seconds),
        targets,
        permissions,
    };
    let signature = from.sign_delegation(&delegation).expect("signs").signature;
    SignedDelegation {
        delegation,
        signature: signature.expect("it has a signature"),
    }
}

#[tokio::test]
async fn delegations_are_followed_and_limited() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let other = install(&owner, &counter()).await;
    let key = identity(1).public_key().expect("it has a key");
    let principal = identity(1).sender().expect("sender");
    let by = |chain: Vec<SignedDelegation>, last: u8| {
        DelegatedIdentity::new_unchecked(key.clone(), Box::new(identity(last)), chain)
    };

    let one = by(
        vec![delegate(&identity(1), &identity(5), 600, None, None)],
        5,
    );
    let session = agent(&replica.url(), one).await;
    let who = session
        .query(&id, "who")
        .with_arg([])
        .call()
        .await
        .expect("who replies");
    assert_eq!(who, principal.as_slice());
    assert_eq!(inc(&session, id).await, 1);

    let two = by(
        vec![
            delegate(&identity(1), &identity(5), 600, Some(vec![id, other]), None),
            delegate(&identity(5), &identity(6), 600, Some(vec![id]), None),
        ],
        6,
    );
    let session = agent(&replica.url(), two).await;
    assert_eq!(inc(&session, id).await, 2);
    let outside = session
        .update(&other, "inc")
        .with_arg([])
        .call_and_wait()
        .await;
    assert!(
        matches!(&outside, Err(AgentError::HttpError(e)) if e.status == 400),
        "{outside:?}"
    );

    let queries = Some(DelegationPermissions::Queries);
    let reader = by(
        vec![delegate(&identity(1), &identity(5), 600, None, queries)],
        5,
    );
    let session = agent(&replica.url(), reader).await;
    assert_eq!(get(&session, id).await, 2);
    let update = session
        .update(&id, "inc")
        .with_arg([])
        .call_and_wait()
        .await;
    assert!(
        matches!(&update, Err(AgentError::HttpError(e)) if e.status == 400),
        "{update:?}"
    );

    let bad = [
        (
            "expired",
            by(
                vec![delegate(&identity(1), &identity(5), -5, None, None)],
                5,
            ),
        ),
        (
            "by another",
            by(
                vec![delegate(&identity(2), &identity(5), 600, None, None)],
                5,
            ),
        ),
        (
            "to another",
            by(
                vec![delegate(&identity(1), &identity(6), 600, None, None)],
                5,
            ),
        ),
    ];
    for (name, identity) in bad {
        let session = agent(&replica.url(), identity).await;
        let refused = session.query(&id, "who").with_arg([]).call().await;
        assert!(
            matches!(&refused, Err(AgentError::HttpError(e)) if e.status == 400),
            "{name}"
        );
    }
    assert_eq!(get(&owner, id).await, 2);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn malformed_requests_get_a_text_and_change_nothing() {
    let replica = replica().await;
    let url = replica.url();
    let owner = agent(&url, identity(1)).await;
    let id = install(&owner, &counter()).await;
    let path = format!("/api/v4/canister/{id}/call");
    let sender = identity(1).sender().expect("sender");
    let good = sign(&identity(1), call(sender, id, "inc"));

    assert_eq!(post(&url, &path, b"").await.0, 400);
    assert_eq!(post(&url, &path, b"not cbor at all").await.0, 400);
    let bytes = good.encode_bytes();
    for cut in (0..bytes.len()).step_by(7) {
        assert_eq!(
            post(&url, &path, &bytes[..cut]).await.0,
            400,
            "cut at {cut}"
        );
    }
    assert_eq!(
        post(&url, "/api/v4/canister/not-an-id/call", &bytes)
            .await
            .0,
        400
    );
    assert_eq!(
        post(&url, "/api/v4/canister/aaaaa-aa/call", &bytes).await.0,
        400
    );
    assert_eq!(
        post(&url, &format!("/api/v3/canister/{id}/query"), &bytes)
            .await
            .0,
        400
    );
    assert_eq!(
        post(&url, &format!("/api/v9/canister/{id}/call"), &bytes)
            .await
            .0,
        404
    );

    let mut content = call(sender, id, "inc");
    if let EnvelopeContent::Call { arg, .. } = &mut content {
        *arg = vec![0; 2 << 20];
    }
    let answer = text(post_call(&url, id, &sign(&identity(1), content.clone())).await);
    assert_eq!(answer.0, 413, "{}", answer.1);
    if let EnvelopeContent::Call { arg, .. } = &mut content {
        *arg = vec![0; 6 << 20];
    }
    assert_eq!(
        post_call(&url, id, &sign(&identity(1), content)).await.0,
        413
    );
    assert_eq!(get(&owner, id).await, 0);

    // State that may not be read, and paths that do not exist.
    for (labels, status) in [
        (vec!["canister", "certified_data"], 404),
        (vec!["nothing"], 404),
        (vec!["request_status", "short"], 400),
    ] {
        let mut path: Vec<ic_agent::hash_tree::Label<Vec<u8>>> =
            labels.iter().map(|label| (*label).into()).collect();
        if labels[0] == "canister" {
            path.insert(1, id.as_slice().into());
        }
        let refused = owner.read_state_raw(vec![path], id).await;
        assert!(
            matches!(&refused, Err(AgentError::HttpError(e)) if e.status == status),
            "{labels:?}: {refused:?}"
        );
    }
    replica.stop().await.expect("stops");
}

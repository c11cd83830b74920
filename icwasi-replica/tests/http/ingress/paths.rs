//! What `read_state` shows to whom, and under which paths.

use candid::Principal;
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::identity::{AnonymousIdentity, Identity, SignedDelegation};
use ic_certification::{Certificate, LookupResult};
use ic_transport_types::{ReadStateResponse, to_request_id};
use icwasi_replica::{Replica, ReplicaOptions};

use super::{delegate, text};
use crate::support::*;

type Paths = Vec<Vec<Vec<u8>>>;

fn path(labels: &[&[u8]]) -> Vec<Vec<u8>> {
    labels.iter().map(|label| label.to_vec()).collect()
}

fn read(sender: Principal, paths: &Paths) -> EnvelopeContent {
    EnvelopeContent::ReadState {
        ingress_expiry: expiry(120),
        sender,
        paths: paths
            .iter()
            .map(|path| path.iter().map(|label| label.clone().into()).collect())
            .collect(),
    }
}

/// The status, and the tree or the text.
struct Answer {
    status: u16,
    tree: Option<Certificate>,
    text: String,
}

impl Answer {
    fn of((status, body): (u16, Vec<u8>)) -> Self {
        let tree = (status == 200).then(|| {
            let response: ReadStateResponse = serde_cbor::from_slice(&body).expect("a response");
            serde_cbor::from_slice(&response.certificate).expect("a certificate")
        });
        let text = String::from_utf8_lossy(&body).into_owned();
        Self { status, tree, text }
    }

    fn lookup(&self, path: &[Vec<u8>]) -> LookupResult<'_> {
        let certificate = self.tree.as_ref().expect("it was answered");
        certificate.tree.lookup_path(path)
    }
}

async fn ask(url: &str, under: &str, who: &dyn Identity, paths: &Paths) -> Answer {
    let content = read(who.sender().expect("a sender"), paths);
    let body = sign(who, content).encode_bytes();
    Answer::of(post(url, &format!("/api/{under}/read_state"), &body).await)
}

#[tokio::test]
async fn every_path_is_readable_where_it_should_be_and_nowhere_else() {
    let replica = replica().await;
    let url = replica.url();
    let owner = agent(&url, identity(1)).await;
    let id = install(&owner, &counter()).await;
    let nobody = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 9, 9, 1, 1]);
    let subnet = Principal::self_authenticating(replica.root_key());
    let (c, s) = (id.as_slice(), subnet.as_slice());
    let [c2, c3, s2, s3] = [
        format!("v2/canister/{id}"),
        format!("v3/canister/{id}"),
        format!("v2/subnet/{subnet}"),
        format!("v3/subnet/{subnet}"),
    ];
    let r = &[7u8; 32][..];
    // Path, and the status under canister and subnet, versions 2 and 3.
    let rows: Vec<(Vec<Vec<u8>>, [u16; 4])> = vec![
        (path(&[b"time"]), [200; 4]),
        (path(&[b"subnet"]), [200; 4]),
        (path(&[b"subnet", s, b"public_key"]), [200; 4]),
        (path(&[b"subnet", s, b"type"]), [200; 4]),
        (path(&[b"subnet", s, b"node"]), [200; 4]),
        (path(&[b"subnet", s, b"canister_ranges"]), [200; 4]),
        (path(&[b"subnet", s, b"metrics"]), [404, 404, 200, 200]),
        (path(&[b"subnet", s, b"secrets"]), [404; 4]),
        (path(&[b"canister_ranges", s]), [404, 404, 200, 200]),
        (path(&[b"api_boundary_nodes"]), [200; 4]),
        (
            path(&[b"canister", c, b"module_hash"]),
            [200, 200, 404, 404],
        ),
        (
            path(&[b"canister", c, b"controllers"]),
            [200, 200, 404, 404],
        ),
        (
            path(&[b"canister", c, b"metadata", b"note"]),
            [200, 200, 404, 404],
        ),
        (
            path(&[b"canister", c, b"metadata", b"\xff"]),
            [400, 400, 404, 404],
        ),
        (path(&[b"canister", c, b"certified_data"]), [404; 4]),
        (path(&[b"canister", c]), [404; 4]),
        (
            path(&[b"canister", nobody.as_slice(), b"module_hash"]),
            [400, 400, 404, 404],
        ),
        (path(&[b"request_status", r]), [200, 200, 404, 200]),
        (
            path(&[b"request_status", r, b"reply"]),
            [200, 200, 404, 200],
        ),
        (path(&[b"request_status", r, b"other"]), [404; 4]),
        (path(&[b"request_status", b"short"]), [400, 400, 404, 400]),
        (path(&[b"nothing"]), [404; 4]),
    ];
    for (labels, expected) in &rows {
        for (under, status) in [&c2, &c3, &s2, &s3].into_iter().zip(expected) {
            let answer = ask(&url, under, &identity(2), &vec![labels.clone()]).await;
            assert_eq!(
                answer.status, *status,
                "{labels:?} {under}: {}",
                answer.text
            );
        }
    }
    let other = format!("v3/subnet/{id}");
    assert_eq!(ask(&url, &other, &identity(2), &vec![]).await.status, 400);

    // What was asked for is there, or provably not.
    let key = path(&[b"subnet", s, b"public_key"]);
    let hash = path(&[b"canister", c, b"module_hash"]);
    let answer = ask(&url, &c3, &identity(2), &vec![key.clone(), hash.clone()]).await;
    assert_eq!(
        answer.lookup(&key),
        LookupResult::Found(&replica.root_key())
    );
    assert!(matches!(answer.lookup(&hash), LookupResult::Found(_)));
    assert!(matches!(
        answer.lookup(&path(&[b"time"])),
        LookupResult::Found(_)
    ));
    let gone = path(&[b"canister", nobody.as_slice(), b"module_hash"]);
    let under = format!("v3/canister/{nobody}");
    let answer = ask(&url, &under, &identity(2), &vec![gone.clone()]).await;
    assert_eq!(answer.lookup(&gone), LookupResult::Absent);

    let two = vec![
        path(&[b"request_status", r]),
        path(&[b"request_status", &[8; 32]]),
    ];
    assert_eq!(ask(&url, &c3, &identity(2), &two).await.status, 400);
    let many = vec![path(&[b"time"]); 1_001];
    assert_eq!(ask(&url, &c3, &identity(2), &many).await.status, 400);
    assert_eq!(
        ask(&url, &c3, &identity(2), &many[1..].to_vec())
            .await
            .status,
        200
    );
    let long = vec![vec![b"time".to_vec(); 128]];
    assert_eq!(ask(&url, &c3, &identity(2), &long).await.status, 400);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn the_status_of_a_call_is_for_its_sender_and_its_targets() {
    let replica = replica().await;
    let url = replica.url();
    let owner = agent(&url, identity(1)).await;
    let id = install(&owner, &counter()).await;
    let other = install(&owner, &counter()).await;
    let content = call(identity(1).sender().expect("sender"), id, "inc");
    let request = content.to_request_id();
    assert_eq!(
        post_call(&url, id, &sign(&identity(1), content)).await.0,
        200
    );

    let status = path(&[b"request_status", request.as_slice(), b"status"]);
    let paths = vec![status.clone()];
    let under = format!("v3/canister/{id}");
    let answer = ask(&url, &under, &identity(1), &paths).await;
    assert_eq!(answer.lookup(&status), LookupResult::Found(b"replied"));
    let subnet = Principal::self_authenticating(replica.root_key());
    let answer = ask(&url, &format!("v3/subnet/{subnet}"), &identity(1), &paths).await;
    assert_eq!(answer.lookup(&status), LookupResult::Found(b"replied"));
    assert_eq!(ask(&url, &under, &identity(2), &paths).await.status, 403);
    assert_eq!(
        ask(&url, &under, &AnonymousIdentity, &paths).await.status,
        403
    );
    let elsewhere = format!("v3/canister/{other}");
    assert_eq!(
        ask(&url, &elsewhere, &identity(1), &paths).await.status,
        400
    );

    for (target, expected) in [(id, 200), (other, 403)] {
        let chain: Vec<SignedDelegation> = vec![delegate(
            &identity(1),
            &identity(5),
            600,
            Some(vec![target]),
            None,
        )];
        let content = read(identity(1).sender().expect("sender"), &paths);
        let signed = identity(5).sign(&content).expect("it signs");
        let envelope = Envelope {
            content: std::borrow::Cow::Owned(content),
            sender_pubkey: identity(1).public_key(),
            sender_sig: signed.signature,
            sender_delegation: Some(chain),
        };
        let path = format!("/api/{under}/read_state");
        let answer = post(&url, &path, &envelope.encode_bytes()).await;
        assert_eq!(answer.0, expected, "a delegation for {target}");
    }
    replica.stop().await.expect("stops");
}

/// Nonces are optional in every request and part of what is signed; anonymous requests that
/// change nothing do not expire, all others do.
#[tokio::test]
async fn nonces_are_signed_and_anonymous_reads_do_not_expire() {
    #[derive(serde::Serialize)]
    struct Read<'a> {
        request_type: &'a str,
        nonce: &'a serde_bytes::Bytes,
        ingress_expiry: u64,
        sender: Principal,
        paths: Vec<Vec<&'a serde_bytes::Bytes>>,
    }
    #[derive(serde::Serialize)]
    struct Signed<'a> {
        content: &'a Read<'a>,
        sender_pubkey: serde_bytes::ByteBuf,
        sender_sig: serde_bytes::ByteBuf,
    }
    let replica = replica().await;
    let url = replica.url();
    let owner = agent(&url, identity(1)).await;
    let id = install(&owner, &counter()).await;
    let mut content = Read {
        request_type: "read_state",
        nonce: serde_bytes::Bytes::new(b"123"),
        ingress_expiry: expiry(120),
        sender: identity(1).sender().expect("sender"),
        paths: vec![vec![serde_bytes::Bytes::new(b"time")]],
    };
    let request = to_request_id(&content).expect("it has a hash");
    let signed = identity(1).sign_arbitrary(&request.signable());
    let signature = signed.expect("it signs").signature.expect("a signature");
    let under = format!("/api/v3/canister/{id}/read_state");
    let mut send = async |nonce| {
        content.nonce = serde_bytes::Bytes::new(nonce);
        let body = serde_cbor::to_vec(&Signed {
            content: &content,
            sender_pubkey: identity(1).public_key().expect("it has a key").into(),
            sender_sig: signature.clone().into(),
        });
        text(post(&url, &under, &body.expect("CBOR can express it")).await)
    };
    let (status, said) = send(b"123").await;
    assert_eq!(status, 200, "{said}");
    let (status, said) = send(b"124").await;
    assert_eq!((status, said.contains("signature")), (400, true), "{said}");

    let late = |sender: Principal| EnvelopeContent::Query {
        ingress_expiry: expiry(-3600),
        sender,
        canister_id: id,
        method_name: "get".to_string(),
        arg: vec![],
        nonce: None,
        sender_info: None,
    };
    for version in ["v2", "v3"] {
        let under = format!("/api/{version}/canister/{id}/query");
        for (who, expected) in [
            (&AnonymousIdentity as &dyn Identity, 200),
            (&identity(1), 400),
        ] {
            let body = sign(who, late(who.sender().expect("a sender"))).encode_bytes();
            let (status, said) = text(post(&url, &under, &body).await);
            assert_eq!(status, expected, "{said}");
        }
    }
    replica.stop().await.expect("stops");
}

/// A call that takes longer than the client is made to wait: 202, then the status.
#[tokio::test]
async fn long_calls_are_accepted_and_can_be_polled() {
    let replica = Replica::start(ReplicaOptions {
        sync_wait: std::time::Duration::ZERO,
        ..ReplicaOptions::default()
    })
    .await
    .expect("a free port on loopback exists");
    let owner = agent(&replica.url(), identity(1)).await;
    // The agent polls, so all of this goes through `/request_status`.
    let id = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    for version in ["v2", "v3", "v4"] {
        let mut content = call(identity(1).sender().expect("sender"), id, "inc");
        if let EnvelopeContent::Call { nonce, .. } = &mut content {
            *nonce = Some(version.as_bytes().to_vec());
        }
        let request = content.to_request_id();
        let path = format!("/api/{version}/canister/{id}/call");
        let body = sign(&identity(1), content).encode_bytes();
        let answer = post(&replica.url(), &path, &body).await;
        assert_eq!(answer, (202, vec![]), "{version}");
        owner.wait(&request, id).await.expect("it can be polled");
    }
    assert_eq!(get(&owner, id).await, 4);
    replica.stop().await.expect("stops");
}

/// Under the id of the subnet its administrators may create and list canisters. There are none.
#[tokio::test]
async fn the_paths_of_subnet_administrators_refuse_everybody() {
    let replica = replica().await;
    let url = replica.url();
    let subnet = Principal::self_authenticating(replica.root_key());
    let me = identity(1);
    let sender = me.sender().expect("a sender");
    let management = Principal::management_canister();
    let send = async |path: &str, content: EnvelopeContent| {
        let body = sign(&me, content).encode_bytes();
        let (status, body) = post(&url, path, &body).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let path = format!("/api/v4/subnet/{subnet}/call");
    let (status, body) = send(&path, call(sender, management, "create_canister")).await;
    assert_eq!(status, 200);
    assert!(
        body.contains("non_replicated_rejection") && body.contains("administrators"),
        "{body}"
    );
    let (status, body) = send(&path, call(sender, management, "raw_rand")).await;
    assert!(
        status == 400 && body.contains("raw_rand"),
        "{status} {body}"
    );
    let elsewhere = format!("/api/v4/subnet/{management}/call");
    let (status, _) = send(&elsewhere, call(sender, management, "create_canister")).await;
    assert_eq!(status, 400);
    let query = EnvelopeContent::Query {
        ingress_expiry: expiry(120),
        sender,
        canister_id: management,
        method_name: "list_canisters".into(),
        arg: vec![],
        nonce: None,
        sender_info: None,
    };
    let (status, body) = send(&format!("/api/v3/subnet/{subnet}/query"), query).await;
    assert_eq!(status, 200);
    assert!(
        body.contains("rejected") && body.contains("list_canisters") && body.contains("IC0406"),
        "{body}"
    );
    replica.stop().await.expect("stops");
}

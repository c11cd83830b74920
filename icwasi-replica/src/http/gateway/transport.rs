//! The agent of the gateway: its requests go to the replica's router without a socket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use candid::de::DecoderConfig;
use ic_agent_046::agent::HttpService;
use ic_agent_046::{Agent, AgentError};
use ic_certification::{Certificate, LookupResult};
use ic_transport_types::{QueryResponse, ReadStateResponse, TransportCallResponse};
use tower::ServiceExt;

use crate::ingress::envelope::MAX_INGRESS_TTL_NANOS;

/// How long an update may take before the browser is told to try again.
const UPDATE_WAIT: Duration = Duration::from_secs(300);
/// Requests at the same time, of which each may be an update that waits. What bounds the work is
/// the replica.
const MAX_REQUESTS: usize = 1 << 16;
/// Work that decoding a reply may cause, in the units of candid: a body of 3 MiB needs 3 Mi.
const DECODING_QUOTA: usize = 8 << 20;

/// An anonymous agent of the replica that `api` is the interface of.
pub fn agent(api: Router, root_key: &[u8]) -> Agent {
    let agent = Agent::builder()
        // Only the path matters.
        .with_url("http://replica")
        .with_arc_http_middleware(Arc::new(InProcess { api }))
        // Nobody is between the agent and the node.
        .with_verify_query_signatures(false)
        .with_ingress_expiry(Duration::from_nanos(MAX_INGRESS_TTL_NANOS))
        .with_max_polling_time(UPDATE_WAIT)
        .with_max_concurrent_requests(MAX_REQUESTS)
        .build()
        .expect("an agent with a URL and a transport is complete");
    agent.set_root_key(root_key.to_vec());
    agent
}

/// Answers requests with the router.
#[derive(Debug)]
struct InProcess {
    api: Router,
}

#[async_trait]
impl HttpService for InProcess {
    /// Fails also when the reply of a canister is not candid, or costs too much to decode.
    async fn call<'a>(
        &'a self,
        request: &'a (dyn Fn() -> Result<Request<Bytes>, AgentError> + Send + Sync),
        _max_retries: usize,
        _size_limit: Option<usize>,
    ) -> Result<Response<Bytes>, AgentError> {
        let request = request()?;
        let kind = Kind::of(request.uri().path());
        let Ok(response) = self.api.clone().oneshot(request.map(Body::from)).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .map_err(|error| AgentError::MessageError(error.to_string()))?;
        if parts.status == StatusCode::OK
            && let Some(reply) = kind.and_then(|kind| kind.reply(&body))
        {
            check(&reply)?;
        }
        Ok(Response::from_parts(parts, body))
    }
}

/// Requests whose response may have the reply of a canister.
#[derive(Clone, Copy)]
enum Kind {
    Query,
    Call,
    ReadState,
}

impl Kind {
    fn of(path: &str) -> Option<Self> {
        match path.rsplit('/').next()? {
            "query" => Some(Self::Query),
            "call" => Some(Self::Call),
            "read_state" => Some(Self::ReadState),
            _ => None,
        }
    }

    /// The reply in a response to a request of this kind.
    fn reply(self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Query => match serde_cbor::from_slice(body).ok()? {
                QueryResponse::Replied { reply, .. } => Some(reply.arg),
                QueryResponse::Rejected { .. } => None,
            },
            Self::Call => match serde_cbor::from_slice(body).ok()? {
                TransportCallResponse::Replied { certificate } => certified_reply(&certificate),
                _ => None,
            },
            Self::ReadState => {
                let response: ReadStateResponse = serde_cbor::from_slice(body).ok()?;
                certified_reply(&response.certificate)
            }
        }
    }
}

/// The value of `/request_status/<id>/reply`.
fn certified_reply(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate: Certificate = serde_cbor::from_slice(certificate).ok()?;
    let paths = certificate.tree.list_paths();
    let path = paths.iter().find(|path| {
        path.last()
            .is_some_and(|label| label.as_bytes() == b"reply")
    })?;
    match certificate.tree.lookup_path(path) {
        LookupResult::Found(reply) => Some(reply.to_vec()),
        _ => None,
    }
}

/// Refuses what the agent, which decodes without a limit, would take too long or too much memory
/// for: some bytes of candid can say that a vector has 2^60 elements of no size.
fn check(reply: &[u8]) -> Result<(), AgentError> {
    let mut config = DecoderConfig::new();
    config
        .set_skipping_quota(DECODING_QUOTA)
        .set_full_error_message(false);
    candid::utils::decode_args_with_config::<()>(reply, &config).map_err(AgentError::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::Encode;

    #[test]
    fn replies_that_cost_too_much_are_refused() {
        let body = serde_bytes::ByteBuf::from(vec![0; 3 << 20]);
        let large = Encode!(&body, &Some("text")).expect("candid's types");
        assert!(check(&large).is_ok(), "as large as replies may be");
        // One argument, a vector of null, with 2^60 elements.
        let endless = b"DIDL\x01\x6d\x7f\x01\x00\x80\x80\x80\x80\x80\x80\x80\x80\x10";
        assert!(check(endless).is_err());
        assert!(check(b"rubbish").is_err());
    }
}

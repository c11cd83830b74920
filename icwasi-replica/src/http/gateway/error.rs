//! What clients are told when a canister does not serve their request.

use axum::http::StatusCode;
use candid::Principal;
use ic_agent_046::AgentError;
use ic_agent_046::agent::{RejectCode, RejectResponse};
use ic_agent_046::agent_error::Operation;
use ic_http_gateway::HttpGatewayError;

use super::HttpError;

/// Most characters of a text: those on candid contain all of the bytes.
const TEXT: usize = 1_000;

/// The status and the text for `error` at a request to `canister`.
pub fn explain(error: &HttpGatewayError, canister: Principal) -> HttpError {
    let (status, text) = match error {
        HttpGatewayError::ResponseVerificationError(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "response verification failed: {error}; responses that are not certified are \
                 served under <canister-id>.raw.<domain>"
            ),
        ),
        HttpGatewayError::AgentError(error) => of_agent(error, canister),
        HttpGatewayError::HttpError(error) => (
            StatusCode::BAD_GATEWAY,
            format!("the canister's status or headers are not those of HTTP: {error}"),
        ),
        HttpGatewayError::HeaderValueParsingError { header_name, .. } => (
            StatusCode::BAD_REQUEST,
            format!("the header {header_name} is not text"),
        ),
    };
    HttpError::new(status, shortened(text))
}

fn of_agent(error: &AgentError, canister: Principal) -> (StatusCode, String) {
    match error {
        AgentError::CertifiedReject { reject, operation }
        | AgentError::UncertifiedReject { reject, operation } => {
            rejected(reject, operation.as_ref(), canister)
        }
        // Of the replica itself.
        AgentError::HttpError(answer) => {
            let status = StatusCode::from_u16(answer.status)
                .ok()
                // All else is about what the gateway or the canister made of the request.
                .filter(|s| *s == StatusCode::PAYLOAD_TOO_LARGE || s.is_server_error())
                .unwrap_or(StatusCode::BAD_GATEWAY);
            (status, String::from_utf8_lossy(&answer.content).into())
        }
        AgentError::TimeoutWaitingForResponse() => (
            StatusCode::GATEWAY_TIMEOUT,
            "the canister has not answered in time".into(),
        ),
        AgentError::CandidError(_) | AgentError::InvalidHttpResponse(_) => (
            StatusCode::BAD_GATEWAY,
            format!("the canister's answer is not an HTTP response: {error}"),
        ),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn rejected(
    reject: &RejectResponse,
    operation: Option<&Operation>,
    canister: Principal,
) -> (StatusCode, String) {
    // The callback of a stream may be one of another canister, whose absence is no 404.
    let elsewhere = matches!(operation, Some(Operation::Call { canister: called, .. })
        if *called != canister);
    let status = if reject.reject_code == RejectCode::DestinationInvalid && !elsewhere {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::BAD_GATEWAY
    };
    let text = format!(
        "the canister did not serve the request: reject code {}, {}: {}",
        reject.reject_code as u64,
        reject.error_code.as_deref().unwrap_or("no error code"),
        reject.reject_message
    );
    (status, text)
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("ä".repeat(TEXT)), "ä".repeat(TEXT));
        let cut = shortened("ä".repeat(TEXT + 1));
        assert_eq!(cut, "ä".repeat(TEXT) + "…");
    }
}

//! `GET /api/v2/status`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::{AppState, cbor};

#[derive(Serialize)]
struct Status<'a> {
    #[serde(with = "serde_bytes")]
    root_key: &'a [u8],
    replica_health_status: &'static str,
    impl_version: &'static str,
    certified_height: u64,
}

/// Who we are, and the root key. A client must not ask a network that it does not trust for it.
pub async fn status(State(app): State<AppState>) -> Response {
    let status = Status {
        root_key: app.shared.keys.root_der(),
        replica_health_status: "healthy",
        impl_version: concat!("icwasi-replica ", env!("CARGO_PKG_VERSION")),
        certified_height: app
            .shared
            .updates
            .load(std::sync::atomic::Ordering::Relaxed)
            + 1,
    };
    cbor::response(StatusCode::OK, &status)
}

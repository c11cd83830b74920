//! CBOR with the self-describing tag 55799, as the IC's HTTP interface uses it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// `value` as tagged CBOR.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut serializer = serde_cbor::Serializer::new(Vec::new());
    serializer
        .self_describe()
        .expect("writing to a Vec does not fail");
    value
        .serialize(&mut serializer)
        .expect("these types have only what CBOR can express");
    serializer.into_inner()
}

/// A response with a CBOR body.
pub fn response<T: Serialize>(status: StatusCode, value: &T) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/cbor")],
        encode(value),
    )
        .into_response()
}

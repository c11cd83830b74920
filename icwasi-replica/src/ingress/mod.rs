//! What comes in from outside: authentication of requests, expiry, and the status of calls.

pub mod auth;
pub mod envelope;
pub mod history;
mod webauthn;

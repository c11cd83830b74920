//! Tests of the replica as its clients see it: over HTTP, with real keys and certificates.

mod basics;
mod concurrency;
mod fakes;
mod gateway;
mod ingress;
mod management;
mod persist;
mod support;

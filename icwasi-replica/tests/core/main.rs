//! Tests of the execution core, apart from HTTP, candid and the management canister.

mod backtraces;
mod calls;
mod code_cache;
mod common;
mod contexts;
mod determinism;
mod execution;
mod generate;
mod interleaving;
mod journal;
mod limits;
mod metering;
mod operators;
mod paths;
mod pauses;
mod queries;
mod speed;
mod tracer;
mod validation;

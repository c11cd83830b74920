//! The stage for end-to-end tests, the demo and the benchmarks: builds and links the example
//! canisters, starts a replica in this process, calls it through ic-agent, and runs the `icwasi`
//! binary as a user would.

pub mod admin;
pub mod canisters;
pub mod cities;
pub mod cli;
pub mod clients;
pub mod counts;
pub mod demo;
pub mod host;
pub mod hostile;
pub mod network;
pub mod sqlite_app;
pub mod stage;

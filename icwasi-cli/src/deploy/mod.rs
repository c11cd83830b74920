//! Creating and installing canisters on a local network.

mod argument;
mod install;

pub use argument::{ArgumentError, decode_reply, encode_argument, service_of};
pub use install::{DeployError, Deployed, Mode, deploy};

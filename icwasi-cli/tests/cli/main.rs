//! Tests of the commands and of the transfers behind them, in one binary.

mod double;
mod link;
mod pull;
mod push;
mod replica;
mod run;
mod usage;

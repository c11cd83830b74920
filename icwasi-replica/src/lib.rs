//! Embedded local replica of the Internet Computer.

pub mod core;

//! All programs in one: `argv[0]` says which is run.

use std::process::{ExitCode, Termination};

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    run(&name).unwrap_or_else(|| panic!("there is no program {name}"))
}

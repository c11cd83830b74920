//! `ExitCode` from `main`.
use std::process::ExitCode;

pub fn main() -> ExitCode {
    println!("returning");
    ExitCode::from(17)
}

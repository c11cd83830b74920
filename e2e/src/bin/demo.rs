//! `cargo xtask demo`

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match e2e::demo::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

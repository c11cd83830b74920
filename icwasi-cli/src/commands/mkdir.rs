//! `icwasi mkdir`

use icwasi_cli::remote::{AdminApi, CanisterPath};
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;

/// Make directories in a canister.
#[derive(clap::Args)]
pub struct Args {
    /// Directories of one canister.
    #[arg(required = true, value_name = "CANISTER:PATH")]
    paths: Vec<CanisterPath>,
    /// Missing parents too; a directory that exists is no failure.
    #[arg(short, long)]
    parents: bool,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(super::one_canister(&args.paths)?).await?;
    for path in &args.paths {
        api.mkdir(path.path.as_str(), args.parents).await?;
    }
    let paths: Vec<&str> = args.paths.iter().map(|p| p.path.as_str()).collect();
    context.printer.json(json!({ "directories": paths }))?;
    Ok(ExitStatus::Done)
}

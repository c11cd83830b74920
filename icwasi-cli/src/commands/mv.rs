//! `icwasi mv`

use icwasi_cli::remote::{AdminApi, CanisterPath};
use icwasi_cli::transfer::{TransferError, is_directory};
use serde_json::{Value, json};

use super::{Context, UsageError};
use crate::exit::ExitStatus;

/// Rename or move files and directories within a canister.
///
/// As with mv, a target that is a directory receives the sources under their names, and a file
/// that exists is replaced unless --no-clobber is given. Each rename happens at once or not at all.
#[derive(clap::Args)]
pub struct Args {
    /// What to move, and as the last where to, all in one canister.
    #[arg(required = true, num_args = 2.., value_name = "CANISTER:PATH")]
    paths: Vec<CanisterPath>,
    /// Fail instead of replacing a file that exists.
    #[arg(long)]
    no_clobber: bool,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let canister = super::one_canister(&args.paths)?;
    let Some((target, sources)) = args.paths.split_last() else {
        return Err(UsageError("a source and a target are needed".to_owned()).into());
    };
    let api = context.admin(canister).await?;
    let into = is_directory(&api, target.path.as_str()).await?;
    if !into && (sources.len() > 1 || target.path.wants_directory()) {
        return Err(TransferError::NotADirectory(target.path.to_string()).into());
    }
    let mut moved: Vec<Value> = Vec::new();
    for source in sources {
        let to = match source.path.name() {
            Some(name) if into => target.path.join(name)?,
            Some(_) => target.path.clone(),
            None => return Err(UsageError("the root directory can't be moved".to_owned()).into()),
        };
        api.rename(source.path.as_str(), to.as_str(), !args.no_clobber)
            .await?;
        moved.push(json!({ "source": source.path.as_str(), "target": to.as_str() }));
    }
    context.printer.json(json!({ "moved": moved }))?;
    Ok(ExitStatus::Done)
}

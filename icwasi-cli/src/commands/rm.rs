//! `icwasi rm`

use icwasi_cli::remote::{AdminApi, CanisterPath, RemoteError};
use icwasi_cli::transfer::TransferError;
use icwasi_types::FileType;
use serde_json::json;

use super::{Context, UsageError};
use crate::exit::ExitStatus;

/// Remove files, symbolic links, and with -r directories of a canister.
///
/// A large tree is removed in several messages: if that is interrupted, a part is gone.
#[derive(clap::Args)]
pub struct Args {
    /// What to remove, of one canister.
    #[arg(required = true, value_name = "CANISTER:PATH")]
    paths: Vec<CanisterPath>,
    /// Directories with all they hold.
    #[arg(short, long, visible_short_alias = 'R')]
    recursive: bool,
    /// What does not exist is no failure.
    #[arg(short, long)]
    force: bool,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let canister = super::one_canister(&args.paths)?;
    if args.paths.iter().any(|p| p.path.is_root()) {
        let text = "the root directory can't be removed: name what it holds".to_owned();
        return Err(UsageError(text).into());
    }
    let api = context.admin(canister).await?;
    let mut total = 0;
    for path in &args.paths {
        match remove(&api, path.path.as_str(), args.recursive).await {
            Ok(removed) => total += removed,
            Err(Failure::Remote(e)) if args.force && e.is_not_found() => {}
            Err(Failure::Remote(e)) => return Err(e.into()),
            Err(Failure::Directory(e)) => return Err(e.into()),
        }
    }
    context.printer.json(json!({ "removed": total }))?;
    Ok(ExitStatus::Done)
}

enum Failure {
    Remote(RemoteError),
    Directory(TransferError),
}

async fn remove<A: AdminApi>(api: &A, path: &str, recursive: bool) -> Result<u64, Failure> {
    // As rm does: a directory, even an empty one, only if it is asked for.
    if !recursive {
        let stat = api.stat(path).await.map_err(Failure::Remote)?;
        if stat.file_type == FileType::Directory {
            return Err(Failure::Directory(TransferError::IsDirectory(
                path.to_owned(),
            )));
        }
    }
    let mut total = 0;
    loop {
        match api.remove(path, recursive).await {
            Ok(reply) => {
                total += reply.removed;
                if !reply.more {
                    return Ok(total);
                }
            }
            // Somebody else removed the rest.
            Err(e) if total > 0 && e.is_not_found() => return Ok(total),
            Err(e) => return Err(Failure::Remote(e)),
        }
    }
}

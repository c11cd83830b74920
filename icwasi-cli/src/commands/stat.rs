//! `icwasi stat`

use icwasi_cli::remote::{AdminApi, CanisterPath};
use serde_json::json;

use super::Context;
use super::ls::{kind_name, stat_json};
use crate::exit::ExitStatus;
use crate::printer::{safe, size, time};

/// Show what a canister knows about files. Symbolic links are not followed.
#[derive(clap::Args)]
pub struct Args {
    /// Files or directories of one canister.
    #[arg(required = true, value_name = "CANISTER:PATH")]
    paths: Vec<CanisterPath>,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(super::one_canister(&args.paths)?).await?;
    let mut files = Vec::new();
    for path in &args.paths {
        let path = path.path.as_str();
        let stat = api.stat(path).await?;
        let text = format!(
            "    Path: {}\n    Type: {}\n    Size: {} ({} allocated)\n   Inode: {}  Links: {}  \
             Version: {}\nModified: {}\n Changed: {}\nAccessed: {}",
            safe(path),
            kind_name(stat.file_type),
            stat.size,
            size(stat.allocated),
            stat.inode,
            stat.links,
            stat.version,
            time(stat.modified),
            time(stat.changed),
            time(stat.accessed),
        );
        context.printer.line(&text)?;
        let mut file = stat_json(&stat);
        file["path"] = json!(path);
        files.push(file);
    }
    context.printer.json(json!({ "files": files }))?;
    Ok(ExitStatus::Done)
}

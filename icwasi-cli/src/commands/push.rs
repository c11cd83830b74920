//! `icwasi push`

use std::path::PathBuf;

use icwasi_cli::remote::CanisterPath;
use icwasi_cli::transfer::{self, PushOptions};
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::size;
use crate::ui_progress::Bars;

/// Copy files and directories into a canister, as scp would.
///
/// A target that is a directory, is written with a slash at its end, or gets several sources
/// receives them under their names. Missing directories are made. With -r, `dir` is copied with
/// its name and `dir/` without. Symbolic links within a directory are skipped.
///
/// A file appears in the canister complete, at once, or not at all. As with scp, a file that
/// exists is replaced, unless --no-clobber is given. A push that was interrupted is resumed by pushing
/// again.
#[derive(clap::Args)]
pub struct Args {
    /// Files and directories on this computer.
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// Where to in the canister, such as `app:/data/`.
    #[arg(value_name = "CANISTER:PATH")]
    target: CanisterPath,
    /// Directories with all they hold.
    #[arg(short, long)]
    recursive: bool,
    /// Fail instead of replacing a file that exists in the canister.
    #[arg(long)]
    no_clobber: bool,
    /// Chunks under way at the same time.
    #[arg(long, value_name = "N", default_value_t = transfer::DEFAULT_CONCURRENCY,
          value_parser = super::concurrency)]
    concurrency: usize,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(&args.target.canister).await?;
    let printer = context.printer;
    let options = PushOptions {
        recursive: args.recursive,
        overwrite: !args.no_clobber,
        concurrency: args.concurrency,
    };
    let bars = Bars::new("push", printer.quiet, printer.json);
    let done = transfer::push(&api, &args.sources, &args.target.path, &options, &bars).await;
    drop(bars);
    let done = done?;
    let bytes: u64 = done.iter().map(|f| f.size).sum();
    let sent: u64 = done.iter().map(|f| f.sent).sum();
    let resumed = if sent < bytes {
        format!(", {} resumed", size(bytes - sent))
    } else {
        String::new()
    };
    let files = if done.len() == 1 { "file" } else { "files" };
    printer.note(&format!(
        "pushed {} {files}, {}{resumed}",
        done.len(),
        size(bytes)
    ));
    let files = done.iter().map(|f| {
        json!({
            "local": f.local.display().to_string(),
            "remote": f.remote,
            "size": f.size,
            "sent": f.sent,
            "blake3": hex::encode(f.hash),
        })
    });
    printer.json(json!({ "files": files.collect::<Vec<_>>() }))?;
    Ok(ExitStatus::Done)
}

//! `icwasi pull`

use std::path::PathBuf;

use icwasi_cli::remote::CanisterPath;
use icwasi_cli::transfer::{self, PullOptions, Pulled};
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::size;
use crate::ui_progress::Bars;

/// Copy files and directories out of a canister.
///
/// Each file appears here complete, in one state that it had in the canister, or not at all.
/// A file that exists here is only replaced with --overwrite. Nothing is written outside of
/// DST, whatever the names in the canister are. Symbolic links within a directory are skipped.
#[derive(clap::Args)]
pub struct Args {
    /// Files and directories of one canister, such as `app:/data/cities.db`.
    #[arg(required = true, value_name = "CANISTER:PATH")]
    sources: Vec<CanisterPath>,
    /// Where to: a directory that exists, a directory to make (`dir/`), or a file.
    #[arg(value_name = "DST")]
    target: PathBuf,
    /// Directories with all they hold.
    #[arg(short, long)]
    recursive: bool,
    /// Replace files that exist here.
    #[arg(long)]
    overwrite: bool,
    /// Reads under way at the same time.
    #[arg(long, value_name = "N", default_value_t = transfer::DEFAULT_CONCURRENCY,
          value_parser = super::concurrency)]
    concurrency: usize,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let canister = super::one_canister(&args.sources)?;
    let api = context.admin(canister).await?;
    let printer = context.printer;
    let options = PullOptions {
        recursive: args.recursive,
        overwrite: args.overwrite,
        concurrency: args.concurrency,
        source: None,
    };
    let sources: Vec<_> = args.sources.iter().map(|s| s.path.clone()).collect();
    let bars = Bars::new("pull", printer.quiet, printer.json);
    let done = transfer::pull(&api, &sources, &args.target, &options, &bars).await;
    drop(bars);
    report("pulled", &done?, context)
}

/// Says what was copied; `what` says how.
pub fn report(what: &str, done: &[Pulled], context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = context.printer;
    let bytes: u64 = done.iter().map(|f| f.size).sum();
    let files = if done.len() == 1 { "file" } else { "files" };
    printer.note(&format!("{what} {} {files}, {}", done.len(), size(bytes)));
    let files = done.iter().map(
        |f| json!({ "remote": f.remote, "local": f.local.display().to_string(), "size": f.size }),
    );
    printer.json(json!({ "files": files.collect::<Vec<_>>() }))?;
    Ok(ExitStatus::Done)
}

//! `icwasi image`: the stable memory of a canister as a file.

use std::path::PathBuf;

use anyhow::Context as _;
use icwasi::fs::MountError;
use icwasi_cli::image::{Image, ImageError};
use icwasi_cli::remote::path::{PathError, RemotePath};
use icwasi_cli::transfer::{self, PullOptions};
use icwasi_types::Finding;
use serde_json::json;

use super::{Context, fsck, ls, pull};
use crate::exit::ExitStatus;
use crate::ui_progress::Bars;

/// Work on the files in a canister snapshot, without the canister.
///
/// FILE is the stable memory of a canister, or the directory of a downloaded snapshot, which holds
/// it as stable_memory.bin. It is only read. Canisters that give icwasi a part of their stable
/// memory (a MemoryManager) are not supported.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Check the file system: exit code 3 if something is wrong.
    Fsck(FsckArgs),
    /// List a directory, or show a single file.
    Ls(LsArgs),
    /// Copy files and directories out of it.
    Extract(ExtractArgs),
}

#[derive(clap::Args)]
pub struct FsckArgs {
    /// Stable memory, or the directory of a snapshot.
    #[arg(value_name = "FILE")]
    image: PathBuf,
}

#[derive(clap::Args)]
pub struct LsArgs {
    /// Stable memory, or the directory of a snapshot.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// What to list.
    #[arg(value_name = "PATH", default_value = "/", value_parser = path)]
    path: RemotePath,
    #[command(flatten)]
    format: ls::Format,
}

#[derive(clap::Args)]
pub struct ExtractArgs {
    /// Stable memory, or the directory of a snapshot.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// Files and directories in it.
    #[arg(required = true, value_name = "PATH", value_parser = path)]
    sources: Vec<RemotePath>,
    /// Where to: a directory that exists, a directory to make (`dir/`), or a file.
    #[arg(value_name = "DST")]
    target: PathBuf,
    /// Directories with all they hold.
    #[arg(short, long)]
    recursive: bool,
    /// Replace files that exist here.
    #[arg(long)]
    overwrite: bool,
}

fn path(text: &str) -> Result<RemotePath, PathError> {
    RemotePath::parse(text)
}

pub async fn run(command: Command, context: &Context) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Fsck(args) => check(args, context).await,
        Command::Ls(args) => {
            let image = Image::open(&args.image)?;
            ls::list(&image, &args.path, args.format, context).await
        }
        Command::Extract(args) => {
            let image = Image::open(&args.image)?;
            let options = PullOptions {
                recursive: args.recursive,
                overwrite: args.overwrite,
                concurrency: 1,
                source: Some(image.file_id()),
            };
            let printer = context.printer;
            let bars = Bars::new("extract", printer.quiet, printer.json);
            let done = transfer::pull(&image, &args.sources, &args.target, &options, &bars).await;
            drop(bars);
            pull::report("extracted", &done?, context)
        }
    }
}

async fn check(args: FsckArgs, context: &Context) -> anyhow::Result<ExitStatus> {
    // On a thread of its own, so that the user can interrupt it.
    let checked = tokio::task::spawn_blocking(move || Image::open(&args.image)?.check());
    let findings = match checked.await.context("the check failed")? {
        Ok(findings) => findings,
        // Damage too, but nothing else can be looked at.
        Err(ImageError::Mount {
            source: MountError::Corrupt(what),
            ..
        }) => {
            let finding = Finding {
                invariant: 0,
                subject: 0,
                detail: format!("cannot be mounted: {what}"),
            };
            return fsck::report(&[finding], json!({}), context);
        }
        Err(error) => return Err(error.into()),
    };
    let findings: Vec<Finding> = findings
        .into_iter()
        .map(|f| Finding {
            invariant: f.invariant.number(),
            subject: f.subject,
            detail: f.detail.to_owned(),
        })
        .collect();
    fsck::report(&findings, json!({}), context)
}

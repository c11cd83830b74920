//! `icwasi deploy`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use icwasi_cli::deploy::{self, Mode};
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::size;

/// Create a canister on a local network, if it does not exist there, and install code.
///
/// The id is recorded where dfx or icp look for it if the project has a dfx.json or icp.yaml,
/// else in .icwasi/NETWORK/canister_ids.json. For other networks use `icp deploy` or
/// `dfx deploy`.
#[derive(clap::Args)]
pub struct Args {
    /// Name, or the principal of a canister that exists.
    canister: String,
    /// The module, which may be compressed with gzip. Default: what the project says.
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// What to do with code and data that are there.
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,
    /// Init or upgrade argument as candid text.
    #[arg(long, value_name = "CANDID", conflicts_with = "argument_file")]
    argument: Option<String>,
    /// File with the argument as candid text.
    #[arg(long, value_name = "FILE")]
    argument_file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeArg {
    /// Install if the canister is empty, else upgrade.
    Auto,
    /// Only if the canister is empty.
    Install,
    /// Drop the canister's data first.
    Reinstall,
    /// Keep the canister's data.
    Upgrade,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let mode = match args.mode {
        ModeArg::Auto => Mode::Auto,
        ModeArg::Install => Mode::Install,
        ModeArg::Reinstall => Mode::Reinstall,
        ModeArg::Upgrade => Mode::Upgrade,
    };
    let argument = match (&args.argument, &args.argument_file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        ),
        (None, None) => None,
    };
    let project = context.project()?;
    let connection = context.connect(&project).await?;
    let wasm = args.wasm.as_deref();
    let done = deploy::deploy(
        &connection,
        &project,
        &args.canister,
        wasm,
        mode,
        argument.as_deref(),
    )
    .await?;
    let printer = context.printer;
    let created = if done.created { "created, " } else { "" };
    let bytes = size(done.wasm_bytes);
    printer.note(&format!(
        "{}: {created}{} of {bytes} done",
        args.canister, done.mode
    ));
    for file in &done.recorded {
        printer.note(&format!("recorded the id in {}", file.display()));
    }
    printer.line(&done.id.to_text())?;
    printer.json(json!({
        "canister": args.canister,
        "id": done.id.to_text(),
        "created": done.created,
        "mode": done.mode,
        "wasm_bytes": done.wasm_bytes,
        "network": connection.network.url,
    }))?;
    Ok(ExitStatus::Done)
}

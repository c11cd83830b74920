//! `icwasi df`

use icwasi_cli::remote::AdminApi;
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::size;

/// Show how much space the files of a canister use.
///
/// The size is the quota, or else what the Internet Computer leaves. Needs the role reader.
#[derive(clap::Args)]
pub struct Args {
    /// The canister: a name or a principal.
    #[arg(value_name = "CANISTER")]
    canister: String,
    /// Sizes such as 1.5 MiB.
    #[arg(short = 'H', long)]
    human: bool,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let info = context.admin(&args.canister).await?.info().await?;
    let show = |bytes: Option<u64>| match bytes {
        Some(bytes) if args.human => size(bytes),
        Some(bytes) => bytes.to_string(),
        None => "-".to_owned(),
    };
    let used = info.used_bytes;
    let total = info.free_bytes.map(|free| used.saturating_add(free));
    let percent = match total {
        Some(total) if total > 0 => {
            // Up to the next whole one, as df does.
            let percent = (u128::from(used) * 100).div_ceil(total.into());
            format!("{percent}%")
        }
        _ => "-".to_owned(),
    };
    context.printer.line(&format!(
        "{:>16} {:>16} {:>16} {:>5} {:>10}",
        "Size", "Used", "Free", "Use%", "Inodes"
    ))?;
    context.printer.line(&format!(
        "{:>16} {:>16} {:>16} {percent:>5} {:>10}",
        show(total),
        show(Some(used)),
        show(info.free_bytes),
        info.inodes,
    ))?;
    context.printer.json(json!({
        "used_bytes": used,
        "free_bytes": info.free_bytes,
        "quota_bytes": info.quota_bytes,
        "inodes": info.inodes,
        "block_size": info.block_size,
        "open_uploads": info.open_uploads,
    }))?;
    Ok(ExitStatus::Done)
}

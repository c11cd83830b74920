//! `icwasi quota`

use icwasi_cli::remote::AdminApi;
use icwasi_types::Quota;
use serde_json::json;

use super::{Context, link};
use crate::exit::ExitStatus;
use crate::printer::size;

/// Show or set the most bytes that the files of a canister may use.
///
/// What is set here stays across upgrades, and wins over what `icwasi link --quota` said. Showing
/// needs the role reader, setting the role admin.
#[derive(clap::Args)]
pub struct Args {
    /// The canister: a name or a principal.
    #[arg(value_name = "CANISTER")]
    canister: String,
    /// New quota, such as 500M or 2GiB; `none`: no limit; `linked`: as linked.
    #[arg(value_name = "SIZE|none|linked", value_parser = parse)]
    quota: Option<Quota>,
}

fn parse(text: &str) -> Result<Quota, String> {
    match text {
        "none" => Ok(Quota::Unlimited),
        "linked" => Ok(Quota::Linked),
        size => link::parse_size(size).map(Quota::Bytes),
    }
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(&args.canister).await?;
    if let Some(quota) = args.quota {
        api.quota_set(quota).await?;
    }
    let info = api.info().await?;
    let limit = match info.quota_bytes {
        Some(bytes) => format!("{bytes} ({})", size(bytes)),
        None => "none".to_owned(),
    };
    let source = match info.quota_set {
        Some(true) => ", set by an admin",
        Some(false) => ", as linked",
        None => "",
    };
    context.printer.line(&format!("{limit}{source}"))?;
    context.printer.json(json!({
        "quota_bytes": info.quota_bytes,
        "set_by_admin": info.quota_set,
        "used_bytes": info.used_bytes,
    }))?;
    Ok(ExitStatus::Done)
}

//! `icwasi cat`

use std::io;

use icwasi_cli::remote::CanisterPath;
use icwasi_cli::transfer::{self, TransferError};

use super::{Context, UsageError};
use crate::exit::ExitStatus;
use crate::printer::output_error;

/// Write files of a canister to stdout, byte by byte as they are.
#[derive(clap::Args)]
pub struct Args {
    /// Files of one canister.
    #[arg(required = true, value_name = "CANISTER:PATH")]
    paths: Vec<CanisterPath>,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if context.printer.json {
        let text = "cat writes the bytes of a file and can't do so as JSON".to_owned();
        return Err(UsageError(text).into());
    }
    let api = context.admin(super::one_canister(&args.paths)?).await?;
    // Its own buffer would look for line ends in binary data.
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout());
    for path in &args.paths {
        let path = path.path.as_str();
        let concurrency = transfer::DEFAULT_CONCURRENCY;
        match transfer::read_to(&api, path, &mut out, concurrency).await {
            Ok(_) => {}
            Err(TransferError::Output(e)) => return Err(output_error(e)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(ExitStatus::Done)
}

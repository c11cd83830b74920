//! `icwasi fsck`

use icwasi_cli::remote::operate::CheckProgress;
use icwasi_types::Finding;
use serde_json::{Value, json};

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::safe;

/// Check the file system of a canister.
///
/// The canister verifies the invariants of docs/FORMAT.md, in parts that are consistent each for
/// itself, so it may go on working meanwhile. With millions of files a part takes several queries;
/// if the canister uses its files between two of them, the part starts anew. Nothing is changed.
/// Exit code 3 if something is wrong. Needs the role reader.
#[derive(clap::Args)]
pub struct Args {
    /// The canister: a name or a principal.
    #[arg(value_name = "CANISTER")]
    canister: String,

    /// Ends each query after so many instructions, 3 billion at most and if not given.
    #[arg(long, value_name = "COUNT")]
    instructions: Option<u64>,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(&args.canister).await?;
    let progress = |at: CheckProgress| {
        let (part, parts, step) = (at.part + 1, at.parts, at.step);
        match (at.done, step) {
            (true, 1) if parts == 1 => {}
            (true, 1) => tracing::info!("part {part} of {parts}"),
            (true, _) => tracing::info!("part {part} of {parts}, in {step} steps"),
            (false, _) => tracing::info!("part {part} of {parts}, step {step}"),
        }
    };
    let checked = api.fsck(args.instructions, progress).await?;
    let result = json!({ "parts": checked.parts, "steps": checked.steps });
    report(&checked.findings, result, context)
}

/// Prints findings, and tells what they mean for the exit code. `result` is what else there is to
/// say in JSON.
pub fn report(
    findings: &[Finding],
    mut result: Value,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    for finding in findings {
        let place = match finding.invariant {
            1 => "block",
            _ => "inode",
        };
        let detail = safe(&finding.detail);
        context.printer.line(&format!(
            "I{} ({place} {}): {detail}",
            finding.invariant, finding.subject
        ))?;
    }
    let all: Vec<Value> = findings
        .iter()
        .map(|f| json!({ "invariant": f.invariant, "subject": f.subject, "detail": f.detail }))
        .collect();
    result["clean"] = json!(findings.is_empty());
    result["findings"] = json!(all);
    context.printer.json(result)?;
    context.printer.note(&match findings.len() {
        0 => "the file system is sound".to_owned(),
        1 => "1 finding: the file system is damaged".to_owned(),
        n => format!("{n} findings: the file system is damaged"),
    });
    Ok(if findings.is_empty() {
        ExitStatus::Done
    } else {
        ExitStatus::Found
    })
}

//! `icwasi check`

use std::path::PathBuf;

use anyhow::Context as _;
use icwasi_cli::link::{self, CheckReport, Growth};
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::{safe, safe_lines, size};

/// Explain what a module needs, and what the Internet Computer would refuse.
///
/// Exit code 3 if `icwasi link` would fail.
#[derive(clap::Args)]
pub struct Args {
    /// The module, not linked yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let report = link::check(&super::link::read(&args.file)?)
        .with_context(|| format!("cannot check {}", args.file.display()))?;
    print(&args, &report, context)?;
    Ok(if report.problems.is_empty() {
        ExitStatus::Done
    } else {
        ExitStatus::Found
    })
}

fn print(args: &Args, report: &CheckReport, context: &Context) -> anyhow::Result<()> {
    let printer = &context.printer;
    if report.parsed {
        explain(report, context)?;
    } else {
        let file = args.file.display().to_string();
        printer.line(&format!("File:       {}", safe(&file)))?;
    }
    let figures = &report.figures;
    match &report.problems[..] {
        [] => printer.line("Result:     can be linked")?,
        problems => {
            for problem in problems {
                printer.line(&format!("Problem:    {}", safe_lines(problem)))?;
            }
        }
    }
    printer.json(json!({
        "mode": report.mode.name(),
        "command": report.command,
        "growth": report.growth.name(),
        "wasi": report.wasi,
        "ic0": report.ic0,
        "unknown": report.unknown,
        "entries": report.entries,
        "module_bytes": figures.module_bytes,
        "code_bytes": figures.code_bytes,
        "functions": figures.functions,
        "globals": figures.globals,
        "largest_function": figures.largest_function,
        "complexity": figures.complexity,
        "data_segments": figures.data_segments,
        "memory_pages": figures.memory_pages,
        "problems": report.problems,
    }))
}

/// What a module is and needs.
fn explain(report: &CheckReport, context: &Context) -> anyhow::Result<()> {
    let printer = &context.printer;
    let figures = &report.figures;
    let kind = if report.command {
        "command (_start)"
    } else {
        "reactor"
    };
    printer.line(&format!(
        "Module:     {}, {} of code, {} functions, {} pages of memory; {kind}",
        size(figures.module_bytes as u64),
        size(figures.code_bytes as u64),
        figures.functions,
        figures.memory_pages
    ))?;
    printer.line(&format!("Link mode:  {}", report.mode.name()))?;
    if report.growth == Growth::Contiguous {
        printer.line(
            "Growth:     contiguous: the memory grows by --headroom at most, 64 MiB by default",
        )?;
    }
    for (title, list) in [
        ("WASI", &report.wasi),
        ("System API", &report.ic0),
        ("Unknown", &report.unknown),
        ("Entries", &report.entries),
    ] {
        let names = if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(", ")
        };
        printer.line(&format!("{:<11} {}", format!("{title}:"), safe(&names)))?;
    }
    Ok(())
}

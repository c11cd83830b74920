//! The whole command line as Markdown: what `docs/cli.md` is made of.

use clap::CommandFactory;

use super::Context;
use crate::cli::Cli;
use crate::exit::ExitStatus;

pub fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let mut root = Cli::command();
    root.build();
    let mut out = String::from(
        "# Command line\n\nMade by `icwasi markdown-help`; a test compares it with the program.\n",
    );
    section(&mut root, "", &mut out);
    context.printer.line(out.trim_end())?;
    Ok(ExitStatus::Done)
}

fn section(command: &mut clap::Command, parents: &str, out: &mut String) {
    let name = format!("{parents}{}", command.get_name());
    let help = command.render_long_help().to_string();
    // Options that every command has are said once, at the top.
    let help = match help.find("\nConnection:\n").filter(|_| !parents.is_empty()) {
        Some(end) => format!(
            "{}\n(and the options of every command)",
            help[..end].trim_end()
        ),
        None => help,
    };
    let help = help
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n");
    out.push_str(&format!(
        "\n## {name}\n\n```text\n{}\n```\n",
        help.trim_end()
    ));
    for child in command.get_subcommands_mut() {
        if !child.is_hide_set() && child.get_name() != "help" {
            section(child, &format!("{name} "), out);
        }
    }
}

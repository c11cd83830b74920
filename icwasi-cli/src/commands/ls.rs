//! `icwasi ls`

use icwasi_cli::remote::path::RemotePath;
use icwasi_cli::remote::{AdminApi, CanisterPath};
use icwasi_cli::transfer;
use icwasi_types::{Entry, FileType, Stat};
use serde_json::{Value, json};

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::{safe, size, time};

/// List a directory of a canister, or show a single file.
#[derive(clap::Args)]
pub struct Args {
    /// What to list, such as `app:/data`; `app:` is the root.
    #[arg(value_name = "CANISTER:PATH")]
    path: CanisterPath,
    #[command(flatten)]
    format: Format,
}

/// How entries are shown.
#[derive(clap::Args, Clone, Copy)]
pub struct Format {
    /// Kind, links, size, time of modification (UTC) and name.
    #[arg(short)]
    long: bool,
    /// For habit: nothing is hidden anyway.
    #[arg(short = 'a', hide = true)]
    _all: bool,
    /// Sizes such as 1.5 MiB.
    #[arg(short = 'H', long)]
    human: bool,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(&args.path.canister).await?;
    list(&api, &args.path.path, args.format, context).await
}

/// Lists what is at `path`.
pub async fn list<A: AdminApi>(
    api: &A,
    path: &RemotePath,
    format: Format,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let wants_directory = path.wants_directory();
    let path = path.as_str();
    let stat = api.stat(path).await?;
    // A link is followed if that is a directory and the path asks for one.
    let directory = match stat.file_type {
        FileType::Directory => true,
        FileType::Regular => false,
        FileType::Symlink => wants_directory,
    };
    let entries = if directory {
        transfer::list_all(api, path).await?
    } else {
        vec![Entry {
            name: path.to_owned(),
            stat,
        }]
    };
    let show = |bytes| {
        if format.human {
            size(bytes)
        } else {
            bytes.to_string()
        }
    };
    let widths =
        |f: &dyn Fn(&Stat) -> String| entries.iter().map(|e| f(&e.stat).len()).max().unwrap_or(0);
    let (links, sizes) = (widths(&|s| s.links.to_string()), widths(&|s| show(s.size)));
    for Entry { name, stat } in &entries {
        let name = safe(name);
        if format.long {
            let kind = letter(stat.file_type);
            let modified = time(stat.modified);
            let text = format!(
                "{kind} {:>links$} {:>sizes$} {modified} {name}",
                stat.links,
                show(stat.size)
            );
            context.printer.line(&text)?;
        } else {
            context.printer.line(&name)?;
        }
    }
    let entries: Vec<Value> = entries
        .iter()
        .map(|e| {
            let mut entry = stat_json(&e.stat);
            entry["name"] = json!(e.name);
            entry
        })
        .collect();
    context
        .printer
        .json(json!({ "path": path, "entries": entries }))?;
    Ok(ExitStatus::Done)
}

fn letter(kind: FileType) -> char {
    match kind {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
    }
}

/// Word for a kind of file.
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Regular => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
    }
}

/// Metadata as JSON. Times in nanoseconds since 1970.
pub fn stat_json(stat: &Stat) -> Value {
    json!({
        "type": kind_name(stat.file_type),
        "inode": stat.inode,
        "size": stat.size,
        "allocated": stat.allocated,
        "links": stat.links,
        "accessed": stat.accessed,
        "modified": stat.modified,
        "changed": stat.changed,
        "file_version": stat.version,
    })
}

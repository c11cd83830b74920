//! `icwasi link`

use anyhow::Context as _;
use std::path::{Path, PathBuf};

use icwasi_cli::link::{
    self, DEFAULT_ARENA, ExecAccess, GrowthChoice, LinkError, LinkOptions, Linked, ModeChoice,
    Preopen,
};
use serde_json::json;

use super::outputs::{self, Named};
use super::{Context, UsageError};
use crate::exit::ExitStatus;
use crate::printer::size;

/// Turn a WASI program into a canister module.
///
/// The input is what a compiler makes for wasm32-wasip1. If it holds the `icwasi` crate, its
/// WASI imports are bound to that (rewire); else icwasi's own copy is merged in (inject).
///
/// The program exports canister methods (`canister_update NAME`, `canister_query NAME`), or it is
/// a command (`_start` only): then the canister gets a method that runs it, `icwasi_exec`.
#[derive(clap::Args)]
pub struct Args {
    /// The module to link.
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// Where to write the canister module. Replaced only if linking succeeds.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Add the candid endpoints `icwasi_*`, with which controllers, and whom they grant roles,
    /// operate the files.
    #[arg(long)]
    admin: bool,
    /// Environment variable of the program; repeatable, the last of equal names wins.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,
    /// Argument of the program; repeatable, the program's name first.
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Directory that the program may use, instead of all; repeatable. `::ro`: nothing can be
    /// changed through it. Created if it is missing.
    #[arg(long = "dir", value_name = "DIR[::ro]", value_parser = parse_preopen)]
    directories: Vec<Preopen>,
    /// Put a file system of this size on the heap at /tmp; an upgrade empties it.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    tmp: Option<u64>,
    /// Most bytes that the file system may use, such as 500M or 2GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    quota: Option<u64>,
    /// The canister's candid interface, instead of the one in the module's metadata.
    #[arg(long, value_name = "FILE")]
    candid: Option<PathBuf>,
    /// Write the resulting candid interface, admin methods included.
    #[arg(long, value_name = "FILE")]
    candid_out: Option<PathBuf>,
    /// Do not ask the management canister for random bytes after installs and upgrades: the
    /// program's random numbers can then be guessed.
    #[arg(long)]
    no_reseed: bool,
    /// How to bind WASI imports.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Name of the method that runs a command [default: icwasi_exec].
    #[arg(long, value_name = "NAME", help_heading = "Commands")]
    exec_method: Option<String>,
    /// Who may call it.
    #[arg(long, value_enum, default_value_t = Access::Controllers, help_heading = "Commands")]
    exec_access: Access,
    /// Heap of the injected library.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Inject")]
    arena: Option<u64>,
    /// How the program takes memory that it asks for.
    #[arg(long, value_enum, default_value_t = Growth::Auto, help_heading = "Inject")]
    growth: Growth,
    /// Memory kept free behind the program's own, which it is given first [default: 64MiB for
    /// contiguous growth, else 0].
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Inject")]
    headroom: Option<u64>,
}

/// How a program takes memory that it asks for.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
pub enum Growth {
    /// As its code suggests.
    #[default]
    Auto,
    /// Wherever it is.
    Anywhere,
    /// It takes for granted that it follows what it has: it is given the headroom and no more.
    Contiguous,
}

impl From<Growth> for GrowthChoice {
    fn from(growth: Growth) -> Self {
        match growth {
            Growth::Auto => GrowthChoice::Auto,
            Growth::Anywhere => GrowthChoice::Anywhere,
            Growth::Contiguous => GrowthChoice::Contiguous,
        }
    }
}

/// How to bind WASI imports.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Mode {
    /// Rewire if the module holds the `icwasi` crate, else inject.
    Auto,
    /// To the `icwasi` crate in the module.
    Rewire,
    /// To icwasi's own copy.
    Inject,
}

/// Who may run a command.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Access {
    /// Controllers of the canister and, with --admin, who was granted the role admin.
    #[value(alias = "admin")]
    Controllers,
    /// These, and who was granted the role writer; needs --admin.
    #[value(alias = "writer")]
    Writers,
    /// Everybody.
    Public,
}

impl From<Access> for ExecAccess {
    fn from(access: Access) -> Self {
        match access {
            Access::Controllers => ExecAccess::Controllers,
            Access::Writers => ExecAccess::Writers,
            Access::Public => ExecAccess::Public,
        }
    }
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    check_outputs(&args)?;
    let input = read(&args.input)?;
    let candid = match &args.candid {
        Some(path) => Some((path.display().to_string(), read_text(path)?)),
        None => None,
    };
    let options = LinkOptions {
        mode: match args.mode {
            Mode::Auto => ModeChoice::Auto,
            Mode::Rewire => ModeChoice::Rewire,
            Mode::Inject => ModeChoice::Inject,
        },
        admin: args.admin,
        args: args.args,
        env: args.env,
        quota: args.quota,
        preopens: args.directories,
        tmp: args.tmp,
        candid,
        reseed: !args.no_reseed,
        arena: args.arena.unwrap_or(DEFAULT_ARENA),
        exec_method: args.exec_method,
        exec_access: args.exec_access.into(),
        growth: args.growth.into(),
        headroom: args.headroom,
        exit_unwinds: true,
        library: None,
    };
    let linked = link::link(&input, &options)
        .with_context(|| format!("cannot link {}", args.input.display()))?;
    if let Some(path) = &args.candid_out {
        let Some(text) = &linked.candid else {
            let text = "--candid-out: no candid interface is known; add --admin or --candid FILE";
            return Err(UsageError(text.to_owned()).into());
        };
        link::write_file(path, text.as_bytes())?;
    }
    link::write_file(&args.output, &linked.module)?;
    report(&args.output, &linked, context)?;
    Ok(ExitStatus::Done)
}

/// Nothing is read before it is known that nothing that is read would be overwritten.
fn check_outputs(args: &Args) -> Result<(), UsageError> {
    let named = |what, path| Named { what, path };
    let mut inputs = vec![named("the input", args.input.as_path())];
    inputs.extend(args.candid.iter().map(|path| named("--candid", path)));
    let mut outputs = vec![named("--output", args.output.as_path())];
    outputs.extend(
        args.candid_out
            .iter()
            .map(|path| named("--candid-out", path)),
    );
    outputs::check(&inputs, &outputs)
}

fn report(output: &Path, linked: &Linked, context: &Context) -> anyhow::Result<()> {
    context.printer.note(&format!(
        "linked {} ({}): {} -> {}, {} WASI functions, {} methods",
        output.display(),
        linked.mode.name(),
        size(linked.input_bytes as u64),
        size(linked.module.len() as u64),
        linked.bound.len(),
        linked.methods.len(),
    ));
    if let Some((link::Growth::Contiguous, headroom)) = linked.growth {
        context.printer.note(&format!(
            "the program takes growth of its memory for contiguous: it can grow by {} (--headroom)",
            size(headroom)
        ));
    }
    let figures = &linked.figures;
    context.printer.json(json!({
        "output": output,
        "mode": linked.mode.name(),
        "input_bytes": linked.input_bytes,
        "output_bytes": linked.module.len(),
        "code_bytes": figures.code_bytes,
        "functions": figures.functions,
        "memory_pages": figures.memory_pages,
        "growth": linked.growth.map(|(growth, _)| growth.name()),
        "headroom": linked.growth.map(|(_, headroom)| headroom),
        "wasi": linked.bound,
        "methods": linked.methods,
    }))
}

/// Reads an input file.
pub fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    std::fs::read(path).map_err(|source| LinkError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| {
        let place = path.display().to_string();
        LinkError::Candid {
            place,
            message: "it is not UTF-8 text".to_owned(),
        }
        .into()
    })
}

pub fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn parse_preopen(text: &str) -> Result<Preopen, String> {
    let (path, read_only) = match text.split_once("::") {
        None => (text, false),
        Some((path, "ro")) => (path, true),
        Some((_, other)) => return Err(format!("expected `::ro`, not `::{other}`")),
    };
    let path = path.to_owned();
    let preopen = Preopen { path, read_only };
    let checked = preopen.components().map(drop);
    match checked {
        Ok(()) => Ok(preopen),
        Err(message) => Err(message.to_owned()),
    }
}

/// Bytes with a suffix: K, M, G, T or KiB... in powers of 1,024; kB, MB... in powers of 1,000.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a size, such as 500M".to_owned())?;
    let unit = unit.trim().to_ascii_lowercase();
    let base: u64 = if unit.len() == 2 && unit.ends_with('b') {
        1_000
    } else {
        1_024
    };
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(format!("unknown unit `{unit}`: use K, M, G or T")),
    };
    number
        .checked_mul(base.pow(power))
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("500M"), Ok(500 << 20));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("3kB"), Ok(3_000));
        for bad in [
            "",
            "M",
            "-1",
            "1.5G",
            "1X",
            "99999999999T",
            "12345678901234567890123",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}

//! `icwasi run`

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use icwasi_cli::link::Preopen;
use icwasi_cli::run::{self, Finished, Mapping, Outcome, RunOptions};
use serde_json::json;

use super::{Context, UsageError, link};
use crate::exit::ExitStatus;

/// Errors of copying back that are shown besides the first.
const SHOWN: usize = 20;

/// Run a WASI program as the Internet Computer would, in this process.
///
/// The program (`_start`, as compilers make for wasm32-wasip1) is linked, installed in a canister
/// that lives as long as the run, and executed as one message, with the limits of the Internet
/// Computer. Its output and exit code are passed on; 134 if it traps.
#[derive(clap::Args)]
pub struct Args {
    /// Directory to copy into the canister before the run, at an absolute path; repeatable. The
    /// program finds these directories open and no others; without, an empty `/`. One covers what
    /// another has at its place. `::ro`: the program cannot change it, and it is not copied back.
    #[arg(long = "dir", value_name = "HOST::GUEST[::ro]", value_parser = parse_mapping)]
    directories: Vec<Mapping>,
    /// Directory of the canister in which relative paths begin [default: /].
    #[arg(long, value_name = "GUEST")]
    cwd: Option<String>,
    /// Environment variable; repeatable, the last of equal names wins.
    #[arg(long, value_name = "NAME=VALUE", value_parser = link::parse_env)]
    env: Vec<(String, String)>,
    /// Name under which the program is run [default: the file's name].
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    /// What the program reads from its standard input; `-`: that of icwasi [default: that of
    /// icwasi, unless it is a terminal]. It is read to its end before the program starts.
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<PathBuf>,
    /// Copy back what the program made or changed in the directories, but in those with `::ro`;
    /// nothing here is removed. After a trap, nothing is copied.
    #[arg(long)]
    out: bool,
    /// Say what the run cost, on stderr.
    #[arg(long)]
    stats: bool,
    /// How the program takes memory that it asks for, as `icwasi link` has it.
    #[arg(long, value_enum, default_value_t = link::Growth::Auto)]
    growth: link::Growth,
    /// Memory kept free behind the program's own [default: 64MiB for contiguous growth, else 0].
    #[arg(long, value_name = "SIZE", value_parser = link::parse_size)]
    headroom: Option<u64>,
    /// Compile the program anew instead of keeping compiled programs in the user's cache directory.
    #[arg(long)]
    no_cache: bool,
    /// The program.
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Its arguments.
    #[arg(last = true, value_name = "ARG")]
    args: Vec<String>,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if args.out && args.directories.iter().all(|d| d.read_only) {
        let text = "--out copies directories back, but none is given with --dir HOST::GUEST";
        return Err(UsageError(text.to_owned()).into());
    }
    let module = link::read(&args.program)?;
    let stdin = match &args.stdin {
        None if std::io::stdin().is_terminal() => Vec::new(),
        Some(path) if path.as_os_str() != "-" => {
            let open = || input(std::fs::File::open(path)?);
            open().with_context(|| format!("cannot read {}", path.display()))?
        }
        _ => input(std::io::stdin().lock()).context("cannot read standard input")?,
    };
    let name = args.program.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let mut argv = vec![args.argv0.unwrap_or(name)];
    argv.extend(args.args);
    let options = RunOptions {
        args: argv,
        env: args.env,
        stdin,
        directories: args.directories,
        copy_back: args.out,
        cwd: args.cwd,
        growth: args.growth.into(),
        headroom: args.headroom,
        compile_cache: if args.no_cache {
            None
        } else {
            run::compile_cache()
        },
    };
    match run::run(&module, options).await? {
        Outcome::Finished(finished) => {
            report(&finished, args.stats, context)?;
            if let [first, rest @ ..] = &finished.not_copied[..] {
                for error in rest.iter().take(SHOWN) {
                    context.printer.note(&error.to_string());
                }
                let text = format!(
                    "the program ended with exit code {}, but {} of its files were not copied \
                     back: {first}",
                    finished.result.exit_code,
                    finished.not_copied.len(),
                );
                context.printer.error("files", &anyhow::anyhow!(text));
                return Ok(ExitStatus::Failed);
            }
            // As a shell shows it.
            Ok(ExitStatus::Program(finished.result.exit_code as u8))
        }
        Outcome::Trapped {
            message,
            printed,
            stats,
        } => {
            std::io::stderr().lock().write_all(&printed).ok();
            let error =
                anyhow::anyhow!("the program trapped, nothing that it wrote was kept: {message}");
            context.printer.error("trap", &error);
            if let (true, Some(stats)) = (args.stats, stats) {
                let text = format!("{} instructions", stats.instructions);
                context.printer.note(&text);
            }
            Ok(ExitStatus::Program(134))
        }
    }
}

/// All of it, up to a little more than a run can be given: it may never end.
fn input(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut input = Vec::new();
    from.take(run::MAX_STDIN as u64 + 1)
        .read_to_end(&mut input)?;
    Ok(input)
}

fn report(finished: &Finished, stats: bool, context: &Context) -> anyhow::Result<()> {
    let Finished {
        result,
        stats: used,
        cycles,
        ..
    } = finished;
    if !context.printer.json {
        // The program's output is passed on as it is, also to a terminal, as any runtime does.
        let mut out = std::io::stdout().lock();
        if out
            .write_all(&result.stdout)
            .and_then(|()| out.flush())
            .is_err()
        {
            return Err(crate::printer::OutputClosed.into());
        }
        std::io::stderr().lock().write_all(&result.stderr).ok();
    }
    if stats {
        context.printer.note(&format!(
            "exit code {}, {} instructions ({} by the program), {cycles} cycles, {} heap pages, {} \
             stable pages, {} System API calls",
            result.exit_code,
            used.instructions,
            result.instructions,
            used.heap_pages,
            used.stable_pages,
            used.system_api_calls,
        ));
    }
    context.printer.json(json!({
        "exit_code": result.exit_code,
        "stdout": String::from_utf8_lossy(&result.stdout),
        "stderr": String::from_utf8_lossy(&result.stderr),
        "instructions": used.instructions,
        "program_instructions": result.instructions,
        "cycles": cycles.to_string(),
        "heap_pages": used.heap_pages,
        "stable_pages": used.stable_pages,
        "system_api_calls": used.system_api_calls,
    }))
}

fn parse_mapping(text: &str) -> Result<Mapping, String> {
    let mut parts = text.split("::");
    let (host, guest, mode) = (parts.next(), parts.next(), parts.next());
    let read_only = match mode {
        None => false,
        Some("ro") => true,
        Some(other) => return Err(format!("expected `::ro`, not `::{other}`")),
    };
    let (Some(host), Some(guest), None) = (host, guest, parts.next()) else {
        return Err("expected HOST::GUEST, such as ./files::/data".to_owned());
    };
    if host.is_empty() {
        return Err("the directory here is missing: `.` is the current one".to_owned());
    }
    let path = guest.to_owned();
    let preopen = Preopen { path, read_only };
    let check = preopen.components().map(|_| ());
    check.map_err(|e| format!("expected HOST::GUEST, such as ./files::/data: `{guest}`: {e}"))?;
    Ok(Mapping {
        host: host.into(),
        guest: preopen.path,
        read_only,
    })
}

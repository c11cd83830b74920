//! The linker: turns a WASI module into one that the Internet Computer accepts.
//!
//! Two modes. *Rewire*: the module holds the `icwasi` crate, and its WASI imports are bound to
//! the functions that the crate exports. *Inject*: the linker carries the library as a
//! relocatable module and merges it in. `docs/LINK.md` tells how; `docs/DESIGN.md` holds the
//! contract with the library.
//!
//! ```text
//! parse -> plan (entry, layout, live) -> rewrite (body, data, synth, names) -> verify
//! ```

mod bodies;
mod body;
pub mod candid;
mod check;
mod config;
mod data;
mod encode;
mod entry;
mod error;
mod exec;
mod exit;
mod growth;
mod ic0;
mod layout;
mod library;
mod live;
mod names;
mod parse;
mod plan;
mod reseed;
mod rewrite;
mod run;
mod synth;
mod threads;
mod types;
mod unwind;
pub mod verify;

use std::io::Write;
use std::path::Path;

pub use check::{CheckReport, check};
pub use error::LinkError;
pub use exec::{DEFAULT_EXEC_METHOD, ExecAccess};
pub use growth::Growth;
pub use layout::CONTIGUOUS_HEADROOM;
pub use verify::Figures;

pub use icwasi_types::Preopen;
use library::Library;
use parse::Module;
use plan::{Plan, choose_mode};

/// The library that *inject* merges in.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/icwasi_module.wasm"));

/// Version of the linker, as the output's marker section has it.
const MARKER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// How WASI imports are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To functions of the `icwasi` crate in the module itself.
    Rewire,
    /// To functions of the linker's library, merged in.
    Inject,
}

impl Mode {
    /// `rewire` or `inject`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Rewire => "rewire",
            Mode::Inject => "inject",
        }
    }
}

/// Which mode to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// *Rewire* if the module holds the `icwasi` crate, else *inject*.
    #[default]
    Auto,
    /// *Rewire* or an error.
    Rewire,
    /// *Inject* or an error.
    Inject,
}

/// How the guest takes pages that `memory.grow` gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrowthChoice {
    /// As its code suggests, see [`Growth`].
    #[default]
    Auto,
    /// [`Growth::Anywhere`].
    Anywhere,
    /// [`Growth::Contiguous`].
    Contiguous,
}

/// What to link, besides the module.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Which mode to use.
    pub mode: ModeChoice,
    /// Keep the admin endpoints.
    pub admin: bool,
    /// Arguments of the program, its name first.
    pub args: Vec<String>,
    /// Environment variables; of equal names the last one wins.
    pub env: Vec<(String, String)>,
    /// Most bytes that the file system may use.
    pub quota: Option<u64>,
    /// Directories that the program finds open; missing ones are created. None: `/`.
    pub preopens: Vec<Preopen>,
    /// Bytes of a file system on the heap at `/tmp`; `None`: there is none. Where only some
    /// directories are given to the program, this is one of them.
    pub tmp: Option<u64>,
    /// The canister's candid interface: where it is from, and its text. `None`: the one in the
    /// module's metadata, if any.
    pub candid: Option<(String, String)>,
    /// Name of the method that runs a command (*inject*). `None`: [`DEFAULT_EXEC_METHOD`] for a
    /// command; given for another program, it is an error.
    pub exec_method: Option<String>,
    /// Who may call it.
    pub exec_access: ExecAccess,
    /// At the end of the first update, ask the management canister for random bytes.
    pub reseed: bool,
    /// Bytes of the library's heap (*inject*); those of `tmp` are added.
    pub arena: u64,
    /// How the guest takes pages that `memory.grow` gives it (*inject*).
    pub growth: GrowthChoice,
    /// Bytes kept free behind the guest's initial memory, which it is handed first (*inject*).
    /// `None`: [`CONTIGUOUS_HEADROOM`] for a guest that takes growth for contiguous, else nothing.
    pub headroom: Option<u64>,
    /// An exit unwinds, so that what was written is kept; without, it traps. For measurements.
    pub exit_unwinds: bool,
    /// Another library instead of the linker's own copy (*inject*; development and tests).
    pub library: Option<Vec<u8>>,
}

/// Default size of the library's heap.
pub const DEFAULT_ARENA: u64 = 8 << 20;

impl LinkOptions {
    /// The library's heap, with room for the file system on it.
    fn arena_with_tmp(&self) -> u64 {
        let tmp = self.tmp.unwrap_or(0);
        // The allocator needs some bytes for each piece of 64 KiB.
        self.arena.saturating_add(tmp.saturating_add(tmp / 1_024))
    }
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions {
            mode: ModeChoice::Auto,
            admin: false,
            args: Vec::new(),
            env: Vec::new(),
            quota: None,
            preopens: Vec::new(),
            tmp: None,
            candid: None,
            exec_method: None,
            exec_access: ExecAccess::default(),
            reseed: true,
            arena: DEFAULT_ARENA,
            growth: GrowthChoice::Auto,
            headroom: None,
            exit_unwinds: true,
            library: None,
        }
    }
}

/// A linked module.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The module.
    pub module: Vec<u8>,
    /// Its candid interface, if one is known.
    pub candid: Option<String>,
    /// How it was linked.
    pub mode: Mode,
    /// WASI functions that were bound, as `module.name`, sorted.
    pub bound: Vec<String>,
    /// Methods that the output exports, sorted.
    pub methods: Vec<String>,
    /// How the guest takes new pages, and the bytes that are kept free for it; `None` if it was
    /// not injected.
    pub growth: Option<(Growth, u64)>,
    /// What the IC counts in the output.
    pub figures: Figures,
    /// Bytes of the input.
    pub input_bytes: usize,
}

/// Links `module`.
///
/// Deterministic: the same input and options give the same bytes. The output has passed
/// [`verify::verify`]. Cost: about two passes over the module's code, and memory for two copies.
pub fn link(module: &[u8], options: &LinkOptions) -> Result<Linked, LinkError> {
    let guest = Module::parse(module)?;
    let mode = choose_mode(&guest, options.mode)?;
    let library = match mode {
        Mode::Rewire => None,
        Mode::Inject => Some(Library::parse(
            options.library.as_deref().unwrap_or(LIBRARY),
        )?),
    };
    let mut plan = Plan::new(&guest, library.as_ref(), options)?;
    let embedded = guest.custom_section("icp:public candid:service");
    let embedded = embedded.map(|text| String::from_utf8_lossy(text).into_owned());
    let interface = match (&options.candid, &embedded) {
        (Some((place, text)), _) => Some((place.as_str(), text.as_str())),
        (None, Some(text)) => Some(("the module's candid:service metadata", text.as_str())),
        (None, None) => None,
    };
    let mut own = Vec::new();
    if options.admin {
        own.push(("the admin service", candid::ADMIN_INTERFACE.to_owned()));
    }
    if let Some(exec) = &plan.exec {
        own.push(("the method that runs the program", exec.interface()));
    }
    let candid = candid::merge(interface, &own)?;
    let extras = rewrite::Extras {
        config: config::encode(options)?,
        candid,
    };
    let output = rewrite::write(&mut plan, &extras)?;
    let figures = accept(module, &output)?;
    let methods = plan
        .entries
        .iter()
        .filter_map(|e| entry::method_name(&e.name));
    let mut methods: Vec<_> = methods.map(str::to_owned).collect();
    methods.sort();
    Ok(Linked {
        module: output,
        candid: extras.candid,
        mode,
        bound: plan.bound,
        methods,
        growth: plan.layout.map(|layout| {
            (
                layout.growth,
                u64::from(layout.headroom_pages) * layout::PAGE,
            )
        }),
        figures,
        input_bytes: module.len(),
    })
}

/// Checks the output; if it is invalid, tells whether the input was.
fn accept(input: &[u8], output: &[u8]) -> Result<Figures, LinkError> {
    let verdict = verify::verify(output);
    if let Some((offset, message)) = verdict.invalid {
        return Err(match verify::verify(input).invalid {
            Some((offset, message)) => check::invalid_input(offset, message),
            None => LinkError::Relocation(format!(
                "the output is invalid at {offset:#x}, though the input is not: {message}"
            )),
        });
    }
    if !verdict.problems.is_empty() {
        return Err(LinkError::Refused(verdict.problems));
    }
    Ok(verdict.figures)
}

/// Writes a file as a whole: on any error, what was at `path` is still there. Through a symbolic
/// link, the file that it leads to; into a device or a pipe, as it is.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), LinkError> {
    let fail = |source| LinkError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let path = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(fail(std::io::ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => return std::fs::write(path, content).map_err(fail),
        Ok(_) => &path.canonicalize().map_err(fail)?,
        Err(_) => path,
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Else the error would name the temporary file.
    std::fs::metadata(directory).map_err(fail)?;
    let mut file = tempfile::Builder::new()
        .prefix(".icwasi-link-")
        .tempfile_in(directory)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    set_mode(file.as_file()).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Readable by all, as compilers leave their output; temporary files are private.
#[cfg(unix)]
fn set_mode(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_mode(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

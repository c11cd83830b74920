use std::path::PathBuf;

/// Why a module was not linked. Nothing was written.
///
/// One variant per failure; the message says what was found and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The file is not a WebAssembly module at all.
    #[error("not a WebAssembly module: {what}")]
    NotWasm {
        /// What the file looks like, with advice.
        what: String,
    },
    /// A component where a core module is needed.
    #[error(
        "this is a WebAssembly component (WASI preview2 or later); icwasi links core modules: \
         build for wasm32-wasip1"
    )]
    Component,
    /// The module's structure is damaged.
    #[error("malformed or truncated module at byte {offset:#x}: {message}")]
    Malformed {
        /// Where in the file.
        offset: usize,
        /// What the parser found.
        message: String,
    },
    /// The module is well formed but not valid for the features that the IC has.
    #[error("the module is invalid for the IC at byte {offset:#x}: {message}")]
    InvalidInput {
        /// Where in the file.
        offset: usize,
        /// What the validator found.
        message: String,
    },
    /// A feature of WebAssembly that the IC or the linker does not have.
    #[error("the module uses {feature}; {advice}")]
    Unsupported {
        /// Name of the feature.
        feature: String,
        /// What to do.
        advice: &'static str,
    },
    /// The module went through `icwasi link` before.
    #[error(
        "this module is already linked by icwasi {version}: link the compiler's output instead"
    )]
    AlreadyLinked {
        /// Version of the linker that made it.
        version: String,
    },
    /// Imports that neither WASI preview1 nor the IC has.
    #[error(
        "nothing provides {} of this module's imports: {}; link what defines them when you \
         compile, or remove their callers", .0.len(), list(.0)
    )]
    UnknownImports(
        /// `module.name`, sorted.
        Vec<String>,
    ),
    /// WASI functions that the library does not have.
    #[error(
        "the icwasi library does not implement {}; use a matching version of the library",
        list(.0)
    )]
    MissingWasi(
        /// `module.name`, sorted.
        Vec<String>,
    ),
    /// An import has another type than its implementation.
    #[error("import {import} has type {found}, but its implementation has type {expected}")]
    ImportType {
        /// `module.name`.
        import: String,
        /// The type that the module declares.
        found: String,
        /// The type that it has in truth.
        expected: String,
    },
    /// The library lacks something that the linker needs.
    #[error(
        "the icwasi library in {place} has no function {name}: it does not fit this version of \
         the linker ({})", env!("CARGO_PKG_VERSION")
    )]
    MissingLibraryFunction {
        /// Export's name.
        name: String,
        /// The module or the linker's own copy.
        place: &'static str,
    },
    /// `--admin` for a module whose library has no endpoints.
    #[error(
        "--admin needs the icwasi crate with its feature `admin`: add `features = [\"admin\"]` to \
         the dependency `icwasi` of the canister"
    )]
    NoAdminFeature,
    /// Rewire was asked for, but the module does not hold the library.
    #[error(
        "the module does not contain the icwasi crate (no `icwasi.p1.*` exports): use \
         `--mode inject`, or depend on the crate and refer to it from the canister"
    )]
    NotRewirable,
    /// Inject was asked for, but the module holds the library already.
    #[error(
        "the module contains the icwasi crate already (it exports `icwasi.p1.*`): use \
         `--mode rewire`, or remove the dependency"
    )]
    NotInjectable,
    /// A command (`_start`) that holds the `icwasi` crate.
    #[error(
        "the module is a WASI command (`_start`, no `canister_*` exports) that contains the icwasi \
         crate: it cannot be run with a fresh memory each time, since the library is in that \
         memory. Remove the dependency on the crate, or build a reactor that exports \
         `canister_update NAME` or `canister_query NAME`"
    )]
    Command,
    /// `--exec-method` for a module that is no command.
    #[error(
        "--exec-method: the module is no command: {0}. Only a program with `_start` and without \
         canister methods of its own can be run"
    )]
    NotACommand(
        /// What it is.
        &'static str,
    ),
    /// The guest exports a method of the admin interface.
    #[error("the module exports `{0}`, which is a method of the admin interface; rename it")]
    MethodConflict(
        /// The method.
        String,
    ),
    /// An export has the wrong type.
    #[error("export `{export}` has type {found}, but must be a function of type {expected}")]
    ExportType {
        /// Its name.
        export: String,
        /// The type that it has.
        found: String,
        /// The type that it must have.
        expected: &'static str,
    },
    /// Linear memory has no room for the library.
    #[error(
        "no room in linear memory: the module has {guest} pages of 64 KiB, icwasi needs {needed}, \
         and {limit} may be used; reduce --arena, --tmp, --headroom or the module's initial memory"
    )]
    MemoryFull {
        /// Pages that the module declares.
        guest: u64,
        /// Pages of the library.
        needed: u64,
        /// Most pages.
        limit: u64,
    },
    /// The prebuilt library is damaged or was built in an unknown way.
    #[error("the library module cannot be relocated: {0}; this is a bug in how icwasi was built")]
    Relocation(
        /// What does not fit.
        String,
    ),
    /// The output breaks rules of the IC.
    #[error("the IC would refuse the linked module: {}", lines(.0))]
    Refused(
        /// Each broken rule.
        Vec<String>,
    ),
    /// A candid interface could not be read.
    #[error("candid interface of {place}: {message}")]
    Candid {
        /// Which interface.
        place: String,
        /// What the parser found.
        message: String,
    },
    /// The module's interface and the admin interface define the same name differently.
    #[error(
        "the canister's candid interface and icwasi's both define {kind} `{name}`, differently: \
         rename it in the canister"
    )]
    CandidConflict {
        /// `type` or `method`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// An option's value is out of range.
    #[error("option {option}: {message}")]
    Option {
        /// Which.
        option: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// read, write...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Names, at most a dozen of them.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn lines(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => many.iter().map(|p| format!("\n  - {p}")).collect(),
    }
}

impl LinkError {
    /// An error of the parser, as one of the structure of the input.
    pub(crate) fn malformed(error: wasmparser::Error) -> Self {
        LinkError::Malformed {
            offset: error.offset(),
            message: error.message().to_owned(),
        }
    }
}

impl From<wasmparser::Error> for LinkError {
    fn from(error: wasmparser::Error) -> Self {
        LinkError::malformed(error)
    }
}

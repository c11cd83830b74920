//! Explains what a module needs and what would be refused, without linking it.

use super::encode::type_name;
use super::entry::is_entry;
use super::error::LinkError;
use super::growth::Growth;
use super::parse::Module;
use super::plan::choose_mode;
use super::verify::{self, Figures};
use super::{LinkOptions, Mode, ModeChoice};

/// What `icwasi check` tells.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The mode that `icwasi link` would choose.
    pub mode: Mode,
    /// WASI functions that it imports, as `module.name`, sorted.
    pub wasi: Vec<String>,
    /// Functions of the System API that it imports, sorted.
    pub ic0: Vec<String>,
    /// Other imports, with their types: nothing provides them.
    pub unknown: Vec<String>,
    /// Entry points that the IC would call.
    pub entries: Vec<String>,
    /// It exports `_start`.
    pub command: bool,
    /// How it takes pages that `memory.grow` gives it.
    pub growth: Growth,
    /// What the IC counts.
    pub figures: Figures,
    /// It could be taken apart; if not, only the size and the problem are known.
    pub parsed: bool,
    /// Why it could not be linked, or why the IC would refuse the output.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Of a module that cannot be taken apart.
    fn refused(figures: Figures, error: &LinkError) -> Self {
        CheckReport {
            mode: Mode::Inject,
            wasi: Vec::new(),
            ic0: Vec::new(),
            unknown: Vec::new(),
            entries: Vec::new(),
            command: false,
            growth: Growth::Anywhere,
            figures,
            parsed: false,
            problems: vec![error.to_string()],
        }
    }
}

/// Examines a module. An error means that the file is not WebAssembly at all.
pub fn check(module: &[u8]) -> Result<CheckReport, LinkError> {
    let verdict = verify::verify(module);
    let parsed = match Module::parse(module) {
        Ok(parsed) => parsed,
        Err(error @ LinkError::NotWasm { .. }) => return Err(error),
        Err(error) => return Ok(CheckReport::refused(verdict.figures, &error)),
    };
    let mut report = CheckReport {
        mode: choose_mode(&parsed, ModeChoice::Auto)?,
        wasi: Vec::new(),
        ic0: Vec::new(),
        unknown: Vec::new(),
        entries: Vec::new(),
        command: parsed.export("_start").is_some(),
        growth: Growth::Anywhere,
        figures: verdict.figures,
        parsed: true,
        problems: Vec::new(),
    };
    for import in &parsed.imports {
        match import.module {
            "wasi_snapshot_preview1" | "wasi_unstable" => report.wasi.push(import.full_name()),
            "ic0" => report.ic0.push(import.name.to_owned()),
            "icwasi_link" => {}
            _ => {
                let ty = type_name(&parsed.types[import.ty as usize]);
                report.unknown.push(format!("{} {ty}", import.full_name()));
            }
        }
    }
    for list in [&mut report.wasi, &mut report.ic0, &mut report.unknown] {
        list.sort();
        list.dedup();
    }
    let entries = parsed.exports.iter().filter(|e| is_entry(e.name));
    report.entries = entries.map(|e| e.name.to_owned()).collect();
    if let Some((offset, message)) = verdict.invalid {
        report
            .problems
            .push(invalid_input(offset, message).to_string());
        return Ok(report);
    }
    // The rest is what linking itself would say.
    match super::link(module, &LinkOptions::default()) {
        Ok(linked) => report.growth = linked.growth.map_or(report.growth, |(growth, _)| growth),
        Err(error) => report.problems.push(error.to_string()),
    }
    Ok(report)
}

/// A message of the validator, with advice where the cause is a feature.
pub(crate) fn invalid_input(offset: usize, message: String) -> LinkError {
    const FEATURES: [(&str, &str, &str); 7] = [
        (
            "threads",
            "atomic operators",
            "the IC has no threads: build it without them",
        ),
        (
            "exception",
            "exceptions",
            "build with -fno-exceptions, or panic = \"abort\"",
        ),
        ("relaxed", "relaxed SIMD", "build with -mno-relaxed-simd"),
        (
            "non-constant operator",
            "extended constant expressions",
            "build with -mno-extended-const, without -fPIC",
        ),
        ("multi-memory", "several memories", "the IC allows one"),
        ("memory64", "64-bit memory", "build it for wasm32"),
        (
            "wide arithmetic",
            "wide arithmetic",
            "build with -mno-wide-arithmetic",
        ),
    ];
    for (word, feature, advice) in FEATURES {
        if message.contains(word) {
            return LinkError::Unsupported {
                feature: format!("{feature} (at byte {offset:#x})"),
                advice,
            };
        }
    }
    LinkError::InvalidInput { offset, message }
}

//! The name section of the output, so that a trap's backtrace stays readable.

use std::collections::BTreeMap;

use wasmparser::{BinaryReader, Name, NameSectionReader};

use super::encode::{bytes, uleb};
use super::parse::Module;
use super::plan::{Plan, Synth, Target};

/// Content of the name section: the module's and all functions' names. A damaged name section of
/// the input counts as none.
pub(crate) fn section(plan: &Plan<'_>) -> Vec<u8> {
    let mut names = BTreeMap::new();
    let guest = functions(plan.guest);
    let imports = plan.guest.imports.len() as u32;
    for (index, name) in guest.names {
        // An import's name is that of its implementation.
        if index >= imports
            && let Some(new) = plan.guest_functions.get(index as usize)
        {
            names.insert(*new, name.to_owned());
        }
    }
    if let Some(library) = plan.library {
        for (index, name) in functions(&library.module).names {
            match plan.library_functions.get(index as usize) {
                Some(new) if *new != u32::MAX && index >= library.module.imports.len() as u32 => {
                    names.insert(*new, name.to_owned());
                }
                _ => {}
            }
        }
    }
    for (index, (name, _)) in (0..).zip(&plan.imports) {
        names.insert(index, format!("ic0.{name}"));
    }
    for (at, synth) in (0..).zip(&plan.synth) {
        names.insert(plan.index(Target::Synth(at)), synth_name(plan, at, synth));
    }
    let mut map = Vec::new();
    uleb(&mut map, names.len() as u64);
    for (index, name) in &names {
        uleb(&mut map, u64::from(*index));
        bytes(&mut map, name.as_bytes());
    }
    let mut out = Vec::new();
    if let Some(module) = guest.module {
        let mut content = Vec::new();
        bytes(&mut content, module.as_bytes());
        out.push(0);
        bytes(&mut out, &content);
    }
    out.push(1);
    bytes(&mut out, &map);
    out
}

#[derive(Default)]
struct Names<'a> {
    module: Option<&'a str>,
    names: Vec<(u32, &'a str)>,
}

fn functions<'a>(module: &Module<'a>) -> Names<'a> {
    let mut names = Names::default();
    let Some((_, content, offset)) = module.custom.iter().find(|(name, ..)| *name == "name") else {
        return names;
    };
    for part in NameSectionReader::new(BinaryReader::new(content, *offset)) {
        match part {
            Ok(Name::Module { name, .. }) => names.module = Some(name),
            Ok(Name::Function(map)) => {
                names.names = map
                    .into_iter()
                    .map_while(Result::ok)
                    .map(|n| (n.index, n.name))
                    .collect();
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    names
}

fn synth_name(plan: &Plan<'_>, at: u32, synth: &Synth) -> String {
    let name = match synth {
        Synth::ConfigSize => "config_size",
        Synth::ConfigCopy => "config_copy",
        Synth::ArenaStart => "arena_start",
        Synth::ArenaSize => "arena_size",
        Synth::LibraryStart => "library_start",
        Synth::LibraryEnd => "library_end",
        Synth::MemorySize => "memory_size",
        Synth::MemoryGrow => "memory_grow",
        Synth::RunStart => "run_start",
        Synth::CheckGuard(_) => "check_guard",
        Synth::ProcExit(_) | Synth::MethodExit(..) => "proc_exit",
        Synth::Callback(_) => "callback",
        Synth::Entry(_) => {
            let entry = plan.entries.iter().find(|e| e.target == Target::Synth(at));
            entry.map_or("entry", |e| e.name.as_str())
        }
    };
    format!("icwasi_link.{name}")
}

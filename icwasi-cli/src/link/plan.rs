//! Decides, before anything is written, what each import is bound to and which entry points the
//! output has, and numbers the output's functions.

use std::collections::{BTreeMap, HashMap};

use wasmparser::{FuncType, ValType};

use super::LinkOptions;
use super::encode::type_name;
use super::entry::{Callback, Entry, Step};
use super::error::LinkError;
use super::exec::Exec;
use super::exit::MethodExit;
use super::growth::Growth;
use super::layout::Layout;
use super::library::Library;
use super::live::live_functions;
use super::parse::{FuncImport, Module};
use super::reseed::Reseed;
use super::types::TypeTable;
use super::unwind::{Unwind, is_exit};
use super::{GrowthChoice, Mode, ModeChoice, exit, ic0};

/// A function of the output, before functions are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Position in [`Plan::imports`].
    Import(u32),
    /// Function index of the guest.
    Guest(u32),
    /// Function index of the library (*inject*).
    Library(u32),
    /// Position in [`Plan::synth`].
    Synth(u32),
}

/// A function that the linker writes itself.
#[derive(Clone, Debug)]
pub(crate) enum Synth {
    ConfigSize,
    ConfigCopy,
    ArenaStart,
    ArenaSize,
    LibraryStart,
    LibraryEnd,
    MemorySize,
    MemoryGrow,
    /// Runs the guest's `_start` from its initial memory.
    RunStart,
    /// Traps if the guest wrote over the guard; calls `ic0.trap`.
    CheckGuard(Target),
    /// `proc_exit` that unwinds; calls `icwasi.exit`.
    ProcExit(Target),
    /// The same in a method; calls `icwasi.exit`, or `icwasi.p1.proc_exit` where it cannot unwind.
    MethodExit(Target, Target),
    /// An entry point of a message.
    Entry(Entry),
    /// One through the table.
    Callback(Callback),
}

/// An export of the output that the linker decides; others are copied.
#[derive(Clone, Debug)]
pub(crate) struct OutExport {
    pub name: String,
    pub target: Target,
}

/// Everything that is decided before the output is written.
pub(crate) struct Plan<'a> {
    pub guest: &'a Module<'a>,
    pub library: Option<&'a Library<'a>>,
    pub layout: Option<Layout>,
    /// The guest is a command that a method runs.
    pub exec: Option<Exec>,
    /// How an exit finds its way out.
    pub unwind: Option<Unwind>,
    /// Where it ends, if the guest is no command.
    pub method_exit: Option<MethodExit>,
    /// How the library gets random bytes.
    pub reseed: Option<Reseed>,
    pub types: TypeTable,
    /// Types of the library in the output.
    pub library_types: Vec<u32>,
    /// `ic0` functions, with their type.
    pub imports: Vec<(String, u32)>,
    /// What each import of the guest is bound to.
    pub guest_imports: Vec<Target>,
    /// What each import of the library is bound to.
    pub library_imports: Vec<Target>,
    /// Defined functions of the library that are kept, as positions among the defined ones.
    pub live: Vec<u32>,
    pub synth: Vec<Synth>,
    /// Entry points under their export names.
    pub entries: Vec<OutExport>,
    /// What lies in the table instead of functions of the guest.
    pub callbacks: BTreeMap<u32, Target>,
    /// WASI functions that were bound, `module.name`.
    pub bound: Vec<String>,
    /// Output index of the guest's and the library's functions.
    pub guest_functions: Vec<u32>,
    pub library_functions: Vec<u32>,
}

/// How an exit of the guest finds its way out: not at all if it has none, if the guest must trap, or,
/// in a guest that holds the library, if that is too old to know of it.
fn plan_exit(
    guest: &Module<'_>,
    library: Option<&Library<'_>>,
    layout: Option<&Layout>,
    command: bool,
) -> Result<(Option<Unwind>, Option<MethodExit>), LinkError> {
    let injected = library.zip(layout);
    if let (true, Some((library, layout))) = (command, injected) {
        let flag = layout.exec_globals(library).exiting;
        return Ok((Some(Unwind::new(guest, flag)?), None));
    }
    let provider = library.map_or(guest, |library| &library.module);
    let exits = guest.imports.iter().any(|i| is_exit(i.module, i.name));
    if !exits || provider.export("icwasi.exit").is_none() || exit::must_trap(guest) {
        return Ok((None, None));
    }
    let mut method = MethodExit::new(guest, injected);
    let unwind = Unwind::new(guest, method.exiting)?;
    method.restore(&unwind.stack_pointers);
    Ok((Some(unwind), Some(method)))
}

/// Chooses the mode by what the module holds.
pub(crate) fn choose_mode(guest: &Module<'_>, choice: ModeChoice) -> Result<Mode, LinkError> {
    let holds_library = guest
        .exports
        .iter()
        .any(|e| e.name.starts_with("icwasi.p1."));
    match (choice, holds_library) {
        (ModeChoice::Auto, true) | (ModeChoice::Rewire, true) => Ok(Mode::Rewire),
        (ModeChoice::Auto, false) | (ModeChoice::Inject, false) => Ok(Mode::Inject),
        (ModeChoice::Rewire, false) => Err(LinkError::NotRewirable),
        (ModeChoice::Inject, true) => Err(LinkError::NotInjectable),
    }
}

impl<'a> Plan<'a> {
    /// Makes the plan. `library` is given in inject mode only.
    pub fn new(
        guest: &'a Module<'a>,
        library: Option<&'a Library<'a>>,
        options: &LinkOptions,
    ) -> Result<Self, LinkError> {
        if library.is_some() {
            super::exec::active_segments(guest)?;
        }
        let layout = library
            .map(|library| {
                let growth = match options.growth {
                    GrowthChoice::Auto => Growth::of(guest)?,
                    GrowthChoice::Anywhere => Growth::Anywhere,
                    GrowthChoice::Contiguous => Growth::Contiguous,
                };
                Layout::new(
                    guest,
                    library,
                    options.arena_with_tmp(),
                    options.headroom,
                    growth,
                )
            })
            .transpose()?;
        let exec = Exec::new(guest, options, library.is_some())?;
        let (unwind, method_exit) = if options.exit_unwinds {
            plan_exit(guest, library, layout.as_ref(), exec.is_some())?
        } else {
            (None, None)
        };
        let mut types = TypeTable::new(&guest.types);
        let library_types = library.map_or_else(Vec::new, |library| {
            library
                .module
                .types
                .iter()
                .map(|ty| types.intern(ty))
                .collect()
        });
        let mut plan = Plan {
            guest,
            library,
            layout,
            exec,
            unwind,
            method_exit,
            reseed: None,
            types,
            library_types,
            imports: Vec::new(),
            guest_imports: Vec::new(),
            library_imports: Vec::new(),
            live: Vec::new(),
            synth: Vec::new(),
            entries: Vec::new(),
            callbacks: BTreeMap::new(),
            bound: Vec::new(),
            guest_functions: Vec::new(),
            library_functions: Vec::new(),
        };
        plan.bind_guest_imports()?;
        plan.bind_library_imports()?;
        if plan.library.is_some() {
            plan.synth(Synth::MemorySize);
            plan.synth(Synth::MemoryGrow);
            let trap = plan.import_ic0("trap");
            plan.synth(Synth::CheckGuard(trap));
        }
        if options.reseed {
            plan.reseed = Reseed::new(&plan)?;
        }
        plan.plan_entries(options.admin)?;
        plan.number_functions()?;
        plan.bound.sort();
        plan.bound.dedup();
        Ok(plan)
    }

    /// The module in which the library's functions are, and how to refer to them.
    fn library_module(&self) -> (&'a Module<'a>, fn(u32) -> Target, &'static str) {
        match self.library {
            Some(library) => (&library.module, Target::Library, "the linker's own copy"),
            None => (self.guest, Target::Guest, "the module"),
        }
    }

    /// A function that the library exports.
    pub(super) fn find(&self, name: &str) -> Option<Target> {
        let (module, target, _) = self.library_module();
        module.export(name).map(target)
    }

    /// A function that the library must export with this type.
    pub(super) fn require(
        &self,
        name: &str,
        params: &[ValType],
        results: &[ValType],
    ) -> Result<Target, LinkError> {
        let (module, target, place) = self.library_module();
        let missing = || LinkError::MissingLibraryFunction {
            name: name.to_owned(),
            place,
        };
        let index = module.export(name).ok_or_else(missing)?;
        let found = module.func_type(index).ok_or_else(missing)?;
        if found.params() != params || found.results() != results {
            return Err(LinkError::MissingLibraryFunction {
                name: format!(
                    "{name} of type {}",
                    type_name(&FuncType::new(
                        params.iter().copied(),
                        results.iter().copied()
                    ))
                ),
                place,
            });
        }
        Ok(target(index))
    }

    fn bind_guest_imports(&mut self) -> Result<(), LinkError> {
        let mut unknown = Vec::new();
        let mut missing = Vec::new();
        for import in &self.guest.imports {
            let target = match wasi_exports(import) {
                Some(names) if self.unwind.is_some() && is_exit(import.module, import.name) => {
                    self.bound.push(import.full_name());
                    let exit = self.require("icwasi.exit", &[ValType::I32], &[])?;
                    match names.iter().find_map(|name| self.find(name)) {
                        _ if self.exec.is_some() => self.synth(Synth::ProcExit(exit)),
                        Some(trap) => self.synth(Synth::MethodExit(exit, trap)),
                        None => {
                            missing.push(import.full_name());
                            continue;
                        }
                    }
                }
                Some(names) => {
                    self.bound.push(import.full_name());
                    match names.iter().find_map(|name| self.find(name)) {
                        Some(target) => target,
                        None => {
                            missing.push(import.full_name());
                            continue;
                        }
                    }
                }
                None => match self.bind_other(import, true)? {
                    Some(target) => target,
                    None => {
                        unknown.push(import.full_name());
                        continue;
                    }
                },
            };
            self.check_type(import, self.guest, target)?;
            self.guest_imports.push(target);
        }
        for (names, error) in [
            (
                &mut unknown,
                LinkError::UnknownImports as fn(Vec<String>) -> LinkError,
            ),
            (&mut missing, LinkError::MissingWasi),
        ] {
            if !names.is_empty() {
                names.sort();
                names.dedup();
                return Err(error(std::mem::take(names)));
            }
        }
        Ok(())
    }

    fn bind_library_imports(&mut self) -> Result<(), LinkError> {
        let Some(library) = self.library else {
            return Ok(());
        };
        for import in &library.module.imports {
            let Some(target) = self.bind_other(import, false)? else {
                return Err(LinkError::Relocation(format!(
                    "it imports {}, which is not there without WASI",
                    import.full_name()
                )));
            };
            self.library_imports.push(target);
        }
        Ok(())
    }

    /// What an import is bound to that is not of WASI; `None` if nothing provides it.
    fn bind_other(
        &mut self,
        import: &FuncImport<'_>,
        guest: bool,
    ) -> Result<Option<Target>, LinkError> {
        Ok(match (import.module, import.name) {
            ("ic0", name) => {
                let own = if guest && self.library.is_some() {
                    self.find(&format!("icwasi.guest.{name}"))
                } else {
                    None
                };
                match own {
                    Some(target) => Some(target),
                    None if ic0::signature(name).is_some() => Some(self.import_ic0(name)),
                    None => None,
                }
            }
            ("icwasi_link", "config_size") => Some(self.synth(Synth::ConfigSize)),
            ("icwasi_link", "config_copy") => Some(self.synth(Synth::ConfigCopy)),
            ("icwasi_link", "arena_start") if !guest => Some(self.synth(Synth::ArenaStart)),
            ("icwasi_link", "arena_size") if !guest => Some(self.synth(Synth::ArenaSize)),
            ("icwasi_link", "library_start") if !guest => Some(self.synth(Synth::LibraryStart)),
            ("icwasi_link", "library_end") if !guest => Some(self.synth(Synth::LibraryEnd)),
            ("icwasi_link", "run_start") if !guest => Some(self.synth(Synth::RunStart)),
            _ => None,
        })
    }

    /// The import of an `ic0` function that [`ic0::signature`] knows.
    pub(super) fn import_ic0(&mut self, name: &str) -> Target {
        let position = self.imports.iter().position(|(n, _)| n == name);
        let position = position.unwrap_or_else(|| {
            let ty = ic0::signature(name).unwrap_or_else(|| FuncType::new([], []));
            let ty = self.types.intern(&ty);
            self.imports.push((name.to_owned(), ty));
            self.imports.len() - 1
        });
        Target::Import(position as u32)
    }

    /// A written function; the same one if there is one already, entry points and callbacks apart.
    pub(super) fn synth(&mut self, new: Synth) -> Target {
        let same = |s: &Synth| std::mem::discriminant(s) == std::mem::discriminant(&new);
        let position = match new {
            Synth::Entry(_) | Synth::Callback(_) => None,
            _ => self.synth.iter().position(same),
        };
        let position = position.unwrap_or_else(|| {
            self.synth.push(new);
            self.synth.len() - 1
        });
        Target::Synth(position as u32)
    }

    fn check_type(
        &self,
        import: &FuncImport<'_>,
        module: &Module<'_>,
        target: Target,
    ) -> Result<(), LinkError> {
        let expected = match target {
            Target::Import(_) => ic0::signature(import.name),
            Target::Guest(index) => self.guest.func_type(index).cloned(),
            Target::Library(index) => self
                .library
                .and_then(|l| l.module.func_type(index))
                .cloned(),
            Target::Synth(position) => {
                let ty = synth_type(&self.synth[position as usize]);
                Some(FuncType::new(ty.0.iter().copied(), ty.1.iter().copied()))
            }
        };
        let found = &module.types[import.ty as usize];
        match expected {
            Some(expected) if expected != *found => Err(LinkError::ImportType {
                import: import.full_name(),
                found: type_name(found),
                expected: type_name(&expected),
            }),
            _ => Ok(()),
        }
    }

    /// Numbers functions: imports, the guest's, those of the library that can be reached, written
    /// ones.
    fn number_functions(&mut self) -> Result<(), LinkError> {
        let imports = self.imports.len() as u32;
        let guest_defined = self.guest.functions.len() as u32;
        let mut library_index = HashMap::new();
        if let Some(library) = self.library {
            let roots = self.library_roots();
            self.live = live_functions(library, &roots)?;
            let first = imports + guest_defined;
            let own = library.module.imports.len() as u32;
            library_index = self
                .live
                .iter()
                .zip(first..)
                .map(|(at, new)| (at + own, new))
                .collect();
        }
        let synth = imports + guest_defined + self.live.len() as u32;
        let guest_own = self.guest.imports.len() as u32;
        let defined = |index: u32| index - guest_own + imports;
        // An import of the guest may be bound to a function of the guest, never to an import of
        // it: `check_rewire_targets` saw to that.
        let resolve = |target: Target| match target {
            Target::Import(position) => position,
            Target::Guest(index) => defined(index),
            Target::Library(index) => library_index.get(&index).copied().unwrap_or(u32::MAX),
            Target::Synth(position) => synth + position,
        };
        for target in &self.guest_imports {
            if matches!(target, Target::Guest(index) if *index < guest_own) {
                return Err(LinkError::Malformed {
                    offset: 0,
                    message: "an `icwasi.*` export is an import".to_owned(),
                });
            }
        }
        self.guest_functions = self.guest_imports.iter().map(|t| resolve(*t)).collect();
        self.guest_functions
            .extend((0..guest_defined).map(|i| imports + i));
        if let Some(library) = self.library {
            self.library_functions = self.library_imports.iter().map(|t| resolve(*t)).collect();
            let own = library.module.imports.len() as u32;
            let all = own..library.module.function_count();
            self.library_functions
                .extend(all.map(|i| resolve(Target::Library(i))));
        }
        Ok(())
    }

    /// Functions of the library that the output refers to.
    fn library_roots(&self) -> Vec<u32> {
        let mut targets = self.guest_imports.clone();
        targets.extend(self.entries.iter().map(|e| e.target));
        targets.extend(self.reseed.map(|reseed| reseed.answer));
        for synth in &self.synth {
            match synth {
                Synth::Entry(entry) => {
                    targets.extend(entry.steps.iter().flat_map(Step::targets));
                }
                Synth::Callback(callback) => {
                    let steps = callback.before.iter().chain(&callback.after);
                    targets.extend(steps.flat_map(Step::targets));
                    targets.push(callback.function);
                }
                Synth::ProcExit(exit) => targets.push(*exit),
                Synth::MethodExit(exit, trap) => targets.extend([*exit, *trap]),
                _ => {}
            }
        }
        let library = targets.into_iter().filter_map(|target| match target {
            Target::Library(index) => Some(index),
            _ => None,
        });
        library.collect()
    }

    /// The function that checks the guard, in inject mode.
    pub fn guard_check(&self) -> Option<Target> {
        let at = self
            .synth
            .iter()
            .position(|s| matches!(s, Synth::CheckGuard(_)))?;
        Some(Target::Synth(at as u32))
    }

    /// Output index of each function of the guest as it lies in tables, after [`Plan::new`].
    pub fn slot_functions(&self) -> Vec<u32> {
        let mut functions = self.guest_functions.clone();
        for (guest, callback) in &self.callbacks {
            functions[*guest as usize] = self.index(*callback);
        }
        functions
    }

    /// Output index of a function, after [`Plan::new`].
    pub fn index(&self, target: Target) -> u32 {
        match target {
            Target::Import(position) => position,
            Target::Guest(index) => self.guest_functions[index as usize],
            Target::Library(index) => self.library_functions[index as usize],
            Target::Synth(position) => {
                let before = self.imports.len() + self.guest.functions.len() + self.live.len();
                before as u32 + position
            }
        }
    }
}

/// Parameters and results of a written function.
pub(crate) fn synth_type(synth: &Synth) -> (&'static [ValType], &'static [ValType]) {
    const I32: &[ValType] = &[ValType::I32];
    match synth {
        Synth::ConfigSize
        | Synth::ArenaStart
        | Synth::ArenaSize
        | Synth::LibraryStart
        | Synth::LibraryEnd
        | Synth::MemorySize => (&[], I32),
        Synth::ConfigCopy | Synth::ProcExit(_) | Synth::MethodExit(..) | Synth::Callback(_) => {
            (I32, &[])
        }
        Synth::MemoryGrow => (I32, I32),
        Synth::RunStart | Synth::CheckGuard(_) | Synth::Entry(_) => (&[], &[]),
    }
}

/// Exports of the library that implement an import of WASI, best first; `None` if it is not one.
fn wasi_exports(import: &FuncImport<'_>) -> Option<Vec<String>> {
    let name = import.name;
    match import.module {
        "wasi_snapshot_preview1" => Some(vec![format!("icwasi.p1.{name}")]),
        "wasi_unstable" => {
            let mut names = vec![format!("icwasi.unstable.{name}")];
            // Only these differ in their binary interface.
            if !matches!(
                name,
                "fd_seek" | "fd_filestat_get" | "path_filestat_get" | "poll_oneoff"
            ) {
                names.push(format!("icwasi.p1.{name}"));
            }
            Some(names)
        }
        _ => None,
    }
}

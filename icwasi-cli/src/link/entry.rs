//! The entry points of the output: what a message runs, around the guest's own functions.

use wasmparser::{ExternalKind, ValType};

use super::encode::type_name;
use super::error::LinkError;
use super::exec::ExecAccess;
use super::parse::Module;
use super::plan::{OutExport, Plan, Synth, Target};

/// What a written entry point does, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub steps: Vec<Step>,
}

/// One step of an entry point.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Calls a function of type `() -> ()`.
    Call(Target),
    /// Calls a function of type `(i32) -> ()`.
    CallWith(Target, i32),
    /// Calls the second function if the first returns 0.
    CallIfZero(Target, Target),
}

impl Step {
    /// The functions that it calls.
    pub fn targets(&self) -> Vec<Target> {
        match self {
            Step::Call(target) | Step::CallWith(target, _) => vec![*target],
            Step::CallIfZero(first, second) => vec![*first, *second],
        }
    }
}

/// Install, as `icwasi.start` is told.
const INSTALL: i32 = 0;
/// Upgrade, as `icwasi.start` is told.
const UPGRADE: i32 = 1;

/// Prefixes of exports that name a method.
const METHOD_KINDS: [&str; 3] = [
    "canister_update ",
    "canister_query ",
    "canister_composite_query ",
];
/// Exports that are entry points, but not methods; the first three are wrapped in their own way.
const HOOKS: [&str; 7] = [
    "canister_init",
    "canister_post_upgrade",
    "canister_inspect_message",
    "canister_pre_upgrade",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
];

/// The method that an export makes public.
pub(crate) fn method_name(export: &str) -> Option<&str> {
    METHOD_KINDS
        .iter()
        .find_map(|kind| export.strip_prefix(kind))
}

/// Whether the IC calls an export, so that the linker has to wrap it.
pub(crate) fn is_entry(export: &str) -> bool {
    method_name(export).is_some() || HOOKS.contains(&export)
}

/// Whether a method belongs to the admin interface.
pub(crate) fn is_admin(export: &str) -> bool {
    method_name(export).is_some_and(|name| name.starts_with(icwasi_types::methods::PREFIX))
}

impl<'a> Plan<'a> {
    /// Plans every entry point of the contract in `docs/DESIGN.md`.
    pub(super) fn plan_entries(&mut self, admin: bool) -> Result<(), LinkError> {
        let guest = self.guest;
        let entries: Vec<_> = guest.exports.iter().filter(|e| is_entry(e.name)).collect();
        for export in &entries {
            check_type(guest, export.name, export.kind, export.index)?;
            if self.library.is_some() && is_admin(export.name) {
                return Err(LinkError::MethodConflict(export.name.to_owned()));
            }
        }

        let enter = self.require("icwasi.enter", &[], &[])?;
        let leave = self.require("icwasi.leave", &[], &[])?;
        for export in &entries {
            let wrapped = !HOOKS[..3].contains(&export.name);
            if wrapped && (admin || !is_admin(export.name)) {
                let steps = vec![Step::Call(Target::Guest(export.index))];
                self.entry(export.name, enter, steps, leave);
            }
        }
        if admin {
            self.plan_admin(enter, leave)?;
        }
        if let Some(exec) = self.exec.clone() {
            let run = self.require("icwasi.exec", &[ValType::I32], &[])?;
            let steps = vec![Step::CallWith(run, exec.access.code())];
            self.entry(
                &format!("canister_update {}", exec.method),
                enter,
                steps,
                leave,
            );
            if let Some(index) = guest.export("_start") {
                check_type(guest, "_start", ExternalKind::Func, index)?;
            }
        }
        self.plan_start("canister_init", INSTALL, enter, leave)?;
        self.plan_start("canister_post_upgrade", UPGRADE, enter, leave)?;
        self.plan_inspect(admin, enter, leave)
    }

    fn entry(&mut self, name: &str, enter: Target, steps: Vec<Step>, leave: Target) {
        let mut all = vec![Step::Call(enter)];
        all.extend(steps);
        // A command is checked where its run ends.
        if self.exec.is_none() {
            all.extend(self.guard_check().map(Step::Call));
        }
        all.push(Step::Call(leave));
        let target = self.synth(Synth::Entry(Entry { steps: all }));
        self.entries.push(OutExport {
            name: name.to_owned(),
            target,
        });
    }

    /// The endpoints of the library; those of a guest that holds it were wrapped with its own.
    fn plan_admin(&mut self, enter: Target, leave: Target) -> Result<(), LinkError> {
        if let Some(library) = self.library {
            for export in library.module.exports.iter().filter(|e| is_admin(e.name)) {
                check_type(&library.module, export.name, export.kind, export.index)?;
                let steps = vec![Step::Call(Target::Library(export.index))];
                self.entry(export.name, enter, steps, leave);
            }
        }
        if self.entries.iter().any(|e| is_admin(&e.name)) {
            return Ok(());
        }
        Err(LinkError::NoAdminFeature)
    }

    /// `canister_init` and `canister_post_upgrade`: constructors run after either.
    fn plan_start(
        &mut self,
        name: &str,
        kind: i32,
        enter: Target,
        leave: Target,
    ) -> Result<(), LinkError> {
        let start = self.require("icwasi.start", &[ValType::I32], &[])?;
        let started = self.require("icwasi.started", &[ValType::I32], &[])?;
        let mut steps = Vec::new();
        if self
            .library
            .is_some_and(|l| l.module.export("icwasi.module").is_some())
        {
            steps.push(Step::Call(self.require("icwasi.module", &[], &[])?));
        }
        steps.push(Step::CallWith(start, kind));
        let guest = self.guest;
        // Of a command, nothing runs before its method is called.
        if self.exec.is_some() {
            steps.push(Step::CallWith(started, kind));
            self.entry(name, enter, steps, leave);
            return Ok(());
        }
        // A start function may call WASI, so it must not run before `icwasi.start`.
        if let Some(index) = guest.start {
            check_type(guest, "(start)", ExternalKind::Func, index)?;
            steps.push(Step::Call(Target::Guest(index)));
        }
        // `_start` of a program that exports methods too: constructors and `main`.
        for constructor in ["_initialize", "_start", "__wasm_call_ctors"] {
            if let Some(index) = guest.export(constructor) {
                check_type(guest, constructor, ExternalKind::Func, index)?;
                if guest.start != Some(index) {
                    steps.push(Step::Call(Target::Guest(index)));
                }
                break;
            }
        }
        if let Some(index) = guest.export(name) {
            steps.push(Step::Call(Target::Guest(index)));
        }
        steps.push(Step::CallWith(started, kind));
        self.entry(name, enter, steps, leave);
        Ok(())
    }

    fn plan_inspect(&mut self, admin: bool, enter: Target, leave: Target) -> Result<(), LinkError> {
        const NAME: &str = "canister_inspect_message";
        // A command has no method but the one that runs it.
        let guests = match &self.exec {
            Some(exec) if exec.access == ExecAccess::Controllers => {
                Some(self.require("icwasi.exec_inspect", &[], &[])?)
            }
            Some(_) => None,
            None => self.guest.export(NAME).map(Target::Guest),
        };
        let steps = match (admin, guests) {
            (false, None) => return Ok(()),
            (false, Some(guests)) => vec![Step::Call(guests)],
            (true, guests) => {
                let inspect = self.require("icwasi.inspect", &[], &[ValType::I32])?;
                let otherwise = match guests {
                    Some(guests) => guests,
                    None => self.import_ic0("accept_message"),
                };
                vec![Step::CallIfZero(inspect, otherwise)]
            }
        };
        self.entry(NAME, enter, steps, leave);
        Ok(())
    }
}

fn check_type(
    module: &Module<'_>,
    name: &str,
    kind: ExternalKind,
    index: u32,
) -> Result<(), LinkError> {
    let found = match kind {
        ExternalKind::Func => module.func_type(index),
        _ => None,
    };
    match found {
        Some(ty) if ty.params().is_empty() && ty.results().is_empty() => Ok(()),
        other => Err(LinkError::ExportType {
            export: name.to_owned(),
            found: other.map_or_else(|| format!("{kind:?}"), type_name),
            expected: "() -> ()",
        }),
    }
}

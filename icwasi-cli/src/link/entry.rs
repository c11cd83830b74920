//! The entry points of the output: what a message runs, around the guest's own functions.

use wasmparser::{ExternalKind, ValType};

use super::encode::type_name;
use super::error::LinkError;
use super::exec::ExecAccess;
use super::parse::Module;
use super::plan::{OutExport, Plan, Synth, Target};
use super::reseed::{Reseed, may_call};

/// What a written entry point does, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub steps: Vec<Step>,
}

/// What lies in a slot of the table instead of a function that may be a callback of a call to
/// another canister.
#[derive(Clone, Debug)]
pub(crate) struct Callback {
    /// The function, of type `(i32) -> ()`.
    pub function: Target,
    /// What is done before and after it, if the Internet Computer calls it.
    pub before: Vec<Step>,
    pub after: Vec<Step>,
}

/// One step of an entry point.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Calls a function of type `() -> ()`.
    Call(Target),
    /// Calls a function of type `(i32) -> ()`.
    CallWith(Target, i32),
    /// Calls a function of type `() -> (i32)`, and takes the other step if it returns 0.
    IfZero(Target, Box<Step>),
}

impl Step {
    /// The functions that it calls.
    pub fn targets(&self) -> Vec<Target> {
        match self {
            Step::Call(target) | Step::CallWith(target, _) => vec![*target],
            Step::IfZero(first, then) => {
                let mut targets = then.targets();
                targets.push(*first);
                targets
            }
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
            let steps = vec![Step::CallWith(run, exec.access.code(admin))];
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
        self.plan_callbacks(enter, leave);
        self.plan_inspect(admin, enter, leave)
    }

    fn entry(&mut self, name: &str, enter: Target, steps: Vec<Step>, leave: Target) {
        let mut all = vec![Step::Call(enter)];
        all.extend(steps);
        // A command is checked where its run ends.
        if self.exec.is_none() {
            all.extend(self.guard_check().map(Step::Call));
        }
        if may_call(name) {
            all.extend(self.reseed.map(|reseed| Step::Call(reseed.ask)));
        }
        all.push(Step::Call(leave));
        let target = self.synth(Synth::Entry(Entry { steps: all }));
        self.entries.push(OutExport {
            name: name.to_owned(),
            target,
        });
    }

    /// Puts what ends an exit in front of callbacks, if the guest calls other canisters.
    fn plan_callbacks(&mut self, enter: Target, leave: Target) {
        let calls = |name: &str| matches!(name, "call_new" | "call_on_cleanup");
        let imports = self.guest.imports.iter();
        if !imports.clone().any(|i| i.module == "ic0" && calls(i.name)) {
            return;
        }
        let (Some(unwind), Some(_)) = (&self.unwind, &self.method_exit) else {
            return;
        };
        for function in unwind.callbacks.clone() {
            let mut after: Vec<_> = self.guard_check().map(Step::Call).into_iter().collect();
            after.push(Step::Call(leave));
            let callback = self.synth(Synth::Callback(Callback {
                function: Target::Guest(function),
                before: vec![Step::Call(enter)],
                after,
            }));
            self.callbacks.insert(function, callback);
        }
        // What the library in the guest does in its own callback is no message of the guest's.
        if let (None, Some(reseed)) = (self.library, self.reseed) {
            let answer = self.synth(Synth::Callback(Callback {
                function: reseed.answer,
                before: Vec::new(),
                after: Vec::new(),
            }));
            self.reseed = Some(Reseed { answer, ..reseed });
        }
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
            Some(exec) if exec.access != ExecAccess::Public => {
                let access = exec.access.code(admin);
                let inspect = self.require("icwasi.exec_inspect", &[ValType::I32], &[])?;
                Some(Step::CallWith(inspect, access))
            }
            Some(_) => None,
            None => {
                let own = self.guest.export(NAME);
                own.map(|index| Step::Call(Target::Guest(index)))
            }
        };
        let steps = match (admin, guests) {
            (false, None) => return Ok(()),
            (false, Some(guests)) => vec![guests],
            (true, guests) => {
                let inspect = self.require("icwasi.inspect", &[], &[ValType::I32])?;
                let otherwise = match guests {
                    Some(guests) => guests,
                    None => Step::Call(self.import_ic0("accept_message")),
                };
                vec![Step::IfZero(inspect, Box::new(otherwise))]
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

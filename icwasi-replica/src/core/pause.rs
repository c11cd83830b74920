//! Queries while a message runs.
//!
//! A long message is paused after each slice of instructions, and queries that wait are answered
//! on the state before it, as on the IC. Everything happens on the message's thread: what it has
//! changed in its heap is set aside for the time being, and stable memory is read without its
//! changes. So a pause costs by pages touched, and nothing if there is no query for its canister.

use std::time::Duration;

use candid::Principal;
use ic_error_types::ErrorCode;

use super::Core;
use super::canister::Canister;
use super::engine::CompiledModule;
use super::execute;
use super::heap::Heap;
use super::scheduler::Scheduler;
use super::system_api::Message;
use super::system_api::context::{INIT, PRE_UPGRADE, START};
use super::types::UserError;

/// Answers the queries that wait. Called every now and then while a message runs.
pub type PauseHook = Box<dyn FnMut(&mut Core) + Send>;

/// How long the hook waits while a module is compiled.
const COMPILING: Duration = Duration::from_millis(5);

/// The message that is paused.
pub struct Paused {
    canister: Principal,
    /// Code is being replaced: what was before cannot be run now.
    installing: bool,
    aside: Option<Aside>,
}

/// A heap as the paused message left it.
struct Aside {
    bytes: u64,
    changes: Vec<(u64, Box<[u8]>)>,
}

/// A core that is lent to a message for its pauses.
pub struct Lent {
    core: Core,
    hook: PauseHook,
}

impl Lent {
    /// Runs queries that wait, then puts everything back as the message left it.
    pub fn serve(&mut self) -> Result<(), &'static str> {
        (self.hook)(&mut self.core);
        self.core.resume()
    }
}

impl Core {
    /// Sets who answers queries while messages run.
    pub fn set_pause(&mut self, hook: PauseHook) {
        self.pause = Some(hook);
    }

    /// Whether a query of `id` can be answered now. It cannot while its code is being replaced.
    pub fn takes_queries(&self, id: &Principal) -> bool {
        !self
            .paused
            .as_ref()
            .is_some_and(|p| p.installing && p.canister == *id)
    }

    /// A core for the pauses of `message`, with all canisters; `None` if there are to be none.
    pub(super) fn lend(&mut self, message: &Message) -> Option<Box<Lent>> {
        if !message.replicated {
            return None;
        }
        let hook = self.pause.take()?;
        let core = Core {
            limits: self.limits.clone(),
            scratch_dir: Default::default(),
            engine: self.engine.clone(),
            canisters: std::mem::take(&mut self.canisters),
            next_canister: self.next_canister,
            time: self.time,
            scheduler: Scheduler::default(),
            subnet: self.subnet.clone(),
            management: None,
            journal: None,
            certificate: self.certificate.clone(),
            print: self.print.clone(),
            storage_paid_until: self.storage_paid_until,
            pause: None,
            clock: None,
            paused: Some(Paused {
                canister: message.canister,
                installing: message.context & (INIT | PRE_UPGRADE | START) != 0,
                aside: None,
            }),
        };
        Some(Box::new(Lent { core, hook }))
    }

    /// Takes back what [`Core::lend`] gave.
    pub(super) fn take_back(&mut self, lent: Box<Lent>) {
        let Lent { core, hook } = *lent;
        self.pause = Some(hook);
        self.canisters = core.canisters;
        self.time = self.time.max(core.time);
    }

    /// Answers queries that wait, between two messages.
    pub(super) fn between_messages(&mut self) {
        if let Some(mut hook) = self.pause.take() {
            hook(self);
            self.pause = Some(hook);
        }
    }

    /// See [`super::engine::WasmEngine::compile`]; queries are answered meanwhile.
    pub(super) fn compile(
        &mut self,
        wasm: &[u8],
    ) -> Result<(std::sync::Arc<CompiledModule>, bool), UserError> {
        let (engine, limits) = (self.engine.clone(), self.limits.clone());
        if self.pause.is_none() {
            return engine.compile(wasm, &limits);
        }
        std::thread::scope(|scope| {
            let (sender, compiled) = std::sync::mpsc::channel();
            let (with, within) = (&engine, &limits);
            let work = move || {
                let _ = sender.send(with.compile(wasm, within));
            };
            let thread = std::thread::Builder::new()
                .name("icwasi-compiler".to_string())
                .stack_size(16 << 20);
            if thread.spawn_scoped(scope, work).is_err() {
                return engine.compile(wasm, &limits);
            }
            loop {
                use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
                match compiled.recv_timeout(COMPILING) {
                    Ok(result) => return result,
                    Err(Timeout) => self.between_messages(),
                    // It panicked, and so does the scope.
                    Err(Disconnected) => {
                        return Err(UserError::new(
                            ErrorCode::CanisterWasmEngineError,
                            "the compiler failed",
                        ));
                    }
                }
            }
        })
    }

    /// Before a query runs on `id`: if the canister is in the middle of a message, what that one
    /// changed is set aside.
    pub(super) fn step_aside(&mut self, id: &Principal) -> Result<(), UserError> {
        let Some(paused) = self.paused.as_mut().filter(|p| p.canister == *id) else {
            return Ok(());
        };
        if paused.installing {
            return Err(UserError::new(
                ErrorCode::CertifiedStateUnavailable,
                format!("Canister {id} is being installed; try again"),
            ));
        }
        if paused.aside.is_some() {
            return Ok(());
        }
        let heap = self.canisters.get(id).and_then(|c| c.heap.as_ref());
        let Some(heap) = heap else { return Ok(()) };
        let changes = heap.changes();
        paused.aside = Some(Aside {
            bytes: heap.len(),
            changes: changes.iter().map(|(at, b)| (*at, (*b).into())).collect(),
        });
        heap.rollback();
        Ok(())
    }

    /// Puts back what [`Core::step_aside`] set aside.
    fn resume(&mut self) -> Result<(), &'static str> {
        let Some(paused) = &mut self.paused else {
            return Ok(());
        };
        let Some(canister) = self.canisters.get_mut(&paused.canister) else {
            return Ok(());
        };
        // Its instance is not the one that the message runs in.
        canister.live = None;
        let Some(aside) = paused.aside.take() else {
            return Ok(());
        };
        restore(canister, &aside).ok_or("a paused message could not be resumed")
    }
}

fn restore(canister: &mut Canister, aside: &Aside) -> Option<()> {
    execute::rollback(canister);
    let heap: &Heap = canister.heap.as_ref()?;
    let grown = heap.grow_to(aside.bytes);
    let written = aside
        .changes
        .iter()
        .all(|(offset, bytes)| heap.write(*offset, bytes));
    (grown && written).then_some(())
}

//! How an exit ends a method, a timer or a constructor of a canister: by unwinding, as that of a
//! command (`unwind.rs`, `run.rs`), so that what was written is kept.
//!
//! ```text
//! entry point   inside = 1; ...; inside = 2; call f; inside = 1;
//!               if exiting { exiting = 0; stack pointer = as before }; ...; inside = 0
//! callback      if inside { call f } else { as an entry point }
//! proc_exit     if inside != 2 { icwasi.p1.proc_exit, which traps }; icwasi.exit; exiting = 1
//! ```
//!
//! Callbacks of calls to other canisters are entered through the table. In the slots of all functions
//! that may be callbacks and may exit, there is a function that tells by `inside` who calls it: the
//! Internet Computer, or the program.

use wasm_encoder::{BlockType, Function, Instruction as I};

use super::layout::Layout;
use super::library::Library;
use super::parse::Module;

/// What ic-cdk's executor of async methods says when it finds itself in use, which it is for ever
/// if an exit unwinds through it: it notes in memory that a method has begun, and no destructor
/// notes that it has ended.
const EXECUTOR: &[u8] = b"called within an existing async context";

/// Whether what the guest has in memory forbids that it lives on after an exit: then it has to trap.
pub(crate) fn must_trap(guest: &Module<'_>) -> bool {
    let holds = |data: &[u8]| data.windows(EXECUTOR.len()).any(|piece| piece == EXECUTOR);
    guest.data.iter().any(|segment| holds(segment.data))
}

/// Globals that the output has if a method may exit, behind all others.
#[derive(Clone, Debug)]
pub(crate) struct MethodExit {
    /// 1 while the program exits.
    pub exiting: u32,
    /// 0 while nothing of a message is on the stack, 1 in an entry point, 2 where it ends the
    /// unwinding.
    inside: u32,
    /// Stack pointers of the guest, which functions that are left early do not restore.
    stack_pointers: Vec<u32>,
}

impl MethodExit {
    /// How many globals it adds.
    pub const GLOBALS: u32 = 2;

    pub fn new(guest: &Module<'_>, injected: Option<(&Library<'_>, &Layout)>) -> Self {
        let first = match injected {
            Some((library, layout)) => layout.visible_pages_global(library) + 1,
            None => guest.globals.len() as u32,
        };
        MethodExit {
            exiting: first,
            inside: first + 1,
            stack_pointers: Vec::new(),
        }
    }

    /// Says which globals are stack pointers.
    pub fn restore(&mut self, stack_pointers: &[u32]) {
        self.stack_pointers = stack_pointers.to_vec();
    }

    /// Locals (`i32`) that an entry point needs, behind its parameters.
    pub fn locals(&self) -> u32 {
        self.stack_pointers.len() as u32
    }

    /// An entry point begins.
    pub fn enter(&self) -> [I<'static>; 2] {
        [I::I32Const(1), I::GlobalSet(self.inside)]
    }

    /// An entry point ends. A trap takes `inside` back with all other globals.
    pub fn leave(&self) -> [I<'static>; 2] {
        [I::I32Const(0), I::GlobalSet(self.inside)]
    }

    /// Ends a callback that the program itself calls, as any function through a table.
    pub fn called_within(&self, function: u32) -> [I<'static>; 6] {
        [
            I::GlobalGet(self.inside),
            I::If(BlockType::Empty),
            I::LocalGet(0),
            I::Call(function),
            I::Return,
            I::End,
        ]
    }

    /// A call of a function that may exit, in an entry point with as many parameters. Cost: 9
    /// instructions, and 3 for each stack pointer.
    pub fn call(&self, function: u32, params: u32) -> Vec<I<'static>> {
        self.call_with(function, params, &[])
    }

    /// The same, of a callback, which is given what the entry point is given.
    pub fn call_back(&self, function: u32) -> Vec<I<'static>> {
        self.call_with(function, 1, &[I::LocalGet(0)])
    }

    fn call_with(&self, function: u32, params: u32, arguments: &[I<'static>]) -> Vec<I<'static>> {
        let mut code = Vec::new();
        for (local, global) in (params..).zip(&self.stack_pointers) {
            code.extend([I::GlobalGet(*global), I::LocalSet(local)]);
        }
        code.extend([I::I32Const(2), I::GlobalSet(self.inside)]);
        code.extend_from_slice(arguments);
        code.extend([
            I::Call(function),
            I::I32Const(1),
            I::GlobalSet(self.inside),
            I::GlobalGet(self.exiting),
            I::If(BlockType::Empty),
            I::I32Const(0),
            I::GlobalSet(self.exiting),
        ]);
        for (local, global) in (params..).zip(&self.stack_pointers) {
            code.extend([I::LocalGet(local), I::GlobalSet(*global)]);
        }
        code.push(I::End);
        code
    }

    /// `proc_exit`. `exit` traps unless the code is 0; `trap` always does.
    pub fn proc_exit(&self, exit: u32, trap: u32) -> Function {
        let mut code = Function::new([]);
        code.instructions()
            .global_get(self.inside)
            .i32_const(2)
            .i32_ne()
            .if_(BlockType::Empty)
            .local_get(0)
            .call(trap)
            .unreachable()
            .end()
            .local_get(0)
            .call(exit)
            .i32_const(1)
            .global_set(self.exiting)
            .end();
        code
    }
}

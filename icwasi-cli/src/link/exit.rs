//! How an exit ends a method, a timer or a constructor of a canister: by unwinding, as that of a
//! command (`unwind.rs`, `run.rs`), so that what was written is kept.
//!
//! ```text
//! entry point   inside = 1; call f; inside = 0; if exiting { exiting = 0; stack pointer = as before }
//! proc_exit     if !inside { icwasi.p1.proc_exit, which traps }; icwasi.exit; exiting = 1
//! ```
//!
//! Callbacks of inter-canister calls are entered through the table, where nothing would end the
//! unwinding: there, an exit traps.

use wasm_encoder::{BlockType, Function, Instruction as I};

use super::layout::Layout;
use super::library::Library;
use super::parse::Module;

/// Globals that the output has if a method may exit, behind all others.
#[derive(Clone, Debug)]
pub(crate) struct MethodExit {
    /// 1 while the program exits.
    pub exiting: u32,
    /// 1 while there is an entry point on the stack that ends the unwinding.
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

    /// Locals (`i32`) that an entry point needs.
    pub fn locals(&self) -> u32 {
        self.stack_pointers.len() as u32
    }

    /// A call of a function that may exit, in an entry point. Cost: 9 instructions, and 3 for each
    /// stack pointer.
    pub fn call(&self, function: u32) -> Vec<I<'static>> {
        let mut code = Vec::new();
        for (local, global) in (0..).zip(&self.stack_pointers) {
            code.extend([I::GlobalGet(*global), I::LocalSet(local)]);
        }
        code.extend([
            I::I32Const(1),
            I::GlobalSet(self.inside),
            I::Call(function),
            I::I32Const(0),
            I::GlobalSet(self.inside),
            I::GlobalGet(self.exiting),
            I::If(BlockType::Empty),
            I::I32Const(0),
            I::GlobalSet(self.exiting),
        ]);
        for (local, global) in (0..).zip(&self.stack_pointers) {
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
            .i32_eqz()
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

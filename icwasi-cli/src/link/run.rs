//! Code of a command's run: initial memory and globals, then `_start`; and the memory operators
//! of a program that is run more than once.

use wasm_encoder::{BlockType, Function, Instruction as I, ValType};

use super::body::BodyRewriter;
use super::data::{DataSection, Initial};
use super::error::LinkError;
use super::exec::gaps;
use super::growth::Growth;
use super::layout::{ExecGlobals, Layout, TRUTH};
use super::plan::{Plan, Target};

/// What the code of a run refers to.
pub(crate) struct Run {
    pub globals: ExecGlobals,
    /// Behind the memory shims: what the guest sees.
    visible_pages: u32,
    initial: Vec<Initial>,
    /// Pieces of the guest's declared memory that no segment writes.
    gaps: Vec<(u32, u32)>,
    /// The guest's mutable globals, and the code of their initial values.
    values: Vec<(u32, Vec<u8>)>,
    /// The start function and `_start`.
    calls: Vec<u32>,
    /// Checks the guard once the program has ended.
    check_guard: u32,
}

impl Run {
    /// Collects it. Fails if a data segment does not lie at a fixed place.
    pub fn new(
        plan: &Plan<'_>,
        rewriter: &BodyRewriter<'_>,
        data: &DataSection,
    ) -> Result<Self, LinkError> {
        let (Some(library), Some(layout)) = (plan.library, plan.layout) else {
            return Err(LinkError::Command);
        };
        let Some(check_guard) = plan.guard_check() else {
            return Err(LinkError::Command);
        };
        let guest = plan.guest;
        let mut values = Vec::new();
        for (index, global) in (0..).zip(&guest.globals) {
            if global.ty.mutable {
                let mut code = Vec::new();
                rewriter.rewrite_const(&global.init_expr, guest.bytes, &mut code)?;
                // Its `end`.
                code.pop();
                values.push((index, code));
            }
        }
        let start = guest.export("_start");
        let calls = guest.start.filter(|s| Some(*s) != start);
        let calls = calls.into_iter().chain(start);
        Ok(Run {
            globals: layout.exec_globals(library),
            visible_pages: layout.visible_pages_global(library),
            initial: data.initial.clone(),
            gaps: gaps(guest)?,
            values,
            calls: calls.map(|f| plan.index(Target::Guest(f))).collect(),
            check_guard: plan.index(check_guard),
        })
    }

    /// Restores the initial state and runs the program; returns when it has ended.
    pub fn start(&self, layout: &Layout) -> Function {
        let ExecGlobals { exiting, top, runs } = self.globals;
        let mut code = Function::new([]);
        code.instructions()
            .global_get(runs)
            .i32_const(1)
            .i32_add()
            .global_set(runs);
        // Fresh memory is zero.
        self.if_ran_before(&mut code);
        for (address, length) in &self.gaps {
            code.instructions()
                .i32_const(*address as i32)
                .i32_const(0)
                .i32_const(*length as i32)
                .memory_fill(0);
        }
        code.instructions().end();
        for initial in &self.initial {
            code.instructions()
                .i32_const(initial.address as i32)
                .i32_const(0)
                .i32_const(initial.length as i32)
                .memory_init(0, initial.segment);
        }
        for (index, value) in &self.values {
            code.raw(value.iter().copied());
            code.instructions().global_set(*index);
        }
        code.instructions()
            .i32_const(layout.visible_at_start())
            .global_set(self.visible_pages)
            .i32_const(layout.pages as i32)
            .global_set(top)
            .i32_const(0)
            .global_set(exiting);
        code.instructions().block(BlockType::Empty);
        for function in &self.calls {
            code.instructions()
                .call(*function)
                .global_get(exiting)
                .br_if(0);
        }
        code.instructions().end().call(self.check_guard).end();
        code
    }

    /// `proc_exit`: tells the library and lets the callers leave.
    pub fn exit(&self, library_exit: u32) -> Function {
        let mut code = Function::new([]);
        code.instructions()
            .local_get(0)
            .call(library_exit)
            .i32_const(1)
            .global_set(self.globals.exiting)
            .end();
        code
    }

    /// `memory.size`: as elsewhere, but the truth is what this run was handed.
    pub fn memory_size(&self) -> Vec<I<'static>> {
        vec![
            I::GlobalGet(self.visible_pages),
            I::I32Const(TRUTH),
            I::I32Eq,
            I::If(BlockType::Result(ValType::I32)),
            I::GlobalGet(self.globals.top),
            I::Else,
            I::GlobalGet(self.visible_pages),
            I::End,
        ]
    }

    /// `memory.grow`: headroom first, then pages of earlier runs, zeroed, then new ones.
    pub fn memory_grow(&self, layout: &Layout) -> Function {
        const PAGES: u32 = 0;
        const OLD: u32 = 1;
        const SIZE: u32 = 2;
        const NEW: u32 = 3;
        let (top, visible) = (self.globals.top, self.visible_pages);
        let mut code = Function::new([(3, ValType::I32)]);
        for instruction in self.memory_size() {
            code.instruction(&instruction);
        }
        code.instructions()
            .local_set(OLD)
            .local_get(PAGES)
            .i32_eqz()
            .if_(BlockType::Empty)
            .local_get(OLD)
            .return_()
            .end();
        if layout.headroom_pages > 0 {
            let end = (layout.guest_pages + layout.headroom_pages) as i32;
            // visible != TRUTH && visible <= end && pages <= end - visible
            code.instructions()
                .global_get(visible)
                .i32_const(end)
                .i32_le_u()
                .if_(BlockType::Empty)
                .local_get(PAGES)
                .i32_const(end)
                .global_get(visible)
                .i32_sub()
                .i32_le_u()
                .if_(BlockType::Empty);
            self.if_ran_before(&mut code);
            zero(&mut code, OLD, |code| {
                code.instructions().local_get(PAGES);
            });
            code.instructions()
                .end()
                .local_get(OLD)
                .local_get(PAGES)
                .i32_add()
                .global_set(visible)
                .local_get(OLD)
                .return_()
                .end()
                .end();
        }
        if layout.growth == Growth::Contiguous {
            code.instructions().i32_const(-1).end();
            return code;
        }
        code.instructions()
            .global_get(top)
            .local_set(OLD)
            // Sizes are 65,536 at most, so nothing below overflows.
            .local_get(PAGES)
            .i32_const(65_536)
            .i32_gt_u()
            .if_(BlockType::Empty)
            .i32_const(-1)
            .return_()
            .end()
            .local_get(OLD)
            .local_get(PAGES)
            .i32_add()
            .local_set(NEW)
            .memory_size(0)
            .local_set(SIZE)
            .local_get(NEW)
            .local_get(SIZE)
            .i32_gt_u()
            .if_(BlockType::Empty)
            .local_get(NEW)
            .local_get(SIZE)
            .i32_sub()
            .memory_grow(0)
            .i32_const(-1)
            .i32_eq()
            .if_(BlockType::Empty)
            .i32_const(-1)
            .return_()
            .end()
            .else_()
            .local_get(NEW)
            .local_set(SIZE)
            .end();
        // From OLD to SIZE the pages were handed out before.
        zero(&mut code, OLD, |code| {
            code.instructions().local_get(SIZE).local_get(OLD).i32_sub();
        });
        code.instructions()
            .local_get(NEW)
            .global_set(top)
            .i32_const(TRUTH)
            .global_set(visible)
            .local_get(OLD)
            .end();
        code
    }

    fn if_ran_before(&self, code: &mut Function) {
        code.instructions()
            .global_get(self.globals.runs)
            .i32_const(1)
            .i32_gt_u()
            .if_(BlockType::Empty);
    }
}

/// Zeroes pages: from the one in local `from`, as many as `pages` pushes.
fn zero(code: &mut Function, from: u32, pages: impl Fn(&mut Function)) {
    code.instructions()
        .local_get(from)
        .i32_const(16)
        .i32_shl()
        .i32_const(0);
    pages(code);
    code.instructions().i32_const(16).i32_shl().memory_fill(0);
}

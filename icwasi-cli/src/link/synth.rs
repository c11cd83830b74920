//! Code of the functions that the linker writes itself.

use wasm_encoder::{BlockType, Function, Instruction, ValType};

use super::entry::{Callback, Entry, Step};
use super::growth::Growth;
use super::layout::{GUARD, Layout, TRUTH};
use super::plan::{Plan, Synth, Target};
use super::run::Run;

/// What written functions refer to.
pub(crate) struct Context {
    /// Index of the passive segment with the configuration.
    pub config_segment: u32,
    /// Its length.
    pub config_size: u32,
    /// Index of the passive segment with [`OVERLAP`] (*inject*).
    pub overlap_segment: u32,
    /// The global behind the memory shims (*inject*).
    pub visible_pages: u32,
    /// How a command is run.
    pub run: Option<Run>,
}

/// The body of a written function, encoded with its size.
pub(crate) fn body(plan: &Plan<'_>, synth: &Synth, context: &Context) -> Vec<u8> {
    use Instruction as I;
    if let (Some(run), Some(layout)) = (&context.run, plan.layout) {
        let written = match synth {
            Synth::RunStart => Some(run.start(&layout)),
            Synth::ProcExit(exit) => Some(run.exit(plan.index(*exit))),
            Synth::MemoryGrow => Some(run.memory_grow(&layout)),
            _ => None,
        };
        if let Some(function) = written {
            return encoded(&function);
        }
    }
    if let (Synth::MethodExit(exit, trap), Some(method)) = (synth, &plan.method_exit) {
        return encoded(&method.proc_exit(plan.index(*exit), plan.index(*trap)));
    }
    let (locals, code): (Vec<(u32, ValType)>, Vec<Instruction<'_>>) = match (synth, plan.layout) {
        (Synth::ConfigSize, _) => (vec![], vec![I::I32Const(context.config_size as i32)]),
        (Synth::ConfigCopy, _) => {
            let init = I::MemoryInit {
                mem: 0,
                data_index: context.config_segment,
            };
            let size = I::I32Const(context.config_size as i32);
            (vec![], vec![I::LocalGet(0), I::I32Const(0), size, init])
        }
        (Synth::ArenaStart, Some(layout)) => (vec![], vec![I::I32Const(layout.arena_start as i32)]),
        (Synth::ArenaSize, Some(layout)) => (vec![], vec![I::I32Const(layout.arena_size as i32)]),
        (Synth::LibraryStart, Some(layout)) => (vec![], vec![I::I32Const(layout.guard as i32)]),
        (Synth::LibraryEnd, Some(layout)) => {
            let end = layout.arena_start + layout.arena_size;
            (vec![], vec![I::I32Const(end as i32)])
        }
        (Synth::MemorySize, Some(_)) => match &context.run {
            Some(run) => (vec![], run.memory_size()),
            None => (vec![], memory_size(context)),
        },
        (Synth::MemoryGrow, Some(layout)) => {
            (vec![(1, ValType::I32)], memory_grow(&layout, context))
        }
        (Synth::CheckGuard(trap), Some(layout)) => {
            (vec![], check_guard(plan.index(*trap), &layout, context))
        }
        (Synth::Entry(entry), _) => {
            let locals = plan.method_exit.as_ref().map_or(0, |exit| exit.locals());
            (vec![(locals, ValType::I32)], entry_code(plan, entry))
        }
        (Synth::Callback(callback), _) => {
            let locals = plan.method_exit.as_ref().map_or(0, |exit| exit.locals());
            (vec![(locals, ValType::I32)], callback_code(plan, callback))
        }
        // Nothing calls these: without a command, or without a layout.
        (Synth::RunStart | Synth::ProcExit(_) | Synth::MethodExit(..), _) | (_, None) => {
            (vec![], vec![I::Unreachable])
        }
    };
    let mut function = Function::new(locals);
    for instruction in &code {
        function.instruction(instruction);
    }
    function.instruction(&I::End);
    encoded(&function)
}

fn encoded(function: &Function) -> Vec<u8> {
    let mut out = Vec::new();
    wasm_encoder::Encode::encode(function, &mut out);
    out
}

fn entry_code(plan: &Plan<'_>, entry: &Entry) -> Vec<Instruction<'static>> {
    let steps = entry.steps.iter();
    let steps = steps.flat_map(|step| step_code(plan, step, 0));
    match &plan.method_exit {
        Some(exit) => {
            let code = exit.enter().into_iter().chain(steps);
            code.chain(exit.leave()).collect()
        }
        None => steps.collect(),
    }
}

/// See `exit.rs`. Cost where the program itself calls it: 6 instructions.
fn callback_code(plan: &Plan<'_>, callback: &Callback) -> Vec<Instruction<'static>> {
    let function = plan.index(callback.function);
    let Some(exit) = &plan.method_exit else {
        return vec![Instruction::LocalGet(0), Instruction::Call(function)];
    };
    let mut code = exit.called_within(function).to_vec();
    code.extend(exit.enter());
    let steps = |steps: &[Step]| -> Vec<_> {
        let steps = steps.iter();
        steps.flat_map(|step| step_code(plan, step, 1)).collect()
    };
    code.extend(steps(&callback.before));
    code.extend(exit.call_back(function));
    code.extend(steps(&callback.after));
    code.extend(exit.leave());
    code
}

/// A step of an entry point with as many parameters.
fn step_code(plan: &Plan<'_>, step: &Step, params: u32) -> Vec<Instruction<'static>> {
    use Instruction as I;
    match step {
        Step::Call(target) => {
            let function = plan.index(*target);
            match (&plan.method_exit, &plan.unwind, target) {
                (Some(exit), Some(unwind), Target::Guest(guests)) if unwind.leaves(*guests) => {
                    exit.call(function, params)
                }
                _ => vec![I::Call(function)],
            }
        }
        Step::CallWith(target, value) => {
            vec![I::I32Const(*value), I::Call(plan.index(*target))]
        }
        Step::IfZero(first, then) => {
            let mut code = vec![
                I::Call(plan.index(*first)),
                I::I32Eqz,
                I::If(BlockType::Empty),
            ];
            code.extend(step_code(plan, then, params));
            code.push(I::End);
            code
        }
    }
}

/// What the guard holds, over and over.
pub(crate) const GUARD_WORD: u64 = u64::from_le_bytes(*b"icwasi\x8d\xb1");
/// Bytes from one word that is looked at to the next.
const GUARD_STRIDE: u64 = 128;
/// Why a message traps whose program wrote over the guard.
pub(crate) const OVERLAP: &str = "icwasi: the program wrote behind the end of its memory, where icwasi's is: its allocator takes \
     growth of the memory for contiguous. Link it with `--growth contiguous --headroom SIZE`. The \
     message is rolled back.";

/// Traps if the guest wrote into the guard. Cost: some 200 instructions.
fn check_guard(trap: u32, layout: &Layout, context: &Context) -> Vec<Instruction<'static>> {
    use Instruction as I;
    let guard = layout.guard as i32;
    let mut code = vec![I::I64Const(0)];
    for offset in (0..GUARD).step_by(GUARD_STRIDE as usize) {
        let word = wasm_encoder::MemArg {
            offset,
            align: 3,
            memory_index: 0,
        };
        code.extend([
            I::I32Const(guard),
            I::I64Load(word),
            I::I64Const(GUARD_WORD as i64),
            I::I64Xor,
            I::I64Or,
        ]);
    }
    code.extend([
        I::I64Eqz,
        I::If(BlockType::Empty),
        I::Else,
        I::I32Const(guard),
        I::I32Const(0),
        I::I32Const(OVERLAP.len() as i32),
        I::MemoryInit {
            mem: 0,
            data_index: context.overlap_segment,
        },
        I::I32Const(guard),
        I::I32Const(OVERLAP.len() as i32),
        I::Call(trap),
        I::End,
    ]);
    code
}

/// `memory.size` as the guest sees it: what it was handed, or the truth once it has grown.
fn memory_size(context: &Context) -> Vec<Instruction<'static>> {
    use Instruction as I;
    let visible = I::GlobalGet(context.visible_pages);
    vec![
        visible.clone(),
        I::I32Const(TRUTH),
        I::I32Eq,
        I::If(BlockType::Result(ValType::I32)),
        I::MemorySize(0),
        I::Else,
        visible,
        I::End,
    ]
}

/// `memory.grow` of the guest: from the headroom while that lasts, then behind the library, unless
/// it takes growth for contiguous. The guest's own maximum is kept by the output's.
fn memory_grow(layout: &Layout, context: &Context) -> Vec<Instruction<'static>> {
    use Instruction as I;
    const PAGES: u32 = 0;
    const OLD: u32 = 1;
    let visible = context.visible_pages;
    let mut code = memory_size(context);
    code.extend([
        I::LocalSet(OLD),
        // Growing by nothing asks for the size.
        I::LocalGet(PAGES),
        I::I32Eqz,
        I::If(BlockType::Empty),
        I::LocalGet(OLD),
        I::Return,
        I::End,
    ]);
    if layout.headroom_pages > 0 {
        let end = (layout.guest_pages + layout.headroom_pages) as i32;
        code.extend([
            // visible != TRUTH && visible <= end && pages <= end - visible
            I::GlobalGet(visible),
            I::I32Const(end),
            I::I32LeU,
            I::If(BlockType::Empty),
            I::LocalGet(PAGES),
            I::I32Const(end),
            I::GlobalGet(visible),
            I::I32Sub,
            I::I32LeU,
            I::If(BlockType::Empty),
            I::LocalGet(OLD),
            I::LocalGet(PAGES),
            I::I32Add,
            I::GlobalSet(visible),
            I::LocalGet(OLD),
            I::Return,
            I::End,
            I::End,
        ]);
    }
    if layout.growth == Growth::Contiguous {
        code.push(I::I32Const(-1));
        return code;
    }
    code.extend([
        I::LocalGet(PAGES),
        I::MemoryGrow(0),
        I::LocalTee(OLD),
        I::I32Const(-1),
        I::I32Ne,
        I::If(BlockType::Empty),
        I::I32Const(TRUTH),
        I::GlobalSet(visible),
        I::End,
        I::LocalGet(OLD),
    ]);
    code
}

//! Where a function body charges for itself, and the code that does it.
//!
//! The points and amounts are the reference's: the cost of each straight-line block is subtracted
//! when the block is entered; function entries and loop heads also check whether the counter went
//! below zero; bulk operators subtract their size operand.
//!
//! How it is subtracted is our own affair as long as nobody can tell: inside a function the
//! counter lives in a local, and the global that everybody else reads is only written by blocks
//! in which something may look at it (a call, anything that may trap, the end of the function).
//! So a loop of plain arithmetic does not touch memory for its metering.

use wasm_encoder::{BlockType, Encode, Instruction};
use wasmparser::Operator;

use super::costs;
use super::instrument::InstrumentError;
use super::sections::appended;

/// Locals that a function may have; the counter's comes on top.
const MAX_LOCALS: u64 = 49_999;

/// Indices of what is appended to a module.
pub struct Added {
    /// The global that counts down.
    pub counter: u32,
    /// The global that is 1 after the counter was found below zero.
    pub exhausted: u32,
    /// Function `()`: called when the counter is below zero; returns if there are more
    /// instructions.
    pub out_of_instructions: u32,
    /// Type `()`.
    pub nothing: u32,
    /// Table whose element 0 is the host's function that gives more instructions.
    pub pause_table: u32,
    /// Function `i32 -> i32`.
    pub charge32: u32,
    /// Function `i64 -> i64`.
    pub charge64: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charge {
    /// The counter was changed by somebody else.
    Reload,
    /// Subtracts the `i32` or `i64` on top of the stack, and checks.
    Bulk { wide: bool },
    /// Subtracts the cost of the block that begins here.
    Block {
        /// Function entry or loop head: checks.
        reentrant: bool,
        cost: u64,
        /// The first one of the function.
        entry: bool,
        /// Something in the block may look at the counter.
        seen: bool,
    },
}

/// What is charged in a function, by position of the operator that it precedes.
fn charges(ops: &[(Operator<'_>, usize)], wasm64: bool) -> Vec<(usize, Charge)> {
    let mut out: Vec<(usize, Charge)> = Vec::new();
    let (mut start, mut reentrant, mut cost) = (0usize, true, costs::FUNCTION_ENTRY);
    let mut seen = false;
    // Open blocks; a branch to this depth leaves the function.
    let mut depth = 0u32;
    for (pos, (op, _)) in ops.iter().enumerate() {
        cost += costs::operator(op, wasm64);
        seen |= !is_silent(op) || leaves(op, depth);
        // Whether a block ends here, and if so whether the next one is a loop's body.
        let boundary = match op {
            Operator::Loop { .. } => Some(true),
            Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => Some(false),
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. } => {
                out.push((pos, Charge::Bulk { wide: wasm64 }));
                None
            }
            Operator::MemoryInit { .. } | Operator::TableInit { .. } => {
                out.push((pos, Charge::Bulk { wide: false }));
                None
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                out.push((pos + 1, Charge::Reload));
                None
            }
            _ => None,
        };
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
            Operator::End => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(next) = boundary {
            let charge = Charge::Block {
                reentrant,
                cost,
                entry: start == 0,
                seen,
            };
            out.push((start, charge));
            (start, reentrant, cost, seen) = (pos + 1, next, 0, false);
        }
    }
    // A block that costs nothing is only of interest if the function ends in it. Where a bulk
    // operator is the first of its block, its size is charged before the block, as there.
    out.retain(|(_, c)| {
        !matches!(
            c,
            Charge::Block {
                reentrant: false,
                cost: 0,
                seen: false,
                ..
            }
        )
    });
    out.sort_by_key(|(pos, charge)| {
        let rank = match charge {
            Charge::Reload => 0,
            Charge::Bulk { .. } => 1,
            Charge::Block { .. } => 2,
        };
        (*pos, rank)
    });
    out
}

/// Whether the operator may leave the function.
fn leaves(op: &Operator<'_>, depth: u32) -> bool {
    match op {
        Operator::End => depth == 0,
        Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
            *relative_depth == depth
        }
        Operator::BrTable { targets } => {
            targets.default() == depth || targets.targets().any(|t| t.is_ok_and(|t| t == depth))
        }
        _ => false,
    }
}

/// Whether nothing can look at the counter while the operator runs: it neither calls nor traps.
#[expect(
    clippy::match_like_matches_macro,
    reason = "a line for each group of operators"
)]
fn is_silent(op: &Operator<'_>) -> bool {
    use Operator::*;
    match op {
        Nop | Drop | Select | TypedSelect { .. } => true,
        Block { .. } | Loop { .. } | If { .. } | Else | End => true,
        Br { .. } | BrIf { .. } | BrTable { .. } => true,
        LocalGet { .. } | LocalSet { .. } | LocalTee { .. } => true,
        GlobalGet { .. } | GlobalSet { .. } => true,
        I32Const { .. } | I64Const { .. } | F32Const { .. } | F64Const { .. } => true,
        I32Add | I32Sub | I32Mul | I32And | I32Or | I32Xor | I32Clz | I32Ctz | I32Popcnt => true,
        I64Add | I64Sub | I64Mul | I64And | I64Or | I64Xor | I64Clz | I64Ctz | I64Popcnt => true,
        I32Shl | I32ShrS | I32ShrU | I32Rotl | I32Rotr => true,
        I64Shl | I64ShrS | I64ShrU | I64Rotl | I64Rotr => true,
        I32Eqz | I32Eq | I32Ne | I32LtS | I32LtU | I32GtS | I32GtU => true,
        I32LeS | I32LeU | I32GeS | I32GeU => true,
        I64Eqz | I64Eq | I64Ne | I64LtS | I64LtU | I64GtS | I64GtU => true,
        I64LeS | I64LeU | I64GeS | I64GeU => true,
        I32WrapI64 | I64ExtendI32S | I64ExtendI32U => true,
        I32Extend8S | I32Extend16S | I64Extend8S | I64Extend16S | I64Extend32S => true,
        F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge => true,
        F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge => true,
        F32Add | F32Sub | F32Mul | F32Div | F32Sqrt | F32Abs | F32Neg => true,
        F64Add | F64Sub | F64Mul | F64Div | F64Sqrt | F64Abs | F64Neg => true,
        _ => false,
    }
}

fn put(sink: &mut Vec<u8>, instructions: &[Instruction<'_>]) {
    for i in instructions {
        i.encode(sink);
    }
}

/// Writes the code of a charge. `local`: where the function keeps the counter.
fn write(sink: &mut Vec<u8>, charge: Charge, local: Option<u32>, added: &Added) {
    use Instruction::*;
    let counter = added.counter;
    let reload = |sink: &mut Vec<u8>| {
        if let Some(local) = local {
            put(sink, &[GlobalGet(counter), LocalSet(local)]);
        }
    };
    let flush = |sink: &mut Vec<u8>| {
        if let Some(local) = local {
            put(sink, &[LocalGet(local), GlobalSet(counter)]);
        }
    };
    match charge {
        Charge::Reload => reload(sink),
        Charge::Bulk { wide } => {
            flush(sink);
            let function = if wide { added.charge64 } else { added.charge32 };
            put(sink, &[Call(function)]);
            reload(sink);
        }
        Charge::Block {
            reentrant,
            cost,
            entry,
            seen,
        } => {
            let amount = I64Const(cost as i64);
            let Some(local) = local else {
                if cost > 0 {
                    put(
                        sink,
                        &[GlobalGet(counter), amount, I64Sub, GlobalSet(counter)],
                    );
                }
                if reentrant {
                    put(sink, &[GlobalGet(counter), I64Const(0), I64LtS]);
                    put(sink, &[If(BlockType::Empty)]);
                    put(sink, &[Call(added.out_of_instructions), End]);
                }
                return;
            };
            if entry {
                put(sink, &[GlobalGet(counter), LocalSet(local)]);
            }
            if cost > 0 {
                put(sink, &[LocalGet(local), amount, I64Sub, LocalSet(local)]);
            }
            if seen {
                flush(sink);
            }
            if reentrant {
                put(sink, &[LocalGet(local), I64Const(0), I64LtS]);
                put(sink, &[If(BlockType::Empty)]);
                flush(sink);
                put(sink, &[Call(added.out_of_instructions)]);
                reload(sink);
                put(sink, &[End]);
            }
        }
    }
}

/// Operators that the reference's code for a charge has: it keeps the counter in the global.
fn operators_of(charge: Charge) -> u64 {
    match charge {
        Charge::Reload => 0,
        Charge::Bulk { wide: true } => 1,
        Charge::Bulk { wide: false } => 3,
        Charge::Block {
            reentrant: true, ..
        } => 10,
        Charge::Block { cost: 0, .. } => 0,
        Charge::Block { .. } => 4,
    }
}

/// What was learnt about a body while it was copied.
pub struct Body {
    /// Operators that the body has on the IC after instrumentation.
    pub operators: u64,
    /// Whether it drops a data segment.
    pub drops_data: bool,
}

/// Copies one function body of `original` with its charges. `params`: number of its parameters.
pub fn body(
    code: &wasmparser::FunctionBody<'_>,
    original: &[u8],
    params: u32,
    wasm64: bool,
    added: &Added,
    sink: &mut Vec<u8>,
) -> Result<Body, InstrumentError> {
    let locals = code.get_locals_reader()?;
    let groups = locals.get_count();
    let mut count = u64::from(params);
    for group in locals {
        count += u64::from(group?.0);
    }
    let reader = code.get_operators_reader()?;
    let first = reader.original_position();
    let end = code.range().end;
    let declared = &original[code.range().start..first];
    // With as many locals as there may be, there is no room for another one.
    let local = (count <= MAX_LOCALS).then_some(count as u32);
    match local {
        Some(_) => sink.extend(appended(Some(declared), groups, 1, &[1, 0x7e])),
        None => sink.extend_from_slice(declared),
    }
    let ops = reader
        .into_iter_with_offsets()
        .collect::<Result<Vec<_>, _>>()?;
    let mut operators = ops.len() as u64;
    let mut copied = first;
    for (pos, charge) in charges(&ops, wasm64) {
        let offset = ops.get(pos).map_or(end, |(_, offset)| *offset);
        sink.extend_from_slice(&original[copied..offset]);
        copied = offset;
        operators += operators_of(charge);
        write(sink, charge, local, added);
    }
    sink.extend_from_slice(&original[copied..end]);
    let mut drops_data = false;
    for (op, _) in &ops {
        match op {
            Operator::DataDrop { .. } => drops_data = true,
            // The reference surrounds it with three operators of its own.
            Operator::MemoryGrow { .. } => operators += 3,
            _ => {}
        }
    }
    Ok(Body {
        operators,
        drops_data,
    })
}

/// `charge(size) -> size`: subtracts `size`, clamped at `i64::MIN`, and stops below zero.
pub fn charge_function(wide: bool, added: &Added) -> Vec<u8> {
    use Instruction::*;
    // One local of type i64: the counter before.
    let mut sink = vec![1, 1, 0x7e];
    let size = |sink: &mut Vec<u8>| {
        put(sink, &[LocalGet(0)]);
        if !wide {
            put(sink, &[I64ExtendI32U]);
        }
    };
    put(&mut sink, &[GlobalGet(added.counter), LocalTee(1)]);
    size(&mut sink);
    put(&mut sink, &[I64Sub, GlobalSet(added.counter)]);
    // A size above i64::MAX, or a difference that wrapped around, is more than any limit.
    size(&mut sink);
    put(
        &mut sink,
        &[
            I64Const(0),
            I64LtS,
            LocalGet(1),
            GlobalGet(added.counter),
            I64LtS,
            I32Or,
            If(BlockType::Empty),
            I64Const(i64::MIN),
            GlobalSet(added.counter),
            End,
            GlobalGet(added.counter),
            I64Const(0),
            I64LtS,
            If(BlockType::Empty),
            Call(added.out_of_instructions),
            End,
            LocalGet(0),
            End,
        ],
    );
    sink
}

/// Asks the host for more instructions; without any, notes that and stops.
pub fn out_of_instructions_function(added: &Added) -> Vec<u8> {
    use Instruction::*;
    let mut sink = vec![0];
    put(
        &mut sink,
        &[
            I32Const(0),
            CallIndirect {
                type_index: added.nothing,
                table_index: added.pause_table,
            },
            GlobalGet(added.counter),
            I64Const(0),
            I64LtS,
            If(BlockType::Empty),
            I32Const(1),
            GlobalSet(added.exhausted),
            Unreachable,
            End,
            End,
        ],
    );
    sink
}

//! What the IC charges, in instructions: for each operator, for System API calls, for compiling.
//!
//! Source: the reference implementation's `instruction_to_cost` and `system_api` overheads, as of
//! mid-2026 ([`super::limits::TABLE_VERSION`]). Everything is a constant or a `match`, so that the
//! table can be read beside its source.

use wasmparser::Operator;

/// Cost of entering a function.
pub const FUNCTION_ENTRY: u64 = 1;
/// Added per byte or element by `memory.fill`, `memory.copy`, `memory.init`, `table.fill`,
/// `table.copy`, `table.init`, on top of their static cost.
pub const BULK_PER_UNIT: u64 = 1;
/// Charged at installation per operator of the instrumented module.
pub const COMPILE_PER_OPERATOR: u64 = 6_000;
/// Divides the compile charge when the module was compiled before.
pub const COMPILE_CACHED_DIVISOR: u64 = 100;
/// Operators that a global counts for in the compile charge.
pub const COMPILE_OPERATORS_PER_GLOBAL: u64 = 2;
/// Operators that instrumentation adds to every module, besides those in its functions: three
/// globals, a function that subtracts (20) and one that counts clean pages of stable memory (46).
pub const COMPILE_ADDED: u64 = 3 * COMPILE_OPERATORS_PER_GLOBAL + 20 + 46;

/// Operators of the function that replaces an imported one in the compiled module: access to
/// stable memory is wasm there.
pub fn compile_replaced(import: &str) -> u64 {
    match import {
        "stable_size" => 10,
        "stable64_size" => 2,
        "stable_grow" => 24,
        "stable64_grow" => 21,
        "stable_read" => 106,
        "stable64_read" => 119,
        "stable_write" => 91,
        "stable64_write" => 107,
        _ => 0,
    }
}

/// Most System API functions, per call.
pub const API_DEFAULT: u64 = 500;
/// `call_new`
pub const API_CALL_NEW: u64 = 1_500;
/// `call_perform`
pub const API_CALL_PERFORM: u64 = 5_000;
/// `is_controller`
pub const API_IS_CONTROLLER: u64 = 1_000;
/// `debug_print`
pub const API_DEBUG_PRINT: u64 = 100;
/// `performance_counter`; charged before the counter is read.
pub const API_PERFORMANCE_COUNTER: u64 = 200;
/// `cost_http_request_v2`
pub const API_COST_HTTP_REQUEST_V2: u64 = 10_000;
/// `mint_cycles128`
pub const API_MINT_CYCLES: u64 = 0;
/// `stable_read`, `stable_write` and their 64-bit forms.
pub const API_STABLE_ACCESS: u64 = 20;
/// `stable_grow`, `stable64_grow`.
pub const API_STABLE_GROW: u64 = 100;
/// `stable_size`, `stable64_size`.
pub const API_STABLE_SIZE: u64 = 0;
/// Per byte copied between the platform and the canister.
pub const API_PER_BYTE: u64 = 1;
/// Per byte that leaves the canister: `msg_reply_data_append`, `msg_reject`, `call_data_append`.
pub const TRANSMISSION_PER_BYTE: u64 = 50;
/// Per byte that `debug_print` and `trap` prepare for the log, up to the log's capacity.
pub const LOG_FORMAT_PER_BYTE: u64 = 2;
/// Per byte that they put into the log, up to what one message may still log.
pub const LOG_STORE_PER_BYTE: u64 = 50;
/// Per 4 KiB page of stable memory dirtied for the first time in a message, 32-bit memory.
pub const STABLE_DIRTY_PAGE: u64 = 1_000;
/// The same for canisters with 64-bit memory.
pub const STABLE_DIRTY_PAGE_WASM64: u64 = 4_000;

/// `upload_chunk`
pub const UPLOAD_CHUNK: u64 = 200_000_000;
/// Taking or loading a snapshot, plus one per byte.
pub const SNAPSHOT_BASE: u64 = 2_000_000_000;
/// Reading or uploading snapshot data, plus one per byte.
pub const SNAPSHOT_DATA_BASE: u64 = 5_000_000;

/// Static cost of an operator. `wasm64`: the module's memory has 64-bit addresses.
///
/// The cost of bulk operators per byte or element comes on top ([`BULK_PER_UNIT`]), so does what a
/// called System API function charges.
pub fn operator(op: &Operator<'_>, wasm64: bool) -> u64 {
    use Operator::*;
    match op {
        Block { .. } | Loop { .. } | Else | End => 0,

        I32DivS | I32DivU | I32RemS | I32RemU | I64DivS | I64DivU | I64RemS | I64RemU => 10,

        F32Add | F32Sub | F32Mul | F32Ceil | F32Floor | F32Trunc | F32Nearest => 2,
        F64Add | F64Sub | F64Mul | F64Ceil | F64Floor | F64Trunc | F64Nearest => 2,
        F32Div => 3,
        F64Div => 5,
        F32Min | F32Max | F64Min | F64Max => 18,
        F32Copysign => 2,
        F64Copysign => 3,
        F32Sqrt => 5,
        F64Sqrt => 8,
        F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge => 3,
        F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge => 3,
        F32ConvertI32S | F32ConvertI64S | F64ConvertI32S | F64ConvertI64S => 3,
        F32ConvertI32U | F32ConvertI64U | F64ConvertI32U | F64ConvertI64U => 16,
        I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U => 20,
        I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U => 20,
        I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U => 20,
        I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => 20,

        I32Load { .. } | I64Load { .. } | F32Load { .. } | F64Load { .. } => memory(wasm64),
        I32Load8S { .. } | I32Load8U { .. } | I32Load16S { .. } | I32Load16U { .. } => {
            memory(wasm64)
        }
        I64Load8S { .. } | I64Load8U { .. } | I64Load16S { .. } | I64Load16U { .. } => {
            memory(wasm64)
        }
        I64Load32S { .. } | I64Load32U { .. } => memory(wasm64),
        I32Store { .. } | I64Store { .. } | F32Store { .. } | F64Store { .. } => memory(wasm64),
        I32Store8 { .. } | I32Store16 { .. } => memory(wasm64),
        I64Store8 { .. } | I64Store16 { .. } | I64Store32 { .. } => memory(wasm64),
        V128Load { .. } | V128Store { .. } => memory(wasm64),
        V128Load8x8S { .. } | V128Load8x8U { .. } => memory(wasm64),
        V128Load16x4S { .. } | V128Load16x4U { .. } => memory(wasm64),
        V128Load32x2S { .. } | V128Load32x2U { .. } => memory(wasm64),
        V128Load8Splat { .. } | V128Load16Splat { .. } => memory(wasm64),
        V128Load32Splat { .. } | V128Load64Splat { .. } => memory(wasm64),
        V128Load32Zero { .. } | V128Load64Zero { .. } => memory(wasm64),
        V128Load8Lane { .. } | V128Load16Lane { .. } => memory(wasm64),
        V128Load32Lane { .. } | V128Load64Lane { .. } => memory(wasm64),
        V128Store8Lane { .. } | V128Store16Lane { .. } => memory(wasm64),
        V128Store32Lane { .. } | V128Store64Lane { .. } => memory(wasm64),

        GlobalGet { .. } | GlobalSet { .. } => 2,
        TableGet { .. } | TableSet { .. } => 5,
        MemoryGrow { .. } | TableGrow { .. } => 300,
        MemorySize { .. } => 20,
        TableSize { .. } => 100,
        MemoryFill { .. } | MemoryCopy { .. } | MemoryInit { .. } => 100,
        TableFill { .. } | TableCopy { .. } | TableInit { .. } => 100,
        DataDrop { .. } | ElemDrop { .. } => 300,

        Call { .. } => 5,
        CallIndirect { .. } => 10,
        ReturnCall { .. } => 3,
        ReturnCallIndirect { .. } => 60,
        If { .. } | Br { .. } | BrIf { .. } | BrTable { .. } => 2,
        RefIsNull => 5,
        RefFunc { .. } => 130,

        I8x16Shuffle { .. } => 3,
        I8x16LtU | I8x16GtU | I16x8LtU | I16x8GtU | I32x4LtU | I32x4GtU => 2,
        I8x16Popcnt | I8x16Shl | I8x16ShrS => 3,
        I8x16ShrU => 2,
        I16x8Shl | I16x8ShrS | I16x8ShrU | I32x4Shl | I32x4ShrS | I32x4ShrU => 2,
        I64x2Shl | I64x2ShrU => 2,
        I64x2ShrS => 3,
        I32x4Mul => 2,
        I64x2Mul => 4,
        I16x8ExtAddPairwiseI8x16U => 2,
        I32x4ExtAddPairwiseI16x8U => 3,
        I16x8ExtMulHighI8x16S | I16x8ExtMulHighI8x16U => 2,
        I32x4ExtMulLowI16x8S | I32x4ExtMulHighI16x8S => 2,
        I32x4ExtMulLowI16x8U | I32x4ExtMulHighI16x8U => 2,
        F32x4Ceil | F32x4Floor | F32x4Trunc | F32x4Nearest | F32x4Abs | F32x4Neg => 2,
        F64x2Ceil | F64x2Floor | F64x2Trunc | F64x2Nearest | F64x2Abs | F64x2Neg => 2,
        F32x4Add | F32x4Sub | F32x4Mul | F64x2Add | F64x2Sub | F64x2Mul => 2,
        F32x4Sqrt => 5,
        F32x4Div => 10,
        F32x4Min | F32x4Max => 4,
        F64x2Sqrt => 14,
        F64x2Div => 12,
        F64x2Min => 4,
        F64x2Max => 5,
        I32x4TruncSatF32x4S => 2,
        I32x4TruncSatF32x4U => 4,
        I32x4TruncSatF64x2SZero => 2,
        I32x4TruncSatF64x2UZero => 3,
        F32x4ConvertI32x4U => 4,

        // Constants, integer arithmetic and compares, locals, select, drop, nop, return,
        // unreachable, ref.null and the remaining vector operators.
        _ => 1,
    }
}

fn memory(wasm64: bool) -> u64 {
    if wasm64 { 2 } else { 1 }
}

/// Weight of an operator in a function's complexity, which validation bounds.
pub fn complexity(op: &Operator<'_>) -> u64 {
    use Operator::*;
    match op {
        Block { .. } | Loop { .. } | If { .. } | Br { .. } | BrIf { .. } | BrTable { .. } => 50,
        Call { .. } | CallIndirect { .. } | MemoryGrow { .. } => 50,
        TableGet { .. } => 14,
        RefFunc { .. } => 8,
        RefIsNull => 6,
        F32ConvertI32S | F32ConvertI32U | F32ConvertI64S | F32ConvertI64U => 5,
        F64ConvertI32S | F64ConvertI32U | F64ConvertI64S | F64ConvertI64U => 5,
        F32Abs | F32Neg | F64Abs | F64Neg | MemoryCopy { .. } => 4,
        I32Load { .. } | I64Load { .. } | F32Load { .. } | F64Load { .. } => 3,
        I32Load8S { .. } | I32Load8U { .. } | I32Load16S { .. } | I32Load16U { .. } => 3,
        I64Load8S { .. } | I64Load8U { .. } | I64Load16S { .. } | I64Load16U { .. } => 3,
        I64Load32S { .. } | I64Load32U { .. } => 3,
        I32DivS | I32DivU | I32RemS | I32RemU | I64DivS | I64DivU | I64RemS | I64RemU => 3,
        MemoryFill { .. } => 3,
        I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U => 3,
        I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => 3,
        I32Store { .. } | I64Store { .. } | F32Store { .. } | F64Store { .. } => 2,
        I32Store8 { .. } | I32Store16 { .. } => 2,
        I64Store8 { .. } | I64Store16 { .. } | I64Store32 { .. } => 2,
        I32Eqz | I32Eq | I32Ne | I32LtS | I32LtU | I32GtS | I32GtU | I32LeS | I32LeU => 2,
        I32GeS | I32GeU | I64Eqz | I64Eq | I64Ne | I64LtS | I64LtU | I64GtS | I64GtU => 2,
        I64LeS | I64LeU | I64GeS | I64GeU => 2,
        F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge => 2,
        F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge => 2,
        _ => 1,
    }
}

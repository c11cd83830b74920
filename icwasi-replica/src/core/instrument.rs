//! Rewrites a validated module so that it meters itself exactly as on the IC.
//!
//! A mutable `i64` global counts down. The cost of each straight-line block is subtracted at the
//! block's start; function entries and loop heads also check whether the counter went below zero;
//! bulk operators subtract their size operand. Every index of the original module stays valid:
//! functions, types and globals are only appended, so operators are copied as raw bytes.
//!
//! Besides metering:
//! - the `start` function becomes the export [`START`], so that instances can be made at any time;
//! - active data segments are emptied (indices stay) and handed out in [`Instrumented::data`], so
//!   that an instance can be put on a heap that already exists;
//! - an imported memory or table becomes a defined one;
//! - of the exports only entry points stay; memory, table, mutable globals and the counters are
//!   exported under names of this module.

use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType,
    Instruction, Module, RawSection, SectionId, TypeSection,
};
use wasmparser::{Operator, Parser, Payload, ValType};

use super::costs;

/// Export of the instruction counter.
pub const COUNTER: &str = "icwasi counter";
/// Export of the global that is 1 after the counter went below zero at a check.
pub const EXHAUSTED: &str = "icwasi exhausted";
/// Export of the memory.
pub const MEMORY: &str = "icwasi memory";
/// Export of table 0.
pub const TABLE: &str = "icwasi table";
/// Prefix of the exports of mutable globals; the index follows.
pub const GLOBAL: &str = "icwasi global ";
/// Export of the start function.
pub const START: &str = "canister_start";

/// The module cannot be rewritten. Validation comes first, so this is not the user's mistake
/// unless the module changed in between.
#[derive(Debug, thiserror::Error)]
pub enum InstrumentError {
    /// The module does not parse.
    #[error("cannot instrument the module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// Something that validation refuses.
    #[error("cannot instrument the module: {0}")]
    Unsupported(&'static str),
}

/// A rewritten module and what is to be known about it.
pub struct Instrumented {
    /// The module for the compiler.
    pub wasm: Vec<u8>,
    /// Contents of active data segments in order: offset in the heap, range in the original.
    pub data: Vec<(u64, std::ops::Range<usize>)>,
    /// Smallest and largest size of the memory in pages; `None`: no memory.
    pub memory: Option<(u64, Option<u64>)>,
    /// Indices of the mutable globals.
    pub mutable_globals: Vec<u32>,
    /// Whether it drops data segments, so that an instance can serve one message only.
    pub drops_data: bool,
    /// Operators that the compile charge counts.
    pub charged_operators: u64,
}

/// Which side effects a static charge has besides subtracting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Function entry or loop head: checks the counter.
    Reentrant,
    /// Anything else.
    Plain,
}

#[derive(Clone, Copy)]
enum Injection {
    Static { scope: Scope, cost: u64 },
    /// Charges the `i32` or `i64` on top of the stack.
    Dynamic { wide: bool },
}

/// Where in a function's operators something is charged. `ops` are the operators without locals.
/// Exposed to the parent for its tests of the algorithm.
fn injections(ops: &[(Operator<'_>, usize)], wasm64: bool) -> Vec<(usize, Injection)> {
    let mut out: Vec<(usize, Injection)> = Vec::new();
    let mut start = 0usize;
    let mut scope = Scope::Reentrant;
    let mut cost = costs::FUNCTION_ENTRY;
    for (pos, (op, _)) in ops.iter().enumerate() {
        cost += costs::operator(op, wasm64);
        let next = match op {
            Operator::Loop { .. } => Some(Scope::Reentrant),
            Operator::If { .. }
            | Operator::Else
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::End
            | Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => Some(Scope::Plain),
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. } => {
                out.push((pos, Injection::Dynamic { wide: wasm64 }));
                None
            }
            Operator::MemoryInit { .. } | Operator::TableInit { .. } => {
                out.push((pos, Injection::Dynamic { wide: false }));
                None
            }
            _ => None,
        };
        if let Some(next) = next {
            out.push((start, Injection::Static { scope, cost }));
            start = pos + 1;
            scope = next;
            cost = 0;
        }
    }
    // After the last `end` nothing follows: `start` is past the operators and the cost is 0.
    out.retain(|(_, i)| {
        !matches!(i, Injection::Static { scope: Scope::Plain, cost: 0 })
    });
    out.sort_by_key(|(pos, _)| *pos);
    out
}

/// Indices of what is appended to the module.
struct Added {
    counter: u32,
    exhausted: u32,
    out_of_instructions: u32,
    charge32: u32,
    charge64: u32,
}

fn put(sink: &mut Vec<u8>, instructions: &[Instruction<'_>]) {
    for i in instructions {
        wasm_encoder::Encode::encode(i, sink);
    }
}

fn inject(sink: &mut Vec<u8>, injection: Injection, added: &Added) -> u64 {
    match injection {
        Injection::Static { scope, cost } => {
            put(
                sink,
                &[
                    Instruction::GlobalGet(added.counter),
                    Instruction::I64Const(cost as i64),
                    Instruction::I64Sub,
                    Instruction::GlobalSet(added.counter),
                ],
            );
            if scope == Scope::Plain {
                return 4;
            }
            put(
                sink,
                &[
                    Instruction::GlobalGet(added.counter),
                    Instruction::I64Const(0),
                    Instruction::I64LtS,
                    Instruction::If(wasm_encoder::BlockType::Empty),
                    Instruction::Call(added.out_of_instructions),
                    Instruction::End,
                ],
            );
            10
        }
        Injection::Dynamic { wide } => {
            let function = if wide { added.charge64 } else { added.charge32 };
            put(sink, &[Instruction::Call(function)]);
            1
        }
    }
}

/// Copies one function body with its charges. Returns the number of operators now in it.
fn body(
    code: &wasmparser::FunctionBody<'_>,
    original: &[u8],
    wasm64: bool,
    added: &Added,
    drops_data: &mut bool,
    sink: &mut Vec<u8>,
) -> Result<u64, InstrumentError> {
    let reader = code.get_operators_reader()?;
    let first = reader.original_position();
    let end = code.range().end;
    sink.extend_from_slice(&original[code.range().start..first]);
    let ops = reader.into_iter_with_offsets().collect::<Result<Vec<_>, _>>()?;
    let mut count = ops.len() as u64;
    let mut copied = first;
    for (pos, injection) in injections(&ops, wasm64) {
        let offset = ops.get(pos).map_or(end, |(_, offset)| *offset);
        sink.extend_from_slice(&original[copied..offset]);
        copied = offset;
        count += inject(sink, injection, added);
    }
    sink.extend_from_slice(&original[copied..end]);
    for (op, _) in &ops {
        match op {
            Operator::DataDrop { .. } => *drops_data = true,
            // The reference surrounds memory.grow with three operators of its own.
            Operator::MemoryGrow { .. } => count += 3,
            _ => {}
        }
    }
    Ok(count)
}

/// `charge(size) -> size`: subtracts `size`, clamped at `i64::MIN`, and stops below zero.
fn charge_function(wide: bool, added: &Added) -> Vec<u8> {
    // One local of type i64: the counter before.
    let mut sink = vec![1, 1, 0x7e];
    put(&mut sink, &[Instruction::GlobalGet(added.counter), Instruction::LocalTee(1)]);
    put(&mut sink, &[Instruction::LocalGet(0)]);
    if !wide {
        put(&mut sink, &[Instruction::I64ExtendI32U]);
    }
    put(
        &mut sink,
        &[
            Instruction::I64Sub,
            Instruction::GlobalSet(added.counter),
            // A size above i64::MAX, or a difference that wrapped around, is more than any limit.
            Instruction::LocalGet(0),
        ],
    );
    if !wide {
        put(&mut sink, &[Instruction::I64ExtendI32U]);
    }
    put(
        &mut sink,
        &[
            Instruction::I64Const(0),
            Instruction::I64LtS,
            Instruction::LocalGet(1),
            Instruction::GlobalGet(added.counter),
            Instruction::I64LtS,
            Instruction::I32Or,
            Instruction::If(wasm_encoder::BlockType::Empty),
            Instruction::I64Const(i64::MIN),
            Instruction::GlobalSet(added.counter),
            Instruction::End,
            Instruction::GlobalGet(added.counter),
            Instruction::I64Const(0),
            Instruction::I64LtS,
            Instruction::If(wasm_encoder::BlockType::Empty),
            Instruction::Call(added.out_of_instructions),
            Instruction::End,
            Instruction::LocalGet(0),
            Instruction::End,
        ],
    );
    sink
}

fn out_of_instructions_function(added: &Added) -> Vec<u8> {
    let mut sink = vec![0];
    put(
        &mut sink,
        &[
            Instruction::I32Const(1),
            Instruction::GlobalSet(added.exhausted),
            Instruction::Unreachable,
            Instruction::End,
        ],
    );
    sink
}

/// Sections of the original, each kept whole, and counts.
#[derive(Default)]
struct Sections<'a> {
    types: u32,
    types_raw: Option<&'a [u8]>,
    imports: Option<wasmparser::ImportSectionReader<'a>>,
    imported_functions: u32,
    function_types: Vec<u32>,
    tables: Option<wasmparser::TableSectionReader<'a>>,
    memories: Option<wasmparser::MemorySectionReader<'a>>,
    globals: u32,
    globals_raw: Option<&'a [u8]>,
    mutable_globals: Vec<u32>,
    exports: Option<wasmparser::ExportSectionReader<'a>>,
    start: Option<u32>,
    elements_raw: Option<&'a [u8]>,
    data_count: Option<u32>,
    bodies: Vec<wasmparser::FunctionBody<'a>>,
    data: Option<wasmparser::DataSectionReader<'a>>,
    name: Option<&'a [u8]>,
}

fn read_sections(wasm: &[u8]) -> Result<Sections<'_>, InstrumentError> {
    let mut s = Sections::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(r) => {
                for group in r.clone() {
                    s.types += group?.types().len() as u32;
                }
                s.types_raw = Some(&wasm[r.range()]);
            }
            Payload::ImportSection(r) => s.imports = Some(r),
            Payload::FunctionSection(r) => {
                s.function_types = r.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::TableSection(r) => s.tables = Some(r),
            Payload::MemorySection(r) => s.memories = Some(r),
            Payload::GlobalSection(r) => {
                s.globals_raw = Some(&wasm[r.range()]);
                for (index, global) in r.into_iter().enumerate() {
                    if global?.ty.mutable {
                        s.mutable_globals.push(index as u32);
                    }
                    s.globals += 1;
                }
            }
            Payload::ExportSection(r) => s.exports = Some(r),
            Payload::StartSection { func, .. } => s.start = Some(func),
            Payload::ElementSection(r) => s.elements_raw = Some(&wasm[r.range()]),
            Payload::DataCountSection { count, .. } => s.data_count = Some(count),
            Payload::CodeSectionEntry(body) => s.bodies.push(body),
            Payload::DataSection(r) => s.data = Some(r),
            Payload::CustomSection(r) if r.name() == "name" => s.name = Some(r.data()),
            _ => {}
        }
    }
    Ok(s)
}

fn memory_type(ty: &wasmparser::MemoryType) -> wasm_encoder::MemoryType {
    wasm_encoder::MemoryType {
        minimum: ty.initial,
        maximum: ty.maximum,
        memory64: ty.memory64,
        shared: false,
        page_size_log2: None,
    }
}

fn table_type(ty: &wasmparser::TableType) -> Result<wasm_encoder::TableType, InstrumentError> {
    let element_type = if ty.element_type == wasmparser::RefType::FUNCREF {
        wasm_encoder::RefType::FUNCREF
    } else if ty.element_type == wasmparser::RefType::EXTERNREF {
        wasm_encoder::RefType::EXTERNREF
    } else {
        return Err(InstrumentError::Unsupported("a table of a type other than funcref"));
    };
    Ok(wasm_encoder::TableType {
        element_type,
        table64: ty.table64,
        minimum: ty.initial,
        maximum: ty.maximum,
        shared: false,
    })
}

/// A section whose content is `count` items of which `raw` holds the first ones, count included.
fn appended(raw: Option<&[u8]>, before: u32, added: u32, more: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wasm_encoder::Encode::encode(&(before + added), &mut out);
    if let Some(raw) = raw {
        // Skip the LEB128 count.
        let skip = raw.iter().position(|b| b & 0x80 == 0).map_or(0, |p| p + 1);
        out.extend_from_slice(&raw[skip..]);
    }
    out.extend_from_slice(more);
    out
}

/// Rewrites `wasm`, which validation has accepted.
pub fn instrument(wasm: &[u8]) -> Result<Instrumented, InstrumentError> {
    let s = read_sections(wasm)?;
    let mut module = Module::new();

    // Imports: functions stay; memory and table become definitions in front of the others.
    let mut memories: Vec<wasm_encoder::MemoryType> = Vec::new();
    let mut tables: Vec<wasm_encoder::TableType> = Vec::new();
    let mut imports = wasm_encoder::ImportSection::new();
    let mut imported_functions = s.imported_functions;
    let mut memory = None;
    if let Some(reader) = &s.imports {
        for import in reader.clone().into_imports() {
            let import = import?;
            match import.ty {
                wasmparser::TypeRef::Func(index) => {
                    imports.import(
                        import.module,
                        import.name,
                        wasm_encoder::EntityType::Function(index),
                    );
                    imported_functions += 1;
                }
                wasmparser::TypeRef::Memory(ty) => {
                    memory = Some(ty);
                    memories.push(memory_type(&ty));
                }
                wasmparser::TypeRef::Table(ty) => tables.push(table_type(&ty)?),
                _ => return Err(InstrumentError::Unsupported("an import of a global or tag")),
            }
        }
    }
    if let Some(reader) = &s.memories {
        for ty in reader.clone() {
            let ty = ty?;
            memory = Some(ty);
            memories.push(memory_type(&ty));
        }
    }
    let wasm64 = memory.is_some_and(|m| m.memory64);

    // Types and functions.
    let mut more = Vec::new();
    {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        types.ty().function([wasm_encoder::ValType::I32], [wasm_encoder::ValType::I32]);
        types.ty().function([wasm_encoder::ValType::I64], [wasm_encoder::ValType::I64]);
        let mut bytes = Vec::new();
        wasm_encoder::Encode::encode(&types, &mut bytes);
        // Content size and count are one byte each for three types this small.
        more.extend_from_slice(&bytes[2..]);
    }
    let types = appended(s.types_raw, s.types, 3, &more);
    module.section(&RawSection { id: SectionId::Type.into(), data: &types });
    if !imports.is_empty() {
        module.section(&imports);
    }
    let mut functions = FunctionSection::new();
    for ty in &s.function_types {
        functions.function(*ty);
    }
    for ty in s.types..s.types + 3 {
        functions.function(ty);
    }
    module.section(&functions);
    let next = imported_functions + s.function_types.len() as u32;
    let added = Added {
        counter: s.globals,
        exhausted: s.globals + 1,
        out_of_instructions: next,
        charge32: next + 1,
        charge64: next + 2,
    };

    if let Some(reader) = &s.tables {
        for table in reader.clone() {
            tables.push(table_type(&table?.ty)?);
        }
    }
    let table = tables.first().is_some_and(|t| t.element_type == wasm_encoder::RefType::FUNCREF);
    if !tables.is_empty() {
        let mut section = wasm_encoder::TableSection::new();
        for ty in &tables {
            section.table(*ty);
        }
        module.section(&section);
    }
    if !memories.is_empty() {
        let mut section = wasm_encoder::MemorySection::new();
        for ty in &memories {
            section.memory(*ty);
        }
        module.section(&section);
    }

    let globals = appended(s.globals_raw, s.globals, 2, &counter_globals());
    module.section(&RawSection { id: SectionId::Global.into(), data: &globals });

    module.section(&exports(&s, &added, memory.is_some(), table)?);
    if let Some(raw) = s.elements_raw {
        module.section(&RawSection { id: SectionId::Element.into(), data: raw });
    }
    if let Some(count) = s.data_count {
        module.section(&wasm_encoder::DataCountSection { count });
    }

    let mut code = CodeSection::new();
    let mut charged_operators = u64::from(s.globals) * costs::COMPILE_OPERATORS_PER_GLOBAL;
    let mut drops_data = false;
    let mut buffer = Vec::new();
    for b in &s.bodies {
        buffer.clear();
        charged_operators += body(b, wasm, wasm64, &added, &mut drops_data, &mut buffer)?;
        code.raw(&buffer);
    }
    code.raw(&out_of_instructions_function(&added));
    code.raw(&charge_function(false, &added));
    code.raw(&charge_function(true, &added));
    module.section(&code);

    let data = data_section(&s, wasm, &mut module)?;
    if let Some(name) = s.name {
        module.section(&wasm_encoder::CustomSection { name: "name".into(), data: name.into() });
    }
    Ok(Instrumented {
        wasm: module.finish(),
        data,
        memory: memory.map(|m| (m.initial, m.maximum)),
        mutable_globals: s.mutable_globals,
        drops_data,
        charged_operators,
    })
}

fn counter_globals() -> Vec<u8> {
    let mut section = GlobalSection::new();
    let mutable = |val_type| GlobalType { val_type, mutable: true, shared: false };
    section.global(mutable(wasm_encoder::ValType::I64), &ConstExpr::i64_const(0));
    section.global(mutable(wasm_encoder::ValType::I32), &ConstExpr::i32_const(0));
    let mut bytes = Vec::new();
    wasm_encoder::Encode::encode(&section, &mut bytes);
    // Content size and count are one byte each for two globals.
    bytes.split_off(2)
}

fn exports(
    s: &Sections<'_>,
    added: &Added,
    memory: bool,
    table: bool,
) -> Result<ExportSection, InstrumentError> {
    let mut out = ExportSection::new();
    if let Some(reader) = &s.exports {
        for export in reader.clone() {
            let export = export?;
            if export.kind == wasmparser::ExternalKind::Func && export.name.starts_with("canister_")
            {
                out.export(export.name, ExportKind::Func, export.index);
            }
        }
    }
    if let Some(start) = s.start {
        out.export(START, ExportKind::Func, start);
    }
    if memory {
        out.export(MEMORY, ExportKind::Memory, 0);
    }
    if table {
        out.export(TABLE, ExportKind::Table, 0);
    }
    for index in &s.mutable_globals {
        out.export(&format!("{GLOBAL}{index}"), ExportKind::Global, *index);
    }
    out.export(COUNTER, ExportKind::Global, added.counter);
    out.export(EXHAUSTED, ExportKind::Global, added.exhausted);
    Ok(out)
}

/// Writes the data section with active segments emptied; returns what they held.
fn data_section(
    s: &Sections<'_>,
    wasm: &[u8],
    module: &mut Module,
) -> Result<Vec<(u64, std::ops::Range<usize>)>, InstrumentError> {
    let mut out = Vec::new();
    let Some(reader) = &s.data else { return Ok(out) };
    let mut section = wasm_encoder::DataSection::new();
    for segment in reader.clone() {
        let segment = segment?;
        match segment.kind {
            wasmparser::DataKind::Passive => {
                section.passive(segment.data.iter().copied());
            }
            wasmparser::DataKind::Active { offset_expr, .. } => {
                let (offset, zero) = match offset_expr.get_operators_reader().read()? {
                    Operator::I32Const { value } => {
                        (u64::from(value as u32), ConstExpr::i32_const(0))
                    }
                    Operator::I64Const { value } => (value as u64, ConstExpr::i64_const(0)),
                    _ => {
                        return Err(InstrumentError::Unsupported("a computed data offset"));
                    }
                };
                section.active(0, &zero, []);
                let end = segment.range.end;
                let start = end - segment.data.len();
                debug_assert_eq!(&wasm[start..end], segment.data);
                out.push((offset, start..end));
            }
        }
    }
    module.section(&section);
    Ok(out)
}

/// Type of a global, for those that can be saved.
pub fn is_number(ty: ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128)
}

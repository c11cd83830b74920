//! Rewrites a validated module so that it meters itself exactly as on the IC.
//!
//! A mutable `i64` global counts down; what function bodies do to it is in [`super::metering`].
//! When it is used up, the host may give more ([`PAUSE`]): messages run in slices, between which
//! queries can be answered.
//! Every index of the original module stays valid: functions, types, globals and locals are only
//! appended, so operators are copied as raw bytes.
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
    Module, RawSection, SectionId, TypeSection,
};
use wasmparser::{Operator, ValType};

use super::costs;
use super::metering::{self, Added};
use super::sections::{Sections, appended, memory_type, read_sections, table_type};

/// Export of the instruction counter.
pub const COUNTER: &str = "icwasi counter";
/// Export of the global that is 1 after the counter went below zero at a check.
pub const EXHAUSTED: &str = "icwasi exhausted";
/// Export of the memory.
pub const MEMORY: &str = "icwasi memory";
/// Export of the table with the function that gives more instructions.
pub const PAUSE: &str = "icwasi pause";
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

/// Rewrites `wasm`, which validation has accepted.
pub fn instrument(wasm: &[u8]) -> Result<Instrumented, InstrumentError> {
    let s = read_sections(wasm)?;
    let mut module = Module::new();

    // Imports: functions stay; memory and table become definitions in front of the others.
    let mut memories: Vec<wasm_encoder::MemoryType> = Vec::new();
    let mut tables: Vec<wasm_encoder::TableType> = Vec::new();
    let mut imports = wasm_encoder::ImportSection::new();
    let mut imported_functions = 0;
    let mut memory = None;
    let mut replaced = 0;
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
                    replaced += costs::compile_replaced(import.name);
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
        types
            .ty()
            .function([wasm_encoder::ValType::I32], [wasm_encoder::ValType::I32]);
        types
            .ty()
            .function([wasm_encoder::ValType::I64], [wasm_encoder::ValType::I64]);
        let mut bytes = Vec::new();
        wasm_encoder::Encode::encode(&types, &mut bytes);
        // Content size and count are one byte each for three types this small.
        more.extend_from_slice(&bytes[2..]);
    }
    let types = appended(s.types_raw, s.types, 3, &more);
    module.section(&RawSection {
        id: SectionId::Type.into(),
        data: &types,
    });
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
    let mut added = Added {
        counter: s.globals,
        exhausted: s.globals + 1,
        out_of_instructions: next,
        nothing: s.types,
        pause_table: 0,
        charge32: next + 1,
        charge64: next + 2,
    };

    if let Some(reader) = &s.tables {
        for table in reader.clone() {
            tables.push(table_type(&table?.ty)?);
        }
    }
    let table = tables
        .first()
        .is_some_and(|t| t.element_type == wasm_encoder::RefType::FUNCREF);
    added.pause_table = tables.len() as u32;
    tables.push(pause_table());
    let mut section = wasm_encoder::TableSection::new();
    for ty in &tables {
        section.table(*ty);
    }
    module.section(&section);
    if !memories.is_empty() {
        let mut section = wasm_encoder::MemorySection::new();
        for ty in &memories {
            section.memory(*ty);
        }
        module.section(&section);
    }

    let globals = appended(s.globals_raw, s.globals, 2, &counter_globals());
    module.section(&RawSection {
        id: SectionId::Global.into(),
        data: &globals,
    });

    module.section(&exports(&s, &added, memory.is_some(), table)?);
    if let Some(raw) = s.elements_raw {
        module.section(&RawSection {
            id: SectionId::Element.into(),
            data: raw,
        });
    }
    if let Some(count) = s.data_count {
        module.section(&wasm_encoder::DataCountSection { count });
    }

    let mut code = CodeSection::new();
    let mut charged_operators =
        u64::from(s.globals) * costs::COMPILE_OPERATORS_PER_GLOBAL + costs::COMPILE_ADDED;
    charged_operators += replaced;
    let mut drops_data = false;
    let mut buffer = Vec::new();
    for (b, ty) in s.bodies.iter().zip(&s.function_types) {
        buffer.clear();
        let params = s.type_params.get(*ty as usize).copied().unwrap_or(0);
        let copied = metering::body(b, wasm, params, wasm64, &added, &mut buffer)?;
        charged_operators += copied.operators;
        drops_data |= copied.drops_data;
        code.raw(&buffer);
    }
    code.raw(&metering::out_of_instructions_function(&added));
    code.raw(&metering::charge_function(false, &added));
    code.raw(&metering::charge_function(true, &added));
    module.section(&code);

    let data = data_section(&s, wasm, &mut module)?;
    if let Some(name) = s.name {
        module.section(&wasm_encoder::CustomSection {
            name: "name".into(),
            data: name.into(),
        });
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

fn pause_table() -> wasm_encoder::TableType {
    wasm_encoder::TableType {
        element_type: wasm_encoder::RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: Some(1),
        shared: false,
    }
}

fn counter_globals() -> Vec<u8> {
    let mut section = GlobalSection::new();
    let mutable = |val_type| GlobalType {
        val_type,
        mutable: true,
        shared: false,
    };
    section.global(
        mutable(wasm_encoder::ValType::I64),
        &ConstExpr::i64_const(0),
    );
    section.global(
        mutable(wasm_encoder::ValType::I32),
        &ConstExpr::i32_const(0),
    );
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
    out.export(PAUSE, ExportKind::Table, added.pause_table);
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
    let Some(reader) = &s.data else {
        return Ok(out);
    };
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
    matches!(
        ty,
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128
    )
}

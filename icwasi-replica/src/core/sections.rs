//! A module taken apart for [`super::instrument`]: sections that are copied as raw bytes, and
//! those that are rewritten.

use wasmparser::{Parser, Payload};

use super::instrument::InstrumentError;

/// Sections of the original, each kept whole, and counts.
#[derive(Default)]
pub struct Sections<'a> {
    /// Types.
    pub types: u32,
    /// Number of parameters of each type.
    pub type_params: Vec<u32>,
    /// The type section.
    pub types_raw: Option<&'a [u8]>,
    /// The import section.
    pub imports: Option<wasmparser::ImportSectionReader<'a>>,
    /// Type of each defined function.
    pub function_types: Vec<u32>,
    /// The table section.
    pub tables: Option<wasmparser::TableSectionReader<'a>>,
    /// The memory section.
    pub memories: Option<wasmparser::MemorySectionReader<'a>>,
    /// Defined globals.
    pub globals: u32,
    /// The global section.
    pub globals_raw: Option<&'a [u8]>,
    /// Indices of those that are mutable.
    pub mutable_globals: Vec<u32>,
    /// The export section.
    pub exports: Option<wasmparser::ExportSectionReader<'a>>,
    /// The start function.
    pub start: Option<u32>,
    /// The element section.
    pub elements_raw: Option<&'a [u8]>,
    /// The data count section.
    pub data_count: Option<u32>,
    /// Function bodies.
    pub bodies: Vec<wasmparser::FunctionBody<'a>>,
    /// The data section.
    pub data: Option<wasmparser::DataSectionReader<'a>>,
    /// The name section.
    pub name: Option<&'a [u8]>,
}

/// Splits a module up.
pub fn read_sections(wasm: &[u8]) -> Result<Sections<'_>, InstrumentError> {
    let mut s = Sections::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(r) => {
                for group in r.clone() {
                    for ty in group?.into_types() {
                        s.types += 1;
                        s.type_params.push(match ty.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(f) => f.params().len() as u32,
                            _ => 0,
                        });
                    }
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

/// The same type for the encoder.
pub fn memory_type(ty: &wasmparser::MemoryType) -> wasm_encoder::MemoryType {
    wasm_encoder::MemoryType {
        minimum: ty.initial,
        maximum: ty.maximum,
        memory64: ty.memory64,
        shared: false,
        page_size_log2: None,
    }
}

/// The same type for the encoder.
pub fn table_type(ty: &wasmparser::TableType) -> Result<wasm_encoder::TableType, InstrumentError> {
    let element_type = if ty.element_type == wasmparser::RefType::FUNCREF {
        wasm_encoder::RefType::FUNCREF
    } else if ty.element_type == wasmparser::RefType::EXTERNREF {
        wasm_encoder::RefType::EXTERNREF
    } else {
        return Err(InstrumentError::Unsupported(
            "a table of a type other than funcref",
        ));
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
pub fn appended(raw: Option<&[u8]>, before: u32, added: u32, more: &[u8]) -> Vec<u8> {
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

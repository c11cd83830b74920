//! Refuses what the IC refuses to install, with IC0505.
//!
//! Two steps: standard validation with the IC's set of proposals, then the IC's own rules on
//! imports, exports, sizes, operators, custom sections and data segments.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    CompositeInnerType, ExternalKind, Operator, Parser, Payload, TypeRef, ValType, Validator,
    WasmFeatures,
};

use super::canister::Metadata;
use super::instrument::is_number;
use super::limits::{Limits, WASM_PAGE};
use super::system_api::signature;
use super::{costs, types::UserError};
use ic_error_types::ErrorCode;

/// How an exported method may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// `canister_update`
    Update,
    /// `canister_query`
    Query,
    /// `canister_composite_query`
    CompositeQuery,
}

/// What validation learns about a module.
#[derive(Clone, Debug, Default)]
pub struct ModuleInfo {
    /// Methods by name.
    pub methods: BTreeMap<String, MethodKind>,
    /// Other entry points that are exported: `canister_init`, ..., and `canister_start`.
    pub hooks: BTreeSet<String>,
    /// `icp:` sections by name.
    pub metadata: BTreeMap<String, Metadata>,
    /// Whether memory has 64-bit addresses.
    pub wasm64: bool,
}

/// Proposals that the IC has on, and nothing else.
pub fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::MEMORY64
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::CALL_INDIRECT_OVERLONG
}

const RESERVED: &[&str] = &[
    "canister counter_instructions",
    "canister_start",
    "canister counter_dirty_pages",
    "canister counter_accessed_pages",
    "stable_memory",
    "stable_memory_bytemap",
];

const HOOKS: &[&str] = &[
    "canister_init",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_inspect_message",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
];

fn refuse(why: impl std::fmt::Display) -> UserError {
    UserError::new(
        ErrorCode::CanisterInvalidWasm,
        format!("Canister's Wasm module is not valid: {why}"),
    )
}

fn parse_error(e: wasmparser::BinaryReaderError) -> UserError {
    // The engine is built without a collector, which it wants for references to host values.
    // Nothing compiles to those, and GC proposals are off anyway.
    let hint = if e.message().starts_with("gc types are disallowed") {
        " (externref is not supported by this replica)"
    } else {
        ""
    };
    refuse(format!(
        "Failed to parse or validate wasm module: {e}{hint}"
    ))
}

/// Gives the plain module for what was uploaded: decompressed if it is gzip.
pub fn decode(module: &[u8], limits: &Limits) -> Result<Vec<u8>, UserError> {
    use std::io::Read;
    let plain = if module.starts_with(&[0x1f, 0x8b, 0x08]) {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(module)
            .take(limits.module_bytes as u64 + 1)
            .read_to_end(&mut out)
            .map_err(|e| {
                refuse(format!(
                    "Failed to decode wasm module: unsupported canister module format: {e}"
                ))
            })?;
        out
    } else {
        module.to_vec()
    };
    if plain.len() > limits.module_bytes {
        return Err(refuse(format!(
            "Wasm module of size {} or more exceeds the maximum of {} bytes",
            plain.len(),
            limits.module_bytes
        )));
    }
    if !plain.starts_with(b"\0asm") {
        return Err(refuse(
            "Failed to decode wasm module: unsupported canister module format",
        ));
    }
    Ok(plain)
}

/// What is collected while reading the sections in order.
#[derive(Default)]
struct State {
    info: ModuleInfo,
    /// Parameters and results of each function type.
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Type of each function, imported ones first.
    functions: Vec<u32>,
    imported_functions: usize,
    memory: Option<wasmparser::MemoryType>,
    globals: usize,
    imports: Vec<(String, u32)>,
    custom_bytes: usize,
    method_name_chars: usize,
}

/// Checks a plain module against everything the IC checks.
pub fn validate(wasm: &[u8], limits: &Limits) -> Result<ModuleInfo, UserError> {
    Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(parse_error)?;
    let mut state = State::default();
    let mut body = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(parse_error)? {
            Payload::TypeSection(reader) => {
                for group in reader {
                    for ty in group.map_err(parse_error)?.into_types() {
                        match ty.composite_type.inner {
                            CompositeInnerType::Func(f) => state
                                .types
                                .push((f.params().to_vec(), f.results().to_vec())),
                            _ => return Err(refuse("a type that is not a function")),
                        }
                    }
                }
            }
            Payload::ImportSection(reader) => state.imports(reader)?,
            Payload::FunctionSection(reader) => {
                if reader.count() as usize > limits.functions {
                    return Err(refuse(format!(
                        "Wasm module defined {} functions which exceeds the maximum number allowed {}.",
                        reader.count(),
                        limits.functions
                    )));
                }
                for ty in reader {
                    state.functions.push(ty.map_err(parse_error)?);
                }
            }
            Payload::MemorySection(reader) => {
                for ty in reader {
                    state.add_memory(ty.map_err(parse_error)?)?;
                }
            }
            Payload::GlobalSection(reader) => state.globals(reader, limits)?,
            Payload::ExportSection(reader) => state.exports(reader, limits)?,
            Payload::StartSection { .. } => {
                state.info.hooks.insert("canister_start".into());
            }
            Payload::CodeSectionStart { size, .. } if size as usize > limits.code_section_bytes => {
                return Err(refuse(format!(
                    "Wasm module code section size of {size} exceeds the maximum of {} bytes",
                    limits.code_section_bytes
                )));
            }
            Payload::CodeSectionEntry(code) => {
                let index = state.imported_functions + body;
                check_body(&code, index, limits)?;
                body += 1;
            }
            Payload::DataSection(reader) => state.data(reader)?,
            Payload::CustomSection(reader) => {
                state.custom(reader.name(), reader.data(), limits)?;
            }
            Payload::TagSection(_) => return Err(refuse("a tag section")),
            _ => {}
        }
    }
    state.check_imports()?;
    Ok(state.info)
}

impl State {
    fn add_memory(&mut self, ty: wasmparser::MemoryType) -> Result<(), UserError> {
        if self.memory.is_some() {
            return Err(refuse("Wasm module can declare at most one memory."));
        }
        self.info.wasm64 = ty.memory64;
        self.memory = Some(ty);
        Ok(())
    }

    fn imports(&mut self, reader: wasmparser::ImportSectionReader<'_>) -> Result<(), UserError> {
        for import in reader.into_imports() {
            let import = import.map_err(parse_error)?;
            match import.ty {
                TypeRef::Func(ty) => {
                    if import.module != "ic0" {
                        return Err(refuse(format!(
                            "Wasm module has an invalid import section. Module imports function \
                             '{}' from '{}' that is not exported by the runtime.",
                            import.name, import.module
                        )));
                    }
                    self.imports.push((import.name.into(), ty));
                    self.functions.push(ty);
                    self.imported_functions += 1;
                }
                TypeRef::Memory(ty) => {
                    Self::only_env(&import, "memory")?;
                    self.add_memory(ty)?;
                }
                TypeRef::Table(_) => Self::only_env(&import, "table")?,
                TypeRef::Global(_) => {
                    return Err(refuse(
                        "Wasm module has an invalid import section. Importing globals is not \
                         allowed.",
                    ));
                }
                _ => return Err(refuse("an import of a kind that is not supported")),
            }
        }
        Ok(())
    }

    fn only_env(import: &wasmparser::Import<'_>, what: &str) -> Result<(), UserError> {
        if import.module == "env" {
            return Ok(());
        }
        Err(refuse(format!(
            "Wasm module has an invalid import section. Only {what} imported from env is allowed, \
             not '{}' from '{}'.",
            import.name, import.module
        )))
    }

    /// Checked at the end, when the width of memory is known.
    fn check_imports(&self) -> Result<(), UserError> {
        for (name, ty) in &self.imports {
            let Some(expected) = signature(name, self.info.wasm64) else {
                return Err(refuse(format!(
                    "Wasm module has an invalid import section. Module imports function '{name}' \
                     from 'ic0' that is not exported by the runtime."
                )));
            };
            let Some((params, results)) = self.types.get(*ty as usize) else {
                return Err(refuse("an import with a type that does not exist"));
            };
            if *params != expected.0 || *results != expected.1 {
                return Err(refuse(format!(
                    "Wasm module has an invalid function signature. Expected input params: {:?} \
                     and return {:?} for ic0.{name}, received {params:?} and {results:?}",
                    expected.0, expected.1
                )));
            }
        }
        Ok(())
    }

    fn globals(
        &mut self,
        reader: wasmparser::GlobalSectionReader<'_>,
        limits: &Limits,
    ) -> Result<(), UserError> {
        for global in reader {
            let global = global.map_err(parse_error)?;
            if !is_number(global.ty.content_type) {
                return Err(refuse(format!(
                    "Wasm module has a global of the unsupported type {}",
                    global.ty.content_type
                )));
            }
            self.globals += 1;
        }
        if self.globals > limits.globals {
            return Err(refuse(format!(
                "Wasm module defined {} globals which exceeds the maximum number allowed {}.",
                self.globals, limits.globals
            )));
        }
        Ok(())
    }

    fn exports(
        &mut self,
        reader: wasmparser::ExportSectionReader<'_>,
        limits: &Limits,
    ) -> Result<(), UserError> {
        let invalid =
            |why: String| refuse(format!("Wasm module has an invalid export section. {why}"));
        for export in reader {
            let export = export.map_err(parse_error)?;
            let name = export.name;
            if RESERVED.contains(&name) {
                return Err(invalid(format!(
                    "Exporting reserved symbols is not allowed: '{name}'"
                )));
            }
            if export.kind != ExternalKind::Func || !name.starts_with("canister_") {
                continue;
            }
            let method = [
                ("canister_update ", MethodKind::Update),
                ("canister_query ", MethodKind::Query),
                ("canister_composite_query ", MethodKind::CompositeQuery),
            ]
            .into_iter()
            .find_map(|(prefix, kind)| Some((name.strip_prefix(prefix)?, kind)));
            if let Some((method, kind)) = method {
                self.method_name_chars += method.len();
                if self.info.methods.insert(method.into(), kind).is_some() {
                    return Err(invalid(format!(
                        "Duplicate function '{method}' exported multiple times with different call types: update, query, or composite_query."
                    )));
                }
            } else if HOOKS.contains(&name) {
                self.info.hooks.insert(name.into());
            } else {
                return Err(invalid(format!(
                    "Exporting a function with invalid name '{name}' is not allowed; names starting with canister_ are reserved."
                )));
            }
            let ty = self.functions.get(export.index as usize).copied();
            match ty.and_then(|ty| self.types.get(ty as usize)) {
                Some((params, results)) if params.is_empty() && results.is_empty() => {}
                _ => {
                    return Err(refuse(format!(
                        "Wasm module has an invalid function signature. Expected () -> () for \
                         '{name}'."
                    )));
                }
            }
        }
        if self.info.methods.len() > limits.exported_methods {
            return Err(invalid(format!(
                "The number of exported functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>` exceeds {}.",
                limits.exported_methods
            )));
        }
        if self.method_name_chars > limits.exported_method_name_chars {
            return Err(invalid(format!(
                "The sum of `<name>` lengths in exported functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>` exceeds {}.",
                limits.exported_method_name_chars
            )));
        }
        Ok(())
    }

    fn data(&self, reader: wasmparser::DataSectionReader<'_>) -> Result<(), UserError> {
        let invalid =
            |why: String| refuse(format!("Wasm module has an invalid data section. {why}"));
        let bytes = self
            .memory
            .map_or(0, |m| m.initial.saturating_mul(WASM_PAGE));
        for segment in reader {
            let segment = segment.map_err(parse_error)?;
            let wasmparser::DataKind::Active { offset_expr, .. } = segment.kind else {
                continue;
            };
            let mut ops = offset_expr.get_operators_reader().into_iter();
            let offset = match (ops.next(), ops.next()) {
                (Some(Ok(Operator::I32Const { value })), Some(Ok(Operator::End))) => {
                    u64::from(value as u32)
                }
                (Some(Ok(Operator::I64Const { value })), Some(Ok(Operator::End))) => value as u64,
                _ => {
                    return Err(invalid(
                        "Invalid offset expression in data segment: only i32.const and i64.const \
                         are allowed."
                            .into(),
                    ));
                }
            };
            match offset.checked_add(segment.data.len() as u64) {
                Some(end) if end <= bytes => {}
                _ => {
                    return Err(invalid(
                        "Segment does not fit into the initial memory.".into(),
                    ));
                }
            }
        }
        Ok(())
    }

    fn custom(&mut self, name: &str, data: &[u8], limits: &Limits) -> Result<(), UserError> {
        let invalid =
            |why: String| refuse(format!("Wasm module has an invalid custom section. {why}"));
        let Some(rest) = name.strip_prefix("icp:") else {
            return Ok(());
        };
        let (public, key) = match rest.split_once(' ') {
            Some(("public", key)) => (true, key),
            Some(("private", key)) => (false, key),
            _ => {
                return Err(invalid(format!(
                    "Invalid custom section '{name}': it must be 'icp:public <name>' or \
                     'icp:private <name>'."
                )));
            }
        };
        let metadata = Metadata {
            public,
            content: data.to_vec(),
        };
        if self.info.metadata.insert(key.into(), metadata).is_some() {
            return Err(invalid(format!(
                "Invalid custom section: duplicate name '{key}'."
            )));
        }
        self.custom_bytes += data.len() + name.len();
        if self.info.metadata.len() > limits.custom_sections {
            return Err(invalid(format!(
                "Invalid custom sections: number of custom sections exceeds the maximum of {}.",
                limits.custom_sections
            )));
        }
        if self.custom_bytes > limits.custom_sections_bytes {
            return Err(invalid(format!(
                "Invalid custom sections: total size of {} exceeds the maximum of {}.",
                self.custom_bytes, limits.custom_sections_bytes
            )));
        }
        Ok(())
    }
}

fn check_body(
    code: &wasmparser::FunctionBody<'_>,
    index: usize,
    limits: &Limits,
) -> Result<(), UserError> {
    let mut operators = 0usize;
    let mut complexity = 0u64;
    for op in code.get_operators_reader().map_err(parse_error)? {
        let op = op.map_err(parse_error)?;
        operators += 1;
        complexity += costs::complexity(&op);
        let forbidden = match op {
            Operator::TableGrow { .. } => "table.grow",
            Operator::TableSet { .. } => "table.set",
            Operator::TableFill { .. } => "table.fill",
            Operator::TableCopy { .. } => "table.copy",
            Operator::TableInit { .. } => "table.init",
            _ => continue,
        };
        return Err(refuse(format!(
            "Function at index {index} uses the operator {forbidden}, which is not supported."
        )));
    }
    if operators > limits.function_operators {
        return Err(refuse(format!(
            "Function at index {index} contains {operators} instructions which exceeds the \
             maximum number allowed {}.",
            limits.function_operators
        )));
    }
    if complexity > limits.function_complexity {
        return Err(refuse(format!(
            "Wasm module contains a function at index {index} with complexity {complexity} which \
             exceeds the maximum complexity allowed {}.",
            limits.function_complexity
        )));
    }
    Ok(())
}

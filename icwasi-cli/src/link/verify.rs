//! Checks a module against the rules by which the IC accepts it.

use std::collections::{BTreeSet, HashSet};

use wasmparser::{
    DataKind, ExternalKind, FuncToValidate, FunctionBody, Operator, Parser, Payload, TypeRef,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use super::encode::type_name;
use super::ic0;
use super::parse::const_i32;
use super::threads;

/// Limits of the IC for a module.
pub mod limits {
    /// Bytes of a module, uncompressed.
    pub const MODULE: usize = 100 << 20;
    /// Bytes of the code section.
    pub const CODE: usize = 12 << 20;
    /// Defined functions.
    pub const FUNCTIONS: u32 = 50_000;
    /// Globals.
    pub const GLOBALS: u32 = 1_000;
    /// Operators in one function.
    pub const OPERATORS: u64 = 1_000_000;
    /// Sum of the operators' weights in one function.
    pub const COMPLEXITY: u64 = 1_000_000;
    /// Custom sections whose name begins with `icp:`.
    pub const ICP_SECTIONS: usize = 16;
    /// Bytes in them.
    pub const ICP_BYTES: usize = 1 << 20;
    /// Exported methods.
    pub const METHODS: usize = 1_000;
    /// Characters in the methods' names.
    pub const METHOD_NAMES: usize = 20_000;
}

/// The proposals that the IC has.
pub fn features() -> WasmFeatures {
    WasmFeatures::WASM1
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::TAIL_CALL
}

/// What the IC counts in a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of the module.
    pub module_bytes: usize,
    /// Bytes of the code section.
    pub code_bytes: usize,
    /// Defined functions.
    pub functions: u32,
    /// Globals.
    pub globals: u32,
    /// Operators in the largest function.
    pub largest_function: u64,
    /// Weight of the most complex function.
    pub complexity: u64,
    /// Data segments.
    pub data_segments: u32,
    /// Pages of initial memory.
    pub memory_pages: u64,
}

/// Rules that a module breaks.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What was counted.
    pub figures: Figures,
    /// Each broken rule, in words, with figures.
    pub problems: Vec<String>,
    /// The module is not valid WebAssembly for the IC's features: where, and why.
    pub invalid: Option<(usize, String)>,
}

/// Checks all rules. A module that is invalid as WebAssembly is not checked further.
///
/// Cost: two passes over the code, on all cores.
pub fn verify(bytes: &[u8]) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.figures.module_bytes = bytes.len();
    let mut checker = Checker {
        verdict: &mut verdict,
        exports: Exports::default(),
    };
    if let Err(error) = checker.run(bytes) {
        verdict.invalid = Some((error.offset(), error.message().to_owned()));
    }
    verdict
}

#[derive(Default)]
struct Exports {
    methods: HashSet<String>,
    characters: usize,
}

struct Checker<'v> {
    verdict: &'v mut Verdict,
    exports: Exports,
}

impl Checker<'_> {
    fn run(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut validator = Validator::new_with_features(features());
        let mut bodies = Vec::new();
        let mut types = Vec::new();
        let mut icp = (BTreeSet::new(), 0);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            if let ValidPayload::Func(func, body) = validator.payload(&payload)? {
                bodies.push((func, body));
            }
            match payload {
                Payload::TypeSection(reader) => {
                    for ty in reader.into_iter_err_on_gc_types() {
                        types.push(ty?);
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        self.import(&import?, &types);
                    }
                }
                Payload::FunctionSection(reader) => self.verdict.figures.functions = reader.count(),
                Payload::GlobalSection(reader) => self.verdict.figures.globals = reader.count(),
                Payload::MemorySection(reader) => {
                    for memory in reader {
                        self.verdict.figures.memory_pages = memory?.initial;
                    }
                }
                Payload::ExportSection(reader) => {
                    for export in reader {
                        self.export(&export?);
                    }
                }
                Payload::CodeSectionStart { range, .. } => {
                    self.verdict.figures.code_bytes = range.len();
                }
                Payload::DataSection(reader) => self.data(reader)?,
                Payload::CustomSection(section) if section.name().starts_with("icp:") => {
                    icp.1 += section.data().len();
                    if !icp.0.insert(section.name().to_owned()) {
                        self.problem(format!(
                            "custom section `{}` is there twice",
                            section.name()
                        ));
                    }
                }
                _ => {}
            }
        }
        self.icp_sections(&icp.0, icp.1);
        self.bodies(bodies)?;
        self.limits();
        Ok(())
    }

    fn problem(&mut self, problem: String) {
        const SHOWN: usize = 50;
        if self.verdict.problems.len() < SHOWN {
            self.verdict.problems.push(problem);
        }
    }

    fn import(&mut self, import: &wasmparser::Import<'_>, types: &[wasmparser::FuncType]) {
        let name = format!("{}.{}", import.module, import.name);
        let problem = match import.ty {
            TypeRef::Func(ty) if import.module == "ic0" => {
                match (ic0::signature(import.name), types.get(ty as usize)) {
                    (Some(expected), Some(found)) if expected != *found => Some(format!(
                        "import {name} has type {}, not {}",
                        type_name(found),
                        type_name(&expected)
                    )),
                    (Some(_), _) => None,
                    (None, _) => Some(format!("the System API has no {name}")),
                }
            }
            TypeRef::Memory(_) | TypeRef::Table(_) if import.module == "env" => None,
            TypeRef::Global(_) => Some(format!("import of the global {name}")),
            _ => Some(format!(
                "import of {name}: only `ic0` functions may be imported"
            )),
        };
        self.verdict.problems.extend(problem);
    }

    fn export(&mut self, export: &wasmparser::Export<'_>) {
        const RESERVED: [&str; 6] = [
            "canister counter_instructions",
            "canister_start",
            "canister counter_dirty_pages",
            "canister counter_accessed_pages",
            "stable_memory",
            "stable_memory_bytemap",
        ];
        let name = export.name;
        if RESERVED.contains(&name) {
            self.problem(format!("the export name `{name}` is reserved"));
        } else if let Some(method) = super::entry::method_name(name) {
            self.exports.characters += method.len();
            if !self.exports.methods.insert(method.to_owned()) {
                self.problem(format!("the method `{method}` is exported twice"));
            }
        } else if name.starts_with("canister_") && !super::entry::is_entry(name) {
            self.problem(format!("`{name}` is not an entry point that the IC knows"));
        }
        if super::entry::is_entry(name) && export.kind != ExternalKind::Func {
            self.problem(format!("the export `{name}` is not a function"));
        }
    }

    fn data(&mut self, reader: wasmparser::DataSectionReader<'_>) -> wasmparser::Result<()> {
        self.verdict.figures.data_segments = reader.count();
        let memory = self.verdict.figures.memory_pages * 65_536;
        for (at, segment) in reader.into_iter().enumerate() {
            let segment = segment?;
            let DataKind::Active { offset_expr, .. } = &segment.kind else {
                continue;
            };
            match const_i32(offset_expr) {
                None => self.problem(format!("data segment {at} is not at a constant address")),
                Some(address) if u64::from(address) + segment.data.len() as u64 > memory => {
                    self.problem(format!("data segment {at} lies outside the initial memory"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn icp_sections(&mut self, names: &BTreeSet<String>, bytes: usize) {
        for name in names {
            let plain = name
                .strip_prefix("icp:public ")
                .or_else(|| name.strip_prefix("icp:private "));
            if plain.is_none_or(str::is_empty) {
                self.problem(format!("the custom section name `{name}` is malformed"));
            }
        }
        self.at_most(
            "`icp:` custom sections",
            names.len() as u64,
            limits::ICP_SECTIONS as u64,
        );
        self.at_most(
            "bytes in `icp:` custom sections",
            bytes as u64,
            limits::ICP_BYTES as u64,
        );
    }

    fn limits(&mut self) {
        let figures = self.verdict.figures;
        self.at_most(
            "bytes in the module",
            figures.module_bytes as u64,
            limits::MODULE as u64,
        );
        self.at_most(
            "bytes of code",
            figures.code_bytes as u64,
            limits::CODE as u64,
        );
        self.at_most(
            "functions",
            figures.functions.into(),
            limits::FUNCTIONS.into(),
        );
        self.at_most("globals", figures.globals.into(), limits::GLOBALS.into());
        self.at_most(
            "operators in a function",
            figures.largest_function,
            limits::OPERATORS,
        );
        self.at_most(
            "complexity of a function",
            figures.complexity,
            limits::COMPLEXITY,
        );
        let (methods, characters) = (self.exports.methods.len(), self.exports.characters);
        self.at_most("methods", methods as u64, limits::METHODS as u64);
        self.at_most(
            "characters in method names",
            characters as u64,
            limits::METHOD_NAMES as u64,
        );
    }

    fn at_most(&mut self, what: &str, found: u64, limit: u64) {
        if found > limit {
            self.problem(format!("{what}: {found}, at most {limit} are allowed"));
        }
    }

    /// Validates and weighs all bodies, on all cores.
    fn bodies(&mut self, bodies: Vec<Body<'_>>) -> wasmparser::Result<()> {
        // Small modules are done before a thread has started.
        let share = bodies.len().div_ceil(threads::count()).max(256);
        let mut bodies = bodies.into_iter();
        let parts = std::iter::from_fn(|| {
            let part: Vec<_> = bodies.by_ref().take(share).collect();
            (!part.is_empty()).then_some(part)
        });
        let results = threads::each(parts, check_bodies);
        for result in results {
            let (largest, complexity, problems) = result?;
            let figures = &mut self.verdict.figures;
            figures.largest_function = figures.largest_function.max(largest);
            figures.complexity = figures.complexity.max(complexity);
            problems.into_iter().for_each(|p| self.problem(p));
        }
        Ok(())
    }
}

type Body<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

fn check_bodies(bodies: Vec<Body<'_>>) -> wasmparser::Result<(u64, u64, Vec<String>)> {
    let mut allocations = wasmparser::FuncValidatorAllocations::default();
    let (mut largest, mut most) = (0, 0);
    let mut problems = Vec::new();
    for (func, body) in bodies {
        let index = func.index;
        let mut validator = func.into_validator(allocations);
        validator.validate(&body)?;
        allocations = validator.into_allocations();
        let (mut operators, mut complexity) = (0, 0);
        for op in body.get_operators_reader()? {
            let op = op?;
            operators += 1;
            complexity += weight(&op);
            if let Some(name) = refused(&op) {
                problems.push(format!("function {index} uses {name}"));
            }
        }
        largest = largest.max(operators);
        most = most.max(complexity);
    }
    Ok((largest, most, problems))
}

/// Operators that are valid, but refused.
fn refused(op: &Operator<'_>) -> Option<&'static str> {
    Some(match op {
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableSet { .. } => "table.set",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        _ => return None,
    })
}

/// What an operator adds to its function's complexity.
fn weight(op: &Operator<'_>) -> u64 {
    use Operator as O;
    match op {
        O::Block { .. }
        | O::Loop { .. }
        | O::If { .. }
        | O::Br { .. }
        | O::BrIf { .. }
        | O::BrTable { .. }
        | O::Call { .. }
        | O::CallIndirect { .. }
        | O::ReturnCall { .. }
        | O::ReturnCallIndirect { .. }
        | O::MemoryGrow { .. } => 50,
        O::TableGet { .. } => 14,
        O::RefFunc { .. } => 8,
        O::RefIsNull => 6,
        O::F32ConvertI32S
        | O::F32ConvertI32U
        | O::F32ConvertI64S
        | O::F32ConvertI64U
        | O::F64ConvertI32S
        | O::F64ConvertI32U
        | O::F64ConvertI64S
        | O::F64ConvertI64U
        | O::F32DemoteF64
        | O::F64PromoteF32 => 5,
        O::F32Neg | O::F32Abs | O::F64Neg | O::F64Abs | O::MemoryCopy { .. } => 4,
        O::I32Load { .. }
        | O::I64Load { .. }
        | O::F32Load { .. }
        | O::F64Load { .. }
        | O::I32Load8S { .. }
        | O::I32Load8U { .. }
        | O::I32Load16S { .. }
        | O::I32Load16U { .. }
        | O::I64Load8S { .. }
        | O::I64Load8U { .. }
        | O::I64Load16S { .. }
        | O::I64Load16U { .. }
        | O::I64Load32S { .. }
        | O::I64Load32U { .. }
        | O::I32DivS
        | O::I32DivU
        | O::I32RemS
        | O::I32RemU
        | O::I64DivS
        | O::I64DivU
        | O::I64RemS
        | O::I64RemU
        | O::MemoryFill { .. }
        | O::I32TruncSatF32S
        | O::I32TruncSatF32U
        | O::I32TruncSatF64S
        | O::I32TruncSatF64U
        | O::I64TruncSatF32S
        | O::I64TruncSatF32U
        | O::I64TruncSatF64S
        | O::I64TruncSatF64U => 3,
        // The IC weighs some of these 1; 2 for all errs on the safe side.
        _ => 2,
    }
}

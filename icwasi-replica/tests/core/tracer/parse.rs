//! Reads a module for the interpreter.

use std::collections::BTreeMap;

use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};

use crate::operators::{costs, plain};

pub struct Function<'a> {
    pub params: usize,
    pub results: usize,
    pub locals: usize,
    pub ops: Vec<Operator<'a>>,
    /// Cost of each operator.
    pub costs: Vec<u64>,
    /// Position of the `else` (if any) and `end` that belong to a block's start.
    pub ends: BTreeMap<usize, (Option<usize>, usize)>,
}

pub struct Module<'a> {
    pub types: Vec<(usize, usize)>,
    pub imports: Vec<&'a str>,
    pub functions: Vec<Function<'a>>,
    pub table: Vec<Option<u32>>,
    pub globals: Vec<u64>,
    pub pages: u64,
    pub max_pages: u64,
    pub passive: Vec<&'a [u8]>,
    pub active: Vec<(usize, &'a [u8])>,
    pub exports: BTreeMap<&'a str, u32>,
}

fn constant(expr: &wasmparser::ConstExpr<'_>) -> u64 {
    match expr.get_operators_reader().read().expect("an operator") {
        Operator::I32Const { value } => u64::from(value as u32),
        Operator::I64Const { value } => value as u64,
        other => panic!("constant {other:?}"),
    }
}

fn function<'a>(body: &wasmparser::FunctionBody<'a>, ty: (usize, usize)) -> Function<'a> {
    let table = costs();
    let locals = body.get_locals_reader().expect("locals");
    let extra: u32 = locals.into_iter().map(|l| l.expect("a local").0).sum();
    let ops: Vec<_> = body
        .get_operators_reader()
        .expect("operators")
        .into_iter()
        .map(|op| op.expect("an operator"))
        .collect();
    let costs = ops
        .iter()
        .map(|op| {
            let name = plain(&format!("{op:?}"));
            *table
                .get(&name)
                .unwrap_or_else(|| panic!("no cost of {name}"))
        })
        .collect();
    let mut ends = BTreeMap::new();
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    for (pos, op) in ops.iter().enumerate() {
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                open.push((pos, None));
            }
            Operator::Else => open.last_mut().expect("an if").1 = Some(pos),
            Operator::End => {
                if let Some((start, middle)) = open.pop() {
                    ends.insert(start, (middle, pos));
                }
            }
            _ => {}
        }
    }
    Function {
        params: ty.0,
        results: ty.1,
        locals: ty.0 + extra as usize,
        ops,
        costs,
        ends,
    }
}

impl<'a> Module<'a> {
    pub fn parse(wasm: &'a [u8]) -> Module<'a> {
        let mut m = Module {
            types: vec![],
            imports: vec![],
            functions: vec![],
            table: vec![],
            globals: vec![],
            pages: 0,
            max_pages: 0,
            passive: vec![],
            active: vec![],
            exports: BTreeMap::new(),
        };
        let mut declared = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.expect("a module") {
                Payload::TypeSection(r) => {
                    for ty in r.into_iter_err_on_gc_types() {
                        let ty = ty.expect("a type");
                        m.types.push((ty.params().len(), ty.results().len()));
                    }
                }
                Payload::ImportSection(r) => {
                    for import in r.into_imports() {
                        let import = import.expect("an import");
                        assert!(matches!(import.ty, TypeRef::Func(_)));
                        m.imports.push(import.name);
                    }
                }
                Payload::FunctionSection(r) => {
                    declared = r.into_iter().map(|t| t.expect("a type")).collect();
                }
                Payload::TableSection(r) => {
                    for table in r {
                        let size = table.expect("a table").ty.initial;
                        m.table = vec![None; size as usize];
                    }
                }
                Payload::MemorySection(r) => {
                    for memory in r {
                        let memory = memory.expect("a memory");
                        m.pages = memory.initial;
                        m.max_pages = memory.maximum.unwrap_or(65_536);
                    }
                }
                Payload::GlobalSection(r) => {
                    for global in r {
                        m.globals
                            .push(constant(&global.expect("a global").init_expr));
                    }
                }
                Payload::ExportSection(r) => {
                    for export in r {
                        let export = export.expect("an export");
                        assert_eq!(export.kind, ExternalKind::Func);
                        m.exports.insert(export.name, export.index);
                    }
                }
                Payload::ElementSection(r) => {
                    for element in r {
                        let element = element.expect("elements");
                        let wasmparser::ElementKind::Active { offset_expr, .. } = element.kind
                        else {
                            panic!("passive elements");
                        };
                        let wasmparser::ElementItems::Functions(items) = element.items else {
                            panic!("expressions as elements");
                        };
                        let at = constant(&offset_expr) as usize;
                        for (i, item) in items.into_iter().enumerate() {
                            m.table[at + i] = Some(item.expect("a function"));
                        }
                    }
                }
                Payload::DataSection(r) => {
                    for data in r {
                        let data = data.expect("data");
                        match data.kind {
                            wasmparser::DataKind::Passive => m.passive.push(data.data),
                            wasmparser::DataKind::Active { offset_expr, .. } => {
                                m.active.push((constant(&offset_expr) as usize, data.data));
                                m.passive.push(&[]);
                            }
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let ty = m.types[declared[m.functions.len()] as usize];
                    m.functions.push(function(&body, ty));
                }
                _ => {}
            }
        }
        m
    }
}

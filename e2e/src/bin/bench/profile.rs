//! Which functions the instructions of a workload go to.
//!
//! The module is rewritten so that every straight-line block adds its cost to a counter of its
//! function, a global. Costs of bulk operators by their size, and of System API functions, are
//! not in the counters: they are the rest of the sum. Functions that were inlined count for those
//! that they were inlined into.

use anyhow::{Context, Result};
use icwasi_replica::core::costs;
use wasm_encoder::{CodeSection, Encode, Instruction, Module, RawSection};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload};

use crate::canisters::Canisters;
use crate::machine::Machine;
use crate::{sqlite, workload};

/// Functions that are shown.
const SHOWN: usize = 40;

/// Profiles the workloads whose titles contain `text`.
pub fn run(canisters: &Canisters, text: &str) -> Result<()> {
    let profiled = Profiled::new(&canisters.ours)?;
    let mut plans = sqlite::plans();
    let others = workload::all().into_iter();
    plans.extend(others.map(|workload| (workload.title.to_owned(), workload.plan)));
    for (title, plan) in plans.iter().filter(|(title, _)| title.contains(text)) {
        let mut plain = Machine::install(&canisters.ours)?;
        plain.run(&plan.setup)?;
        let all = plain.run(&plan.messages)? / plan.operations;
        let mut machine = Machine::install(&profiled.wasm)?;
        machine.run(&plan.setup)?;
        let before = machine.counters();
        machine.run(&plan.messages)?;
        let after = machine.counters();
        println!("{title}: {all} for each operation");
        profiled.show(&before, &after, plan.operations, all);
    }
    Ok(())
}

/// A module that counts by function.
struct Profiled {
    wasm: Vec<u8>,
    /// Of the functions that are defined.
    names: Vec<String>,
}

impl Profiled {
    fn new(wasm: &[u8]) -> Result<Self> {
        let mut names = std::collections::HashMap::new();
        let (mut imported, mut functions, mut globals) = (0, 0, 0);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    imported = section
                        .into_imports()
                        .filter(|import| {
                            matches!(
                                import.as_ref().map(|i| i.ty),
                                Ok(wasmparser::TypeRef::Func(_))
                            )
                        })
                        .count();
                }
                Payload::GlobalSection(section) => globals = section.count(),
                Payload::CodeSectionStart { count, .. } => functions = count,
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(reader) = section.as_known() {
                        for name in reader {
                            if let Name::Function(map) = name? {
                                for naming in map {
                                    let naming = naming?;
                                    names.insert(naming.index as usize, naming.name.to_owned());
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        let names = (imported..imported + functions as usize)
            .map(|index| names.remove(&index).unwrap_or(format!("function {index}")))
            .collect();
        let wasm = rewrite(wasm, globals, functions)?;
        Ok(Self { wasm, names })
    }

    fn show(&self, before: &[u64], after: &[u64], operations: u64, all: u64) {
        // The counters are the last globals.
        let skip = |counters: &[u64]| counters.len().saturating_sub(self.names.len());
        let before = before[skip(before)..].iter();
        let after = after[skip(after)..].iter();
        let mut costs: Vec<(u64, &str)> = after
            .zip(before)
            .map(|(after, before)| after.wrapping_sub(*before))
            .zip(self.names.iter().map(String::as_str))
            .collect();
        let counted: u64 = costs.iter().map(|(cost, _)| cost).sum();
        costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (cost, name) in costs.iter().take(SHOWN) {
            if cost / operations > 0 {
                println!("{:>10}  {}", cost / operations, short(name));
            }
        }
        let rest = all.saturating_sub(counted / operations);
        println!("{rest:>10}  System API, bytes copied, pages first written\n");
    }
}

/// Demangled names are long; what matters is at their ends.
fn short(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    name.chars().take(110).collect()
}

fn rewrite(wasm: &[u8], globals: u32, functions: u32) -> Result<Vec<u8>> {
    let mut module = Module::new();
    let mut code = CodeSection::new();
    let mut next = globals;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::GlobalSection(section) => {
                let raw = &wasm[section.range()];
                let mut data = Vec::new();
                (globals + functions).encode(&mut data);
                data.extend_from_slice(&raw[leb_len(raw)..]);
                // Mutable i64, 0.
                (0..functions).for_each(|_| data.extend_from_slice(&[0x7e, 1, 0x42, 0, 0x0b]));
                module.section(&RawSection { id: 6, data: &data });
            }
            Payload::CodeSectionEntry(body) => {
                code.raw(&count(body, wasm, next)?);
                next += 1;
                if next == globals + functions {
                    module.section(&code);
                }
            }
            other => {
                if let Some((id, range)) = other.as_section().filter(|(id, _)| *id != 10) {
                    let data = &wasm[range];
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(module.finish())
}

fn leb_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| *byte & 0x80 != 0).count() + 1
}

/// The body with `global += cost` at the start of each block.
fn count(body: &wasmparser::FunctionBody<'_>, wasm: &[u8], global: u32) -> Result<Vec<u8>> {
    let reader = body.get_operators_reader()?;
    let first = reader.original_position();
    let mut out = wasm[body.range().start..first].to_vec();
    let ops = reader
        .into_iter_with_offsets()
        .collect::<Result<Vec<_>, _>>()
        .context("operators")?;
    let add = |out: &mut Vec<u8>, cost: u64| {
        if cost > 0 {
            for op in [
                Instruction::GlobalGet(global),
                Instruction::I64Const(cost as i64),
                Instruction::I64Add,
                Instruction::GlobalSet(global),
            ] {
                op.encode(out);
            }
        }
    };
    let (mut start, mut cost) = (0, costs::FUNCTION_ENTRY);
    let offset = |at: usize| ops.get(at).map_or(body.range().end, |(_, offset)| *offset);
    for (at, (op, _)) in ops.iter().enumerate() {
        cost += costs::operator(op, false);
        let ends = matches!(
            op,
            Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Else
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. }
                | Operator::End
                | Operator::Return
                | Operator::Unreachable
        );
        if ends {
            add(&mut out, cost);
            out.extend_from_slice(&wasm[offset(start)..offset(at + 1)]);
            (start, cost) = (at + 1, 0);
        }
    }
    Ok(out)
}

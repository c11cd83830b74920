//! Which functions of the library can be reached: what the output does not need is dropped, so
//! that a canister without admin endpoints does not carry their code.
//!
//! The edges are the relocations: a body's calls and function pointers, and pointers in data.
//! With the symbol table of the `linking` section, data counts as reached symbol by symbol;
//! without it, or where it does not fit, all data does.

use wasmparser::{
    BinaryReader, DataKind, Linking, LinkingSectionReader, RelocationType, SymbolInfo,
};

use super::error::LinkError;
use super::library::{Library, read_leb};
use super::parse::const_i32;

/// Addresses of a data symbol.
struct Symbol {
    start: u32,
    end: u32,
}

enum Node {
    Function(u32),
    Data(usize),
}

struct Graph<'l, 'a> {
    library: &'l Library<'a>,
    /// Data symbols by address; empty if they are unknown.
    symbols: Vec<Symbol>,
    /// Relocated addresses in data: address and what it refers to.
    pointers: Vec<(u32, RelocationType, u32)>,
    live: Vec<bool>,
    seen: Vec<bool>,
    work: Vec<Node>,
}

/// Defined functions of the library that `roots` (function indices) can reach, in order.
pub(crate) fn live_functions(library: &Library<'_>, roots: &[u32]) -> Result<Vec<u32>, LinkError> {
    let symbols = data_symbols(library).unwrap_or_default();
    let seen = vec![false; symbols.len()];
    let mut graph = Graph {
        library,
        symbols,
        pointers: pointers(library),
        live: vec![false; library.module.functions.len()],
        seen,
        work: Vec::new(),
    };
    if graph.symbols.is_empty() {
        for at in 0..graph.pointers.len() {
            let (_, ty, value) = graph.pointers[at];
            graph.refer(ty, value);
        }
    }
    for root in roots {
        graph.function(*root);
    }
    graph.run();
    Ok((0..)
        .zip(&graph.live)
        .filter(|(_, live)| **live)
        .map(|(at, _)| at)
        .collect())
}

impl Graph<'_, '_> {
    fn run(&mut self) {
        let module = &self.library.module;
        let base = module.code_range.start;
        while let Some(node) = self.work.pop() {
            match node {
                Node::Function(at) => {
                    let body = &module.bodies[at as usize];
                    let relocs = &self.library.code_relocs;
                    let first = relocs.partition_point(|r| (r.offset as usize) < body.start - base);
                    let library = self.library;
                    for reloc in &library.code_relocs[first..] {
                        let place = reloc.offset as usize + base;
                        if place >= body.end {
                            break;
                        }
                        let value = read_leb(&module.bytes[place..place + 5]);
                        // An addend may lead out of the symbol; the symbol is what is meant.
                        let value = match reloc.ty {
                            RelocationType::MemoryAddrLeb | RelocationType::MemoryAddrSleb => {
                                value.wrapping_sub(reloc.addend as u32)
                            }
                            _ => value,
                        };
                        self.refer(reloc.ty, value);
                    }
                }
                Node::Data(symbol) => {
                    let Symbol { start, end } = self.symbols[symbol];
                    let first = self.pointers.partition_point(|p| p.0 < start);
                    for at in first..self.pointers.len() {
                        let (address, ty, value) = self.pointers[at];
                        if address >= end {
                            break;
                        }
                        self.refer(ty, value);
                    }
                }
            }
        }
    }

    fn refer(&mut self, ty: RelocationType, value: u32) {
        match ty {
            RelocationType::FunctionIndexLeb => self.function(value),
            RelocationType::TableIndexSleb | RelocationType::TableIndexI32 => {
                if let Some(Some(function)) = self.library.slots.get(value as usize) {
                    self.function(*function);
                }
            }
            RelocationType::MemoryAddrLeb
            | RelocationType::MemoryAddrSleb
            | RelocationType::MemoryAddrI32 => self.address(value),
            _ => {}
        }
    }

    fn function(&mut self, index: u32) {
        let Some(at) = (index as usize).checked_sub(self.library.module.imports.len()) else {
            return;
        };
        if let Some(live) = self.live.get_mut(at)
            && !std::mem::replace(live, true)
        {
            self.work.push(Node::Function(at as u32));
        }
    }

    /// Every symbol that holds `address`: several may start at one place.
    fn address(&mut self, address: u32) {
        let behind = self.symbols.partition_point(|s| s.start <= address);
        for at in (0..behind).rev() {
            if self.symbols[at].start < address && self.symbols[at].end <= address {
                // `data_symbols` made sure that no symbol reaches into the next.
                break;
            }
            if !std::mem::replace(&mut self.seen[at], true) {
                self.work.push(Node::Data(at));
            }
        }
    }
}

/// Relocated words in data, by address; those of memory without their addend.
fn pointers(library: &Library<'_>) -> Vec<(u32, RelocationType, u32)> {
    let module = &library.module;
    let base = module.data_range.start;
    let mut pointers = Vec::new();
    for segment in &module.data {
        let DataKind::Active { offset_expr, .. } = &segment.kind else {
            continue;
        };
        let Some(address) = const_i32(offset_expr) else {
            continue;
        };
        let start = segment.range.end - segment.data.len() - base;
        let end = segment.range.end - base;
        let first = library
            .data_relocs
            .partition_point(|r| (r.offset as usize) < start);
        for reloc in &library.data_relocs[first..] {
            let at = reloc.offset as usize;
            if at + 4 > end {
                break;
            }
            let word = &module.bytes[base + at..base + at + 4];
            let mut value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            if reloc.ty == RelocationType::MemoryAddrI32 {
                value = value.wrapping_sub(reloc.addend as u32);
            }
            pointers.push((address + (at - start) as u32, reloc.ty, value));
        }
    }
    pointers.sort_by_key(|p| p.0);
    pointers
}

/// Data symbols by address; `None` if there is no symbol table or it leaves a pointer out.
fn data_symbols(library: &Library<'_>) -> Option<Vec<Symbol>> {
    let module = &library.module;
    let (_, content, offset) = module.custom.iter().find(|(name, ..)| *name == "linking")?;
    let reader = LinkingSectionReader::new(BinaryReader::new(content, *offset)).ok()?;
    let mut symbols = Vec::new();
    for part in reader.subsections() {
        let Linking::SymbolTable(table) = part.ok()? else {
            continue;
        };
        for symbol in table {
            let SymbolInfo::Data {
                symbol: Some(symbol),
                ..
            } = symbol.ok()?
            else {
                continue;
            };
            let segment = module.data.get(symbol.index as usize)?;
            let DataKind::Active { offset_expr, .. } = &segment.kind else {
                return None;
            };
            let start = const_i32(offset_expr)?.checked_add(symbol.offset)?;
            if u64::from(symbol.offset) + u64::from(symbol.size) > segment.data.len() as u64 {
                return None;
            }
            symbols.push(Symbol {
                start,
                end: start + symbol.size,
            });
        }
    }
    symbols.sort_by_key(|s| (s.start, s.end));
    // Each pointer in data must belong to a symbol, or it would be taken for dead.
    let covered = |address: u32| {
        let behind = symbols.partition_point(|s| s.start <= address);
        symbols[..behind].last().is_some_and(|s| address < s.end)
    };
    let nested = symbols
        .windows(2)
        .any(|w| w[1].start < w[0].end && w[1].start != w[0].start);
    let complete = pointers(library)
        .iter()
        .all(|(address, ..)| covered(*address));
    (complete && !nested).then_some(symbols)
}

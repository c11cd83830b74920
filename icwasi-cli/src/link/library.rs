//! The prebuilt library: a relocatable module, checked, so that it can be placed anywhere.
//!
//! `wasm-ld --emit-relocs` leaves a finished module plus the places that depend on where things
//! lie. Each place is patched there: an index becomes `map[old]`, an address `old + delta`.
//! [`Library::parse`] proves that nothing is missed: every operator that holds an index has its
//! relocation, five bytes wide, and there is no relocation elsewhere.

use wasmparser::{
    BlockType, DataKind, ElementItems, ElementKind, Operator, RelocationEntry, RelocationType,
    ValType,
};

use super::error::LinkError;
use super::parse::{Module, const_i32};

/// The relocatable library.
pub(crate) struct Library<'a> {
    pub module: Module<'a>,
    /// The only mutable global.
    pub stack_pointer: u32,
    /// Bytes from 0 to the end of stack, data and bss.
    pub image_size: u32,
    /// Table slots from 0.
    pub slots: Vec<Option<u32>>,
    /// Relocations of the code section, by offset.
    pub code_relocs: Vec<RelocationEntry>,
    /// Relocations of the data section, by offset.
    pub data_relocs: Vec<RelocationEntry>,
}

/// Where the parts of the library lie in the output.
pub(crate) struct Placement<'p> {
    /// New function indices; `u32::MAX` for those that are dropped.
    pub functions: &'p [u32],
    pub types: &'p [u32],
    /// Added to global indices.
    pub globals: u32,
    /// Added to addresses.
    pub memory: u32,
    /// Added to table slots.
    pub table: u32,
}

fn bad<T>(message: impl Into<String>) -> Result<T, LinkError> {
    Err(LinkError::Relocation(message.into()))
}

impl<'a> Library<'a> {
    /// Reads and checks the library.
    ///
    /// Cost: one pass over its code.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LinkError> {
        let mut module =
            Module::parse(bytes).map_err(|error| LinkError::Relocation(error.to_string()))?;
        module.read_relocs()?;
        if !module.memory_imported {
            return bad("its memory is not imported");
        }
        if module.start.is_some() {
            return bad("it has a start function");
        }
        let stack_pointer = stack_pointer(&module)?;
        let heap_base = module
            .exports
            .iter()
            .find(|e| e.name == "__heap_base" && e.kind == wasmparser::ExternalKind::Global)
            .and_then(|e| module.globals.get(e.index as usize))
            .and_then(|g| const_i32(&g.init_expr));
        let Some(image_size) = heap_base else {
            return bad("it does not export __heap_base");
        };
        let slots = table_slots(&module)?;
        let (code_section, data_section) = (module.code_section, module.data_section);
        let take = |relocs: &mut Vec<super::parse::Relocs>, section| {
            let mut entries: Vec<_> = relocs
                .iter_mut()
                .filter(|r| r.section == section)
                .flat_map(|r| std::mem::take(&mut r.entries))
                .collect();
            entries.sort_by_key(|e| e.offset);
            entries
        };
        let mut relocs = std::mem::take(&mut module.relocs);
        let code_relocs = take(&mut relocs, code_section);
        let data_relocs = take(&mut relocs, data_section);
        let library = Library {
            module,
            stack_pointer,
            image_size,
            slots,
            code_relocs,
            data_relocs,
        };
        library.check_code()?;
        library.check_data()?;
        Ok(library)
    }

    /// Every operator against the relocations.
    fn check_code(&self) -> Result<(), LinkError> {
        let base = self.module.code_range.start;
        let mut relocs = self.code_relocs.iter().peekable();
        for body in &self.module.bodies {
            let mut ops = self.module.body(body).get_operators_reader()?;
            while !ops.eof() {
                let start = ops.original_position() - base;
                let op = ops.read()?;
                let end = ops.original_position() - base;
                let mut found = Vec::new();
                while let Some(reloc) = relocs.next_if(|r| (r.offset as usize) < end) {
                    found.push((reloc.ty, (reloc.offset as usize).wrapping_sub(start)));
                }
                if !operator_fits(&op, end - start, &found) {
                    return bad(format!(
                        "{op:?} at {:#x} has the relocations {found:?}",
                        start + base
                    ));
                }
            }
        }
        match relocs.next() {
            Some(reloc) => bad(format!("{reloc:?} lies behind the code")),
            None => Ok(()),
        }
    }

    fn check_data(&self) -> Result<(), LinkError> {
        let base = self.module.data_range.start;
        let inside = |offset: usize| {
            self.module.data.iter().any(|segment| {
                let end = segment.range.end - base;
                let start = end - segment.data.len();
                offset >= start && offset + 4 <= end
            })
        };
        for reloc in &self.data_relocs {
            let known = matches!(
                reloc.ty,
                RelocationType::MemoryAddrI32 | RelocationType::TableIndexI32
            );
            if !known || !inside(reloc.offset as usize) {
                return bad(format!("{reloc:?} in data"));
            }
        }
        for segment in &self.module.data {
            match &segment.kind {
                DataKind::Active { offset_expr, .. } if const_i32(offset_expr).is_some() => {}
                _ => return bad("a data segment is not at a fixed address"),
            }
        }
        Ok(())
    }

    /// The content of the code section, relocated.
    pub fn place_code(&self, placement: &Placement<'_>) -> Result<Vec<u8>, LinkError> {
        let mut code = self.module.bytes[self.module.code_range.clone()].to_vec();
        for reloc in &self.code_relocs {
            let at = reloc.offset as usize;
            let Some(place) = code.get_mut(at..at + 5) else {
                return bad(format!("{reloc:?} reaches over the end"));
            };
            let old = read_leb(place);
            let index = |map: &[u32]| match map.get(old as usize) {
                Some(new) => Ok(*new),
                None => bad(format!("{reloc:?} refers to {old}")),
            };
            match reloc.ty {
                RelocationType::FunctionIndexLeb => write_uleb5(place, index(placement.functions)?),
                RelocationType::TypeIndexLeb => write_uleb5(place, index(placement.types)?),
                RelocationType::GlobalIndexLeb => write_uleb5(place, old + placement.globals),
                RelocationType::TableNumberLeb => write_uleb5(place, 0),
                RelocationType::MemoryAddrLeb => write_uleb5(place, shift(old, placement.memory)),
                RelocationType::MemoryAddrSleb => write_sleb5(place, shift(old, placement.memory)),
                RelocationType::TableIndexSleb => write_sleb5(place, shift(old, placement.table)),
                other => return bad(format!("unknown relocation {other:?}")),
            }
        }
        Ok(code)
    }

    /// Data segments, relocated: address and bytes, without the zeros at either end, since fresh
    /// memory is zero.
    pub fn place_data(&self, placement: &Placement<'_>) -> Result<Vec<(u32, Vec<u8>)>, LinkError> {
        let base = self.module.data_range.start;
        let mut content = self.module.bytes[self.module.data_range.clone()].to_vec();
        for reloc in &self.data_relocs {
            let at = reloc.offset as usize;
            let Some(place) = content.get_mut(at..at + 4) else {
                return bad(format!("{reloc:?} reaches over the end"));
            };
            let old = u32::from_le_bytes([place[0], place[1], place[2], place[3]]);
            let new = match reloc.ty {
                RelocationType::TableIndexI32 => shift(old, placement.table),
                _ => shift(old, placement.memory),
            };
            place.copy_from_slice(&new.to_le_bytes());
        }
        let mut placed = Vec::new();
        for segment in &self.module.data {
            let DataKind::Active { offset_expr, .. } = &segment.kind else {
                continue;
            };
            let Some(address) = const_i32(offset_expr) else {
                continue;
            };
            let end = segment.range.end - base;
            let bytes = &content[end - segment.data.len()..end];
            if address
                .checked_add(bytes.len() as u32)
                .is_none_or(|end| end > self.image_size)
            {
                return bad("a data segment lies behind __heap_base");
            }
            let Some(first) = bytes.iter().position(|b| *b != 0) else {
                continue;
            };
            let last = bytes
                .iter()
                .rposition(|b| *b != 0)
                .map_or(first, |last| last);
            placed.push((
                address + first as u32 + placement.memory,
                bytes[first..=last].to_vec(),
            ));
        }
        Ok(placed)
    }

    /// Initial values of the globals, relocated: the stack pointer and addresses of symbols.
    pub fn place_globals(&self, placement: &Placement<'_>) -> Vec<(bool, u32)> {
        let values = self.module.globals.iter().map(|global| {
            // `stack_pointer` checked that all are constants.
            let value = const_i32(&global.init_expr).unwrap_or(0);
            (global.ty.mutable, value.wrapping_add(placement.memory))
        });
        values.collect()
    }
}

/// Whether `op`, `length` bytes long, has exactly the relocations (kind, offset) that it needs.
fn operator_fits(op: &Operator<'_>, length: usize, found: &[(RelocationType, usize)]) -> bool {
    use RelocationType as R;
    match op {
        Operator::Call { .. } | Operator::ReturnCall { .. } | Operator::RefFunc { .. } => {
            length == 6 && found == [(R::FunctionIndexLeb, 1)]
        }
        Operator::CallIndirect { table_index, .. }
        | Operator::ReturnCallIndirect { table_index, .. } => {
            // Without reference types the table's number is a zero byte.
            (length == 11 && found == [(R::TypeIndexLeb, 1), (R::TableNumberLeb, 6)])
                || (length == 7 && *table_index == 0 && found == [(R::TypeIndexLeb, 1)])
        }
        Operator::GlobalGet { .. } | Operator::GlobalSet { .. } => {
            length == 6 && found == [(R::GlobalIndexLeb, 1)]
        }
        Operator::Block { blockty: BlockType::FuncType(_) }
        | Operator::Loop { blockty: BlockType::FuncType(_) }
        | Operator::If { blockty: BlockType::FuncType(_) } => {
            length == 6 && found == [(R::TypeIndexLeb, 1)]
        }
        Operator::I32Const { .. } => match found {
            [] => true,
            [(R::MemoryAddrSleb | R::TableIndexSleb, 1)] => length == 6,
            _ => false,
        },
        // They name data segments, elements or tables by index, without a relocation.
        Operator::MemoryInit { .. }
        | Operator::DataDrop { .. }
        | Operator::TableInit { .. }
        | Operator::ElemDrop { .. }
        | Operator::TableCopy { .. }
        | Operator::TableFill { .. }
        | Operator::TableGet { .. }
        | Operator::TableSet { .. }
        | Operator::TableGrow { .. }
        | Operator::TableSize { .. }
        // It would see the guest's pages.
        | Operator::MemoryGrow { .. } => false,
        // Loads and stores: opcode, alignment, and the address at the end, but for lanes.
        _ => match found {
            [] => true,
            [(R::MemoryAddrLeb, at)] => (2..=4).contains(at) && length - at <= 6,
            _ => false,
        },
    }
}

/// The stack pointer; also checks that the other globals are addresses.
fn stack_pointer(module: &Module<'_>) -> Result<u32, LinkError> {
    let mut found = None;
    for (index, global) in module.globals.iter().enumerate() {
        if global.ty.content_type != ValType::I32 || const_i32(&global.init_expr).is_none() {
            return bad(format!("global {index} is not an i32 constant"));
        }
        if global.ty.mutable && found.replace(index as u32).is_some() {
            return bad("it has several mutable globals");
        }
    }
    found.ok_or_else(|| LinkError::Relocation("it has no stack pointer".to_owned()))
}

fn table_slots(module: &Module<'_>) -> Result<Vec<Option<u32>>, LinkError> {
    let size = match &module.tables[..] {
        [] => 0,
        [table] => table.ty.initial as usize,
        _ => return bad("it has several tables"),
    };
    let mut slots = vec![None; size];
    for element in &module.elements {
        let ElementKind::Active {
            table_index: None | Some(0),
            offset_expr,
        } = &element.kind
        else {
            return bad("an element segment is not active");
        };
        let (Some(start), ElementItems::Functions(functions)) =
            (const_i32(offset_expr), &element.items)
        else {
            return bad("an element segment has an unknown form");
        };
        for (slot, function) in (start as usize..).zip(functions.clone()) {
            match slots.get_mut(slot) {
                Some(place) => *place = Some(function?),
                None => return bad("an element segment reaches over the table"),
            }
        }
    }
    Ok(slots)
}

/// 0 stands for a weak symbol that is not there, and stays 0.
fn shift(old: u32, delta: u32) -> u32 {
    if old == 0 { 0 } else { old.wrapping_add(delta) }
}

/// The low 32 bits of a LEB128 of five bytes, signed or not.
pub(crate) fn read_leb(place: &[u8]) -> u32 {
    place.iter().enumerate().fold(0, |value, (i, byte)| {
        value | (u64::from(byte & 0x7f) << (7 * i))
    }) as u32
}

fn write_uleb5(place: &mut [u8], value: u32) {
    write_groups(place, u64::from(value));
}

fn write_sleb5(place: &mut [u8], value: u32) {
    write_groups(place, i64::from(value as i32) as u64);
}

fn write_groups(place: &mut [u8], value: u64) {
    for (i, byte) in place.iter_mut().enumerate() {
        let more = if i < 4 { 0x80 } else { 0 };
        *byte = (value >> (7 * i)) as u8 & 0x7f | more;
    }
}

//! Reads a module's structure; function bodies and data stay where they are.

use std::ops::Range;

use wasmparser::{
    BinaryReader, ConstExpr, Data, Element, Export, ExternalKind, FuncType, FunctionBody, Global,
    MemoryType, Parser, Payload, RelocSectionReader, RelocationEntry, Table, TableInit, TypeRef,
};

use super::error::LinkError;

/// Custom section that marks a linked module; its content is the linker's version.
pub(crate) const MARKER_SECTION: &str = "icwasi:linked";

/// An imported function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncImport<'a> {
    pub module: &'a str,
    pub name: &'a str,
    /// Type index.
    pub ty: u32,
}

impl FuncImport<'_> {
    /// `module.name`, for messages.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }
}

/// Relocations of one section, offsets relative to its content.
#[derive(Default)]
pub(crate) struct Relocs {
    pub section: u32,
    pub entries: Vec<RelocationEntry>,
}

/// A core module taken apart.
pub(crate) struct Module<'a> {
    pub bytes: &'a [u8],
    pub types: Vec<FuncType>,
    /// The type section behind its count, to be copied.
    pub type_bytes: &'a [u8],
    /// Imported functions. A memory or table import of module `env` is in `memory`, `tables`.
    pub imports: Vec<FuncImport<'a>>,
    /// Type indices of defined functions.
    pub functions: Vec<u32>,
    pub tables: Vec<Table<'a>>,
    pub memory: Option<MemoryType>,
    pub memory_imported: bool,
    pub globals: Vec<Global<'a>>,
    pub exports: Vec<Export<'a>>,
    pub start: Option<u32>,
    pub elements: Vec<Element<'a>>,
    pub data: Vec<Data<'a>>,
    /// The data section behind its count.
    pub data_bytes: &'a [u8],
    /// Ranges of bodies, their size prefix excluded.
    pub bodies: Vec<Range<usize>>,
    /// Content of the code section.
    pub code_range: Range<usize>,
    /// Content of the data section.
    pub data_range: Range<usize>,
    pub custom: Vec<(&'a str, &'a [u8], usize)>,
    pub relocs: Vec<Relocs>,
    /// Section numbers of code and data, as relocation sections name them.
    pub code_section: u32,
    pub data_section: u32,
}

impl<'a> Module<'a> {
    /// Takes `bytes` apart. Bodies are not looked at, so a module that parses may be invalid.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LinkError> {
        check_header(bytes)?;
        let mut module = Module {
            bytes,
            types: Vec::new(),
            type_bytes: &[],
            imports: Vec::new(),
            functions: Vec::new(),
            tables: Vec::new(),
            memory: None,
            memory_imported: false,
            globals: Vec::new(),
            exports: Vec::new(),
            start: None,
            elements: Vec::new(),
            data: Vec::new(),
            data_bytes: &[],
            bodies: Vec::new(),
            code_range: 0..0,
            data_range: 0..0,
            custom: Vec::new(),
            relocs: Vec::new(),
            code_section: u32::MAX,
            data_section: u32::MAX,
        };
        let mut section = 0;
        let mut complete = false;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            let counts = payload.as_section().is_some();
            match payload {
                Payload::CodeSectionStart { range, .. } => {
                    module.code_range = range;
                    module.code_section = section;
                }
                Payload::DataSection(reader) => {
                    module.data_section = section;
                    module.data_range = reader.range();
                    module.data_bytes = behind_count(bytes, reader.range())?;
                    module.data = reader.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::End(_) => complete = true,
                other => module.section(other)?,
            }
            section += u32::from(counts);
        }
        if !complete || module.bodies.len() != module.functions.len() {
            return Err(LinkError::Malformed {
                offset: bytes.len(),
                message: format!(
                    "{} functions are declared but {} bodies are there",
                    module.functions.len(),
                    module.bodies.len()
                ),
            });
        }
        module.check_indices()?;
        Ok(module)
    }

    fn section(&mut self, payload: Payload<'a>) -> Result<(), LinkError> {
        match payload {
            Payload::TypeSection(reader) => {
                self.type_bytes = behind_count(self.bytes, reader.range())?;
                for ty in reader.into_iter_err_on_gc_types() {
                    self.types
                        .push(ty.map_err(|error| unsupported_type(&error))?);
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    let import = import?;
                    self.import(import)?;
                }
            }
            Payload::FunctionSection(reader) => {
                self.functions = reader.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    self.tables.push(table?);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    self.set_memory(memory?)?;
                }
            }
            Payload::TagSection(_) => return Err(exceptions()),
            Payload::GlobalSection(reader) => {
                self.globals = reader.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::ExportSection(reader) => {
                self.exports = reader.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(reader) => {
                self.elements = reader.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body.range()),
            Payload::CustomSection(reader) => {
                if reader.name() == MARKER_SECTION {
                    return Err(LinkError::AlreadyLinked {
                        version: String::from_utf8_lossy(reader.data()).into_owned(),
                    });
                }
                self.custom
                    .push((reader.name(), reader.data(), reader.data_offset()));
            }
            Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. }
            | Payload::InstanceSection(_) => return Err(LinkError::Component),
            Payload::UnknownSection { id, range, .. } => {
                return Err(LinkError::Malformed {
                    offset: range.start,
                    message: format!("unknown section {id}"),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'a>) -> Result<(), LinkError> {
        match import.ty {
            TypeRef::Func(ty) => {
                self.imports.push(FuncImport {
                    module: import.module,
                    name: import.name,
                    ty,
                });
                Ok(())
            }
            TypeRef::Memory(ty) if import.module == "env" => {
                self.memory_imported = true;
                self.set_memory(ty)
            }
            TypeRef::Table(ty) if import.module == "env" => {
                self.tables.push(Table {
                    ty,
                    init: TableInit::RefNull,
                });
                Ok(())
            }
            TypeRef::Tag(_) => Err(exceptions()),
            other => Err(LinkError::Unsupported {
                feature: format!("the import {}.{} of {other:?}", import.module, import.name),
                advice: "the IC allows functions only; for dynamic libraries, link statically",
            }),
        }
    }

    fn set_memory(&mut self, ty: MemoryType) -> Result<(), LinkError> {
        let unsupported = |feature: &str, advice| {
            Err(LinkError::Unsupported {
                feature: feature.to_owned(),
                advice,
            })
        };
        if ty.memory64 {
            return unsupported(
                "a 64-bit memory",
                "build it for 32-bit WebAssembly (wasm32)",
            );
        }
        if ty.shared {
            return unsupported(
                "shared memory",
                "the IC has no threads: build it without them",
            );
        }
        if ty.page_size_log2.is_some_and(|log2| log2 != 16) {
            return unsupported("custom page sizes", "the IC has pages of 64 KiB only");
        }
        if self.memory.replace(ty).is_some() {
            return unsupported(
                "several memories",
                "the IC allows one: build it without them",
            );
        }
        Ok(())
    }

    /// All indices that the linker follows without a validator's help.
    fn check_indices(&self) -> Result<(), LinkError> {
        let damaged = |message: String| Err(LinkError::Malformed { offset: 0, message });
        let types = self.types.len();
        let used = self
            .imports
            .iter()
            .map(|i| i.ty)
            .chain(self.functions.iter().copied());
        if let Some(ty) = used.into_iter().find(|ty| *ty as usize >= types) {
            return damaged(format!("type {ty} does not exist"));
        }
        let functions = self.function_count();
        let exported = self.exports.iter().filter(|e| e.kind == ExternalKind::Func);
        let referred = exported.map(|e| e.index).chain(self.start);
        if let Some(index) = referred.into_iter().find(|index| *index >= functions) {
            return damaged(format!("function {index} does not exist"));
        }
        Ok(())
    }

    /// Imported and defined functions.
    pub fn function_count(&self) -> u32 {
        (self.imports.len() + self.functions.len()) as u32
    }

    /// Type of a function of the module's index space.
    pub fn func_type(&self, index: u32) -> Option<&FuncType> {
        let index = index as usize;
        let ty = match self.imports.get(index) {
            Some(import) => import.ty,
            None => *self.functions.get(index - self.imports.len())?,
        };
        self.types.get(ty as usize)
    }

    /// Index of an exported function.
    pub fn export(&self, name: &str) -> Option<u32> {
        let export = self.exports.iter().find(|e| e.name == name)?;
        (export.kind == ExternalKind::Func).then_some(export.index)
    }

    /// A body of `bodies`.
    pub fn body(&self, range: &Range<usize>) -> FunctionBody<'a> {
        FunctionBody::new(BinaryReader::new(&self.bytes[range.clone()], range.start))
    }

    /// Reads the `reloc.*` custom sections.
    pub fn read_relocs(&mut self) -> Result<(), LinkError> {
        for (name, data, offset) in &self.custom {
            if name.starts_with("reloc.") {
                let reader = RelocSectionReader::new(BinaryReader::new(data, *offset))?;
                let section = reader.section_index();
                let entries = reader.entries().into_iter().collect::<Result<_, _>>()?;
                self.relocs.push(Relocs { section, entries });
            }
        }
        Ok(())
    }

    /// Content of a custom section.
    pub fn custom_section(&self, name: &str) -> Option<&'a [u8]> {
        self.custom
            .iter()
            .find(|(n, ..)| *n == name)
            .map(|(_, data, _)| *data)
    }
}

/// The value of a constant expression that is a plain `i32.const`.
pub(crate) fn const_i32(expr: &ConstExpr<'_>) -> Option<u32> {
    let mut ops = expr.get_operators_reader();
    let wasmparser::Operator::I32Const { value } = ops.read().ok()? else {
        return None;
    };
    matches!(ops.read().ok()?, wasmparser::Operator::End).then_some(value as u32)
}

fn behind_count(bytes: &[u8], range: Range<usize>) -> Result<&[u8], LinkError> {
    let content = &bytes[range.clone()];
    let mut reader = BinaryReader::new(content, range.start);
    reader.read_var_u32()?;
    Ok(&content[reader.current_position()..])
}

fn exceptions() -> LinkError {
    LinkError::Unsupported {
        feature: "exceptions (tags)".to_owned(),
        advice: "the IC does not have them: build with -fno-exceptions, or panic = \"abort\"",
    }
}

fn unsupported_type(error: &wasmparser::Error) -> LinkError {
    if error.message().contains("gc") {
        return LinkError::Unsupported {
            feature: "garbage-collected types".to_owned(),
            advice: "the IC does not have them: choose a compiler target without WasmGC",
        };
    }
    LinkError::Malformed {
        offset: error.offset(),
        message: error.message().to_owned(),
    }
}

/// Tells a core module from what people hand in by mistake.
fn check_header(bytes: &[u8]) -> Result<(), LinkError> {
    let not = |what: &str| {
        Err(LinkError::NotWasm {
            what: what.to_owned(),
        })
    };
    match bytes {
        [] => not("the file is empty"),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, 0, 1, 0, ..] => Err(LinkError::Component),
        [b'\0', b'a', b's', b'm', a, b, c, d, ..] => Err(LinkError::NotWasm {
            what: format!(
                "unknown version {:#x} of the binary format",
                u32::from_le_bytes([*a, *b, *c, *d])
            ),
        }),
        [b'\0', b'a', b's', b'm', ..] => not("the file ends within its header"),
        [0x1f, 0x8b, ..] => not("the file is gzip-compressed; run gunzip first"),
        [0x7f, b'E', b'L', b'F', ..] => {
            not("it is a native ELF program; compile for the target wasm32-wasip1")
        }
        [b'B', b'C', 0xc0, 0xde, ..] => not("it is LLVM bitcode; compile without -emit-llvm"),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => {
            not("it is a static library (ar archive); link it to a module first")
        }
        [b'P', b'K', 3, 4, ..] => not("it is a zip archive"),
        _ => match std::str::from_utf8(&bytes[..bytes.len().min(64)]) {
            Ok(text) if text.trim_start().starts_with("(module") => {
                not("it is WebAssembly text; convert it with `wasm-tools parse`")
            }
            Ok(text) if text.trim_start().starts_with("(component") => not("it is WAT text"),
            _ => not("it does not begin with the magic number of WebAssembly"),
        },
    }
}

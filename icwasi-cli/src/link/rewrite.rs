//! Writes the output, section by section, from the plan.

use wasmparser::{ConstExpr, Element, ElementItems, ElementKind, ExternalKind, RefType, TableInit};

use super::MARKER_VERSION;
use super::bodies;
use super::body::{BodyRewriter, MemoryShims, StackGuard, lookup};
use super::data::{DataSection, Placed};
use super::encode::{bytes, custom_section, section, sleb, uleb};
use super::entry::is_entry;
use super::error::LinkError;
use super::exit::MethodExit;
use super::growth::Growth;
use super::layout::{GUARD, PAGE};
use super::library::Placement;
use super::names;
use super::parse::MARKER_SECTION;
use super::plan::{Plan, Synth, Target, synth_type};
use super::reseed::Reseed;
use super::run::Run;
use super::synth::{self, Context, GUARD_WORD, OVERLAP};

/// What goes into the output besides code.
pub(crate) struct Extras {
    /// Candid-encoded `LinkConfig`.
    pub config: Vec<u8>,
    /// The merged candid interface, if there is one.
    pub candid: Option<String>,
}

const FUNCREF: u8 = 0x70;

/// The linked module.
///
/// Cost: one pass over the guest's code; memory for the output and its code.
pub(crate) fn write(plan: &mut Plan<'_>, extras: &Extras) -> Result<Vec<u8>, LinkError> {
    let synth_types: Vec<u32> = {
        let synth: Vec<Synth> = plan.synth.clone();
        let of = |s: &Synth| synth_type(s);
        synth
            .iter()
            .map(|s| plan.types.of(of(s).0, of(s).1))
            .collect()
    };
    let plan = &*plan;
    let placement = placement(plan);
    let mut placed = Placed {
        config: &extras.config,
        ..Placed::default()
    };
    if let (Some(library), Some(placement), Some(layout)) = (plan.library, &placement, plan.layout)
    {
        placed.active = library.place_data(placement)?;
        let guard = GUARD_WORD.to_le_bytes().repeat(GUARD as usize / 8);
        placed.active.push((layout.guard, guard));
        placed.overlap = OVERLAP.as_bytes();
        if let Growth::Moved { field } = layout.growth {
            placed.patch = Some((field, (u64::from(layout.pages) * PAGE).to_le_bytes()));
        }
    }
    let data = DataSection::new(plan.guest, &placed, plan.exec.is_some())?;
    drop(placed);
    let rewriter = BodyRewriter {
        functions: Some(&plan.guest_functions),
        data: data.guest_map.as_deref(),
        memory: plan.library.map(|_| MemoryShims {
            size: plan.index(shim(plan, |s| matches!(s, Synth::MemorySize))),
            grow: plan.index(shim(plan, |s| matches!(s, Synth::MemoryGrow))),
        }),
        stack: None,
        keep_data: plan.exec.is_some(),
    };
    let slot_functions = plan.slot_functions();
    let slots = BodyRewriter {
        functions: Some(&slot_functions),
        ..BodyRewriter::default()
    };
    let mut out = Vec::with_capacity(plan.guest.bytes.len() + (1 << 20));
    out.extend_from_slice(b"\0asm\x01\0\0\0");
    section(&mut out, 1, &types(plan)?);
    section(&mut out, 2, &imports(plan));
    section(&mut out, 3, &functions(plan, &synth_types));
    if let Some(content) = tables(plan, &slots)? {
        section(&mut out, 4, &content);
    }
    if let Some(content) = memory(plan) {
        section(&mut out, 5, &content);
    }
    section(&mut out, 6, &globals(plan, placement.as_ref(), &rewriter)?);
    section(&mut out, 7, &exports(plan)?);
    if let Some(content) = elements(plan, &slots, &slot_functions)? {
        section(&mut out, 9, &content);
    }
    let mut count = Vec::new();
    uleb(&mut count, data.count.into());
    section(&mut out, 12, &count);
    code(plan, placement.as_ref(), &rewriter, &data, extras, &mut out)?;
    uleb_section(&mut out, 11, data.count, &data.content);
    drop(data);
    custom(plan, extras, &mut out)?;
    Ok(out)
}

fn placement<'p>(plan: &'p Plan<'_>) -> Option<Placement<'p>> {
    plan.layout.map(|layout| Placement {
        functions: &plan.library_functions,
        types: &plan.library_types,
        globals: layout.globals,
        memory: layout.base,
        table: layout.table_delta,
    })
}

fn shim(plan: &Plan<'_>, is: impl Fn(&Synth) -> bool) -> Target {
    let at = plan
        .synth
        .iter()
        .position(is)
        .expect("the plan has both shims in inject mode");
    Target::Synth(at as u32)
}

/// A section that is a count and its items.
fn uleb_section(out: &mut Vec<u8>, id: u8, count: u32, items: &[u8]) {
    let mut head = Vec::new();
    uleb(&mut head, count.into());
    out.push(id);
    uleb(out, (head.len() + items.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(items);
}

fn counted(count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    uleb(&mut out, count as u64);
    out
}

fn types(plan: &Plan<'_>) -> Result<Vec<u8>, LinkError> {
    let mut out = counted(plan.types.len());
    out.extend_from_slice(plan.guest.type_bytes);
    out.extend_from_slice(&plan.types.encode_appended()?);
    Ok(out)
}

fn imports(plan: &Plan<'_>) -> Vec<u8> {
    let mut out = counted(plan.imports.len());
    for (name, ty) in &plan.imports {
        bytes(&mut out, b"ic0");
        bytes(&mut out, name.as_bytes());
        out.push(0);
        uleb(&mut out, u64::from(*ty));
    }
    out
}

fn functions(plan: &Plan<'_>, synth_types: &[u32]) -> Vec<u8> {
    let guest = &plan.guest.functions;
    let mut out = counted(guest.len() + plan.live.len() + synth_types.len());
    for ty in guest {
        uleb(&mut out, u64::from(*ty));
    }
    if let Some(library) = plan.library {
        for at in &plan.live {
            let ty = library.module.functions[*at as usize];
            uleb(&mut out, u64::from(plan.library_types[ty as usize]));
        }
    }
    for ty in synth_types {
        uleb(&mut out, u64::from(*ty));
    }
    out
}

/// Tables; to the first, the slots of the library are added, and that of the callback.
fn tables(plan: &Plan<'_>, rewriter: &BodyRewriter<'_>) -> Result<Option<Vec<u8>>, LinkError> {
    let size = match (plan.reseed, plan.layout) {
        (Some(_), _) => Some(Reseed::TABLE_SIZE),
        (None, Some(layout)) if has_slots(plan) => Some(u64::from(layout.table_size)),
        (None, _) => None,
    };
    let guest = &plan.guest.tables;
    if guest.is_empty() && size.is_none() {
        return Ok(None);
    }
    let mut out = counted(guest.len().max(1));
    for (at, table) in guest.iter().enumerate() {
        let (mut initial, mut maximum) = (table.ty.initial, table.ty.maximum);
        if at == 0
            && let Some(size) = size
        {
            if table.ty.element_type != RefType::FUNCREF {
                return Err(LinkError::Unsupported {
                    feature: format!("a first table of {}", table.ty.element_type),
                    advice: "the library's functions need it to be of funcref",
                });
            }
            (initial, maximum) = (size, Some(size));
        }
        let element = match table.ty.element_type {
            RefType::FUNCREF => FUNCREF,
            RefType::EXTERNREF => 0x6f,
            other => {
                return Err(LinkError::Unsupported {
                    feature: format!("a table of {other}"),
                    advice: "the IC allows funcref and externref",
                });
            }
        };
        if table.ty.table64 || table.ty.shared {
            return Err(LinkError::Unsupported {
                feature: "a 64-bit or shared table".to_owned(),
                advice: "build it for wasm32 without threads",
            });
        }
        if matches!(table.init, TableInit::Expr(_)) {
            out.extend_from_slice(&[0x40, 0]);
        }
        out.push(element);
        limits(&mut out, initial, maximum);
        if let TableInit::Expr(expr) = &table.init {
            rewriter.rewrite_const(expr, plan.guest.bytes, &mut out)?;
        }
    }
    if guest.is_empty()
        && let Some(size) = size
    {
        out.push(FUNCREF);
        limits(&mut out, size, Some(size));
    }
    Ok(Some(out))
}

fn has_slots(plan: &Plan<'_>) -> bool {
    plan.library.is_some_and(|l| !l.slots.is_empty())
}

fn limits(out: &mut Vec<u8>, initial: u64, maximum: Option<u64>) {
    out.push(u8::from(maximum.is_some()));
    uleb(out, initial);
    if let Some(maximum) = maximum {
        uleb(out, maximum);
    }
}

fn memory(plan: &Plan<'_>) -> Option<Vec<u8>> {
    let mut out = counted(1);
    match (plan.layout, plan.guest.memory) {
        (Some(layout), _) => limits(
            &mut out,
            layout.pages.into(),
            layout.max_pages.map(u64::from),
        ),
        (None, Some(memory)) => limits(&mut out, memory.initial, memory.maximum),
        (None, None) => return None,
    }
    Some(out)
}

fn globals(
    plan: &Plan<'_>,
    placement: Option<&Placement<'_>>,
    rewriter: &BodyRewriter<'_>,
) -> Result<Vec<u8>, LinkError> {
    let guest = plan.guest;
    let mut items = Vec::new();
    let mut count = guest.globals.len();
    for global in &guest.globals {
        let code = match global.ty.content_type {
            wasmparser::ValType::I32 => 0x7f,
            wasmparser::ValType::I64 => 0x7e,
            wasmparser::ValType::F32 => 0x7d,
            wasmparser::ValType::F64 => 0x7c,
            wasmparser::ValType::V128 => 0x7b,
            wasmparser::ValType::Ref(ty) => {
                return Err(LinkError::Unsupported {
                    feature: format!("a global of type {ty}"),
                    advice: "the IC allows numbers only",
                });
            }
        };
        items.extend_from_slice(&[code, u8::from(global.ty.mutable)]);
        rewriter.rewrite_const(&global.init_expr, guest.bytes, &mut items)?;
    }
    let mut constant = |mutable: bool, value: u32| {
        items.extend_from_slice(&[0x7f, u8::from(mutable), 0x41]);
        sleb(&mut items, i64::from(value as i32));
        items.push(0x0b);
        count += 1;
    };
    if let (Some(library), Some(placement), Some(layout)) = (plan.library, placement, plan.layout) {
        for (mutable, value) in library.place_globals(placement) {
            constant(mutable, value);
        }
        constant(true, layout.visible_at_start() as u32);
        if plan.exec.is_some() {
            for _ in 0..3 {
                constant(true, 0);
            }
        }
    }
    if plan.method_exit.is_some() {
        for _ in 0..MethodExit::GLOBALS {
            constant(true, 0);
        }
    }
    let mut out = counted(count);
    out.extend_from_slice(&items);
    Ok(out)
}

/// Exports of the guest that the output keeps; the linker's own come behind.
fn exports(plan: &Plan<'_>) -> Result<Vec<u8>, LinkError> {
    let mut items = Vec::new();
    let mut count = 0;
    for export in &plan.guest.exports {
        let constructor = matches!(export.name, "_initialize" | "_start" | "__wasm_call_ctors");
        if export.name.starts_with("icwasi.")
            || is_entry(export.name)
            || (constructor && export.kind == ExternalKind::Func)
        {
            continue;
        }
        let (kind, index) = match export.kind {
            ExternalKind::Func => (
                0,
                lookup(&plan.guest_functions, export.index, "function", 0)?,
            ),
            ExternalKind::Table => (1, export.index),
            ExternalKind::Memory => (2, export.index),
            ExternalKind::Global => (3, export.index),
            ExternalKind::Tag | ExternalKind::FuncExact => {
                return Err(LinkError::Unsupported {
                    feature: format!("the export `{}` of a kind that the IC lacks", export.name),
                    advice: "remove it",
                });
            }
        };
        bytes(&mut items, export.name.as_bytes());
        items.push(kind);
        uleb(&mut items, u64::from(index));
        count += 1;
    }
    for export in &plan.entries {
        bytes(&mut items, export.name.as_bytes());
        items.push(0);
        uleb(&mut items, u64::from(plan.index(export.target)));
        count += 1;
    }
    let mut out = counted(count);
    out.extend_from_slice(&items);
    Ok(out)
}

/// Element segments; `slots` has the functions of the guest as they lie in tables, and so has
/// `rewriter`.
fn elements(
    plan: &Plan<'_>,
    rewriter: &BodyRewriter<'_>,
    slots: &[u32],
) -> Result<Option<Vec<u8>>, LinkError> {
    let guest = plan.guest;
    let mut items = Vec::new();
    let mut count = 0;
    for element in &guest.elements {
        element_segment(plan, rewriter, slots, element, &mut items)?;
        count += 1;
    }
    if !plan.callbacks.is_empty() && plan.unwind.as_ref().is_some_and(|u| u.references) {
        declared(plan, &mut items);
        count += 1;
    }
    if let (Some(library), Some(layout)) = (plan.library, plan.layout) {
        count += library_elements(plan, library, layout.table_delta, &mut items);
    }
    if let Some(reseed) = plan.reseed {
        Reseed::element(plan.index(reseed.answer), &mut items);
        count += 1;
    }
    if count == 0 {
        return Ok(None);
    }
    let mut out = counted(count);
    out.extend_from_slice(&items);
    Ok(Some(out))
}

/// The library's slots, in runs: those of dropped functions stay null.
fn library_elements(
    plan: &Plan<'_>,
    library: &super::library::Library<'_>,
    delta: u32,
    out: &mut Vec<u8>,
) -> usize {
    let index = |slot: usize| {
        let function = library.slots.get(slot).copied().flatten()?;
        let new = plan.library_functions[function as usize];
        (new != u32::MAX).then_some(new)
    };
    let mut count = 0;
    let mut slot = 0;
    while slot < library.slots.len() {
        let run: Vec<u32> = (slot..).map_while(index).collect();
        if !run.is_empty() {
            out.extend_from_slice(&[0, 0x41]);
            sleb(out, i64::from((slot as u32 + delta) as i32));
            out.push(0x0b);
            uleb(out, run.len() as u64);
            for function in &run {
                uleb(out, u64::from(*function));
            }
            count += 1;
        }
        slot += run.len() + 1;
    }
    count
}

/// Bodies may take the address of functions that lie in tables: of those that do not any more.
fn declared(plan: &Plan<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[3, 0]);
    uleb(out, plan.callbacks.len() as u64);
    for guest in plan.callbacks.keys() {
        uleb(out, plan.index(Target::Guest(*guest)).into());
    }
}

fn element_segment(
    plan: &Plan<'_>,
    rewriter: &BodyRewriter<'_>,
    slots: &[u32],
    element: &Element<'_>,
    out: &mut Vec<u8>,
) -> Result<(), LinkError> {
    let Element { kind, items, .. } = element;
    let expressions = match items {
        ElementItems::Functions(_) => 0,
        ElementItems::Expressions(..) => 4,
    };
    let mut explicit = true;
    let offset = |table: Option<u32>, expr: &ConstExpr<'_>, out: &mut Vec<u8>| {
        if let Some(table) = table {
            uleb(out, table.into());
        }
        rewriter.rewrite_const(expr, plan.guest.bytes, out)
    };
    match kind {
        ElementKind::Passive => out.push(expressions | 1),
        ElementKind::Declared => out.push(expressions | 3),
        ElementKind::Active {
            table_index: None,
            offset_expr,
        } => {
            out.push(expressions);
            explicit = false;
            offset(None, offset_expr, out)?;
        }
        ElementKind::Active {
            table_index,
            offset_expr,
        } => {
            out.push(expressions | 2);
            offset(*table_index, offset_expr, out)?;
        }
    }
    match items {
        ElementItems::Functions(functions) => {
            if explicit {
                out.push(0);
            }
            uleb(out, functions.count().into());
            for function in functions.clone() {
                uleb(out, lookup(slots, function?, "function", 0)?.into());
            }
        }
        ElementItems::Expressions(ty, list) => {
            if explicit {
                match *ty {
                    RefType::FUNCREF => out.push(FUNCREF),
                    RefType::EXTERNREF => out.push(0x6f),
                    other => {
                        return Err(LinkError::Unsupported {
                            feature: format!("elements of type {other}"),
                            advice: "the IC allows funcref and externref",
                        });
                    }
                }
            }
            uleb(out, list.count().into());
            for expr in list.clone() {
                rewriter.rewrite_const(&expr?, plan.guest.bytes, out)?;
            }
        }
    }
    Ok(())
}

fn code(
    plan: &Plan<'_>,
    placement: Option<&Placement<'_>>,
    rewriter: &BodyRewriter<'_>,
    data: &DataSection,
    extras: &Extras,
    out: &mut Vec<u8>,
) -> Result<(), LinkError> {
    let guest = plan.guest;
    let mut scratch = Vec::new();
    let mut items = Vec::with_capacity(guest.code_range.len() + (1 << 20));
    bodies::rewrite(plan, rewriter, &mut items)?;
    if let (Some(library), Some(placement), Some(layout)) = (plan.library, placement, plan.layout) {
        let guard = BodyRewriter {
            stack: Some(StackGuard {
                global: layout.globals + library.stack_pointer,
                limit: layout.base,
            }),
            ..BodyRewriter::default()
        };
        let start = library.module.code_range.start;
        let code = library.place_code(placement)?;
        for at in &plan.live {
            let range = &library.module.bodies[*at as usize];
            let raw = &code[range.start - start..range.end - start];
            let reader = wasmparser::BinaryReader::new(raw, range.start);
            guard.rewrite(
                &wasmparser::FunctionBody::new(reader),
                &mut scratch,
                &mut items,
            )?;
        }
    }
    let context = Context {
        config_segment: data.config_segment,
        config_size: extras.config.len() as u32,
        overlap_segment: data.config_segment + 1,
        visible_pages: match (plan.library, plan.layout) {
            (Some(library), Some(layout)) => layout.visible_pages_global(library),
            _ => 0,
        },
        run: match plan.exec {
            Some(_) => Some(Run::new(plan, rewriter, data)?),
            None => None,
        },
    };
    for synth in &plan.synth {
        items.extend_from_slice(&synth::body(plan, synth, &context));
    }
    let count = guest.bodies.len() + plan.live.len() + plan.synth.len();
    uleb_section(out, 10, count as u32, &items);
    Ok(())
}

/// Custom sections of the guest that are still true, the candid interface, names, the marker.
fn custom(plan: &Plan<'_>, extras: &Extras, out: &mut Vec<u8>) -> Result<(), LinkError> {
    const CANDID: &str = "icp:public candid:service";
    for (name, content, _) in &plan.guest.custom {
        let stale = *name == "name"
            || *name == "linking"
            || *name == "sourceMappingURL"
            || *name == "external_debug_info"
            || name.starts_with("reloc.")
            || name.starts_with(".debug_")
            || (*name == CANDID && extras.candid.is_some());
        if !stale {
            custom_section(out, name, content);
        }
    }
    if let Some(candid) = &extras.candid {
        custom_section(out, CANDID, candid.as_bytes());
    }
    custom_section(out, MARKER_SECTION, MARKER_VERSION.as_bytes());
    custom_section(out, "name", &names::section(plan));
    Ok(())
}

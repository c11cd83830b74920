//! Little writers of the binary format, for what is copied or spliced raw.

use wasmparser::{FuncType, RefType, ValType};

/// Unsigned LEB128.
pub(crate) fn uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Signed LEB128.
pub(crate) fn sleb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Bytes with their length before them.
pub(crate) fn bytes(out: &mut Vec<u8>, content: &[u8]) {
    uleb(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A section.
pub(crate) fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    bytes(out, content);
}

/// A custom section.
pub(crate) fn custom_section(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut head = Vec::with_capacity(name.len() + 5);
    bytes(&mut head, name.as_bytes());
    out.push(0);
    uleb(out, (head.len() + content.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(content);
}

/// A function type; `None` for types that neither the library nor entry points have.
pub(crate) fn func_type(out: &mut Vec<u8>, ty: &FuncType) -> Option<()> {
    out.push(0x60);
    for types in [ty.params(), ty.results()] {
        uleb(out, types.len() as u64);
        for ty in types {
            out.push(val_type(*ty)?);
        }
    }
    Some(())
}

fn val_type(ty: ValType) -> Option<u8> {
    Some(match ty {
        ValType::I32 => 0x7f,
        ValType::I64 => 0x7e,
        ValType::F32 => 0x7d,
        ValType::F64 => 0x7c,
        ValType::V128 => 0x7b,
        ValType::Ref(RefType::FUNCREF) => 0x70,
        ValType::Ref(RefType::EXTERNREF) => 0x6f,
        ValType::Ref(_) => return None,
    })
}

/// A type as text, such as `(i32, i64) -> i32`.
pub(crate) fn type_name(ty: &FuncType) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<_> = types.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    match ty.results() {
        [one] => format!("({}) -> {one}", list(ty.params())),
        many => format!("({}) -> ({})", list(ty.params()), list(many)),
    }
}

//! Rewrites function bodies: a few operators change, all bytes between them are copied raw.

use wasmparser::{ConstExpr, FunctionBody, Operator, ValType};

use super::encode::{sleb, uleb};
use super::error::LinkError;
use super::unwind::{Unwind, dummies};

const CALL: u8 = 0x10;
const RETURN_CALL: u8 = 0x12;
const GLOBAL_GET: u8 = 0x23;
const I32_CONST: u8 = 0x41;
const I32_LT_U: u8 = 0x49;
const IF: u8 = 0x04;
const EMPTY_BLOCK: u8 = 0x40;
const UNREACHABLE: u8 = 0x00;
const END: u8 = 0x0b;
const REF_FUNC: u8 = 0xd2;
const BLOCK: u8 = 0x02;
const BR: u8 = 0x0c;
const BR_IF: u8 = 0x0d;
const BR_TABLE: u8 = 0x0e;
const RETURN: u8 = 0x0f;

/// What changes in a body. Indices of types and globals never do: those of the guest come first.
#[derive(Default)]
pub(crate) struct BodyRewriter<'p> {
    /// New index of each function; `None` leaves calls alone.
    pub functions: Option<&'p [u32]>,
    /// New index of each data segment; `None` leaves them alone.
    pub data: Option<&'p [u32]>,
    /// Functions called instead of `memory.size` and `memory.grow`.
    pub memory: Option<MemoryShims>,
    /// Checks the shadow stack where a frame is made.
    pub stack: Option<StackGuard>,
    /// Leaves out `data.drop`: the next run needs the segment again.
    pub keep_data: bool,
}

/// Indices of the functions that stand in for the memory operators.
#[derive(Clone, Copy)]
pub(crate) struct MemoryShims {
    pub size: u32,
    pub grow: u32,
}

/// The shadow stack of the library.
#[derive(Clone, Copy)]
pub(crate) struct StackGuard {
    /// The stack pointer.
    pub global: u32,
    /// Lowest address that belongs to the stack.
    pub limit: u32,
}

impl BodyRewriter<'_> {
    /// Appends the body with its size to `out`.
    pub fn rewrite(
        &self,
        body: &FunctionBody<'_>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        self.rewrite_with(body, None, scratch, out)
    }

    /// As [`Self::rewrite`], for a function that returns `results` and from which an exit must
    /// find its way out: the body goes into a block, and each call that may exit is followed by
    /// a test that leaves the block. Behind it, `results` are made up.
    ///
    /// ```text
    /// block  body: ... call f; global.get flag; br_if block ...; return  end  results
    /// ```
    pub fn rewrite_unwinding(
        &self,
        body: &FunctionBody<'_>,
        unwind: &Unwind,
        results: &[ValType],
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        self.rewrite_with(body, Some((unwind, results)), scratch, out)
    }

    fn rewrite_with(
        &self,
        body: &FunctionBody<'_>,
        unwind: Option<(&Unwind, &[ValType])>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        scratch.clear();
        let raw = body.as_bytes();
        let start = body.range().start;
        let mut copied = 0;
        let mut after_tee = false;
        let mut ops = body.get_operators_reader()?;
        // Blocks around the operator; the label of this number is the function's own.
        let mut depth = 0;
        if unwind.is_some() {
            copied = ops.original_position() - start;
            scratch.extend_from_slice(&raw[..copied]);
            scratch.extend_from_slice(&[BLOCK, EMPTY_BLOCK]);
        }
        while !ops.eof() {
            let at = ops.original_position() - start;
            let op = ops.read()?;
            let mut emit = |code: u8, index: u32, scratch: &mut Vec<u8>| {
                scratch.extend_from_slice(&raw[copied..at]);
                scratch.push(code);
                uleb(scratch, index.into());
                copied = ops.original_position() - start;
            };
            match op {
                Operator::Call { function_index } => {
                    if let Some(new) = self.function(function_index, start + at)? {
                        emit(CALL, new, scratch);
                    }
                }
                Operator::ReturnCall { function_index } => {
                    if let Some(new) = self.function(function_index, start + at)? {
                        emit(RETURN_CALL, new, scratch);
                    }
                }
                Operator::RefFunc { function_index } => {
                    if let Some(new) = self.function(function_index, start + at)? {
                        emit(REF_FUNC, new, scratch);
                    }
                }
                Operator::MemorySize { .. } => {
                    if let Some(shims) = self.memory {
                        emit(CALL, shims.size, scratch);
                    }
                }
                Operator::MemoryGrow { .. } => {
                    if let Some(shims) = self.memory {
                        emit(CALL, shims.grow, scratch);
                    }
                }
                Operator::DataDrop { .. } if self.keep_data => {
                    scratch.extend_from_slice(&raw[copied..at]);
                    copied = ops.original_position() - start;
                }
                Operator::DataDrop { data_index } => {
                    if let Some(map) = self.data {
                        let new = lookup(map, data_index, "data segment", start + at)?;
                        scratch.extend_from_slice(&raw[copied..at]);
                        scratch.extend_from_slice(&[0xfc, 9]);
                        uleb(scratch, new.into());
                        copied = ops.original_position() - start;
                    }
                }
                Operator::MemoryInit { data_index, mem } => {
                    if let Some(map) = self.data {
                        let new = lookup(map, data_index, "data segment", start + at)?;
                        scratch.extend_from_slice(&raw[copied..at]);
                        scratch.extend_from_slice(&[0xfc, 8]);
                        uleb(scratch, new.into());
                        uleb(scratch, mem.into());
                        copied = ops.original_position() - start;
                    }
                }
                Operator::GlobalSet { global_index } if after_tee => {
                    if let Some(guard) = self.stack.filter(|g| g.global == global_index) {
                        let next = ops.original_position() - start;
                        scratch.extend_from_slice(&raw[copied..next]);
                        guard.check(scratch);
                        copied = next;
                    }
                }
                // The function's own label moves out by one.
                Operator::Br { relative_depth } if unwind.is_some() && relative_depth == depth => {
                    emit(BR, depth + 1, scratch);
                }
                Operator::BrIf { relative_depth }
                    if unwind.is_some() && relative_depth == depth =>
                {
                    emit(BR_IF, depth + 1, scratch);
                }
                Operator::BrTable { ref targets } if unwind.is_some() => {
                    scratch.extend_from_slice(&raw[copied..at]);
                    scratch.push(BR_TABLE);
                    uleb(scratch, targets.len().into());
                    let moved = |label: u32| u64::from(label + u32::from(label == depth));
                    for label in targets.targets() {
                        uleb(scratch, moved(label?));
                    }
                    uleb(scratch, moved(targets.default()));
                    copied = ops.original_position() - start;
                }
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End if depth > 0 => depth -= 1,
                Operator::End => {
                    if let Some((_, results)) = unwind {
                        scratch.extend_from_slice(&raw[copied..at]);
                        scratch.extend_from_slice(&[RETURN, END]);
                        dummies(results, scratch).ok_or_else(|| LinkError::Unsupported {
                            feature: format!("a function that returns one of {results:?}"),
                            advice: "the IC allows numbers, funcref and externref",
                        })?;
                        copied = at;
                    }
                }
                _ => {}
            }
            if let Some((unwind, _)) = unwind
                && unwind.may_exit(&op)
                && !unwind.is_epilogue(ops.clone(), depth)?
            {
                let next = ops.original_position() - start;
                scratch.extend_from_slice(&raw[copied..next]);
                scratch.push(GLOBAL_GET);
                uleb(scratch, unwind.flag.into());
                scratch.push(BR_IF);
                uleb(scratch, depth.into());
                copied = next;
            }
            after_tee = matches!(op, Operator::LocalTee { .. });
        }
        scratch.extend_from_slice(&raw[copied..]);
        uleb(out, scratch.len() as u64);
        out.extend_from_slice(scratch);
        Ok(())
    }

    /// Appends a constant expression, its `end` included.
    pub fn rewrite_const(
        &self,
        expr: &ConstExpr<'_>,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let mut reader = expr.get_binary_reader();
        let range = reader.range();
        let raw = reader.read_bytes(range.len())?;
        debug_assert_eq!(raw, &bytes[range.clone()]);
        let mut copied = 0;
        let mut ops = expr.get_operators_reader();
        while !ops.eof() {
            let at = ops.original_position() - range.start;
            if let Operator::RefFunc { function_index } = ops.read()?
                && let Some(new) = self.function(function_index, range.start + at)?
            {
                out.extend_from_slice(&raw[copied..at]);
                out.push(REF_FUNC);
                uleb(out, new.into());
                copied = ops.original_position() - range.start;
            }
        }
        out.extend_from_slice(&raw[copied..]);
        Ok(())
    }

    fn function(&self, index: u32, at: usize) -> Result<Option<u32>, LinkError> {
        self.functions
            .map(|map| lookup(map, index, "function", at))
            .transpose()
    }
}

impl StackGuard {
    fn check(self, out: &mut Vec<u8>) {
        out.push(GLOBAL_GET);
        uleb(out, self.global.into());
        out.push(I32_CONST);
        sleb(out, i64::from(self.limit as i32));
        out.extend_from_slice(&[I32_LT_U, IF, EMPTY_BLOCK, UNREACHABLE, END]);
    }
}

/// `map[index]`, or an error that says where the index is.
pub(crate) fn lookup(map: &[u32], index: u32, what: &str, offset: usize) -> Result<u32, LinkError> {
    map.get(index as usize)
        .copied()
        .ok_or_else(|| LinkError::Malformed {
            offset,
            message: format!("{what} {index} does not exist"),
        })
}

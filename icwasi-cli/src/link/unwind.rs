//! Which functions of the guest can reach `proc_exit`, so that an exit can unwind.
//!
//! A trap would roll back what the program wrote. So `proc_exit` sets a flag and returns, and each
//! function that may be on the stack then leaves at once: behind every call that may exit, the
//! flag is tested. A call through a table may exit if a function of its type may whose address is
//! taken somewhere; this is coarse, but needs no knowledge of what tables hold.

use std::collections::HashMap;

use wasmparser::{ElementItems, FuncType, Operator, OperatorsReader, TableInit, ValType};

use super::error::LinkError;
use super::parse::Module;

/// What the rewriting of bodies needs to know.
pub(crate) struct Unwind {
    /// The global that is not 0 while the program exits.
    pub flag: u32,
    /// By function index of the guest: a call of it may exit.
    exits: Vec<bool>,
    /// By type index: a call of this type through a table may exit.
    exit_types: Vec<bool>,
    /// Globals by which functions make frames on a stack in memory.
    pub stack_pointers: Vec<u32>,
    /// Functions that may exit, whose address is taken, and that have the type of a callback of a
    /// call to another canister.
    pub callbacks: Vec<u32>,
    /// A body has an operator that takes the address of a function.
    pub references: bool,
}

impl Unwind {
    /// Follows calls backwards from `proc_exit`. Cost: one pass over the guest's code.
    pub fn new(guest: &Module<'_>, flag: u32) -> Result<Self, LinkError> {
        let types = canonical(&guest.types);
        let functions = guest.function_count() as usize;
        let mut graph = Graph {
            callers: vec![Vec::new(); functions],
            taken: vec![false; functions],
            framed: vec![false; guest.globals.len()],
            references: false,
        };
        // Nodes behind the functions stand for types.
        graph
            .callers
            .resize(functions + guest.types.len(), Vec::new());
        graph.read_references(guest)?;
        let imported = guest.imports.len();
        for (at, body) in guest.bodies.iter().enumerate() {
            graph.read_body(guest, imported + at, functions, &types, body)?;
        }
        let mut reached = vec![false; functions + guest.types.len()];
        let exit = |at: &usize| is_exit(guest.imports[*at].module, guest.imports[*at].name);
        let mut work: Vec<usize> = (0..imported).filter(exit).collect();
        for at in &work {
            reached[*at] = true;
        }
        while let Some(node) = work.pop() {
            let mut reach = |node: usize| {
                if !std::mem::replace(&mut reached[node], true) {
                    work.push(node);
                }
            };
            for caller in &graph.callers[node] {
                reach(*caller as usize);
            }
            if graph.taken.get(node) == Some(&true) {
                reach(functions + types[type_of(guest, node)] as usize);
            }
        }
        let exit_types = types
            .iter()
            .map(|ty| reached[functions + *ty as usize])
            .collect();
        reached.truncate(functions);
        let stack_pointers = (0..)
            .zip(&graph.framed)
            .filter_map(|(global, framed)| framed.then_some(global))
            .filter(|global| may_be_stack_pointer(guest, *global))
            .collect();
        let callback = FuncType::new([ValType::I32], []);
        let callbacks = (0..functions)
            .filter(|f| graph.taken[*f] && reached[*f])
            .filter(|f| guest.types[type_of(guest, *f)] == callback)
            .map(|f| f as u32)
            .collect();
        Ok(Unwind {
            flag,
            exits: reached,
            exit_types,
            stack_pointers,
            callbacks,
            references: graph.references,
        })
    }

    /// Whether a function of the guest calls one that may exit.
    pub fn leaves(&self, function: u32) -> bool {
        self.exits.get(function as usize) == Some(&true)
    }

    /// Whether `op` is a call after which the flag is to be tested. A tail call has no frame left
    /// to leave: its caller's caller tests.
    pub fn may_exit(&self, op: &Operator<'_>) -> bool {
        match op {
            Operator::Call { function_index } => {
                self.exits.get(*function_index as usize) == Some(&true)
            }
            Operator::CallIndirect { type_index, .. } => {
                self.exit_types.get(*type_index as usize) == Some(&true)
            }
            _ => false,
        }
    }

    /// Whether what follows, inside of `depth` blocks, only returns: then the flag need not be tested.
    /// It may put the stack pointer back, but changes nothing else, and cannot trap.
    pub fn is_epilogue(
        &self,
        mut ops: OperatorsReader<'_>,
        mut depth: u32,
    ) -> Result<bool, LinkError> {
        const LONGEST: usize = 16;
        for _ in 0..LONGEST {
            match ops.read()? {
                Operator::Return => return Ok(true),
                Operator::End if depth == 0 => return Ok(true),
                Operator::End => depth -= 1,
                Operator::GlobalSet { global_index }
                    if self.stack_pointers.contains(&global_index) => {}
                Operator::LocalGet { .. }
                | Operator::LocalSet { .. }
                | Operator::LocalTee { .. }
                | Operator::GlobalGet { .. }
                | Operator::I32Const { .. }
                | Operator::I64Const { .. }
                | Operator::Drop
                | Operator::Select
                | Operator::I32Add
                | Operator::I32Sub
                | Operator::I32And
                | Operator::I32Or
                | Operator::I32Eqz
                | Operator::I32Eq
                | Operator::I32Ne
                | Operator::I32WrapI64
                | Operator::I64ExtendI32U
                | Operator::I64ExtendI32S => {}
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Functions that may be left early.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.exits.iter().filter(|e| **e).count()
    }
}

/// Whether an import ends the program.
pub(crate) fn is_exit(module: &str, name: &str) -> bool {
    matches!(module, "wasi_snapshot_preview1" | "wasi_unstable") && name == "proc_exit"
}

/// Appends a value of each type, which nobody looks at. `None` if there is none.
pub(crate) fn dummies(types: &[ValType], out: &mut Vec<u8>) -> Option<()> {
    for ty in types {
        match ty {
            ValType::I32 => out.extend_from_slice(&[0x41, 0]),
            ValType::I64 => out.extend_from_slice(&[0x42, 0]),
            ValType::F32 => out.extend_from_slice(&[0x43, 0, 0, 0, 0]),
            ValType::F64 => out.extend_from_slice(&[0x44, 0, 0, 0, 0, 0, 0, 0, 0]),
            ValType::V128 => {
                out.extend_from_slice(&[0xfd, 12]);
                out.extend_from_slice(&[0; 16]);
            }
            ValType::Ref(ty) if ty.is_func_ref() && ty.is_nullable() => {
                out.extend_from_slice(&[0xd0, 0x70]);
            }
            ValType::Ref(ty) if ty.is_extern_ref() && ty.is_nullable() => {
                out.extend_from_slice(&[0xd0, 0x6f]);
            }
            ValType::Ref(_) => return None,
        }
    }
    Some(())
}

struct Graph {
    /// By node: the functions that call it.
    callers: Vec<Vec<u32>>,
    /// By function: its address may be in a table.
    taken: Vec<bool>,
    /// By global: something subtracts a constant from it, as a function that makes a frame does.
    framed: Vec<bool>,
    /// See [`Unwind::references`].
    references: bool,
}

impl Graph {
    fn take(&mut self, function: u32) {
        if let Some(taken) = self.taken.get_mut(function as usize) {
            *taken = true;
        }
    }

    fn expression(&mut self, expr: &wasmparser::ConstExpr<'_>) -> Result<(), LinkError> {
        for op in expr.get_operators_reader() {
            if let Operator::RefFunc { function_index } = op? {
                self.take(function_index);
            }
        }
        Ok(())
    }

    /// Addresses outside of bodies.
    fn read_references(&mut self, guest: &Module<'_>) -> Result<(), LinkError> {
        for element in &guest.elements {
            match &element.items {
                ElementItems::Functions(functions) => {
                    for function in functions.clone() {
                        self.take(function?);
                    }
                }
                ElementItems::Expressions(_, list) => {
                    for expr in list.clone() {
                        self.expression(&expr?)?;
                    }
                }
            }
        }
        for global in &guest.globals {
            self.expression(&global.init_expr)?;
        }
        for table in &guest.tables {
            if let TableInit::Expr(expr) = &table.init {
                self.expression(expr)?;
            }
        }
        Ok(())
    }

    fn read_body(
        &mut self,
        guest: &Module<'_>,
        caller: usize,
        functions: usize,
        types: &[u32],
        body: &std::ops::Range<usize>,
    ) -> Result<(), LinkError> {
        let caller = caller as u32;
        let mut ops = guest.body(body).get_operators_reader()?;
        // A global that was just read, and one of which a constant is about to be subtracted.
        let (mut read, mut sized) = (None, None);
        while !ops.eof() {
            let op = ops.read()?;
            (read, sized) = match op {
                Operator::GlobalGet { global_index } => (Some(global_index), None),
                Operator::I32Const { .. } => (None, read),
                Operator::I32Sub => {
                    if let Some(framed) = sized.and_then(|g| self.framed.get_mut(g as usize)) {
                        *framed = true;
                    }
                    (None, None)
                }
                _ => (None, None),
            };
            let callee = match op {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    Some(function_index as usize).filter(|f| *f < functions)
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. } => types
                    .get(type_index as usize)
                    .map(|ty| functions + *ty as usize),
                Operator::RefFunc { function_index } => {
                    self.take(function_index);
                    self.references = true;
                    None
                }
                _ => None,
            };
            if let Some(callee) = callee {
                let callers = &mut self.callers[callee];
                if callers.last() != Some(&caller) {
                    callers.push(caller);
                }
            }
        }
        Ok(())
    }
}

/// Whether a global is mutable and begins as an address of the guest's memory.
fn may_be_stack_pointer(guest: &Module<'_>, global: u32) -> bool {
    let Some(global) = guest.globals.get(global as usize) else {
        return false;
    };
    let size = guest.memory.map_or(0, |m| m.initial) * super::layout::PAGE;
    let start = super::parse::const_i32(&global.init_expr).map_or(0, u64::from);
    global.ty.mutable && start >= 1_024 && start.is_multiple_of(4) && start <= size
}

/// For each type, the first one that is equal to it.
fn canonical(types: &[FuncType]) -> Vec<u32> {
    let mut first = HashMap::new();
    (0..)
        .zip(types)
        .map(|(at, ty)| *first.entry(ty).or_insert(at))
        .collect()
}

/// Type index of a function that exists.
fn type_of(guest: &Module<'_>, function: usize) -> usize {
    let own = guest.imports.len();
    match guest.imports.get(function) {
        Some(import) => import.ty as usize,
        None => guest.functions[function - own] as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(text: &str) -> usize {
        let module = wat::parse_str(text).expect("is valid");
        let guest = Module::parse(&module).expect("parses");
        Unwind::new(&guest, 0).expect("works").count()
    }

    #[test]
    fn follows_calls_types_and_tail_calls() {
        let import = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
        // $exit, $a, $tail; not $b.
        assert_eq!(
            reached(&format!(
                "(module {import} (func $a (call $exit (i32.const 1))) (func $b)
                 (func $tail (return_call $a)))"
            )),
            3
        );
        // Through a table, by a type that is there twice: $exit, $f, $main.
        assert_eq!(
            reached(&format!(
                "(module {import} (type $t (func (result i32))) (type $u (func (result i32)))
                 (table funcref (elem $f))
                 (func $f (type $t) (call $exit (i32.const 1)) (i32.const 0))
                 (func $main (drop (call_indirect (type $u) (i32.const 0))))
                 (func $other (type $t) (i32.const 1)))"
            )),
            3
        );
        // The same type, but its address is not taken: $exit, $f.
        assert_eq!(
            reached(&format!(
                "(module {import} (type $t (func (result i32))) (table funcref (elem $other))
                 (func $f (type $t) (call $exit (i32.const 1)) (i32.const 0))
                 (func $main (drop (call_indirect (type $t) (i32.const 0))))
                 (func $other (type $t) (i32.const 1)))"
            )),
            2
        );
    }
}

//! A second way to the instruction count: an interpreter that follows the path and charges each
//! straight-line block as it enters it. It shares nothing with the crate: neither the table
//! ([`crate::operators`] has its own) nor the places where charges are injected, since it does
//! not inject anything.
//!
//! It knows the operators that [`crate::generate`] writes; others panic.

mod host;
mod parse;

use std::collections::BTreeMap;

use wasmparser::{BlockType, Operator};

pub use parse::Module;

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Replied(Vec<u8>),
    NoReply,
    Trapped,
    OutOfInstructions,
}

enum Stop {
    Trap,
    Exhausted,
}

impl Module<'_> {
    /// Runs an export; how it ended, and its instructions.
    pub fn run(&self, export: &str, limit: u64, time: u64) -> (End, u64) {
        let mut memory = vec![0; self.pages as usize * 65_536];
        for (at, bytes) in &self.active {
            memory[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        let mut run = Run {
            module: self,
            memory,
            globals: self.globals.clone(),
            left: limit as i64,
            limit,
            time,
            stable_pages: 0,
            stable: BTreeMap::new(),
            reply: Vec::new(),
            replied: false,
            log_used: 0,
            depth: 0,
        };
        let ended = run.call(self.exports[export], vec![]);
        let used = limit - run.left.max(0) as u64;
        let end = match ended {
            Err(Stop::Trap) => End::Trapped,
            Err(Stop::Exhausted) => End::OutOfInstructions,
            Ok(_) if run.replied => End::Replied(run.reply),
            Ok(_) => End::NoReply,
        };
        (end, used)
    }
}

struct Run<'m, 'a> {
    module: &'m Module<'a>,
    memory: Vec<u8>,
    globals: Vec<u64>,
    left: i64,
    limit: u64,
    time: u64,
    stable_pages: u64,
    /// Written pages of stable memory.
    stable: BTreeMap<u64, Box<[u8; 4096]>>,
    reply: Vec<u8>,
    replied: bool,
    log_used: u64,
    depth: usize,
}

/// A block that is open.
struct Label {
    start: usize,
    end: usize,
    is_loop: bool,
    height: usize,
    /// Values that a branch to it carries.
    carries: usize,
}

type Flow<T> = Result<T, Stop>;

fn i(v: u64) -> i32 {
    v as u32 as i32
}

impl Run<'_, '_> {
    fn charge(&mut self, amount: u64) -> Flow<()> {
        self.left = self
            .left
            .saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
        if self.left < 0 {
            return Err(Stop::Exhausted);
        }
        Ok(())
    }

    fn range(&self, at: u64, len: u64) -> Flow<std::ops::Range<usize>> {
        match at.checked_add(len) {
            Some(end) if end <= self.memory.len() as u64 => Ok(at as usize..end as usize),
            _ => Err(Stop::Trap),
        }
    }

    fn load<const N: usize>(&self, at: u64) -> Flow<[u8; N]> {
        let range = self.range(at, N as u64)?;
        Ok(self.memory[range].try_into().expect("the length was given"))
    }

    fn store(&mut self, at: u64, bytes: &[u8]) -> Flow<()> {
        let range = self.range(at, bytes.len() as u64)?;
        self.memory[range].copy_from_slice(bytes);
        Ok(())
    }

    /// Calls until something is not a tail call.
    fn call(&mut self, index: u32, args: Vec<u64>) -> Flow<Vec<u64>> {
        let (mut index, mut args) = (index, args);
        self.depth += 1;
        assert!(self.depth < 1000, "generated programs do not recurse");
        loop {
            let imports = self.module.imports.len();
            if (index as usize) < imports {
                let name = self.module.imports[index as usize];
                let result = self.host(name, &args);
                self.depth -= 1;
                return result;
            }
            match self.function(index as usize - imports, args)? {
                Ok(results) => {
                    self.depth -= 1;
                    return Ok(results);
                }
                Err((next, next_args)) => (index, args) = (next, next_args),
            }
        }
    }

    fn target(&self, element: u64) -> Flow<u32> {
        self.module
            .table
            .get(element as u32 as usize)
            .copied()
            .flatten()
            .ok_or(Stop::Trap)
    }

    /// `Ok(Err)`: a tail call.
    #[allow(clippy::type_complexity, reason = "used in one place")]
    fn function(
        &mut self,
        index: usize,
        args: Vec<u64>,
    ) -> Flow<Result<Vec<u64>, (u32, Vec<u64>)>> {
        use Operator::*;
        let f = &self.module.functions[index];
        let mut locals = args;
        locals.resize(f.locals, 0);
        let mut stack: Vec<u64> = Vec::new();
        let mut labels: Vec<Label> = Vec::new();
        let mut pc = 0;
        // A block begins where execution arrives after one of the operators that end blocks.
        let mut arriving = true;
        macro_rules! pop {
            () => {
                stack.pop().expect("a valid module")
            };
        }
        macro_rules! unary {
            ($f:expr) => {{
                let a = pop!();
                stack.push($f(a));
            }};
        }
        macro_rules! binary {
            ($f:expr) => {{
                let b = pop!();
                let a = pop!();
                stack.push($f(a, b));
            }};
        }
        let w = |v: i32| u64::from(v as u32);
        let truth = u64::from;
        loop {
            // Where a block begins with a bulk operator, its size is charged before the block.
            let mut paid = false;
            if arriving && is_bulk(&f.ops[pc]) {
                let size = *stack.last().expect("a size");
                self.charge(u64::from(size as u32))?;
                paid = true;
            }
            if std::mem::take(&mut arriving) {
                let reentrant = pc == 0 || matches!(f.ops[pc - 1], Loop { .. });
                let mut cost = u64::from(pc == 0);
                for (op, c) in f.ops[pc..].iter().zip(&f.costs[pc..]) {
                    cost += c;
                    if ends_block(op) {
                        break;
                    }
                }
                self.left = self.left.saturating_sub(cost as i64);
                if reentrant && self.left < 0 {
                    return Err(Stop::Exhausted);
                }
            }
            let op = &f.ops[pc];
            arriving = ends_block(op);
            let mut branch: Option<u32> = None;
            match op {
                Nop => {}
                Unreachable => return Err(Stop::Trap),
                Drop => {
                    pop!();
                }
                Select => {
                    let c = pop!();
                    binary!(|a, b| if i(c) != 0 { a } else { b });
                }
                I32Const { value } => stack.push(w(*value)),
                I64Const { value } => stack.push(*value as u64),
                LocalGet { local_index } => stack.push(locals[*local_index as usize]),
                LocalSet { local_index } => locals[*local_index as usize] = pop!(),
                LocalTee { local_index } => {
                    locals[*local_index as usize] = *stack.last().expect("a value");
                }
                GlobalGet { global_index } => stack.push(self.globals[*global_index as usize]),
                GlobalSet { global_index } => self.globals[*global_index as usize] = pop!(),
                I32Add => binary!(|a, b| w(i(a).wrapping_add(i(b)))),
                I32Sub => binary!(|a, b| w(i(a).wrapping_sub(i(b)))),
                I32Mul => binary!(|a, b| w(i(a).wrapping_mul(i(b)))),
                I32And => binary!(|a, b| a & b),
                I32Or => binary!(|a, b| a | b),
                I32Xor => binary!(|a, b| a ^ b),
                I32ShrU => binary!(|a, b| u64::from((a as u32).wrapping_shr(b as u32))),
                I32Rotl => binary!(|a, b| u64::from((a as u32).rotate_left(b as u32 % 32))),
                I32DivU | I32RemU => {
                    let b = pop!() as u32;
                    let a = pop!() as u32;
                    let (d, r) = (a.checked_div(b), a.checked_rem(b));
                    let v = if matches!(op, I32DivU) { d } else { r };
                    stack.push(u64::from(v.ok_or(Stop::Trap)?));
                }
                I32DivS => {
                    let b = i(pop!());
                    let a = i(pop!());
                    stack.push(w(a.checked_div(b).ok_or(Stop::Trap)?));
                }
                I32Eqz => unary!(|a| truth(i(a) == 0)),
                I32Eq => binary!(|a, b| truth(i(a) == i(b))),
                I32LtU => binary!(|a, b| truth((a as u32) < b as u32)),
                I32GtS => binary!(|a, b| truth(i(a) > i(b))),
                I64Add => binary!(|a: u64, b| a.wrapping_add(b)),
                I64Mul => binary!(|a: u64, b| a.wrapping_mul(b)),
                I64Xor => binary!(|a, b| a ^ b),
                I64Eqz => unary!(|a| truth(a == 0)),
                I64GtU => binary!(|a, b| truth(a > b)),
                I64RemU => {
                    let b = pop!();
                    let a = pop!();
                    stack.push(a.checked_rem(b).ok_or(Stop::Trap)?);
                }
                I32WrapI64 => unary!(|a| u64::from(a as u32)),
                I64ExtendI32U => unary!(|a| a),
                I32Extend8S => unary!(|a| w(i32::from(a as i8))),
                F64ConvertI32S => unary!(|a| f64::from(i(a)).to_bits()),
                F64Mul => binary!(|a, b| (f64::from_bits(a) * f64::from_bits(b)).to_bits()),
                F64Lt => binary!(|a, b| truth(f64::from_bits(a) < f64::from_bits(b))),
                I32TruncSatF64S => unary!(|a| w(f64::from_bits(a) as i32)),
                I32TruncF64S => {
                    let v = f64::from_bits(pop!()).trunc();
                    if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&v) {
                        return Err(Stop::Trap);
                    }
                    stack.push(w(v as i32));
                }
                I32Load { memarg } => {
                    let at = pop!() + memarg.offset;
                    stack.push(u64::from(u32::from_le_bytes(self.load(at)?)));
                }
                I32Load8U { memarg } => {
                    let [b] = self.load::<1>(pop!() + memarg.offset)?;
                    stack.push(u64::from(b));
                }
                I64Load { memarg } => {
                    let at = pop!() + memarg.offset;
                    stack.push(u64::from_le_bytes(self.load(at)?));
                }
                I32Store { memarg } => {
                    let v = pop!() as u32;
                    self.store(pop!() + memarg.offset, &v.to_le_bytes())?;
                }
                I64Store { memarg } => {
                    let v = pop!();
                    self.store(pop!() + memarg.offset, &v.to_le_bytes())?;
                }
                MemorySize { .. } => stack.push(self.memory.len() as u64 >> 16),
                MemoryGrow { .. } => {
                    let by = u64::from(pop!() as u32);
                    let old = self.memory.len() as u64 >> 16;
                    if old + by <= self.module.max_pages {
                        self.memory.resize(((old + by) << 16) as usize, 0);
                        stack.push(old);
                    } else {
                        stack.push(w(-1));
                    }
                }
                MemoryFill { .. } => {
                    let n = u64::from(pop!() as u32);
                    if !paid {
                        self.charge(n)?;
                    }
                    let (v, at) = (pop!() as u8, pop!());
                    let range = self.range(at, n)?;
                    self.memory[range].fill(v);
                }
                MemoryCopy { .. } => {
                    let n = u64::from(pop!() as u32);
                    if !paid {
                        self.charge(n)?;
                    }
                    let (from, to) = (pop!(), pop!());
                    let from = self.range(from, n)?;
                    let to = self.range(to, n)?;
                    self.memory.copy_within(from, to.start);
                }
                MemoryInit { data_index, .. } => {
                    let n = u64::from(pop!() as u32);
                    if !paid {
                        self.charge(n)?;
                    }
                    let (from, to) = (pop!() as usize, pop!());
                    let data = self.module.passive[*data_index as usize];
                    let bytes = data.get(from..from + n as usize).ok_or(Stop::Trap)?;
                    self.store(to, bytes)?;
                }
                TableSize { .. } => stack.push(self.module.table.len() as u64),
                Call { function_index } => {
                    let n = self.params(*function_index);
                    let args = stack.split_off(stack.len() - n);
                    let results = self.call(*function_index, args)?;
                    stack.extend(results);
                }
                CallIndirect { type_index, .. } | ReturnCallIndirect { type_index, .. } => {
                    let element = pop!();
                    let callee = self.target(element)?;
                    let ty = self.module.types[*type_index as usize];
                    if ty != (self.params(callee), self.results(callee)) {
                        return Err(Stop::Trap);
                    }
                    let args = stack.split_off(stack.len() - ty.0);
                    if matches!(op, ReturnCallIndirect { .. }) {
                        return Ok(Err((callee, args)));
                    }
                    let results = self.call(callee, args)?;
                    stack.extend(results);
                }
                ReturnCall { function_index } => {
                    let args = stack.split_off(stack.len() - self.params(*function_index));
                    return Ok(Err((*function_index, args)));
                }
                Block { blockty } | Loop { blockty } | If { blockty } => {
                    let (middle, end) = f.ends[&pc];
                    let condition = !matches!(op, If { .. }) || i(pop!()) != 0;
                    let is_loop = matches!(op, Loop { .. });
                    let carries = match blockty {
                        BlockType::Empty => 0,
                        BlockType::Type(_) => usize::from(!is_loop),
                        BlockType::FuncType(_) => panic!("not generated"),
                    };
                    let label = Label {
                        start: pc,
                        end,
                        is_loop,
                        height: stack.len(),
                        carries,
                    };
                    match (condition, middle) {
                        (true, _) => labels.push(label),
                        (false, Some(middle)) => {
                            labels.push(label);
                            pc = middle;
                        }
                        (false, None) => pc = end,
                    }
                }
                Else => {
                    let label = labels.pop().expect("an if");
                    pc = label.end;
                }
                End => {
                    if labels.pop().is_none() {
                        return Ok(Ok(stack.split_off(stack.len() - f.results)));
                    }
                }
                Br { relative_depth } => branch = Some(*relative_depth),
                BrIf { relative_depth } => {
                    branch = (i(pop!()) != 0).then_some(*relative_depth);
                }
                BrTable { targets } => {
                    let n = pop!() as u32;
                    let chosen = targets.targets().nth(n as usize);
                    branch = Some(chosen.map_or(targets.default(), |t| t.expect("a target")));
                }
                Return => return Ok(Ok(stack.split_off(stack.len() - f.results))),
                other => panic!("not generated: {other:?}"),
            }
            if let Some(depth) = branch {
                let depth = depth as usize;
                if depth == labels.len() {
                    return Ok(Ok(stack.split_off(stack.len() - f.results)));
                }
                labels.truncate(labels.len() - depth);
                let label = labels.last().expect("a block");
                let carried = stack.split_off(stack.len() - label.carries);
                stack.truncate(label.height);
                stack.extend(carried);
                if label.is_loop {
                    pc = label.start;
                } else {
                    pc = label.end;
                    labels.pop();
                }
            }
            pc += 1;
        }
    }
}

fn ends_block(op: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(
        op,
        Loop { .. } | If { .. } | Else | End | Br { .. } | BrIf { .. } | BrTable { .. }
    ) || matches!(
        op,
        Return | Unreachable | ReturnCall { .. } | ReturnCallIndirect { .. }
    )
}

fn is_bulk(op: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(
        op,
        MemoryFill { .. } | MemoryCopy { .. } | MemoryInit { .. }
    )
}

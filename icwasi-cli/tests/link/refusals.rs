//! All that the IC would refuse is refused before it runs, by `link`, `check` and `run`, with the
//! reason and, where it is a limit, the figure.

use icwasi_cli::link::{LinkOptions, check, link as link_module};
use icwasi_cli::run::{self, RunOptions};
use wasm_encoder::BlockType::Empty;
use wasm_encoder::Instruction::{Block, Catch, CatchAll, Delegate, End, Rethrow, Throw, Try};
use wasm_encoder::{
    CodeSection, CustomSection, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, Instruction, Module, TypeSection, ValType,
};

const MEGABYTE: usize = 1 << 20;

/// A module, and words of the message that it must be refused with.
type Case = (Vec<u8>, &'static [&'static str]);

/// `_start`, and what the text adds.
fn text(fields: &str) -> Vec<u8> {
    let text = format!("(module {fields} (func (export \"_start\")))");
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{}: {e}", &text[..text.len().min(200)]))
}

/// `_start`, which holds `body`.
fn code(body: &str) -> Vec<u8> {
    let text = format!("(module (memory 1) (table 2 funcref) (func (export \"_start\") {body}))");
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `_start`, which holds operators of the first version of exception handling, as LLVM and Binaryen
/// still write them, and may exit.
fn legacy(operators: &[Instruction<'_>]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([ValType::I32], []);
    let mut imports = ImportSection::new();
    let exit = EntityType::Function(1);
    imports.import("wasi_snapshot_preview1", "proc_exit", exit);
    let mut declared = FunctionSection::new();
    declared.function(0);
    let mut exports = ExportSection::new();
    exports.export("_start", ExportKind::Func, 1);
    let mut body = Function::new([]);
    for operator in operators {
        body.instruction(operator);
    }
    body.instructions().i32_const(1).call(0).end();
    let mut bodies = CodeSection::new();
    bodies.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&declared);
    module.section(&exports).section(&bodies);
    module.finish()
}

/// `_start` and further functions of `operators` operators each.
fn large(functions: u32, operators: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut declared, mut bodies) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..functions {
        declared.function(0);
        let mut body = Function::new([]);
        for _ in 0..operators {
            body.instructions().nop();
        }
        body.instructions().end();
        bodies.function(&body);
    }
    let mut exports = ExportSection::new();
    exports.export("_start", ExportKind::Func, 0);
    let mut module = Module::new();
    module.section(&types).section(&declared);
    module.section(&exports).section(&bodies);
    module.finish()
}

/// Methods with names of so many characters.
fn methods(count: usize, length: usize) -> Vec<u8> {
    let exports: String = (0..count)
        .map(|n| format!("(export \"canister_query {n:0length$}\" (func $m))"))
        .collect();
    text(&format!("(func $m) {exports}"))
}

fn custom(sections: &[(&str, usize)]) -> Vec<u8> {
    let mut module = text("");
    for (name, bytes) in sections {
        let section = CustomSection {
            name: (*name).into(),
            data: vec![b' '; *bytes].into(),
        };
        let mut encoded = Module::new();
        encoded.section(&section);
        // Behind the header.
        module.extend_from_slice(&encoded.finish()[8..]);
    }
    module
}

fn passive(bytes: usize) -> Vec<u8> {
    let mut data = DataSection::new();
    data.passive(vec![1; bytes]);
    let mut encoded = Module::new();
    encoded.section(&data);
    let mut module = text("(memory 1)");
    // The name section may stand before it.
    module.extend_from_slice(&encoded.finish()[8..]);
    module
}

fn cases() -> Vec<Case> {
    let icp: Vec<String> = (0..17).map(|n| format!("icp:public {n}")).collect();
    let icp: Vec<(&str, usize)> = icp.iter().map(|name| (&name[..], 1)).collect();
    vec![
        // Proposals.
        (text("(tag)"), &["exceptions", "-fno-exceptions"]),
        (
            code("(block $out (try_table (catch_all $out)))"),
            &["exceptions", "-fno-exceptions"],
        ),
        (
            code(
                "(block $out (result exnref) (try_table (catch_all_ref $out)) (return)) (throw_ref)",
            ),
            &["exceptions", "-fno-exceptions"],
        ),
        // try, catch_all, delegate, rethrow, catch, throw.
        (
            legacy(&[Try(Empty), CatchAll, End]),
            &["exceptions", "-fno-exceptions"],
        ),
        (
            legacy(&[Try(Empty), Delegate(0)]),
            &["exceptions", "-fno-exceptions"],
        ),
        (
            legacy(&[Try(Empty), CatchAll, Rethrow(0), End]),
            &["exceptions", "-fno-exceptions"],
        ),
        (
            legacy(&[Block(Empty), Try(Empty), Catch(0), End, End]),
            &["exceptions", "-fno-exceptions"],
        ),
        (legacy(&[Throw(0)]), &["exceptions", "-fno-exceptions"]),
        (
            text("(tag $e (param i32)) (func (throw $e (i32.const 1)))"),
            &["exceptions", "-fno-exceptions"],
        ),
        (
            text("(import \"env\" \"__cpp_exception\" (tag (param i32)))"),
            &["exceptions", "-fno-exceptions"],
        ),
        (text("(memory 1 2 shared)"), &["shared memory", "threads"]),
        (
            code("(drop (i32.atomic.load (i32.const 0)))"),
            &["atomic", "threads"],
        ),
        (text("(memory i64 1)"), &["64-bit memory", "wasm32"]),
        (
            text("(memory 1) (memory i64 1)"),
            &["64-bit memory", "wasm32"],
        ),
        (text("(table i64 1 funcref)"), &["64-bit", "wasm32"]),
        (text("(memory 1) (memory 1)"), &["several memories"]),
        (
            text("(memory 65536 65536 (pagesize 1))"),
            &["custom page sizes"],
        ),
        (text("(type (struct))"), &["garbage-collected"]),
        (
            text("(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))"),
            &["reference"],
        ),
        (
            code("(drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))"),
            &["relaxed SIMD"],
        ),
        (
            code(
                "(i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)) (drop) (drop)",
            ),
            &["wide arithmetic"],
        ),
        (
            text("(memory 1) (data (i32.add (i32.const 1) (i32.const 2)) \"a\")"),
            &["constant"],
        ),
        // Operators on tables.
        (
            code("(drop (table.grow (ref.null func) (i32.const 1)))"),
            &["table.grow"],
        ),
        (
            code("(table.set (i32.const 0) (ref.null func))"),
            &["table.set"],
        ),
        (
            code("(table.fill (i32.const 0) (ref.null func) (i32.const 1))"),
            &["table.fill"],
        ),
        (
            code("(table.copy (i32.const 0) (i32.const 1) (i32.const 1))"),
            &["table.copy"],
        ),
        // Imports.
        (
            text("(import \"env\" \"f\" (func))"),
            &["nothing provides 1", "env.f"],
        ),
        (
            text("(import \"wasi:cli/exit\" \"exit\" (func))"),
            &["wasi:cli/exit.exit"],
        ),
        (
            text("(import \"ic0\" \"no_such\" (func))"),
            &["ic0.no_such"],
        ),
        (
            text("(import \"ic0\" \"time\" (func (result i32)))"),
            &["ic0.time", "i64"],
        ),
        (text("(import \"env\" \"g\" (global i32))"), &["env.g"]),
        // Exports.
        (
            text("(func (export \"canister_reboot\"))"),
            &["canister_reboot"],
        ),
        (
            text("(func (export \"stable_memory\"))"),
            &["stable_memory", "reserved"],
        ),
        (
            text("(func (export \"canister_update a\") (param i32))"),
            &["canister_update a", "() -> ()"],
        ),
        (
            text("(func (export \"canister_update a\")) (func (export \"canister_query a\"))"),
            &["exported twice"],
        ),
        (methods(1_001, 4), &["methods: 1001", "1000"]),
        (methods(250, 81), &["method names: 20250", "20000"]),
        // Sizes.
        (
            large(14, 950_000),
            &["bytes of code: 13", "at most 12582912"],
        ),
        (large(50_001, 0), &["functions: 50", "at most 50000"]),
        (
            large(1, 1_000_001),
            &["operators in a function: 1000", "at most 1000000"],
        ),
        (
            code(&"(block) (loop)".repeat(10_001)),
            &["complexity of a function: 1040", "at most 1000000"],
        ),
        (
            text(&"(global i32 (i32.const 0))".repeat(1_001)),
            &["globals: 100", "at most 1000"],
        ),
        (
            text("(table 10000000 funcref)"),
            &["10000000", "at most 10,000,000"],
        ),
        (text("(memory 65500)"), &["65500 pages", "65535"]),
        (
            passive(100 * MEGABYTE),
            &["bytes in the module: 10", "at most 104857600"],
        ),
        // Custom sections.
        (custom(&icp), &["custom sections: 18", "at most 16"]),
        (
            custom(&[("icp:public x", MEGABYTE + 1)]),
            &["custom sections: 10497", "at most 1048576"],
        ),
        (
            custom(&[("icp:secret x", 1)]),
            &["`icp:secret x` is malformed"],
        ),
        (
            custom(&[("icp:public x", 1), ("icp:public x", 1)]),
            &["icp:public x", "twice"],
        ),
        // No core modules, or not any more.
        (
            b"\0asm\x0d\0\x01\0".to_vec(),
            &["component", "wasm32-wasip1"],
        ),
        (custom(&[("icwasi:linked", 5)]), &["already linked"]),
    ]
}

#[test]
fn what_the_ic_refuses_is_refused_before_it_runs() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("starts");
    let mut wrong = Vec::new();
    for (module, words) in cases() {
        let mut says = |who: &str, message: &str| {
            let missing = words.iter().find(|word| !message.contains(*word));
            if let Some(word) = missing {
                wrong.push(format!("{who}: {word:?} in: {message}"));
            }
        };
        match link_module(&module, &LinkOptions::default()) {
            Ok(_) => says("link", "it was linked"),
            Err(error) => says("link", &error.to_string()),
        }
        let report = check(&module).expect("is WebAssembly");
        says("check", &report.problems.join("\n"));
        match runtime.block_on(run::run(&module, RunOptions::default())) {
            Ok(_) => says("run", "it was run"),
            Err(error) => says("run", &error.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

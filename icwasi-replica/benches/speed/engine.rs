//! A message of a billion instructions against the same module in plain wasmtime.

use std::time::{Duration, Instant};

use candid::Principal;
use icwasi_replica::core::{Core, CoreConfig, InstallMode, Limits, Settings};
use wasmtime::{Caller, Engine, Extern, Linker, Module, Store};

use super::Row;

/// Kinds of code: name, and functions of which `$work` runs as often as its parameter says.
const KINDS: [(&str, &str); 7] = [
    (
        "integers",
        r#"(func $work (param $n i32) (result i32) (local $x i32)
          (loop $next
            (local.set $x (i32.xor
              (i32.mul (i32.add (local.get $x) (local.get $n)) (i32.const 0x9e3779b1))
              (i32.shr_u (local.get $x) (i32.const 15))))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))
          (local.get $x))"#,
    ),
    (
        "memory",
        r#"(func $work (param $n i32) (result i32) (local $x i32)
          (loop $next
            (local.set $x (i32.add (local.get $x)
              (i32.load (i32.and (i32.shl (local.get $n) (i32.const 2)) (i32.const 0xfffc)))))
            (i32.store (i32.and (local.get $x) (i32.const 0xfffc)) (local.get $n))
            (i32.store8 (i32.and (local.get $n) (i32.const 0xffff)) (local.get $x))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))
          (local.get $x))"#,
    ),
    (
        "calls",
        r#"(func $fib (param $n i32) (result i32)
            (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
              (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                             (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
          (func $work (param $n i32) (result i32) (local $x i32)
            (loop $next
              (local.set $x (i32.add (local.get $x) (call $fib (i32.const 10))))
              (local.set $n (i32.sub (local.get $n) (i32.const 1)))
              (br_if $next (local.get $n)))
            (local.get $x))"#,
    ),
    (
        "indirect calls",
        r#"(type $f (func (param i32) (result i32)))
          (table 4 funcref)
          (elem (i32.const 0) $a $b $c $d)
          (func $a (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
          (func $b (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
          (func $c (param i32) (result i32) (i32.xor (local.get 0) (i32.const 5)))
          (func $d (param i32) (result i32) (i32.rotl (local.get 0) (i32.const 7)))
          (func $work (param $n i32) (result i32) (local $x i32)
            (loop $next
              (local.set $x (call_indirect (type $f) (local.get $x)
                (i32.and (local.get $n) (i32.const 3))))
              (local.set $n (i32.sub (local.get $n) (i32.const 1)))
              (br_if $next (local.get $n)))
            (local.get $x))"#,
    ),
    (
        "branches",
        r#"(func $work (param $n i32) (result i32) (local $x i32)
          (loop $next
            (block $done (block $c (block $b (block $a
              (br_table $a $b $c $done (i32.and (local.get $x) (i32.const 3))))
              (local.set $x (i32.add (local.get $x) (i32.const 7)))
              (br $done))
              (local.set $x (i32.mul (local.get $x) (i32.const 5)))
              (br $done))
              (if (i32.and (local.get $n) (i32.const 1))
                (then (local.set $x (i32.shr_u (local.get $x) (i32.const 1))))
                (else (local.set $x (i32.add (local.get $x) (local.get $n))))))
            (local.set $x (i32.add (local.get $x) (i32.const 1)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))
          (local.get $x))"#,
    ),
    (
        "floats",
        r#"(func $work (param $n i32) (result i32) (local $x f64) (local $y f64)
          (local.set $x (f64.const 1.5))
          (loop $next
            (local.set $y (f64.add (f64.mul (local.get $x) (f64.const 0.999)) (f64.const 0.25)))
            (local.set $x (f64.sub (f64.add (local.get $y) (local.get $x))
              (f64.mul (local.get $y) (f64.const 1.001))))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))
          (i32.trunc_sat_f64_s (local.get $x)))"#,
    ),
    (
        "copies of 256 bytes",
        r#"(func $work (param $n i32) (result i32)
          (loop $next
            (memory.copy (i32.const 65536) (i32.and (local.get $n) (i32.const 0x7fff))
              (i32.const 256))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))
          (i32.load (i32.const 65536)))"#,
    ),
];

const BILLION: u64 = 1_000_000_000;
const ENTRY: &str = "canister_update work";
/// Each side is run so often, in turns; the fastest counts.
const RUNS: usize = 3;

/// Measures all kinds; the worst one has the goal.
pub fn run() -> Vec<Row> {
    let mut worst = ("", 0.0f64);
    for (name, code) in KINDS {
        let ratio = ratio(code);
        println!("        a billion instructions, {name}: {ratio:.2} x plain wasmtime");
        if ratio > worst.1 {
            worst = (name, ratio);
        }
    }
    let workload = format!("a billion instructions / plain wasmtime ({})", worst.0);
    vec![Row::at_most(workload, worst.1, 4.0)]
}

fn module(code: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "ic0" "msg_reply" (func $reply))
          (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
          (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
          (memory (export "memory") 4)
          {code}
          (func (export "{ENTRY}")
            (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 4))
            (i32.store (i32.const 0) (call $work (i32.load (i32.const 0))))
            (call $append (i32.const 0) (i32.const 4))
            (call $reply)))"#
    );
    wat::parse_str(text).expect("the text is valid wat")
}

fn ratio(code: &str) -> f64 {
    let wasm = module(code);
    let (mut core, id) = install(&wasm);
    let mut ours = |n: u32| {
        let start = Instant::now();
        let outcome = core
            .update(
                &id,
                Principal::anonymous(),
                "work",
                n.to_le_bytes().to_vec(),
            )
            .expect("it replies");
        (start.elapsed(), outcome.stats.instructions)
    };
    let (_, few) = ours(1_000);
    let (_, more) = ours(2_000);
    let n = u32::try_from(BILLION * 1_000 / (more - few)).expect("at least one each");
    let mut plain = Plain::new(&wasm);
    let mut best = [Duration::MAX; 2];
    for _ in 0..RUNS {
        let (time, instructions) = ours(n);
        assert!(
            instructions.abs_diff(BILLION) < BILLION / 100,
            "{instructions}"
        );
        best[0] = best[0].min(time);
        best[1] = best[1].min(plain.run(n));
    }
    best[0].as_secs_f64() / best[1].as_secs_f64()
}

/// A core with one canister.
pub fn install(wasm: &[u8]) -> (Core, Principal) {
    let scratch = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut core = Core::new(CoreConfig {
        limits: Limits {
            // The main thread has eight MiB.
            wasm_stack_bytes: 1 << 20,
            ..Limits::default()
        },
        scratch_dir: Some(scratch),
        ..CoreConfig::default()
    })
    .expect("the core starts");
    let me = Principal::anonymous();
    let settings = Settings::new(vec![me], core.limits());
    let id = core
        .create_canister(me, None, settings, u128::MAX / 2)
        .expect("it is the first");
    core.install_code(me, &id, InstallMode::Install, wasm, &[])
        .expect("it is a valid module");
    (core, id)
}

/// The same module in wasmtime as it comes.
struct Plain {
    store: Store<u32>,
    work: wasmtime::TypedFunc<(), ()>,
}

impl Plain {
    fn new(wasm: &[u8]) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("it is valid");
        let mut linker: Linker<u32> = Linker::new(&engine);
        let copy = |mut caller: Caller<'_, u32>, at: i32, _: i32, _: i32| {
            let n = *caller.data();
            let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                panic!("it exports its memory");
            };
            memory
                .write(&mut caller, at as usize, &n.to_le_bytes())
                .expect("it is within");
        };
        linker
            .func_wrap("ic0", "msg_arg_data_copy", copy)
            .and_then(|l| l.func_wrap("ic0", "msg_reply_data_append", |_: i32, _: i32| {}))
            .and_then(|l| l.func_wrap("ic0", "msg_reply", || {}))
            .expect("names are distinct");
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module).expect("it links");
        let work = instance
            .get_typed_func(&mut store, ENTRY)
            .expect("it is exported");
        Self { store, work }
    }

    fn run(&mut self, n: u32) -> Duration {
        *self.store.data_mut() = n;
        let start = Instant::now();
        self.work.call(&mut self.store, ()).expect("it returns");
        start.elapsed()
    }
}

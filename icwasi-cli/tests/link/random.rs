//! Modules that nobody wrote: linking ends with an error that says something, or with a module that
//! the replica accepts.

use arbitrary::Unstructured;
use icwasi_cli::link::{LinkError, LinkOptions, link as link_module};
use icwasi_replica::core::{Limits, validate};
use wasm_smith::{Config, InstructionKind, InstructionKinds};

use crate::support::whole_standin;

/// Modules made; each is also damaged so often.
const MODULES: u64 = 500;
const DAMAGED: u64 = 3;
/// Of so many, one is also linked with the linker's own library.
const LARGE: u64 = 20;
/// A sequence of modules is always the same.
const SEED: u64 = 0x1234_5678_9abc_def1;

/// Imports that are bound: WASI's, of both versions, and the Internet Computer's.
const IMPORTS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
  (import "wasi_unstable" "fd_close" (func (param i32) (result i32)))
  (import "ic0" "call_new" (func (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "debug_print" (func (param i32 i32)))
  (import "ic0" "time" (func (result i64))))"#;
/// Exports of a command, of a canister, and of a canister with constructors.
const EXPORTS: [&str; 3] = [
    r#"(module (func (export "_start")))"#,
    r#"(module (func (export "canister_update a")) (func (export "canister_query b")))"#,
    r#"(module (func (export "_initialize")) (func (export "canister_init"))
      (func (export "canister_global_timer")))"#,
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

/// Mostly what the Internet Computer has.
fn config(random: &mut Random) -> Config {
    let parse = |text| wat::parse_str(text).expect("is valid");
    let exports = EXPORTS[random.next() as usize % EXPORTS.len()];
    let mut allowed = InstructionKinds::all();
    // Operators that change tables are refused.
    if !random.one_in(8) {
        allowed = InstructionKinds::new(&[
            InstructionKind::Numeric,
            InstructionKind::Vector,
            InstructionKind::Reference,
            InstructionKind::Parametric,
            InstructionKind::Variable,
            InstructionKind::Memory,
            InstructionKind::Control,
            InstructionKind::Aggregate,
        ]);
    }
    Config {
        available_imports: (!random.one_in(8)).then(|| parse(IMPORTS)),
        exports: (!random.one_in(4)).then(|| parse(exports)),
        allowed_instructions: allowed,
        max_imports: if random.one_in(4) { 0 } else { 12 },
        min_funcs: 2,
        max_funcs: 12,
        max_instructions: 200,
        min_memories: u32::from(!random.one_in(4)),
        max_memories: if random.one_in(16) { 2 } else { 1 },
        max_memory32_bytes: 10 << 20,
        // Segments that lie where there is memory: others are refused.
        disallow_traps: !random.one_in(8),
        max_data_segments: 6,
        max_element_segments: 6,
        max_globals: 6,
        // Globals may not be references.
        reference_types_enabled: random.one_in(3),
        max_tables: if random.one_in(4) { 2 } else { 1 },
        max_table_elements: 200,
        exceptions_enabled: random.one_in(16),
        threads_enabled: random.one_in(16),
        memory64_enabled: random.one_in(16),
        gc_enabled: random.one_in(16),
        relaxed_simd_enabled: random.one_in(16),
        extended_const_enabled: random.one_in(16),
        tail_call_enabled: random.one_in(2),
        generate_custom_sections: random.one_in(4),
        ..Config::default()
    }
}

#[derive(Default)]
struct Counts {
    linked: u64,
    refused: u64,
    /// With `proc_exit`, so that bodies are rewritten.
    exiting: u64,
}

impl Counts {
    fn link(&mut self, module: &[u8], options: &LinkOptions, at: u64) {
        match link_module(module, options) {
            Ok(output) => {
                self.linked += 1;
                let exits = |name: &String| name.ends_with(".proc_exit");
                self.exiting += u64::from(output.bound.iter().any(exits));
                match validate(&output.module, &Limits::default()) {
                    Ok(_) => {}
                    // What the platform has and the replica has not.
                    Err(error) if error.message.contains("externref is not supported") => {}
                    Err(error) => panic!("module {at}: the replica refuses the output: {error}"),
                }
            }
            // The linker found its own mistake.
            Err(LinkError::Relocation(message)) => panic!("module {at}: {message}"),
            Err(error) => {
                self.refused += 1;
                assert!(error.to_string().len() > 10, "module {at}: {error}");
            }
        }
    }
}

#[test]
fn random_modules_give_errors_or_valid_output() {
    let mut random = Random(SEED);
    let (mut whole, mut damaged) = (Counts::default(), Counts::default());
    let own = LinkOptions::default();
    // Takes a tenth of the time.
    let small = LinkOptions {
        library: Some(whole_standin()),
        ..LinkOptions::default()
    };
    for at in 0..MODULES {
        let bytes: Vec<u8> = (0..400).flat_map(|_| random.next().to_le_bytes()).collect();
        let module = wasm_smith::Module::new(config(&mut random), &mut Unstructured::new(&bytes));
        let Ok(module) = module else {
            continue;
        };
        let mut module = module.to_bytes();
        whole.link(&module, &small, at);
        if at.is_multiple_of(LARGE) {
            whole.link(&module, &own, at);
        }
        for _ in 0..DAMAGED {
            // The first bytes say what the file is.
            let place = 8 + random.next() as usize % (module.len() - 8).max(1);
            if let Some(byte) = module.get_mut(place) {
                *byte ^= 1 << (random.next() % 8);
            }
            damaged.link(&module, &small, at);
        }
    }
    // Otherwise the modules are not what this test is for.
    let Counts {
        linked,
        refused,
        exiting,
    } = whole;
    assert!(
        linked > 200 && refused > 50 && exiting > 50,
        "{linked} linked, {exiting} of them may exit, {refused} refused"
    );
    let Counts {
        linked, refused, ..
    } = damaged;
    assert!(
        linked > 50 && refused > 300,
        "damaged: {linked} linked, {refused} refused"
    );
}

//! A guest for the linker's tests: a reactor that prints, and one that fills all of its memory.

use std::io::Write;
use std::sync::Mutex;

static BLOCKS: Mutex<Vec<Vec<u64>>> = Mutex::new(Vec::new());

#[link(wasm_import_module = "ic0")]
unsafe extern "C" {
    safe fn stable64_size() -> u64;
    fn msg_arg_data_copy(dst: usize, offset: usize, size: usize);
}

#[unsafe(export_name = "canister_init")]
extern "C" fn init() {
    println!("guest init");
}

#[unsafe(export_name = "canister_update greet")]
extern "C" fn greet() {
    println!("hello {}", stable64_size());
}

#[unsafe(export_name = "canister_query frames")]
extern "C" fn frames() {
    std::thread::yield_now();
    print!("frames done");
    std::io::stdout().flush().unwrap();
}

/// Fills memory that grows, calling WASI in between, and checks every word of it.
#[unsafe(export_name = "canister_update fill")]
extern "C" fn fill() {
    let mut blocks = BLOCKS.lock().unwrap();
    for round in 0..60_u64 {
        let words = if round % 3 == 0 { 100_000 } else { 1_000 };
        let mut block: Vec<u64> = Vec::new();
        block.extend((0..words).map(|i| i ^ (round << 32)));
        blocks.push(block);
        println!("round {round}");
        std::thread::yield_now();
    }
    for (round, block) in (0..).zip(blocks.iter()) {
        assert!((0..).zip(block).all(|(i, word)| *word == i ^ (round << 32)), "block {round}");
    }
    println!("filled");
}

#[unsafe(export_name = "canister_update overflow")]
extern "C" fn overflow() {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn proc_raise(signal: i32) -> i32;
    }
    println!("{}", unsafe { proc_raise(6) });
}

#[unsafe(export_name = "canister_heartbeat")]
extern "C" fn heartbeat() {
    unsafe { msg_arg_data_copy(0, 0, 0) };
}

//! What the linker's tests share: building guests and the stand-in library, running the output
//! on a System API of which only `debug_print` does something.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use icwasi_cli::link::LinkOptions;
use wasmtime::{Caller, Config, Engine, Extern, Linker, Module, Store};

/// A library with the contract's names, see `standin.rs`.
pub fn standin() -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| build_standin(&[])).clone()
}

/// The same, with what commands and exits need.
pub fn whole_standin() -> Vec<u8> {
    build_standin(&["--cfg", "whole"])
}

fn build_standin(more: &[&str]) -> Vec<u8> {
    let flags = [
        "-Clink-arg=--emit-relocs",
        "-Clink-arg=--import-memory",
        "-Clto=fat",
        "-Clink-arg=-zstack-size=131072",
    ];
    rustc(
        "standin.rs",
        "wasm32-unknown-unknown",
        &[&flags[..], more].concat(),
    )
}

/// `guest.rs` as a reactor.
pub fn rust_guest() -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT
        .get_or_init(|| rustc("guest.rs", "wasm32-wasip1", &[]))
        .clone()
}

/// `guest.c` as a reactor, built against Debian's wasi-libc.
pub fn c_guest() -> Vec<u8> {
    let out = tempfile::tempdir().expect("a directory");
    let file = out.path().join("guest.wasm");
    let status = Command::new("clang-22")
        .args([
            "--target=wasm32-wasi",
            "-Wno-deprecated",
            "--sysroot=/usr",
            "--no-wasm-opt",
        ])
        .args(["-O2", "-mexec-model=reactor"])
        .arg(source("guest.c"))
        .arg("-o")
        .arg(&file)
        .status()
        .expect("clang-22 is installed");
    assert!(status.success());
    std::fs::read(file).expect("was written")
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/link")
        .join(name)
}

fn rustc(name: &str, target: &str, flags: &[&str]) -> Vec<u8> {
    let out = tempfile::tempdir().expect("a directory");
    let file = out.path().join("out.wasm");
    let status = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "cdylib",
            "--target",
            target,
        ])
        .args(["-Copt-level=2", "-Cpanic=abort", "-Awarnings"])
        .args(flags)
        .arg(source(name))
        .arg("-o")
        .arg(&file)
        .status()
        .expect("rustc is installed");
    assert!(status.success());
    std::fs::read(file).expect("was written")
}

/// Options with the stand-in.
pub fn options() -> LinkOptions {
    LinkOptions {
        library: Some(standin()),
        ..LinkOptions::default()
    }
}

/// A running canister.
pub struct Canister {
    store: Store<()>,
    instance: wasmtime::Instance,
    log: Arc<Mutex<Vec<String>>>,
}

impl Canister {
    /// Instantiates a linked module.
    pub fn new(module: &[u8]) -> Self {
        let mut config = Config::new();
        config.wasm_multi_memory(false);
        let engine = Engine::new(&config).expect("the configuration is valid");
        let module = Module::new(&engine, module).expect("the output is valid");
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut linker = Linker::new(&engine);
        let sink = log.clone();
        let print = move |mut caller: Caller<'_, ()>, src: u32, size: u32| {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.expect("guests export their memory");
            let bytes = &memory.data(&caller)[src as usize..][..size as usize];
            sink.lock()
                .expect("one thread")
                .push(String::from_utf8_lossy(bytes).into_owned());
        };
        linker
            .func_wrap("ic0", "debug_print", print)
            .expect("no other");
        linker
            .func_wrap("ic0", "msg_arg_data_copy", |_: u32, _: u32, _: u32| {})
            .expect("one");
        linker
            .define_unknown_imports_as_traps(&module)
            .expect("functions only");
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).expect("starts");
        Canister {
            store,
            instance,
            log,
        }
    }

    /// Calls an entry point; returns what it printed.
    pub fn call(&mut self, export: &str) -> Result<String, wasmtime::Error> {
        let function = self
            .instance
            .get_typed_func::<(), ()>(&mut self.store, export)?;
        function.call(&mut self.store, ())?;
        Ok(std::mem::take(&mut *self.log.lock().expect("one thread")).join("\n"))
    }

    /// Calls a slot of the exported table, as the IC does with the callback of a call; returns what
    /// it printed.
    pub fn call_back(&mut self, slot: u64, env: i32) -> Result<String, wasmtime::Error> {
        let table = self.instance.get_table(&mut self.store, "table");
        let table = table.expect("is exported");
        let entry = table.get(&mut self.store, slot).expect("exists");
        let function = entry.unwrap_func().expect("is not null").to_owned();
        let function = function.typed::<i32, ()>(&self.store)?;
        function.call(&mut self.store, env)?;
        Ok(std::mem::take(&mut *self.log.lock().expect("one thread")).join("\n"))
    }

    /// Pages of its memory.
    pub fn pages(&mut self) -> u64 {
        let memory = self
            .instance
            .get_memory(&mut self.store, "memory")
            .expect("is exported");
        memory.size(&self.store)
    }
}

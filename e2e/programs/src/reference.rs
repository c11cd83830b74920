//! The reference: wasmtime-wasi's preview1, and its `wasi_unstable`, with a directory of this
//! computer as `/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

use crate::{End, Input, Node, Outcome};

/// More than any program writes.
const OUTPUT: usize = 8 << 20;

/// Runs `module` under wasmtime-wasi.
///
/// # Errors
/// If it cannot be compiled or linked. A trap is an outcome.
pub fn run(module: &[u8], input: &Input) -> Result<Outcome> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(Engine::default);
    let directory = tempfile::tempdir()?;
    let module = Module::new(engine, module).map_err(other)?;
    let mut outcome = run_in(directory.path(), engine, &module, input)?;
    walk(directory.path(), "", &mut outcome.files)?;
    Ok(outcome)
}

/// One run; the outcome is without files.
fn run_in(directory: &Path, engine: &Engine, module: &Module, input: &Input) -> Result<Outcome> {
    let (stdout, stderr) = (MemoryOutputPipe::new(OUTPUT), MemoryOutputPipe::new(OUTPUT));
    let mut context = WasiCtxBuilder::new();
    context
        .args(&input.args)
        .envs(&input.env)
        .stdin(MemoryInputPipe::new(input.stdin.clone()))
        .stdout(stdout.clone())
        .stderr(stderr.clone());
    context
        .preopened_dir(directory, "/", FsPerms::ReadWrite)
        .map_err(other)?;
    let context = context.build_p1();
    let mut linker: Linker<WasiP1Ctx> = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |context| context).map_err(other)?;
    wasmtime_wasi::p0::add_to_linker_sync(&mut linker, |context| context).map_err(other)?;
    let mut store = Store::new(engine, context);
    let instance = linker.instantiate(&mut store, module).map_err(other)?;
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .map_err(other)?;
    let end = match start.call(&mut store, ()) {
        Ok(()) => End::Exit(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => End::Exit(exit.0 as u32),
            None => End::Trap,
        },
    };
    drop(store);
    Ok(Outcome {
        end,
        stdout: stdout.contents().to_vec(),
        stderr: stderr.contents().to_vec(),
        files: BTreeMap::new(),
    })
}

fn other(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:?}")
}

fn walk(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Node>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}/{}", name.to_str().context("a name in UTF-8")?);
        let kind = entry.file_type()?;
        let node = if kind.is_dir() {
            walk(&entry.path(), &path, files)?;
            Node::Directory
        } else if kind.is_symlink() {
            Node::Symlink(fs::read_link(entry.path())?.as_os_str().as_bytes().to_vec())
        } else {
            Node::File(fs::read(entry.path())?)
        };
        files.insert(path, node);
    }
    Ok(())
}

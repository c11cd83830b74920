//! Compiled code that is kept in a directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::{Engine, Module};

use super::limits::TABLE_VERSION;

/// Changes whenever instrumentation changes, so that compiled code of older versions is not used.
const VERSION: &str = "3";

/// A directory of compiled code.
pub struct CodeCache {
    dir: PathBuf,
    /// Compiles sooner than the engine that runs the code, and not as well.
    quick: Option<Engine>,
}

impl CodeCache {
    /// Code in `dir`, which is there. With `quick`, a module that was not seen before is compiled
    /// by that engine.
    pub fn new(dir: PathBuf, quick: Option<Engine>) -> Self {
        CodeCache { dir, quick }
    }

    /// The module `wasm`, whose hash is `hash`, for `engine`.
    ///
    /// What was compiled quickly is compiled well in the background when it is used again: a
    /// program that is run once, or that ends soon, is not worth it.
    pub fn load(&self, engine: &Engine, wasm: &[u8], hash: &[u8; 32]) -> wasmtime::Result<Module> {
        let best = self.path(hash, "cwasm");
        if let Some(module) = self.read(engine, &best) {
            return Ok(module);
        }
        let Some(compiler) = &self.quick else {
            let module = Module::new(engine, wasm)?;
            keep(&best, &module.serialize()?);
            return Ok(module);
        };
        let path = self.path(hash, "quick");
        if let Some(module) = self.read(engine, &path) {
            improve(engine.clone(), wasm.to_vec(), best, path);
            return Ok(module);
        }
        let code = compiler.precompile_module(wasm)?;
        keep(&path, &code);
        // SAFETY: it is what was compiled just now.
        unsafe { Module::deserialize(engine, &code) }
    }

    fn path(&self, hash: &[u8; 32], extension: &str) -> PathBuf {
        self.dir.join(format!(
            "{}-{TABLE_VERSION}-{VERSION}.{extension}",
            hex::encode(hash)
        ))
    }

    fn read(&self, engine: &Engine, path: &Path) -> Option<Module> {
        if !is_private(&self.dir) || !path.is_file() {
            return None;
        }
        // SAFETY: the directory belongs to this user and nobody else may write to it, so the
        // file is one that `keep` wrote; wasmtime checks version and settings.
        match unsafe { Module::deserialize_file(engine, path) } {
            Ok(module) => Some(module),
            Err(e) => {
                tracing::debug!("compiled code in {} not used: {e:#}", path.display());
                None
            }
        }
    }
}

/// Writes compiled code. The cache only saves time: failing to write it must not fail an
/// installation.
fn keep(path: &Path, code: &[u8]) {
    static FILES: AtomicU64 = AtomicU64::new(0);
    // A name of its own, also beside other threads: what is renamed has to be whole.
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("tmp{}-{number}", std::process::id()));
    let written = std::fs::write(&temporary, code);
    if let Err(e) = written.and_then(|()| std::fs::rename(&temporary, path)) {
        tracing::warn!("cannot keep compiled code in {}: {e}", path.display());
    }
}

/// Compiles `wasm` well, beside whatever else goes on, for who comes next. Ends with the process.
fn improve(engine: Engine, wasm: Vec<u8>, best: PathBuf, quick: PathBuf) {
    let work = move || match engine.precompile_module(&wasm) {
        Ok(code) => {
            keep(&best, &code);
            // It is not looked for any more.
            let _ = std::fs::remove_file(quick);
        }
        Err(e) => tracing::warn!("cannot compile once more: {e:#}"),
    };
    let thread = std::thread::Builder::new().name("icwasi-compiler".to_owned());
    if let Err(e) = thread.spawn(work) {
        tracing::debug!("nothing is compiled in the background: {e}");
    }
}

/// Whether only this user may write to `dir`.
fn is_private(dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(dir)
        .is_ok_and(|m| m.uid() == rustix::process::geteuid().as_raw() && m.mode() & 0o022 == 0)
}

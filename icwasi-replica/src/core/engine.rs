//! wasmtime as the IC sets it up, and modules compiled for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, InstancePre, Linker, OptLevel, WasmFeatures};

use super::code_cache::CodeCache;
use super::heap::{GUARD, HeapCreator, RESERVATION};
use super::hooks::CoreConfig;
use super::instrument::{Instrumented, instrument};
use super::limits::Limits;
use super::system_api::{self, Host};
use super::types::{CoreError, UserError};
use super::validate::{self, ModuleInfo};
use ic_error_types::ErrorCode;

/// A module that may be run, shared by all canisters that have it.
pub struct CompiledModule {
    /// Entry points and metadata.
    pub info: ModuleInfo,
    /// Linked; instances are made from it.
    pub pre: InstancePre<Host>,
    /// Initial contents of the heap: offset and bytes.
    pub data: Vec<(u64, Box<[u8]>)>,
    /// Initial size of the heap in bytes; `None`: no memory.
    pub memory_bytes: Option<u64>,
    /// Indices of mutable globals.
    pub mutable_globals: Vec<u32>,
    /// Whether an instance may serve one message only.
    pub single_use: bool,
    /// Operators for the compile charge.
    pub charged_operators: u64,
}

/// The compiler and its cache.
pub struct WasmEngine {
    engine: Engine,
    linker32: Linker<Host>,
    linker64: Linker<Host>,
    cache: Option<CodeCache>,
    modules: Mutex<HashMap<[u8; 32], Arc<CompiledModule>>>,
}

fn config(limits: &Limits) -> Config {
    let mut c = Config::new();
    // Everything that wasmtime may switch on by itself is set here, so that a new version of it
    // does not change what is accepted. Validation refuses the same before.
    c.wasm_features(WasmFeatures::all(), false);
    for feature in [
        WasmFeatures::MUTABLE_GLOBAL,
        WasmFeatures::SATURATING_FLOAT_TO_INT,
        WasmFeatures::SIGN_EXTENSION,
        WasmFeatures::REFERENCE_TYPES,
        WasmFeatures::MULTI_VALUE,
        WasmFeatures::BULK_MEMORY,
        WasmFeatures::SIMD,
        WasmFeatures::FLOATS,
        WasmFeatures::MEMORY64,
        WasmFeatures::TAIL_CALL,
    ] {
        c.wasm_features(feature, true);
    }
    c.cranelift_nan_canonicalization(true);
    c.cranelift_opt_level(OptLevel::Speed);
    c.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    c.generate_address_map(true);
    // Fibers are not used, but the configuration has to fit together.
    c.async_stack_size(limits.wasm_stack_bytes.saturating_add(1 << 20));
    c.max_wasm_stack(limits.wasm_stack_bytes);
    c.memory_reservation(RESERVATION as u64);
    c.memory_guard_size(GUARD as u64);
    c.guard_before_linear_memory(false);
    c.memory_may_move(true);
    c.memory_init_cow(false);
    c.with_host_memory(Arc::new(HeapCreator));
    #[cfg(target_vendor = "apple")]
    c.macos_use_mach_ports(false);
    c
}

/// The same semantics, compiled in three quarters of the time.
fn quick(mut c: Config) -> Config {
    c.cranelift_opt_level(OptLevel::None);
    c
}

impl WasmEngine {
    /// Sets up the compiler.
    pub fn new(core: &CoreConfig) -> Result<Self, CoreError> {
        let limits = &core.limits;
        let fail = |e: wasmtime::Error| CoreError::Engine(format!("{e:#}"));
        let engine = Engine::new(&config(limits)).map_err(fail)?;
        let linker32 = system_api::linker::<i32>(&engine).map_err(fail)?;
        let linker64 = system_api::linker::<i64>(&engine).map_err(fail)?;
        let cache = match &core.compile_cache {
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(|source| CoreError::Io {
                    what: format!("cannot create {}", dir.display()),
                    source,
                })?;
                let quick = || Engine::new(&quick(config(limits))).map_err(fail);
                let quick = core.quick_compile.then(quick).transpose()?;
                Some(CodeCache::new(dir.clone(), quick))
            }
            None => None,
        };
        Ok(WasmEngine {
            engine,
            linker32,
            linker64,
            cache,
            modules: Mutex::default(),
        })
    }

    /// The engine of all stores.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Validates, instruments and compiles a plain module. The flag says whether it was compiled
    /// in this run before.
    pub fn compile(
        &self,
        wasm: &[u8],
        limits: &Limits,
    ) -> Result<(Arc<CompiledModule>, bool), UserError> {
        let hash: [u8; 32] = Sha256::digest(wasm).into();
        let mut modules = match self.modules.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(module) = modules.get(&hash) {
            return Ok((module.clone(), true));
        }
        let info = validate::validate(wasm, limits)?;
        let internal = |why: String| {
            UserError::new(
                ErrorCode::CanisterInvalidWasm,
                format!("Canister's Wasm module is not valid: {why}"),
            )
        };
        let instrumented = instrument(wasm).map_err(|e| internal(e.to_string()))?;
        let module = self
            .load(&instrumented, &hash)
            .map_err(|e| internal(format!("{e:#}")))?;
        let linker = if info.wasm64 {
            &self.linker64
        } else {
            &self.linker32
        };
        let pre = linker
            .instantiate_pre(&module)
            .map_err(|e| internal(format!("{e:#}")))?;
        let compiled = Arc::new(CompiledModule {
            info,
            pre,
            data: instrumented
                .data
                .iter()
                .map(|(offset, range)| (*offset, wasm[range.clone()].into()))
                .collect(),
            memory_bytes: instrumented
                .memory
                .map(|(min, _)| min * super::limits::WASM_PAGE),
            mutable_globals: instrumented.mutable_globals,
            single_use: instrumented.drops_data,
            charged_operators: instrumented.charged_operators,
        });
        // Modules that no canister has any more are dropped when a new one comes.
        modules.retain(|_, m| Arc::strong_count(m) > 1);
        modules.insert(hash, compiled.clone());
        Ok((compiled, false))
    }

    fn load(&self, module: &Instrumented, hash: &[u8; 32]) -> wasmtime::Result<wasmtime::Module> {
        match &self.cache {
            Some(cache) => cache.load(&self.engine, &module.wasm, hash),
            None => wasmtime::Module::new(&self.engine, &module.wasm),
        }
    }
}

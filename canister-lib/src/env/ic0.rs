//! The System API: the only calls to it in the library, stable memory apart (which
//! `ic_stable_structures` reads and writes).

use super::Env;

/// The Internet Computer.
#[derive(Debug, Default)]
pub struct Ic0(());

impl Ic0 {
    /// The platform.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

#[link(wasm_import_module = "icwasi_link")]
unsafe extern "C" {
    safe fn config_size() -> u32;
    fn config_copy(dst: *mut u8);
}

impl Env for Ic0 {
    fn now(&self) -> u64 {
        ::ic0::time()
    }

    fn instructions(&self) -> u64 {
        ::ic0::performance_counter(0)
    }

    fn print(&self, line: &[u8]) {
        ::ic0::debug_print(line);
    }

    fn trap(&self, message: &[u8]) -> ! {
        ::ic0::trap(message)
    }

    fn caller(&self) -> Vec<u8> {
        let mut bytes = vec![0; ::ic0::msg_caller_size()];
        ::ic0::msg_caller_copy(&mut bytes, 0);
        bytes
    }

    fn canister_id(&self) -> Vec<u8> {
        let mut bytes = vec![0; ::ic0::canister_self_size()];
        ::ic0::canister_self_copy(&mut bytes, 0);
        bytes
    }

    fn canister_version(&self) -> u64 {
        ::ic0::canister_version()
    }

    fn is_replicated(&self) -> bool {
        ::ic0::in_replicated_execution() == 1
    }

    fn is_controller(&self, principal: &[u8]) -> bool {
        // The System API traps on what cannot be a principal.
        principal.len() <= 29 && ::ic0::is_controller(principal) == 1
    }

    fn environment(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut variables = Vec::new();
        for index in 0..::ic0::env_var_count() {
            let mut name = vec![0; ::ic0::env_var_name_size(index)];
            ::ic0::env_var_name_copy(index, &mut name, 0);
            // Names are text by the management canister's interface.
            let Ok(text) = core::str::from_utf8(&name) else {
                continue;
            };
            let mut value = vec![0; ::ic0::env_var_value_size(text)];
            ::ic0::env_var_value_copy(text, &mut value, 0);
            variables.push((name, value));
        }
        variables
    }

    fn link_config(&self) -> Vec<u8> {
        let mut bytes = vec![0; config_size() as usize];
        // SAFETY: the linker's `config_copy` writes exactly `config_size()` bytes.
        unsafe { config_copy(bytes.as_mut_ptr()) };
        bytes
    }
}

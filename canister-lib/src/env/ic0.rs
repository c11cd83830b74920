//! The System API: the only calls to it in the library, stable memory apart (which
//! `ic_stable_structures` reads and writes).

use icwasi_types::RESEED_SLOT;

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

#[link(wasm_import_module = "ic0")]
unsafe extern "C" {
    // As in the crate `ic0`, but for the callbacks: there they are functions of this module, which
    // lie in other slots of the table after an upgrade.
    fn call_new(
        callee: *const u8,
        callee_len: usize,
        name: *const u8,
        name_len: usize,
        reply_slot: u32,
        reply_env: u32,
        reject_slot: u32,
        reject_env: u32,
    );
}

/// What a request for random bytes waits for at most, so that it never keeps a canister from
/// stopping for longer.
const RANDOM_TIMEOUT_SECONDS: u32 = 60;

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

    fn request_random(&self) {
        const METHOD: &[u8] = b"raw_rand";
        /// Candid of no arguments.
        const NOTHING: &[u8] = b"DIDL\0\0";
        // SAFETY: the name is readable; the callee is empty, which is the management canister;
        // the slot holds `icwasi.reseeded`, which takes any environment, or, in code that icwasi
        // did not link, nothing: then the callback traps and changes nothing.
        unsafe {
            call_new(
                NOTHING.as_ptr(),
                0,
                METHOD.as_ptr(),
                METHOD.len(),
                RESEED_SLOT,
                0,
                RESEED_SLOT,
                0,
            );
        }
        ::ic0::call_data_append(NOTHING);
        ::ic0::call_with_best_effort_response(RANDOM_TIMEOUT_SECONDS);
        // Not sent if the queue is full or cycles are short: the next try is due later.
        let _ = ::ic0::call_perform();
    }

    fn random_reply(&self) -> Option<Vec<u8>> {
        if ::ic0::msg_reject_code() != 0 {
            return None;
        }
        let mut reply = vec![0; ::ic0::msg_arg_data_size()];
        ::ic0::msg_arg_data_copy(&mut reply, 0);
        Some(reply)
    }

    fn link_config(&self) -> Vec<u8> {
        let mut bytes = vec![0; config_size() as usize];
        // SAFETY: the linker's `config_copy` writes exactly `config_size()` bytes.
        unsafe { config_copy(bytes.as_mut_ptr()) };
        bytes
    }
}

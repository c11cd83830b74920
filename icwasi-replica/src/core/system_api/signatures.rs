//! Names and types of everything in `ic0`, version 1.2.0 and the deprecated 32-bit forms.

use wasmparser::ValType;

/// Name, parameters, result. `I`: integer of the memory's width, `i`: i32, `l`: i64.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("msg_arg_data_size", "", "I"),
    ("msg_arg_data_copy", "III", ""),
    ("msg_caller_size", "", "I"),
    ("msg_caller_copy", "III", ""),
    ("msg_caller_info_data_size", "", "I"),
    ("msg_caller_info_data_copy", "III", ""),
    ("msg_caller_info_signer_size", "", "I"),
    ("msg_caller_info_signer_copy", "III", ""),
    ("msg_reject_code", "", "i"),
    ("msg_reject_msg_size", "", "I"),
    ("msg_reject_msg_copy", "III", ""),
    ("msg_deadline", "", "l"),
    ("msg_reply_data_append", "II", ""),
    ("msg_reply", "", ""),
    ("msg_reject", "II", ""),
    ("msg_cycles_available128", "I", ""),
    ("msg_cycles_refunded128", "I", ""),
    ("msg_cycles_accept128", "llI", ""),
    ("cycles_burn128", "llI", ""),
    ("canister_self_size", "", "I"),
    ("canister_self_copy", "III", ""),
    ("canister_cycle_balance128", "I", ""),
    ("canister_liquid_cycle_balance128", "I", ""),
    ("canister_status", "", "i"),
    ("canister_version", "", "l"),
    ("subnet_self_size", "", "I"),
    ("subnet_self_copy", "III", ""),
    ("subnet_self_node_count", "", "i"),
    ("msg_method_name_size", "", "I"),
    ("msg_method_name_copy", "III", ""),
    ("accept_message", "", ""),
    ("call_new", "IIIIIIII", ""),
    ("call_on_cleanup", "II", ""),
    ("call_data_append", "II", ""),
    ("call_with_best_effort_response", "i", ""),
    ("call_cycles_add128", "ll", ""),
    ("call_perform", "", "i"),
    ("stable64_size", "", "l"),
    ("stable64_grow", "l", "l"),
    ("stable64_write", "lll", ""),
    ("stable64_read", "lll", ""),
    ("root_key_size", "", "I"),
    ("root_key_copy", "III", ""),
    ("certified_data_set", "II", ""),
    ("data_certificate_present", "", "i"),
    ("data_certificate_size", "", "I"),
    ("data_certificate_copy", "III", ""),
    ("time", "", "l"),
    ("global_timer_set", "l", "l"),
    ("performance_counter", "i", "l"),
    ("is_controller", "II", "i"),
    ("in_replicated_execution", "", "i"),
    ("cost_call", "llI", ""),
    ("cost_create_canister", "I", ""),
    ("cost_http_request", "llI", ""),
    ("cost_http_request_v2", "III", ""),
    ("cost_sign_with_ecdsa", "IIiI", "i"),
    ("cost_sign_with_schnorr", "IIiI", "i"),
    ("cost_vetkd_derive_key", "IIiI", "i"),
    ("env_var_count", "", "I"),
    ("env_var_name_size", "I", "I"),
    ("env_var_name_copy", "IIII", ""),
    ("env_var_name_exists", "II", "i"),
    ("env_var_value_size", "II", "I"),
    ("env_var_value_copy", "IIIII", ""),
    ("debug_print", "II", ""),
    ("trap", "II", ""),
];

/// Only for canisters with 32-bit memory.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("stable_size", "", "i"),
    ("stable_grow", "i", "i"),
    ("stable_read", "iii", ""),
    ("stable_write", "iii", ""),
    ("msg_cycles_available", "", "l"),
    ("msg_cycles_refunded", "", "l"),
    ("msg_cycles_accept", "l", "l"),
    ("call_cycles_add", "l", ""),
    ("canister_cycle_balance", "", "l"),
];

/// Type of `ic0.name`; `None` if there is no such function for this width of memory.
pub fn signature(name: &str, wasm64: bool) -> Option<(Vec<ValType>, Vec<ValType>)> {
    let find = |table: &'static [(&'static str, &'static str, &'static str)]| {
        table.iter().find(|(n, _, _)| *n == name)
    };
    let (_, params, results) =
        find(FUNCTIONS).or_else(|| if wasm64 { None } else { find(DEPRECATED) })?;
    let types = |letters: &str| {
        letters
            .chars()
            .map(|c| match c {
                'I' if wasm64 => ValType::I64,
                'l' => ValType::I64,
                _ => ValType::I32,
            })
            .collect()
    };
    Some((types(params), types(results)))
}

/// All names, for checks that each is linked.
#[cfg(test)]
pub fn names(wasm64: bool) -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().chain(if wasm64 { &[][..] } else { DEPRECATED }).map(|f| f.0)
}

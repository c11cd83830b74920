//! The System API: every function that the IC lets a module import, for 32-bit memories.
//!
//! Deprecated forms are in it; the IC still has them.

use wasmparser::{FuncType, ValType};

/// Name, parameters and results: `i` for i32, `l` for i64.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("accept_message", "", ""),
    ("call_cycles_add", "l", ""),
    ("call_cycles_add128", "ll", ""),
    ("call_data_append", "ii", ""),
    ("call_new", "iiiiiiii", ""),
    ("call_on_cleanup", "ii", ""),
    ("call_perform", "", "i"),
    ("call_with_best_effort_response", "i", ""),
    ("canister_cycle_balance", "", "l"),
    ("canister_cycle_balance128", "i", ""),
    ("canister_liquid_cycle_balance128", "i", ""),
    ("canister_self_copy", "iii", ""),
    ("canister_self_size", "", "i"),
    ("canister_status", "", "i"),
    ("canister_version", "", "l"),
    ("certified_data_set", "ii", ""),
    ("cost_call", "lli", ""),
    ("cost_create_canister", "i", ""),
    ("cost_http_request", "lli", ""),
    ("cost_http_request_v2", "iii", ""),
    ("cost_sign_with_ecdsa", "iiii", "i"),
    ("cost_sign_with_schnorr", "iiii", "i"),
    ("cost_vetkd_derive_key", "iiii", "i"),
    ("cycles_burn128", "lli", ""),
    ("data_certificate_copy", "iii", ""),
    ("data_certificate_present", "", "i"),
    ("data_certificate_size", "", "i"),
    ("debug_print", "ii", ""),
    ("env_var_count", "", "i"),
    ("env_var_name_copy", "iiii", ""),
    ("env_var_name_exists", "ii", "i"),
    ("env_var_name_size", "i", "i"),
    ("env_var_value_copy", "iiiii", ""),
    ("env_var_value_size", "ii", "i"),
    ("global_timer_set", "l", "l"),
    ("in_replicated_execution", "", "i"),
    ("is_controller", "ii", "i"),
    ("mint_cycles128", "lli", ""),
    ("msg_arg_data_copy", "iii", ""),
    ("msg_arg_data_size", "", "i"),
    ("msg_caller_copy", "iii", ""),
    ("msg_caller_info_data_copy", "iii", ""),
    ("msg_caller_info_data_size", "", "i"),
    ("msg_caller_info_signer_copy", "iii", ""),
    ("msg_caller_info_signer_size", "", "i"),
    ("msg_caller_size", "", "i"),
    ("msg_cycles_accept", "l", "l"),
    ("msg_cycles_accept128", "lli", ""),
    ("msg_cycles_available", "", "l"),
    ("msg_cycles_available128", "i", ""),
    ("msg_cycles_refunded", "", "l"),
    ("msg_cycles_refunded128", "i", ""),
    ("msg_deadline", "", "l"),
    ("msg_method_name_copy", "iii", ""),
    ("msg_method_name_size", "", "i"),
    ("msg_reject", "ii", ""),
    ("msg_reject_code", "", "i"),
    ("msg_reject_msg_copy", "iii", ""),
    ("msg_reject_msg_size", "", "i"),
    ("msg_reply", "", ""),
    ("msg_reply_data_append", "ii", ""),
    ("performance_counter", "i", "l"),
    ("root_key_copy", "iii", ""),
    ("root_key_size", "", "i"),
    ("stable64_grow", "l", "l"),
    ("stable64_read", "lll", ""),
    ("stable64_size", "", "l"),
    ("stable64_write", "lll", ""),
    ("stable_grow", "i", "i"),
    ("stable_read", "iii", ""),
    ("stable_size", "", "i"),
    ("stable_write", "iii", ""),
    ("subnet_self_copy", "iii", ""),
    ("subnet_self_node_count", "", "i"),
    ("subnet_self_size", "", "i"),
    ("time", "", "l"),
    ("trap", "ii", ""),
];

/// The type of an `ic0` function; `None` if there is none of this name.
pub(crate) fn signature(name: &str) -> Option<FuncType> {
    let at = FUNCTIONS.binary_search_by_key(&name, |f| f.0).ok()?;
    let types = |text: &'static str| {
        text.bytes().map(|b| {
            if b == b'i' {
                ValType::I32
            } else {
                ValType::I64
            }
        })
    };
    Some(FuncType::new(
        types(FUNCTIONS[at].1),
        types(FUNCTIONS[at].2),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_types_are_known_letters() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].0 < w[1].0));
        let letters = |text: &str| text.bytes().all(|b| b == b'i' || b == b'l');
        assert!(FUNCTIONS.iter().all(|f| letters(f.1) && letters(f.2)));
        assert_eq!(
            signature("stable64_write"),
            Some(FuncType::new([ValType::I64; 3], []))
        );
        assert_eq!(signature("stable64_writ"), None);
    }
}

//! Canisters that lie: they answer methods with bytes chosen by the test, whatever was asked.

use std::fmt::Write;

/// How a method is exported.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `canister_query`
    Query,
    /// `canister_update`
    Update,
}

/// A module in text form that answers each of `methods` with its bytes.
pub fn canned(methods: &[(&str, Kind, Vec<u8>)]) -> String {
    let mut functions = String::new();
    let mut data = String::new();
    let mut offset = 0;
    for (index, (name, kind, reply)) in methods.iter().enumerate() {
        let kind = match kind {
            Kind::Query => "canister_query",
            Kind::Update => "canister_update",
        };
        let length = reply.len();
        // Writing to a String cannot fail.
        let _ = write!(
            functions,
            "(func $f{index} (export \"{kind} {name}\")
               (call $append (i32.const {offset}) (i32.const {length})) (call $reply))\n"
        );
        let bytes: String = reply.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(data, "(data (i32.const {offset}) \"{bytes}\")");
        offset += length;
    }
    let pages = offset / 65_536 + 1;
    format!(
        "(module
           (import \"ic0\" \"msg_reply_data_append\" (func $append (param i32 i32)))
           (import \"ic0\" \"msg_reply\" (func $reply))
           (memory {pages})
           {functions}{data})"
    )
}

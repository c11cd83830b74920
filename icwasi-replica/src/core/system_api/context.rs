//! In which kinds of execution a System API function may be called.

/// A set of execution kinds; a message is of exactly one.
pub type Contexts = u16;

/// `start`
pub const START: Contexts = 1;
/// `canister_init`, `canister_post_upgrade`
pub const INIT: Contexts = 1 << 1;
/// `canister_pre_upgrade`
pub const PRE_UPGRADE: Contexts = 1 << 2;
/// Update method
pub const UPDATE: Contexts = 1 << 3;
/// Query method called as an update
pub const REPLICATED_QUERY: Contexts = 1 << 4;
/// Query method
pub const QUERY: Contexts = 1 << 5;
/// Composite query method
pub const COMPOSITE_QUERY: Contexts = 1 << 6;
/// Reply callback
pub const REPLY: Contexts = 1 << 7;
/// Reject callback
pub const REJECT: Contexts = 1 << 8;
/// Reply callback of a composite query
pub const COMPOSITE_REPLY: Contexts = 1 << 9;
/// Reject callback of a composite query
pub const COMPOSITE_REJECT: Contexts = 1 << 10;
/// Cleanup callback
pub const CLEANUP: Contexts = 1 << 11;
/// `canister_inspect_message`
pub const INSPECT: Contexts = 1 << 12;
/// Heartbeat, global timer, `canister_on_low_wasm_memory`
pub const SYSTEM: Contexts = 1 << 13;
/// Cleanup callback of a composite query
pub const COMPOSITE_CLEANUP: Contexts = 1 << 14;

/// Everything.
pub const ALWAYS: Contexts = (1 << 15) - 1;
/// Everything but `start`.
pub const NOT_START: Contexts = ALWAYS & !START;
/// Callbacks of updates.
pub const CALLBACK: Contexts = REPLY | REJECT;
/// Callbacks of composite queries.
pub const COMPOSITE_CALLBACK: Contexts = COMPOSITE_REPLY | COMPOSITE_REJECT;
/// Query methods.
pub const QUERIES: Contexts = REPLICATED_QUERY | QUERY | COMPOSITE_QUERY;
/// What may answer a call.
pub const ANSWERING: Contexts = UPDATE | QUERIES | CALLBACK | COMPOSITE_CALLBACK;
/// What changes state and is not a query's.
pub const REPLICATED: Contexts =
    INIT | PRE_UPGRADE | UPDATE | REPLICATED_QUERY | CALLBACK | CLEANUP | SYSTEM;

/// The name that errors use.
pub fn name(context: Contexts) -> &'static str {
    match context {
        START => "start",
        INIT => "init",
        PRE_UPGRADE => "pre upgrade",
        UPDATE => "update",
        REPLICATED_QUERY => "replicated query",
        QUERY => "non replicated query",
        COMPOSITE_QUERY => "composite query",
        REPLY => "reply callback",
        REJECT => "reject callback",
        COMPOSITE_REPLY => "composite reply callback",
        COMPOSITE_REJECT => "composite reject callback",
        CLEANUP => "cleanup",
        INSPECT => "inspect message",
        SYSTEM => "system task",
        COMPOSITE_CLEANUP => "composite cleanup",
        _ => "unknown",
    }
}

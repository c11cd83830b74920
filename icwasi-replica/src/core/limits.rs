//! The one table of limits and fees of the platform that is emulated.
//!
//! Sources: "spec" is the IC interface specification 0.66; "limits doc" the page of resource
//! limits, "fees doc" the page of cycle costs; "code" the reference implementation in 2026 where
//! it is ahead of the documents. Instruction costs of operators and System API functions are in
//! [`super::costs`].

/// Version of this table and of [`super::costs`]; shown by `icwasi replica status`.
pub const TABLE_VERSION: &str = "2026-11";

/// Size of a page of wasm memory and of stable memory.
pub const WASM_PAGE: u64 = 65_536;
/// Granularity of dirty-page fees and of access limits on stable memory.
pub const OS_PAGE: u64 = 4_096;

/// Limits of an application subnet with 13 nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Update, callback, heartbeat, timer (limits doc).
    pub update_instructions: u64,
    /// Query, and each node of a composite query (limits doc).
    pub query_instructions: u64,
    /// Install, reinstall, upgrade: start, init and hooks together (limits doc).
    pub install_instructions: u64,
    /// `canister_inspect_message` (code).
    pub inspect_instructions: u64,
    /// Depth of a composite query's call tree (code).
    pub composite_query_depth: usize,
    /// All nodes of a composite query's call tree together (code). The reference also bounds the
    /// wall-clock time of a tree to 10 s; this does not, since results must not depend on it.
    pub composite_query_instructions: u64,
    /// What each call of a composite query takes from that (code).
    pub composite_query_call_overhead: u64,
    /// Ingress message (limits doc).
    pub ingress_bytes: usize,
    /// Request between canisters of one subnet (limits doc).
    pub xnet_request_bytes: usize,
    /// Reply of a replicated message (limits doc).
    pub reply_bytes: usize,
    /// Reply of a query that one node answers (limits doc).
    pub query_reply_bytes: usize,
    /// `certified_data_set` (spec).
    pub certified_data_bytes: usize,
    /// Requests waiting between a pair of canisters (limits doc).
    pub queue_capacity: usize,
    /// Heap of a canister with 32-bit memory.
    pub wasm32_memory_bytes: u64,
    /// Heap of a canister with 64-bit memory (limits doc). The reference has larger ones in 2026,
    /// of which a message may access this much; here a message may access all of it.
    pub wasm64_memory_bytes: u64,
    /// Stable memory, in pages of 64 KiB: 500 GiB (limits doc).
    pub stable_pages: u64,
    /// `wasm_memory_limit` of a new canister (code; the spec has none).
    pub default_wasm_memory_limit: u64,
    /// Stable memory that an update, callback or timer may dirty, and as much access (code).
    pub stable_access_update_bytes: u64,
    /// The same for install and upgrade (code).
    pub stable_access_install_bytes: u64,
    /// The same for queries (code).
    pub stable_access_query_bytes: u64,
    /// Module after decompression (code).
    pub module_bytes: usize,
    /// Code section (code; the limits doc says 10 MiB).
    pub code_section_bytes: usize,
    /// Functions defined in a module (limits doc).
    pub functions: usize,
    /// Globals of a module (limits doc).
    pub globals: usize,
    /// Operators of one function (code).
    pub function_operators: usize,
    /// Weighted complexity of one function (code).
    pub function_complexity: u64,
    /// `icp:` custom sections (limits doc).
    pub custom_sections: usize,
    /// Bytes of all `icp:` custom sections (limits doc).
    pub custom_sections_bytes: usize,
    /// Exported update, query and composite query methods (code).
    pub exported_methods: usize,
    /// Characters of their names together (code).
    pub exported_method_name_chars: usize,
    /// Chunks of the chunk store (spec).
    pub chunk_store_chunks: usize,
    /// Bytes of a chunk (spec).
    pub chunk_bytes: usize,
    /// Controllers of a canister (spec).
    pub controllers: usize,
    /// Canister log kept by default (spec).
    pub log_bytes: usize,
    /// Largest `log_memory_limit` (spec).
    pub log_bytes_max: usize,
    /// Environment variables (spec).
    pub env_vars: usize,
    /// Bytes of a variable's name, and of its value (spec).
    pub env_var_bytes: usize,
    /// Snapshots of one canister (spec).
    pub snapshots: usize,
    /// `call_with_best_effort_response` timeout, seconds (spec).
    pub best_effort_timeout_max: u32,
    /// Stack of the guest's calls before it traps. The reference gives 5 MiB; the thread that
    /// runs [`super::Core`] needs half a MiB more than this, so who sets more must give it more.
    pub wasm_stack_bytes: usize,
    /// Instructions after which a message pauses for queries that wait. Nobody can tell from
    /// inside. The reference pauses after two billion.
    pub slice_instructions: u64,
    /// What managing canisters is charged as, and how fast it may be done.
    pub management: ManagementLimits,
    /// Fees.
    pub fees: Fees,
}

/// Instructions that methods of the management canister are charged as, and limits of rate (code).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementLimits {
    /// `upload_chunk`.
    pub upload_chunk_instructions: u64,
    /// Taking or loading a snapshot; one more for each byte.
    pub snapshot_instructions: u64,
    /// Reading or writing a slice of a snapshot; one more for each byte.
    pub snapshot_slice_instructions: u64,
    /// Whether the limits of rate below hold. They are there to share a subnet with others;
    /// where canisters are developed and tested, they only make one wait.
    pub rate_limited: bool,
    /// What drains of a canister's debts in a second (a round): instructions of installations.
    /// While some are left, no code can be installed.
    pub install_instructions_per_second: u64,
    /// The same for bytes that chunks and snapshots wrote. While a second's worth and more is
    /// left, no further ones are taken.
    pub heap_delta_bytes_per_second: u64,
}

/// Fees in cycles, for 13 nodes (fees doc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Whether messages, storage and calls are charged to canisters at all.
    pub charge: bool,
    /// Nodes of the subnet that is emulated.
    pub nodes: u32,
    /// An ingress message.
    pub ingress: u128,
    /// A byte of it.
    pub ingress_byte: u128,
    /// Base of an update message.
    pub update: u128,
    /// Ten instructions.
    pub ten_instructions: u128,
    /// A call to another canister.
    pub xnet_call: u128,
    /// A byte of request or reply.
    pub xnet_byte: u128,
    /// Creating a canister.
    pub create_canister: u128,
    /// A GiB for a second (fees doc; the code of 2026 has 317,500).
    pub gib_second: u128,
    /// A percent of compute allocation for a second.
    pub compute_percent_second: u128,
    /// How much dearer an instruction is with 64-bit memory (code).
    pub wasm64_factor: u128,
    /// `http_request` outcall: base, and per node.
    pub http_base: u128,
    /// Added per node, times nodes.
    pub http_per_node: u128,
    /// Byte of request, per node.
    pub http_request_byte: u128,
    /// Byte of response, per node.
    pub http_response_byte: u128,
    /// Threshold ECDSA or Schnorr signature with a production key.
    pub sign_prod: u128,
    /// The same with a test key.
    pub sign_test: u128,
    /// vetKD derivation with a production key.
    pub vetkd_prod: u128,
    /// The same with a test key.
    pub vetkd_test: u128,
}

impl Default for Fees {
    fn default() -> Self {
        Fees {
            charge: false,
            nodes: 13,
            ingress: 1_200_000,
            ingress_byte: 2_000,
            update: 5_000_000,
            ten_instructions: 10,
            xnet_call: 260_000,
            xnet_byte: 1_000,
            create_canister: 500_000_000_000,
            gib_second: 127_000,
            compute_percent_second: 10_000_000,
            wasm64_factor: 2,
            http_base: 3_000_000,
            http_per_node: 60_000,
            http_request_byte: 400,
            http_response_byte: 800,
            sign_prod: 26_153_846_153,
            sign_test: 10_000_000_000,
            vetkd_prod: 26_153_846_153,
            vetkd_test: 10_000_000_000,
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            update_instructions: 40_000_000_000,
            query_instructions: 5_000_000_000,
            install_instructions: 300_000_000_000,
            inspect_instructions: 200_000_000,
            composite_query_depth: 6,
            composite_query_instructions: 5_000_000_000,
            composite_query_call_overhead: 50_000_000,
            ingress_bytes: (2 * MIB) as usize,
            xnet_request_bytes: (10 * MIB) as usize,
            reply_bytes: (2 * MIB) as usize,
            query_reply_bytes: (3 * MIB) as usize,
            certified_data_bytes: 32,
            queue_capacity: 500,
            wasm32_memory_bytes: 4 * GIB,
            wasm64_memory_bytes: 6 * GIB,
            stable_pages: 500 * GIB / WASM_PAGE,
            default_wasm_memory_limit: 3 * GIB,
            stable_access_update_bytes: 2 * GIB,
            stable_access_install_bytes: 8 * GIB,
            stable_access_query_bytes: GIB,
            module_bytes: (100 * MIB) as usize,
            code_section_bytes: (12 * MIB) as usize,
            functions: 50_000,
            globals: 1_000,
            function_operators: 1_000_000,
            function_complexity: 1_000_000,
            custom_sections: 16,
            custom_sections_bytes: MIB as usize,
            exported_methods: 1_000,
            exported_method_name_chars: 20_000,
            chunk_store_chunks: 100,
            chunk_bytes: MIB as usize,
            controllers: 10,
            log_bytes: (4 * KIB) as usize,
            log_bytes_max: (2 * MIB) as usize,
            env_vars: 20,
            env_var_bytes: 128,
            snapshots: 10,
            best_effort_timeout_max: 300,
            wasm_stack_bytes: MIB as usize,
            slice_instructions: 20_000_000,
            management: ManagementLimits {
                upload_chunk_instructions: 200_000_000,
                snapshot_instructions: 2_000_000_000,
                snapshot_slice_instructions: 5_000_000,
                rate_limited: false,
                install_instructions_per_second: 2_000_000_000,
                heap_delta_bytes_per_second: 75 * MIB,
            },
            fees: Fees::default(),
        }
    }
}

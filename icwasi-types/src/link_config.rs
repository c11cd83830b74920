use candid::CandidType;
use serde::Deserialize;

/// The table's slot in which every canister has the function that takes random bytes from the
/// management canister. Always the same one: an answer may arrive after an upgrade, and the
/// Internet Computer then calls what lies in that slot of the new code.
pub const RESEED_SLOT: u32 = 65_535;

/// Version of [`LinkConfig`]'s meaning.
pub const LINK_CONFIG_VERSION: u16 = 1;

/// What the linker was told about a canister: candid-encoded into the module, where the
/// canister library reads it once.
#[derive(Clone, Debug, Default, PartialEq, Eq, CandidType, Deserialize)]
pub struct LinkConfig {
    /// [`LINK_CONFIG_VERSION`] of the linker.
    pub version: u16,
    /// Arguments of the program, the program's name first.
    pub args: Vec<String>,
    /// Environment variables: name and value.
    pub env: Vec<(String, String)>,
    /// Most bytes that the file system may use.
    pub quota_bytes: Option<u64>,
}

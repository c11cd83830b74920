//! The library asks the management canister for random bytes at the end of updates, and takes the
//! answer in a callback.
//!
//! A callback is known to the IC by its slot in the table. If the canister is upgraded before the
//! answer arrives, the IC calls what lies in that slot of the *new* code. So the callback lies in
//! the same slot of every canister that this linker makes, behind all others: at worst it is given
//! random bytes that an older version asked for.

use wasmparser::{RefType, ValType};

use super::encode::{sleb, uleb};
use super::error::LinkError;
use super::plan::{Plan, Target};
use icwasi_types::RESEED_SLOT;

/// The functions of the library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reseed {
    /// Called at the end of every message that may call other canisters.
    pub ask: Target,
    /// The callback.
    pub answer: Target,
}

impl Reseed {
    /// Size of the table with the callback in it.
    pub const TABLE_SIZE: u64 = RESEED_SLOT as u64 + 1;

    /// `None` if the library has no such functions (an older one in a module that is rewired), or
    /// if the slot is taken: a table of 65,536 slots, or of something else than functions.
    pub fn new(plan: &Plan<'_>) -> Result<Option<Self>, LinkError> {
        let slots = match (plan.layout, plan.guest.tables.first()) {
            (_, Some(table)) if table.ty.element_type != RefType::FUNCREF => return Ok(None),
            (Some(layout), _) => layout.table_size.into(),
            (None, Some(table)) => table.ty.initial,
            (None, None) => 0,
        };
        if slots >= Self::TABLE_SIZE || plan.find("icwasi.reseed").is_none() {
            return Ok(None);
        }
        Ok(Some(Reseed {
            ask: plan.require("icwasi.reseed", &[], &[])?,
            answer: plan.require("icwasi.reseeded", &[ValType::I32], &[])?,
        }))
    }

    /// The element segment, `answer` being the output's function index.
    pub fn element(answer: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0, 0x41]);
        sleb(out, i64::from(RESEED_SLOT));
        out.extend_from_slice(&[0x0b, 1]);
        uleb(out, answer.into());
    }
}

/// Whether the IC lets an entry point call other canisters.
pub(crate) fn may_call(export: &str) -> bool {
    export.starts_with("canister_update ")
        || matches!(
            export,
            "canister_heartbeat" | "canister_global_timer" | "canister_on_low_wasm_memory"
        )
}

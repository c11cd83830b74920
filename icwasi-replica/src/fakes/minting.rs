//! The cycles minting canister: where canisters are created.

use super::encode;
use crate::core::{Core, UserError};

pub fn query(core: &Core, method: &str) -> Result<Option<Vec<u8>>, UserError> {
    match method {
        "get_default_subnets" => encode((vec![core.subnet_id()],)),
        _ => Ok(None),
    }
}

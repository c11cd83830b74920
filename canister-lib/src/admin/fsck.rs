//! Checking the file system of a running canister.

use ic_stable_structures::Memory;
use icwasi_types::{AdminError, CheckedPart, Finding};
use serde_bytes::ByteBuf;

use crate::fs::{Fs, Part, PartSize, ResumeError};

/// Instructions after which a step ends. The IC allows a query 5 billion, and this method as an
/// update 40 billion.
const STEP_INSTRUCTIONS: u64 = 3_000_000_000;

/// Pieces of work between two looks at the counter, which cost more than the smallest pieces.
const PIECES: u32 = 16;

/// Verifies part `part` of a check, from the start or from where the step ended that gave `rest`,
/// for `limit` instructions, at most 3 billion; a step does something even if it is 0. `spent`:
/// instructions that the message used so far. Changes nothing. If the file system was used since
/// that step, `next` is this part and there is no `rest`: it has to start anew.
pub fn fsck<M: Memory>(
    fs: &mut Fs<M>,
    part: u32,
    rest: Option<&[u8]>,
    limit: Option<u64>,
    spent: fn() -> u64,
) -> Result<CheckedPart, AdminError> {
    let size = PartSize::SMALL;
    let parts = fs.check_parts(size);
    let limit = limit.unwrap_or(STEP_INSTRUCTIONS).min(STEP_INSTRUCTIONS);
    let mut pieces = 0;
    let mut go_on = || {
        pieces += 1;
        pieces % PIECES != 0 || spent() < limit
    };
    let part = Part { index: part, size };
    let step = match fs.check_step(part, rest, &mut go_on) {
        Ok(step) => step,
        Err(ResumeError::Changed) => {
            return Ok(CheckedPart {
                findings: Vec::new(),
                next: Some(part.index),
                parts,
                rest: None,
            });
        }
        Err(ResumeError::Invalid) => {
            let message = "rest: not of an earlier step of this part";
            return Err(AdminError::InvalidArgument(message.into()));
        }
    };
    let next = match step.rest {
        Some(_) => Some(part.index),
        None => part.index.checked_add(1).filter(|next| *next < parts),
    };
    let findings = step.findings.into_iter();
    Ok(CheckedPart {
        findings: findings
            .map(|finding| Finding {
                invariant: finding.invariant.number(),
                subject: finding.subject,
                detail: finding.detail.into(),
            })
            .collect(),
        next,
        parts,
        rest: step.rest.map(ByteBuf::from),
    })
}

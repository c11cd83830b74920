//! Checking the file system of a running canister.

use ic_stable_structures::Memory;
use icwasi_types::{AdminError, CheckedPart, Finding};

use crate::fs::{Fs, PartSize};

/// Verifies part `part` of a check. Changes nothing.
pub fn fsck<M: Memory>(fs: &mut Fs<M>, part: u32) -> Result<CheckedPart, AdminError> {
    let size = PartSize::SMALL;
    let parts = fs.check_parts(size);
    let findings = fs.check_part(part, size).into_iter();
    Ok(CheckedPart {
        findings: findings
            .map(|finding| Finding {
                invariant: finding.invariant.number(),
                subject: finding.subject,
                detail: finding.detail.into(),
            })
            .collect(),
        next: part.checked_add(1).filter(|next| *next < parts),
        parts,
    })
}

//! The bodies of the guest, rewritten on all cores.

use super::body::BodyRewriter;
use super::error::LinkError;
use super::plan::Plan;
use super::threads;

/// Bytes of code below which a thread is not worth its start.
const SMALL: usize = 256 << 10;

/// Rewrites all bodies of the guest and appends them to `out`, each with its size.
pub(super) fn rewrite(
    plan: &Plan<'_>,
    rewriter: &BodyRewriter<'_>,
    out: &mut Vec<u8>,
) -> Result<(), LinkError> {
    let guest = plan.guest;
    let share = guest.code_range.len().div_ceil(threads::count()).max(SMALL);
    let mut rest = 0..guest.bodies.len();
    let ranges = std::iter::from_fn(|| {
        let bodies = &guest.bodies[rest.clone()];
        let end = bodies.first()?.start + share;
        let next = rest.start + bodies.partition_point(|body| body.start < end);
        Some(std::mem::replace(&mut rest.start, next)..next)
    });
    let parts = threads::each(ranges, |range| rewrite_part(plan, rewriter, range));
    for part in parts {
        out.extend_from_slice(&part?);
    }
    Ok(())
}

fn rewrite_part(
    plan: &Plan<'_>,
    rewriter: &BodyRewriter<'_>,
    part: std::ops::Range<usize>,
) -> Result<Vec<u8>, LinkError> {
    let guest = plan.guest;
    let bodies = &guest.bodies[part.clone()];
    let bytes: usize = bodies.iter().map(|body| body.len()).sum();
    let mut scratch = Vec::new();
    let mut out = Vec::with_capacity(bytes + bytes / 4);
    for (at, body) in (guest.imports.len() as u32 + part.start as u32..).zip(bodies) {
        let body = guest.body(body);
        match &plan.unwind {
            Some(unwind) if unwind.leaves(at) => {
                let results = guest.func_type(at).map_or(&[][..], |ty| ty.results());
                rewriter.rewrite_unwinding(&body, unwind, results, &mut scratch, &mut out)?;
            }
            _ => rewriter.rewrite(&body, &mut scratch, &mut out)?,
        }
    }
    Ok(out)
}

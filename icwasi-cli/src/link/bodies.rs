//! The bodies of the guest, rewritten on all cores.

use super::body::BodyRewriter;
use super::error::LinkError;
use super::plan::Plan;

/// Bytes of code below which a thread is not worth its start.
const SMALL: usize = 256 << 10;

/// Rewrites all bodies of the guest and appends them to `out`, each with its size.
pub(super) fn rewrite(
    plan: &Plan<'_>,
    rewriter: &BodyRewriter<'_>,
    out: &mut Vec<u8>,
) -> Result<(), LinkError> {
    let guest = plan.guest;
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(8);
    let share = guest.code_range.len().div_ceil(threads).max(SMALL);
    let mut rest = 0..guest.bodies.len();
    let parts = std::thread::scope(|scope| {
        let mut workers = Vec::new();
        while !rest.is_empty() {
            let end = guest.bodies[rest.start].start + share;
            let next = guest.bodies[rest.clone()].partition_point(|body| body.start < end);
            let part = rest.start..rest.start + next;
            rest.start = part.end;
            workers.push(scope.spawn(move || rewrite_part(plan, rewriter, part)));
        }
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker
                .join()
                .expect("the worker returns errors and does not panic")
        };
        workers.into_iter().map(join).collect::<Vec<_>>()
    });
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

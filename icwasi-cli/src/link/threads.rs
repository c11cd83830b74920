//! Work on the code of large modules, on all cores.

/// How many threads are worth it here.
pub(super) fn count() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(8)
}

/// Does `work` on each part in a thread of its own; results in the order of the parts.
pub(super) fn each<P: Send, R: Send>(
    parts: impl IntoIterator<Item = P>,
    work: impl Fn(P) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let start = |part| scope.spawn(move || work(part));
        let workers: Vec<_> = parts.into_iter().map(start).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, R>| {
            worker
                .join()
                .expect("the worker returns errors and does not panic")
        };
        workers.into_iter().map(join).collect()
    })
}

//! What a transfer tells while it runs.

/// Receives the progress of a transfer of one or more files.
pub trait Progress: Send + Sync {
    /// `files` more files with `bytes` together are to be transferred.
    fn expect(&self, files: u64, bytes: u64);
    /// A file begins; `bytes` are to be transferred.
    fn file(&self, name: &str, bytes: u64) -> Box<dyn FileProgress>;
    /// Something the user should know; the transfer goes on.
    fn warn(&self, message: &str);
}

/// Receives the progress of one file. Dropping it ends it.
pub trait FileProgress: Send + Sync {
    /// `bytes` more are done.
    fn advance(&self, bytes: u64);
    /// The file begins again: what was reported before does not count.
    fn restart(&self);
    /// All is done.
    fn finish(&self);
}

/// Shows nothing.
pub struct NoProgress;

impl Progress for NoProgress {
    fn expect(&self, _files: u64, _bytes: u64) {}

    fn file(&self, _name: &str, _bytes: u64) -> Box<dyn FileProgress> {
        Box::new(NoProgress)
    }

    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

impl FileProgress for NoProgress {
    fn advance(&self, _bytes: u64) {}
    fn restart(&self) {}
    fn finish(&self) {}
}

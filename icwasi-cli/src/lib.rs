//! The library behind the `icwasi` binary.

pub mod link;

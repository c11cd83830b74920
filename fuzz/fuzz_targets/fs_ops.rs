//! Operations on a new file system, against a model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| icwasi_fuzz::fs_ops::fs_ops(data));

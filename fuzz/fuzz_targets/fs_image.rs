//! Operations on a damaged image.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| icwasi_fuzz::fs_image::fs_image(data));

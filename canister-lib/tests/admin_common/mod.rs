//! What the tests of the admin interface share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use candid::Principal;
use ic_stable_structures::VectorMemory;
use icwasi::admin::auth::Caller;
use icwasi::admin::upload;
use icwasi::fs::{FormatOptions, Fs};
use icwasi_types::limits::{CHUNK_ALIGN, MAX_CHUNK};
use icwasi_types::{AdminError, Stat, Upload, UploadRequest};
use serde_bytes::ByteBuf;

pub const G: u64 = CHUNK_ALIGN;
pub const NOW: u64 = 1_800_000_000_000_000_000;
pub const DAY: u64 = 24 * 3_600 * 1_000_000_000;

pub type TestFs = Fs<VectorMemory>;

pub fn new_fs(quota_bytes: Option<u64>) -> TestFs {
    let options = FormatOptions {
        hash_key: [3; 16],
        quota_bytes,
    };
    let mut fs = Fs::open(VectorMemory::default(), &options, NOW).expect("formats");
    fs.set_now(NOW);
    fs
}

pub fn controller(number: u8) -> Caller {
    Caller {
        principal: Principal::self_authenticating([number; 32]),
        is_controller: true,
    }
}

/// `size` bytes that differ from granule to granule and from seed to seed.
pub fn content(size: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

pub fn request(path: &str, data: &[u8]) -> UploadRequest {
    UploadRequest {
        path: path.into(),
        size: data.len() as u64,
        hash: ByteBuf::from(*blake3::hash(data).as_bytes()),
        overwrite: false,
        parents: false,
        modified: None,
    }
}

pub fn begin(fs: &mut TestFs, request: &UploadRequest) -> Result<Upload, AdminError> {
    upload::begin(fs, &controller(1), NOW, request)
}

/// Sends what is missing.
pub fn send(fs: &mut TestFs, upload: &Upload, data: &[u8]) {
    for range in &upload.missing {
        let mut offset = range.offset;
        while offset < range.offset + range.length {
            let end = (offset + MAX_CHUNK).min(range.offset + range.length);
            let bytes = &data[offset as usize..end as usize];
            upload::chunk(fs, &controller(1), NOW, upload.id, offset, bytes).expect("accepted");
            offset = end;
        }
    }
}

pub fn push(fs: &mut TestFs, request: &UploadRequest, data: &[u8]) -> Result<Stat, AdminError> {
    let upload = begin(fs, request)?;
    send(fs, &upload, data);
    upload::commit(fs, &controller(1), NOW, upload.id)
}

pub fn put(fs: &mut TestFs, path: &str, data: &[u8]) -> Stat {
    push(
        fs,
        &UploadRequest {
            parents: true,
            ..request(path, data)
        },
        data,
    )
    .expect("pushed")
}

pub fn read_all(fs: &mut TestFs, path: &str) -> Result<Vec<u8>, AdminError> {
    let mut data = Vec::new();
    loop {
        let reply = icwasi::admin::download::read(fs, path, data.len() as u64, u64::MAX)?;
        data.extend_from_slice(&reply.data);
        if data.len() as u64 >= reply.size {
            return Ok(data);
        }
    }
}

pub fn check(fs: &mut TestFs) {
    let findings = fs.check();
    assert!(findings.is_empty(), "{findings:?}");
}

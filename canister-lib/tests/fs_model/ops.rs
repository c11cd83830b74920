//! The operations, and what they are about.

use std::sync::OnceLock;

#[derive(Clone, Debug)]
pub enum Op {
    Create(u8, u8),
    Mkdir(u8, u8),
    Symlink(u8, u8, u16),
    Link(u8, u8, u8),
    Unlink(u8, u8),
    Rmdir(u8, u8),
    Rename(u8, u8, u8, u8),
    Write(u8, u64, usize, u8),
    SetLen(u8, u64),
    Allocate(u8, u64, u64),
    Read(u8, u64, usize),
    List(u8),
    Open(u8),
    Close(u8),
    Many(u8, u8),
}

pub fn name(n: u8) -> String {
    match n % 16 {
        0 => ".".into(),
        1 => "..".into(),
        2 => "x".repeat(255),
        3 => "x".repeat(256),
        n => format!("name{n}"),
    }
}

pub fn target(t: u16) -> String {
    "t".repeat(usize::from(t) % 4200)
}

/// `len` bytes that look alike in no two places; `byte` says which.
pub fn data(byte: u8, len: usize) -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut x = 0x9E37_79B9_u32;
        (0..450_000)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect()
    });
    &noise[usize::from(byte) * 150..][..len]
}

/// The operations that any bytes stand for, for fuzzing.
pub fn decode(mut bytes: &[u8]) -> Vec<Op> {
    let mut ops = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let mut args = [0; 6];
        let taken = rest.len().min(args.len());
        args[..taken].copy_from_slice(&rest[..taken]);
        bytes = &rest[taken..];
        let [a, b, c, d, e, f] = args;
        // Small, or by blocks, or anywhere in some megabytes.
        let offset = match c % 3 {
            0 => u64::from(u16::from_le_bytes([d, e])) % 20_000,
            1 => u64::from(d) * 4096,
            _ => u64::from(u16::from_le_bytes([d, e])) * 50,
        };
        let len = usize::from(f) * [1, 16, 257, 1_500][usize::from(c / 64)];
        ops.push(match kind % 32 {
            0..4 => Op::Create(a, b),
            4..6 => Op::Mkdir(a, b),
            6 => Op::Symlink(a, b, u16::from_le_bytes([c, d])),
            7 => Op::Link(a, b, c),
            8..10 => Op::Unlink(a, b),
            10 => Op::Rmdir(a, b),
            11..15 => Op::Rename(a, b, c, d),
            15..21 => Op::Write(a, offset, len, b),
            21..23 => Op::SetLen(a, offset),
            23 => Op::Allocate(a, offset, len as u64),
            24..26 => Op::Read(a, offset, len),
            26 => Op::List(a),
            27..29 => Op::Open(a),
            29..31 => Op::Close(a),
            _ => Op::Many(a, b),
        });
    }
    ops
}

//! The operations that are made up, and what they are about.

use std::sync::OnceLock;

use proptest::prelude::*;

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

pub fn op() -> impl Strategy<Value = Op> {
    let (d, n) = (any::<u8>(), any::<u8>());
    let offset = prop_oneof![
        4 => 0_u64..20_000,
        2 => (0_u64..300).prop_map(|block| block * 4096),
        1 => 0_u64..3_000_000,
    ];
    let len = prop_oneof![4 => 0_usize..3000, 2 => 0_usize..40_000, 1 => 0_usize..400_000];
    prop_oneof![
        12 => (d, n).prop_map(|(d, n)| Op::Create(d, n)),
        6 => (d, n).prop_map(|(d, n)| Op::Mkdir(d, n)),
        3 => (d, n, any::<u16>()).prop_map(|(d, n, t)| Op::Symlink(d, n, t)),
        4 => (n, d, n).prop_map(|(f, d, n)| Op::Link(f, d, n)),
        7 => (d, n).prop_map(|(d, n)| Op::Unlink(d, n)),
        4 => (d, n).prop_map(|(d, n)| Op::Rmdir(d, n)),
        12 => (d, n, d, n).prop_map(|(a, b, c, d)| Op::Rename(a, b, c, d)),
        25 => (n, offset.clone(), len.clone(), any::<u8>()).prop_map(|(f, o, l, b)| Op::Write(f, o, l, b)),
        6 => (n, offset.clone()).prop_map(|(f, o)| Op::SetLen(f, o)),
        3 => (n, offset.clone(), 0_u64..200_000).prop_map(|(f, o, l)| Op::Allocate(f, o, l)),
        10 => (n, offset, len).prop_map(|(f, o, l)| Op::Read(f, o, l)),
        3 => d.prop_map(Op::List),
        5 => n.prop_map(Op::Open),
        5 => n.prop_map(Op::Close),
        1 => (d, n).prop_map(|(d, n)| Op::Many(d, n)),
    ]
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

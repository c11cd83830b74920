//! Random operations, the frequent ones first.

use proptest::prelude::*;

use crate::ops::Op;

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

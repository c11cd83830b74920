//! The calls, and what they are about.

use icwasi::wasi::types::Whence;
use proptest::prelude::*;
use proptest::sample::select;

use crate::wasi_support::{CREAT, DIRECTORY, EXCL, READ, RW, TRUNC, WRITE};

/// What the program finds open; whether it is read-only.
pub const PREOPENS: [(&str, bool); 4] = [
    ("/", false),
    ("/data", false),
    ("/tmp/work", false),
    ("/data", true),
];
/// The files that are other memories.
pub const APPS: [&str; 2] = ["/data/app", "/tmp/app"];

/// What is wanted, mostly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Any,
    /// Or a link.
    File,
    Dir,
    Link,
}

/// A path: the descriptor, one of the objects below it or nothing, names behind it, and how it is
/// written.
#[derive(Clone, Debug)]
pub struct At {
    pub base: u8,
    pub object: Option<u16>,
    pub kind: Kind,
    pub tail: Vec<&'static str>,
    pub dress: u8,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    pub follow: bool,
    pub open: u32,
    pub rights: u64,
    pub append: bool,
}

#[derive(Clone, Debug)]
pub enum Target {
    /// From where the link is to an object, over `/`.
    Object(u16, Vec<&'static str>),
    Text(String),
}

#[derive(Clone, Debug)]
pub enum Op {
    Open(At, How),
    Close(u8),
    Renumber(u8, u8),
    Read(u8, usize, Option<u64>),
    Write(u8, usize, u8, Option<u64>),
    Seek(u8, i64, Whence),
    SetSize(u8, u64),
    Allocate(u8, u64, u64),
    Fstat(u8),
    List(u8),
    Stat(At, bool),
    Readlink(At),
    Mkdir(At),
    Rmdir(At),
    Unlink(At),
    Symlink(Target, At),
    Link(At, bool, At),
    Rename(At, At),
    /// The message ends.
    Message,
    Upgrade,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        16 => select(&["a", "b", "c", "d"][..]),
        6 => select(&["tmp", "data", "app", "work"][..]),
        1 => select(&[".", ".."][..]),
    ]
}

fn at(kind: Kind, tail: impl Strategy<Value = Vec<&'static str>>) -> impl Strategy<Value = At> {
    let object = prop_oneof![12 => any::<u16>().prop_map(Some), 1 => Just(None)];
    (any::<u8>(), object, tail, any::<u8>()).prop_map(move |(base, object, tail, dress)| At {
        base,
        object,
        kind,
        tail,
        dress,
    })
}

/// A path to something, most of the time.
fn old(kind: Kind) -> impl Strategy<Value = At> {
    let tail = prop_oneof![9 => Just(Vec::new()), 1 => prop::collection::vec(name(), 1..3)];
    at(kind, tail)
}

/// A path to nothing, now and then.
fn new() -> impl Strategy<Value = At> {
    let tail = prop_oneof![
        1 => Just(Vec::new()),
        16 => prop::collection::vec(name(), 1),
        1 => prop::collection::vec(name(), 2),
    ];
    at(Kind::Dir, tail)
}

fn open() -> impl Strategy<Value = Op> {
    let file = select(&[0, 0, TRUNC, CREAT, CREAT | TRUNC][..]);
    let make = select(&[CREAT, CREAT, CREAT | EXCL, CREAT | TRUNC, 0][..]);
    let rights = || select(&[RW, RW, RW, READ, WRITE, 0][..]);
    let what = prop_oneof![
        4 => (old(Kind::File), file, rights()).boxed(),
        4 => (new(), make, rights()).boxed(),
        2 => (old(Kind::Dir), Just(DIRECTORY), select(&[READ, READ, READ, 0, RW][..])).boxed(),
        1 => (old(Kind::Any), 0_u32..16, rights()).boxed(),
    ];
    let flags = (prop::bool::weighted(0.8), prop::bool::weighted(0.2));
    (what, flags).prop_map(|((at, open, rights), (follow, append))| {
        let how = How {
            follow,
            open,
            rights,
            append,
        };
        Op::Open(at, how)
    })
}

/// Two paths, half of them from the same directory.
fn two(
    old: impl Strategy<Value = At>,
    new: impl Strategy<Value = At>,
) -> impl Strategy<Value = (At, At)> {
    (old, new, any::<bool>()).prop_map(|(old, new, same)| {
        let base = if same { old.base } else { new.base };
        (old, At { base, ..new })
    })
}

fn target() -> impl Strategy<Value = Target> {
    let tail = || prop::collection::vec(name(), 0..3);
    prop_oneof![
        3 => (any::<u16>(), tail()).prop_map(|(object, tail)| Target::Object(object, tail)),
        2 => tail().prop_map(|names| Target::Text(names.join("/"))),
        1 => name().prop_map(|name| Target::Text(format!("{name}/"))),
        1 => name().prop_map(|name| Target::Text(format!("/{name}"))),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let fd = any::<u8>;
    let offset = || prop_oneof![4 => 0_u64..3_000, 2 => 60_000_u64..70_000, 1 => 0_u64..150_000];
    let maybe = || prop::option::of(offset());
    let len = || prop_oneof![12 => 1_usize..2_000, 2 => 1_usize..20_000, 1 => Just(0)];
    let whence = select(&[Whence::Set, Whence::Cur, Whence::End][..]);
    prop_oneof![
        20 => open(),
        4 => fd().prop_map(Op::Close),
        2 => (fd(), fd()).prop_map(|(from, to)| Op::Renumber(from, to)),
        9 => (fd(), len(), maybe()).prop_map(|(fd, len, at)| Op::Read(fd, len, at)),
        12 => (fd(), len(), any::<u8>(), maybe())
            .prop_map(|(fd, len, byte, at)| Op::Write(fd, len, byte, at)),
        2 => (fd(), -2_000_i64..4_000, whence)
            .prop_map(|(fd, delta, whence)| Op::Seek(fd, delta, whence)),
        4 => (fd(), offset()).prop_map(|(fd, size)| Op::SetSize(fd, size)),
        1 => (fd(), offset(), 1_u64..20_000).prop_map(|(fd, at, len)| Op::Allocate(fd, at, len)),
        4 => fd().prop_map(Op::Fstat),
        5 => fd().prop_map(Op::List),
        8 => (old(Kind::Any), any::<bool>()).prop_map(|(at, follow)| Op::Stat(at, follow)),
        2 => old(Kind::Link).prop_map(Op::Readlink),
        8 => new().prop_map(Op::Mkdir),
        5 => old(Kind::Dir).prop_map(Op::Rmdir),
        7 => old(Kind::File).prop_map(Op::Unlink),
        7 => (target(), new()).prop_map(|(target, at)| Op::Symlink(target, at)),
        7 => (two(old(Kind::File), new()), any::<bool>())
            .prop_map(|((old, new), follow)| Op::Link(old, follow, new)),
        8 => two(old(Kind::Any), new()).prop_map(|(old, new)| Op::Rename(old, new)),
        3 => two(old(Kind::File), old(Kind::File)).prop_map(|(old, new)| Op::Rename(old, new)),
        3 => two(old(Kind::Dir), old(Kind::Dir)).prop_map(|(old, new)| Op::Rename(old, new)),
        1 => two(old(Kind::Any), old(Kind::Any)).prop_map(|(old, new)| Op::Rename(old, new)),
        2 => Just(Op::Message),
        1 => Just(Op::Upgrade),
    ]
}

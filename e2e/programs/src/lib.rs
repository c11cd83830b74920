//! Runs a WASI program twice: under wasmtime-wasi, and in a canister of the replica's core.
//!
//! `c/`, `rust/` and `wat/` hold the programs, each about one behaviour; `tests/programs.rs` has
//! a test for each, and does not compile if one is missing.

pub mod build;
pub mod canister;
pub mod reference;

use std::collections::BTreeMap;

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// What a program is run with.
#[derive(Clone, Debug)]
pub struct Input {
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Vec<u8>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned or exited.
    Exit(u32),
    /// It trapped.
    Trap,
}

/// What lies at a path.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A file with this content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Node::File(bytes) if bytes.len() > 200 => write!(f, "file of {} bytes", bytes.len()),
            Node::File(bytes) => write!(f, "file {:?}", String::from_utf8_lossy(bytes)),
            Node::Directory => write!(f, "directory"),
            Node::Symlink(to) => write!(f, "link to {:?}", String::from_utf8_lossy(to)),
        }
    }
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Everything below the preopened directory, by path.
    pub files: BTreeMap<String, Node>,
}

//! Running a command in a canister; `candid/exec.did` is the contract.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Most bytes of [`ExecResult::stdout`]. Together with stderr they must fit into a reply.
pub const MAX_STDOUT: usize = 1_500_000;
/// Most bytes of [`ExecResult::stderr`].
pub const MAX_STDERR: usize = 400_000;

/// What a program is run with.
#[derive(Clone, Debug, Default, PartialEq, Eq, CandidType, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Arguments, the program's name first. None: those of the link configuration.
    pub args: Vec<String>,
    /// Environment variables, which are added.
    pub env: Vec<(String, String)>,
    /// What the program reads from its standard input.
    pub stdin: ByteBuf,
    /// Working directory, an absolute path; `None`: relative paths begin in `/`.
    pub cwd: Option<String>,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, CandidType, Serialize, Deserialize)]
pub struct ExecResult {
    /// 0 if the program returned.
    pub exit_code: u32,
    /// What it wrote to standard output, [`MAX_STDOUT`] bytes at most.
    pub stdout: ByteBuf,
    /// What it wrote to standard error, [`MAX_STDERR`] bytes at most.
    pub stderr: ByteBuf,
    /// Instructions of the run.
    pub instructions: u64,
}

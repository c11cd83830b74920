//! Exit codes.

use std::process::ExitCode;

/// How the program ends. Usage errors (2) come from the argument parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was done.
    Done,
    /// Something failed.
    Failed,
    /// The command line can't mean anything.
    Usage,
    /// Damage, or a difference, was found. Nothing failed.
    Found,
    /// Interrupted by the user.
    Interrupted,
    /// The exit code of the program that was run.
    Program(u8),
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(match status {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Found => 3,
            ExitStatus::Interrupted => 130,
            ExitStatus::Program(code) => code,
        })
    }
}

//! One run of a command: its arguments, environment and input, and what it says.

use icwasi_types::exec::{ExecRequest, ExecResult, MAX_STDERR, MAX_STDOUT};
use serde_bytes::ByteBuf;

use super::{cwd as working, fd_meta};
use crate::runtime::Runtime;

/// Output of a run, up to a limit.
#[derive(Debug)]
pub(crate) struct Capture {
    bytes: Vec<u8>,
    limit: usize,
    dropped: u64,
}

/// Room for the line that says how much is missing.
const NOTE: usize = 100;

impl Capture {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit: limit - NOTE,
            dropped: 0,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.dropped += (bytes.len() - kept) as u64;
    }

    fn finish(mut self) -> ByteBuf {
        if self.dropped > 0 {
            let note = format!("\nicwasi: {} more bytes were cut off\n", self.dropped);
            self.bytes.extend_from_slice(note.as_bytes());
        }
        ByteBuf::from(self.bytes)
    }
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Run {
    /// Instead of those of the link configuration, unless empty.
    pub(crate) args: Vec<String>,
    /// Win over other variables.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) out: Capture,
    pub(crate) err: Capture,
    exit_code: u32,
}

/// Begins a run.
///
/// # Errors
/// What is wrong with the request; nothing was changed.
pub fn begin(rt: &mut Runtime, request: ExecRequest) -> Result<(), String> {
    let ExecRequest {
        args,
        mut env,
        stdin,
        cwd,
    } = request;
    if let Some(arg) = args.iter().find(|arg| arg.contains('\0')) {
        return Err(format!("the argument {arg:?} holds a NUL"));
    }
    for (name, value) in &env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!(
                "the environment variable {name:?} = {value:?} is not a name and a value without NUL"
            ));
        }
    }
    if let Some(cwd) = cwd {
        let cwd = working::find(rt, &cwd)?;
        env.push(("PWD".to_owned(), cwd.path.clone()));
        rt.wasi.fds.enter(cwd);
    }
    rt.wasi.stdio.set_input(stdin.into_vec());
    rt.wasi.run = Some(Run {
        args,
        env,
        out: Capture::new(MAX_STDOUT),
        err: Capture::new(MAX_STDERR),
        exit_code: 0,
    });
    Ok(())
}

/// Ends the run: closes what it left open, as the end of a process does. `None` if there is none.
pub fn end(rt: &mut Runtime) -> Option<ExecResult> {
    let run = rt.wasi.run.take()?;
    rt.wasi.stdio.set_input(Vec::new());
    for descriptor in rt.wasi.fds.take_all() {
        // Releasing frees what only the descriptor held; if that fails, the next mount does it.
        let _ = fd_meta::release(rt, &descriptor);
    }
    Some(ExecResult {
        exit_code: run.exit_code,
        stdout: run.out.finish(),
        stderr: run.err.finish(),
        instructions: 0,
    })
}

/// `proc_exit` of a program whose callers will leave. Outside of a run, it ends a method: that
/// did its work if the code is 0, else this traps as [`super::proc::proc_exit`] does.
pub fn exit(rt: &mut Runtime, code: u32) {
    match &mut rt.wasi.run {
        Some(run) => run.exit_code = code,
        None if code == 0 => {}
        None => super::proc::proc_exit(rt, code),
    }
}

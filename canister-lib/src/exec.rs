//! The method that runs a command, as `candid/exec.did` has it. `icwasi link` exports it and
//! writes `run_start`, which runs the program; `docs/DESIGN.md` has the contract.

use candid::DecoderConfig;
use icwasi_types::exec::{ExecRequest, ExecResult};

use crate::runtime::Runtime;
use crate::wasi::run;

/// Runs a program: `start` is its `_start`, called while the runtime is free.
///
/// # Errors
/// What is wrong with the argument; nothing was changed.
fn execute(
    arg: Vec<u8>,
    with: impl Fn(&mut dyn FnMut(&mut Runtime)),
    counter: impl Fn() -> u64,
    start: impl FnOnce(),
) -> Result<ExecResult, String> {
    let mut config = DecoderConfig::new();
    config
        .set_decoding_quota(64 << 20)
        .set_skipping_quota(100_000)
        .set_full_error_message(false);
    let request = candid::utils::decode_args_with_config::<(ExecRequest,)>(&arg, &config);
    drop(arg);
    let (request,) = request.map_err(|e| {
        format!("the argument is not what this method takes (candid/exec.did): {e}")
    })?;
    let mut request = Some(request);
    let mut begun = Ok(());
    with(&mut |rt| begun = run::begin(rt, request.take().unwrap_or_default()));
    begun?;
    let before = counter();
    start();
    let instructions = counter().saturating_sub(before);
    let mut ended = None;
    with(&mut |rt| ended = run::end(rt));
    let mut result = ended.unwrap_or_default();
    result.instructions = instructions;
    Ok(result)
}

/// A reply in pieces, so that large output is not copied.
fn encode(mut result: ExecResult) -> [Vec<u8>; 5] {
    let stderr = std::mem::take(&mut result.stderr).into_vec();
    let stdout = std::mem::take(&mut result.stdout).into_vec();
    let mut head = candid::encode_one(&result).expect("the types of the interface can be encoded");
    // On the wire: stderr, stdout (both empty here: a zero byte), instructions, exit_code.
    let tail = head.split_off(head.len() - 12);
    head.truncate(head.len() - 2);
    push_length(&mut head, stderr.len());
    let mut middle = Vec::new();
    push_length(&mut middle, stdout.len());
    [head, stderr, middle, stdout, tail]
}

fn push_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// The edge to the System API.
#[cfg(all(feature = "module", target_arch = "wasm32", target_os = "unknown"))]
mod on_chain {
    use candid::Principal;
    use icwasi_types::Role;

    use crate::env::Env as _;
    use crate::runtime;

    #[link(wasm_import_module = "icwasi_link")]
    unsafe extern "C" {
        safe fn run_start();
    }

    /// Who may run the program, as the linker says it.
    mod access {
        /// Everybody; 0 is controllers.
        pub const PUBLIC: i32 = 1;
        /// Controllers, and who was granted the role writer or admin.
        pub const WRITERS: i32 = 2;
        /// Controllers, and who was granted the role admin.
        pub const ADMINS: i32 = 3;
    }

    /// Why the caller may not run the program.
    fn refusal(access: i32) -> Option<&'static [u8]> {
        let (needed, refusal): (_, &[u8]) = match access {
            access::PUBLIC => return None,
            access::WRITERS => (
                Some(Role::Writer),
                b"only controllers of this canister and who has the role writer may run the program",
            ),
            access::ADMINS => (
                Some(Role::Admin),
                b"only controllers of this canister and who has the role admin may run the program",
            ),
            _ => (None, b"only controllers of this canister may run the program"),
        };
        let allowed = runtime::with(|rt| {
            let caller = rt.env().caller();
            if caller == Principal::anonymous().as_slice() {
                return false;
            }
            let role = || {
                rt.settings()
                    .role(&Principal::try_from_slice(&caller).ok()?)
            };
            rt.env().is_controller(&caller)
                || needed.is_some_and(|needed| role().is_some_and(|role| role >= needed))
        });
        (!allowed).then_some(refusal)
    }

    /// The method; `access` says for whom.
    #[unsafe(export_name = "icwasi.exec")]
    extern "C" fn exec(access: i32) {
        if let Some(refusal) = refusal(access) {
            ::ic0::msg_reject(refusal);
            return;
        }
        let size = ::ic0::msg_arg_data_size();
        let mut arg = vec![0; size];
        ::ic0::msg_arg_data_copy(&mut arg, 0);
        let counter = || ::ic0::performance_counter(0);
        match super::execute(arg, |f| runtime::with(f), counter, || run_start()) {
            Ok(result) => {
                for piece in super::encode(result) {
                    if !piece.is_empty() {
                        ::ic0::msg_reply_data_append(&piece);
                    }
                }
                ::ic0::msg_reply();
            }
            Err(message) => ::ic0::msg_reject(message.as_bytes()),
        }
    }

    /// In `inspect_message`, if not everybody may run the program.
    #[unsafe(export_name = "icwasi.exec_inspect")]
    extern "C" fn inspect(access: i32) {
        if refusal(access).is_none() {
            ::ic0::accept_message();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;
    use icwasi_types::exec::MAX_STDOUT;
    use serde_bytes::ByteBuf;

    fn run(
        request: &ExecRequest,
        program: impl FnOnce(&mut Runtime),
    ) -> Result<ExecResult, String> {
        let arg = candid::encode_one(request).expect("encodes");
        execute(arg, |f| runtime::with(f), || 7, || runtime::with(program))
    }

    #[test]
    fn replies_are_candid() {
        for length in [0, 1, 127, 128, 20_000] {
            let result = ExecResult {
                exit_code: 3,
                stdout: ByteBuf::from(vec![1; length]),
                stderr: ByteBuf::from(vec![2; length / 2]),
                instructions: 1 << 40,
            };
            let plain = candid::encode_one(&result).expect("encodes");
            assert_eq!(encode(result).concat(), plain);
        }
    }

    #[test]
    fn a_run_has_its_own_input_and_output() {
        let request = ExecRequest {
            stdin: ByteBuf::from(b"in".to_vec()),
            ..ExecRequest::default()
        };
        let result = run(&request, |rt| {
            assert_eq!(rt.wasi.stdio.input(), b"in");
            rt.write_stdio(false, b"out\n");
            rt.write_stdio(true, b"err");
            run::exit(rt, 5);
        });
        let result = result.expect("runs");
        assert_eq!(
            (result.exit_code, &result.stdout[..], &result.stderr[..]),
            (5, &b"out\n"[..], &b"err"[..])
        );
        let result = run(&ExecRequest::default(), |rt| {
            assert_eq!(rt.wasi.stdio.input(), b"");
            for _ in 0..200 {
                rt.write_stdio(false, &[b'x'; 10_000]);
            }
        });
        let stdout = result.expect("runs").stdout;
        assert!(stdout.len() <= MAX_STDOUT && stdout.ends_with(b" more bytes were cut off\n"));
    }

    #[test]
    fn bad_requests_are_refused() {
        for request in [
            ExecRequest {
                args: vec!["a\0b".to_owned()],
                ..ExecRequest::default()
            },
            ExecRequest {
                env: vec![("A=B".to_owned(), String::new())],
                ..ExecRequest::default()
            },
            ExecRequest {
                cwd: Some("data".to_owned()),
                ..ExecRequest::default()
            },
        ] {
            run(&request, |_| panic!("it ran")).expect_err("is refused");
        }
        let start = || panic!("it ran");
        execute(vec![1, 2], |f| runtime::with(f), || 0, start).expect_err("is refused");
    }
}

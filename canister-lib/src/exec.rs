//! The method that runs a command, as `candid/exec.did` has it. `icwasi link` exports it and
//! writes `run_start`, which runs the program; `docs/DESIGN.md` has the contract.

use icwasi_types::exec::{ExecRequest, ExecResult};
use serde_bytes::ByteBuf;

use crate::candid_reader::{CandidError, EMPTY, Reader, TEXT, Type, field_id, lookup};
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
    let request = decode(&arg).map_err(|e| {
        format!("the argument is not what this method takes (candid/exec.did): {e}")
    })?;
    drop(arg);
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

/// Reads a request, as subtypes of it are read: fields that are not known are skipped, and a
/// working directory that is no text is none.
fn decode(arg: &[u8]) -> Result<ExecRequest, CandidError> {
    let (mut reader, types, fields) = Reader::of_record(arg)?;
    let (mut args, mut env, mut stdin, mut cwd) = (None, None, None, None);
    for (id, field) in fields {
        if id == field_id("args") {
            args = Some(reader.texts(&types, field)?);
        } else if id == field_id("env") {
            env = Some(reader.pairs(&types, field)?);
        } else if id == field_id("stdin") {
            stdin = Some(ByteBuf::from(blob(&mut reader, &types, field)?));
        } else if id == field_id("cwd") {
            cwd = opt_text(&mut reader, &types, field)?;
        } else {
            reader.skip(&types, field)?;
        }
    }
    let missing = |field| reader.error(field);
    Ok(ExecRequest {
        args: args.ok_or_else(|| missing("args are missing"))?,
        env: env.ok_or_else(|| missing("env is missing"))?,
        stdin: stdin.ok_or_else(|| missing("stdin is missing"))?,
        cwd,
    })
}

fn blob<'a>(reader: &mut Reader<'a>, types: &[Type], field: i64) -> Result<&'a [u8], CandidError> {
    const NAT8: i64 = -5;
    match reader.vector(types, field)? {
        (0, EMPTY) => Ok(&[]),
        (length, NAT8) => reader.take(length),
        _ => Err(reader.error("a blob expected")),
    }
}

fn opt_text(
    reader: &mut Reader<'_>,
    types: &[Type],
    field: i64,
) -> Result<Option<String>, CandidError> {
    match lookup(types, field) {
        Some(&Type::Opt(TEXT)) => reader.is_some()?.then(|| reader.text()).transpose(),
        None if field == TEXT => reader.text().map(Some),
        _ => reader.skip(types, field).map(|()| None),
    }
}

/// What every reply begins with: the types of [`ExecResult`]. The values are stderr, stdout,
/// instructions and exit code, in the order of the hashes of their names.
const REPLY: &[u8] = b"DIDL\x02\x6c\x04\xa2\xcd\xb0\x3f\x01\xcb\xff\xce\x3f\x01\xa5\xad\xfe\xe9\x06\x78\xae\x92\xb5\xeb\x06\x79\x6d\x7b\x01\x00";

/// A reply in pieces, so that large output is not copied.
fn encode(result: ExecResult) -> [Vec<u8>; 5] {
    let mut head = REPLY.to_vec();
    push_length(&mut head, result.stderr.len());
    let mut middle = Vec::new();
    push_length(&mut middle, result.stdout.len());
    let mut tail = result.instructions.to_le_bytes().to_vec();
    tail.extend_from_slice(&result.exit_code.to_le_bytes());
    [
        head,
        result.stderr.into_vec(),
        middle,
        result.stdout.into_vec(),
        tail,
    ]
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
    fn requests_are_candid_and_may_be_of_a_subtype() {
        #[derive(candid::CandidType)]
        struct Newer {
            args: Vec<String>,
            env: Vec<(String, String)>,
            stdin: ByteBuf,
            cwd: String,
            limits: Vec<Option<(candid::Nat, u8)>>,
            owner: candid::Principal,
        }
        let request = ExecRequest {
            args: vec!["a".to_owned(), "ü b".to_owned()],
            env: vec![("A".to_owned(), "1".to_owned())],
            stdin: ByteBuf::from(vec![7; 300]),
            cwd: Some("/data".to_owned()),
        };
        for request in [request.clone(), ExecRequest::default()] {
            let plain = candid::encode_one(&request).expect("encodes");
            assert_eq!(decode(&plain), Ok(request));
        }
        let newer = Newer {
            args: request.args.clone(),
            env: request.env.clone(),
            stdin: request.stdin.clone(),
            cwd: "/data".to_owned(),
            limits: vec![Some((candid::Nat::from(1_u64 << 50), 1)), None],
            owner: candid::Principal::anonymous(),
        };
        // Arguments that nobody asked for are passed over, too.
        let arg = candid::encode_args((newer, 5_u8)).expect("encodes");
        assert_eq!(decode(&arg), Ok(request));
        let text = "(record { args = vec {}; env = vec {}; stdin = vec {}; cwd = null })";
        let untyped = candid_parser::parse_idl_args(text).expect("parses");
        let arg = untyped.to_bytes().expect("encodes");
        assert_eq!(decode(&arg), Ok(ExecRequest::default()));
    }

    #[test]
    fn what_is_damaged_or_without_end_is_refused() {
        let request = ExecRequest {
            args: vec!["a".to_owned()],
            env: vec![("A".to_owned(), "1".to_owned())],
            stdin: ByteBuf::from(b"in".to_vec()),
            cwd: Some("/".to_owned()),
        };
        let good = candid::encode_one(&request).expect("encodes");
        for length in 0..good.len() {
            decode(&good[..length]).expect_err("it is cut");
        }
        for index in 0..good.len() {
            for value in [0, 1, 0x6c, 0x6d, 0x6e, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[index] = value;
                // An error or another request, and no panic.
                let _ = decode(&bad);
            }
        }
        // Records of two records each, thirty deep: no bytes, a billion values.
        let mut bomb = b"DIDL".to_vec();
        bomb.push(32);
        for at in 0..31 {
            bomb.extend_from_slice(&[0x6c, 2, 0, at + 1, 1, at + 1]);
        }
        bomb.extend_from_slice(&[0x6c, 0, 1, 0]);
        let error = decode(&bomb).expect_err("it has no args, and no end");
        assert_eq!(error.reason, "too much that is not known");
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

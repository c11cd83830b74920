//! Every program does under wasmtime-wasi and in a canister the same: standard output and error,
//! exit code, and the files that are left. What differs on purpose says so here, and in
//! `docs/WASI.md`.

mod costs;
mod hostile;
mod random;

use e2e_programs::{End, Input, Node, Outcome, build, canister, every_program, reference};

/// A program and how it is run.
struct Case {
    program: &'static str,
    input: Input,
    adjust: fn(&mut Outcome),
}

impl Case {
    fn new(program: &'static str) -> Self {
        Case {
            program,
            input: Input {
                args: vec![program.to_owned()],
                env: Vec::new(),
                stdin: Vec::new(),
            },
            adjust: |_| (),
        }
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.input.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    fn env(mut self, env: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.input.env = env.iter().map(own).collect();
        self
    }

    fn stdin(mut self, stdin: &[u8]) -> Self {
        self.input.stdin = stdin.to_vec();
        self
    }

    fn run(&self) -> (Outcome, Outcome) {
        let module = build::module(self.program).expect("the program is built");
        let reference = reference::run(&module, &self.input).expect("the reference runs");
        let input = self.input.clone();
        let canister = canister::with_stack(move || canister::run(&module, &input));
        (reference, canister.expect("the canister runs"))
    }

    #[track_caller]
    fn same(self) {
        let (reference, canister) = self.run();
        compare(self.program, &reference, &canister);
    }

    /// `adjust` turns what the reference did into what the canister has to do; it must change
    /// something, or the difference is none.
    #[track_caller]
    fn differs(mut self, adjust: fn(&mut Outcome)) {
        self.adjust = adjust;
        let (reference, canister) = self.run();
        let mut expected = reference.clone();
        (self.adjust)(&mut expected);
        compare(self.program, &expected, &canister);
        assert!(
            expected != reference,
            "{} does not differ any more",
            self.program
        );
    }
}

#[track_caller]
fn compare(program: &str, expected: &Outcome, found: &Outcome) {
    if expected == found {
        return;
    }
    let text = |outcome: &Outcome| {
        format!(
            "{:?}\n--- stdout\n{}\n--- stderr\n{}\n--- files\n{:#?}",
            outcome.end,
            outcome
                .stdout
                .escape_ascii()
                .to_string()
                .replace("\\n", "\n"),
            outcome
                .stderr
                .escape_ascii()
                .to_string()
                .replace("\\n", "\n"),
            outcome.files
        )
    };
    let (expected, found) = (text(expected), text(found));
    let mut lines = String::new();
    let (mut a, mut b) = (expected.lines(), found.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => break,
            (a, b) if a == b => lines += &format!("  {}\n", a.unwrap_or_default()),
            (a, b) => {
                lines += &format!("- {}\n+ {}\n", a.unwrap_or("(end)"), b.unwrap_or("(end)"));
            }
        }
    }
    panic!("{program}: - expected, + in the canister\n{lines}");
}

/// Replaces a line of the reference's output, which must be there.
fn replace(outcome: &mut Outcome, from: &str, to: &str) {
    let text = String::from_utf8(std::mem::take(&mut outcome.stdout)).expect("is text");
    assert!(text.contains(from), "the reference says {from:?}:\n{text}");
    outcome.stdout = text.replacen(from, to, 1).into_bytes();
}

/// Programs that need nothing and do the same in both.
macro_rules! same {
    ($($program:ident)*) => {
        $(
            #[test]
            fn $program() {
                Case::new(stringify!($program)).same();
            }
        )*
    };
}

macro_rules! has_test {
    ($($program:ident)*) => {
        mod every_program_has_a_test {
            $(
                #[allow(unused_imports)]
                use super::$program;
            )*
        }
    };
}

every_program!(has_test);

same! {
    c_advise c_append c_bad_utf8 c_big_file c_buffered c_clock c_closed c_deep_dirs c_directory_fd
    c_excl c_exit_deep c_exit_large c_exit_zero c_far_offset c_fdstat c_hardlink c_hostile_iovecs
    c_long_names c_lowest_fd c_many_fds c_many_files c_mmap c_path_escape c_paths c_poll_bad
    c_poll_clocks c_pread_pwrite c_prestat c_raise c_random c_readdir c_readdir_changes
    c_readdir_small c_readlink c_rename_dir c_rename_links c_renumber c_return_code c_rights
    c_rmdir_open c_safe_save c_seek c_set_flags c_sleep c_sockets c_sparse c_stderr c_stdio_modes
    c_stdio_seek c_symlink_loop c_sync c_telldir c_times c_trunc c_unlink c_vectors c_yield
    rust_buffers rust_canonicalize rust_current_dir rust_directories rust_exit_code
    rust_exit_status rust_hard_links rust_hash_map rust_main_error rust_metadata rust_network
    rust_open_options rust_processes rust_read_write rust_seeking rust_sort_file rust_threads
    rust_time wat_both_modules wat_unstable_filestat wat_unstable_hello
    wat_unstable_seek
}

#[test]
fn c_args() {
    let args = ["c_args", "", "two words", "-x", "ü", "'\"\\"];
    Case::new("c_args").args(&args).same();
}

#[test]
fn rust_arguments() {
    let env = [("A", "1"), ("B", "x=y z"), ("LANG", "ü")];
    Case::new("rust_arguments")
        .args(&["rust_arguments", "--flag=1"])
        .env(&env)
        .same();
}

#[test]
fn c_environment() {
    let env = [("A", "1"), ("EMPTY", ""), ("EQUALS", "a=b=c")];
    Case::new("c_environment").env(&env).same();
}

#[test]
fn c_stdin() {
    for input in [&b""[..], b"one\ntwo\n\nthe last without an end"] {
        Case::new("c_stdin").stdin(input).same();
    }
}

#[test]
fn c_stdin_binary() {
    let bytes: Vec<u8> = (0..100_000_u32)
        .map(|i| (i.wrapping_mul(i) >> 3) as u8)
        .collect();
    Case::new("c_stdin_binary").stdin(&bytes).same();
}

#[test]
fn rust_input() {
    Case::new("rust_input").stdin(b"pear\napple\nfig\n").same();
}

// What differs on purpose. Each has its place in `docs/WASI.md`.

/// A trap takes everything back that the message did.
#[test]
fn c_abort() {
    Case::new("c_abort").differs(|o| o.files.clear());
}

#[test]
fn rust_panic() {
    Case::new("rust_panic").differs(|o| {
        o.files.clear();
        // The log holds both streams.
        o.stdout.append(&mut o.stderr);
    });
}

/// Space can be reserved.
#[test]
fn c_allocate() {
    Case::new("c_allocate").differs(|o| {
        o.stdout = b"allocate: 0\nsize: 100\nsmaller: 0\nsize: 100\n".to_vec();
        let mut content = b"abc".to_vec();
        content.resize(100, 0);
        o.files.insert("/f".to_owned(), Node::File(content));
    });
}

/// There are clocks of process and thread.
#[test]
fn c_cpu_clock() {
    Case::new("c_cpu_clock").differs(|o| {
        o.stdout = b"process: errno 0\nthread: errno 0\nresolution: errno 0\n".to_vec()
    });
}

/// The streams are terminals: a C library then writes line by line.
#[test]
fn c_isatty() {
    Case::new("c_isatty").differs(|o| {
        for fd in 0..3 {
            replace(o, &format!("{fd}: 0"), &format!("{fd}: 1"));
        }
    });
}

/// A slash behind a directory's name is allowed, as on Linux.
#[test]
fn c_mkdir() {
    Case::new("c_mkdir").differs(|o| {
        replace(o, "rmdir slash: Invalid argument", "rmdir slash: ok");
        replace(o, " slash/", "");
        o.files.remove("/slash");
    });
}

/// A slash follows a link also where links are not followed, as on Linux.
#[test]
fn c_path_slash() {
    Case::new("c_path_slash").differs(|o| replace(o, "a directory: 0", "a directory: 1"));
}

#[test]
fn c_stat() {
    Case::new("c_stat").differs(|o| {
        replace(o, "ld/: link, 1 bytes, 1 links", "ld/: directory");
        replace(o, "l/: link, 1 bytes, 1 links", "l/: Not a directory");
        replace(o, "f/: file, 5 bytes, 1 links", "f/: Not a directory");
    });
}

#[test]
fn c_symlink() {
    Case::new("c_symlink").differs(|o| {
        replace(o, "slash: Invalid argument", "slash: Not a directory");
    });
}

/// Polling tells how much there is to read.
#[test]
fn c_poll_files() {
    Case::new("c_poll_files").differs(|o| {
        replace(o, "with 1 bytes", "with 10 bytes");
        replace(o, "\n1 bytes", "\n6 bytes");
    });
}

#[test]
fn c_readdir_file() {
    Case::new("c_readdir_file").differs(|o| replace(o, "file: errno 8", "file: errno 54"));
}

/// Linux looks first whether the target holds the source.
#[test]
fn c_rename_file() {
    Case::new("c_rename_file").differs(|o| {
        replace(
            o,
            "directory: Directory not empty",
            "directory: Is a directory",
        );
    });
}

/// Rights can be given up.
#[test]
fn c_set_rights() {
    Case::new("c_set_rights").differs(|o| {
        replace(o, "the same: errno 58", "the same: errno 0");
        replace(o, "fewer: errno 58", "fewer: errno 0");
        replace(o, "more: errno 58", "more: errno 76");
    });
}

/// Directories can be synchronised, as on Linux.
#[test]
fn c_sync_dir() {
    Case::new("c_sync_dir").differs(|o| replace(o, "fsync: Bad file descriptor", "fsync: ok"));
}

/// The reference traps.
#[test]
fn c_hostile_pointers() {
    Case::new("c_hostile_pointers").differs(|o| {
        let calls = [
            "read into",
            "write from",
            "buffers",
            "fdstat",
            "filestat",
            "clock",
            "random",
            "args",
            "poll",
            "readdir",
        ];
        let lines: Vec<_> = calls
            .iter()
            .map(|call| format!("{call}: errno 21\n"))
            .collect();
        o.stdout = format!("{}f: [content]\n", lines.concat()).into_bytes();
        o.end = End::Exit(0);
    });
}

#[test]
fn c_unknown_values() {
    Case::new("c_unknown_values").differs(|o| {
        let calls = [
            "clock_time_get",
            "clock_res_get",
            "poll_oneoff",
            "fd_advise",
            "fd_seek",
            "fd_fdstat_set_flags",
            "proc_raise",
        ];
        let lines: Vec<_> = calls
            .iter()
            .map(|call| format!("{call}: errno 28\n"))
            .collect();
        o.stdout = lines.concat().into_bytes();
        o.end = End::Exit(0);
    });
}

/// The reference misreads all subscriptions but the first.
#[test]
fn wat_unstable_poll() {
    Case::new("wat_unstable_poll").differs(|o| o.end = End::Exit(77));
}

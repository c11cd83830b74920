//! The library that the linker carries: it can be relocated, and what a canister does not use
//! stays out of it.

use std::time::Instant;

use crate::support::{c_guest, rust_guest};
use icwasi_cli::link::verify::verify;
use icwasi_cli::link::{LinkOptions, link as link_module};

/// One import of each preview1 function, so that nothing of them is dropped.
fn all_functions() -> Vec<u8> {
    let i32s = |n: usize| "i32 ".repeat(n);
    let functions = [
        ("args_get", i32s(2)),
        ("clock_time_get", "i32 i64 i32".to_owned()),
        ("environ_sizes_get", i32s(2)),
        ("fd_allocate", "i32 i64 i64".to_owned()),
        ("fd_pread", "i32 i32 i32 i64 i32".to_owned()),
        ("fd_readdir", "i32 i32 i32 i64 i32".to_owned()),
        ("fd_seek", "i32 i64 i32 i32".to_owned()),
        ("fd_write", i32s(4)),
        ("path_filestat_get", i32s(5)),
        (
            "path_open",
            "i32 i32 i32 i32 i32 i64 i64 i32 i32".to_owned(),
        ),
        ("path_rename", i32s(6)),
        ("path_symlink", i32s(5)),
        ("poll_oneoff", i32s(4)),
        ("random_get", i32s(2)),
        ("sock_shutdown", i32s(2)),
    ];
    let imports: String = functions
        .iter()
        .map(|(name, params)| {
            format!(
                "(import \"wasi_snapshot_preview1\" \"{name}\" (func (param {params}) (result i32)))"
            )
        })
        .collect();
    wat::parse_str(format!("(module {imports} (memory 1))")).expect("is valid")
}

#[test]
fn links_with_every_guest() {
    for guest in [all_functions(), rust_guest(), c_guest()] {
        for admin in [false, true] {
            let options = LinkOptions {
                admin,
                ..LinkOptions::default()
            };
            let start = Instant::now();
            let linked = link_module(&guest, &options).expect("links");
            println!(
                "{} -> {} bytes, {} functions, admin {admin}, {:?}",
                guest.len(),
                linked.module.len(),
                linked.figures.functions,
                start.elapsed()
            );
            assert!(verify(&linked.module).problems.is_empty());
            assert_eq!(
                linked.methods.iter().any(|m| m == "icwasi_upload_commit"),
                admin
            );
        }
    }
}

#[test]
fn admin_code_is_left_out_without_admin() {
    let code = |admin| {
        let options = LinkOptions {
            admin,
            ..LinkOptions::default()
        };
        link_module(&all_functions(), &options)
            .expect("links")
            .figures
            .code_bytes
    };
    let (without, with) = (code(false), code(true));
    assert!(
        without * 5 < with * 4,
        "{without} bytes of code without admin, {with} with it"
    );
}

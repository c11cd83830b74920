//! The 46 functions of WASI preview1, and their older `wasi_unstable` forms.
//!
//! Each function is a plain one over [`Runtime`](crate::runtime::Runtime) and
//! [`Guest`](guest::Guest), so that it runs natively in tests; `abi` exports them. What each
//! does, and where it differs from other runtimes: `docs/WASI.md`.

#[cfg(target_family = "wasm")]
mod abi;
pub mod args_env;
pub mod clock;
mod cwd;
pub mod errno;
pub mod fd_dir;
pub mod fd_io;
pub mod fd_meta;
pub mod fdtable;
pub mod guest;
pub mod mounts;
pub mod path;
pub mod path_open;
pub mod poll;
pub mod proc;
pub mod random;
pub mod run;
pub mod sock;
pub mod stable;
pub mod state;
pub mod stdio;
pub mod types;
pub mod unstable;

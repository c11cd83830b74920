//! The C compiler and headers for wasm32-wasip1, which the bundled SQLite needs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A clang that was seen to compile for WASI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasiC {
    /// The compiler.
    pub clang: PathBuf,
    /// Where wasi-libc's headers are.
    pub sysroot: PathBuf,
    /// An archiver that understands wasm objects, if one was found beside the compiler.
    pub ar: Option<PathBuf>,
}

/// Versions of clang to look for, the newest first. Older ones lack options that are used.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=30;

impl WasiC {
    /// The first pair of compiler and headers that compiles and links a program.
    ///
    /// Looks at `CC_wasm32_wasip1` and `WASI_SYSROOT`, at `WASI_SDK_PATH` and `/opt/wasi-sdk`, at
    /// the system's packages and at Homebrew's.
    ///
    /// # Errors
    /// If there is none; says what to install.
    pub fn find() -> Result<Self> {
        for clang in compilers() {
            for sysroot in sysroots() {
                if compiles(&clang, &sysroot) {
                    let ar = archiver(&clang);
                    return Ok(Self { clang, sysroot, ar });
                }
            }
        }
        bail!(
            "no C compiler for wasm32-wasip1 was found (a clang and the headers of wasi-libc). \
             `cargo xtask setup` installs them on Debian and says how elsewhere; \
             or set CC_wasm32_wasip1 and WASI_SYSROOT"
        )
    }

    /// What the compiler is told first of all.
    pub fn flags(&self) -> Vec<String> {
        flags(&self.sysroot)
    }

    /// With these, SQLite takes 1 to 4 % fewer instructions, for 14 % more code.
    fn cargo_flags(&self) -> Vec<String> {
        let mut flags = self.flags();
        flags.extend(["-msimd128", "-mllvm", "-inline-threshold=400"].map(str::to_owned));
        flags
    }

    /// Environment for cargo: the `cc` crate reads it in build scripts.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("CC_wasm32_wasip1", self.clang.display().to_string()),
            ("CFLAGS_wasm32_wasip1", self.cargo_flags().join(" ")),
        ];
        if let Some(ar) = &self.ar {
            variables.push(("AR_wasm32_wasip1", ar.display().to_string()));
        }
        variables
    }
}

/// `wasm32-wasi` and not `wasm32-wasip1`: Debian's headers lie in a folder of the old name.
fn flags(sysroot: &Path) -> Vec<String> {
    vec![
        "--target=wasm32-wasi".into(),
        "-Wno-deprecated".into(),
        format!("--sysroot={}", sysroot.display()),
    ]
}

fn compilers() -> Vec<PathBuf> {
    if let Some(compiler) = std::env::var_os("CC_wasm32_wasip1") {
        return vec![compiler.into()];
    }
    let mut found = Vec::new();
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        found.push(PathBuf::from(sdk).join("bin/clang"));
    }
    found.push("/opt/wasi-sdk/bin/clang".into());
    found.extend(
        VERSIONS
            .rev()
            .map(|version| format!("clang-{version}").into()),
    );
    found.push("clang".into());
    for prefix in BREW {
        found.push(Path::new(prefix).join("opt/llvm/bin/clang"));
    }
    found
}

const BREW: [&str; 2] = ["/opt/homebrew", "/usr/local"];

fn sysroots() -> Vec<PathBuf> {
    if let Some(sysroot) = std::env::var_os("WASI_SYSROOT") {
        return vec![sysroot.into()];
    }
    let mut found = Vec::new();
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        found.push(PathBuf::from(sdk).join("share/wasi-sysroot"));
    }
    found.push("/opt/wasi-sdk/share/wasi-sysroot".into());
    found.push("/usr".into());
    found.push("/usr/share/wasi-sysroot".into());
    for prefix in BREW {
        found.push(Path::new(prefix).join("opt/wasi-libc/share/wasi-sysroot"));
    }
    found.retain(|path| path.is_dir());
    found
}

fn compiles(clang: &Path, sysroot: &Path) -> bool {
    // A header that only wasi-libc has, so that the host's do not pass for it.
    let program =
        b"#include <wasi/api.h>\n#include <stdio.h>\nint main(void) { return puts(\"\"); }\n";
    // Linked, too: the compiler's own library for wasm is a package of its own.
    let output = std::env::temp_dir().join(format!("icwasi-cc-{}", std::process::id()));
    let child = Command::new(clang)
        .args(flags(sysroot))
        .args(["-x", "c", "-", "-o"])
        .arg(&output)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // A compiler that does not read its input has failed; its status tells.
        let _ = stdin.write_all(program);
    }
    drop(child.stdin.take());
    let works = child.wait().is_ok_and(|status| status.success());
    let _ = std::fs::remove_file(output);
    works
}

/// macOS's own `ar` does not index wasm objects; the one of LLVM does.
fn archiver(clang: &Path) -> Option<PathBuf> {
    let name = clang.file_name()?.to_str()?;
    let ar = clang.with_file_name(name.replace("clang", "llvm-ar"));
    let starts = Command::new(&ar)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    starts.then_some(ar)
}

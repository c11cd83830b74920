//! Lists the programs, so that one without a test does not compile.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Directory, suffix of the files, prefix of the tests.
const KINDS: [(&str, &str, &str); 3] = [
    ("c", "c", "c"),
    ("rust/src/programs", "rs", "rust"),
    ("wat", "wat", "wat"),
];

fn main() {
    let mut names = Vec::new();
    for (directory, suffix, prefix) in KINDS {
        println!("cargo::rerun-if-changed={directory}");
        let entries = fs::read_dir(directory).expect("the programs are here");
        for entry in entries {
            let path = entry.expect("can be listed").path();
            if path.extension().is_some_and(|found| found == suffix) {
                names.push(format!("{prefix}_{}", stem(&path)));
            }
        }
    }
    names.sort();
    let list = names.join(" ");
    // Used where the tests are: each name must be a function there.
    let text = format!(
        "/// Calls a macro with the names of all programs.\n\
         #[macro_export]\nmacro_rules! every_program {{ ($with:ident) => {{ $with! {{ {list} }} }} }}\n"
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("programs.rs"), text).expect("can be written");
}

fn stem(path: &Path) -> &str {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .expect("a name in UTF-8")
}

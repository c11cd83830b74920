//! Makes one program of all: which one is run is told by its name, `rust_NAME`.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src/programs");
    let mut names: Vec<String> = fs::read_dir("src/programs")
        .expect("the programs are here")
        .map(|entry| entry.expect("can be listed").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let mut text = String::new();
    for name in &names {
        text += &format!(
            "#[path = {:?}]\nmod {name};\n",
            format!("{root}/src/programs/{name}.rs")
        );
    }
    text += "fn run(name: &str) -> Option<ExitCode> {\n    Some(match name {\n";
    for name in &names {
        text += &format!("        \"rust_{name}\" => {name}::main().report(),\n");
    }
    text += "        _ => return None,\n    })\n}\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("programs.rs"), text).expect("can be written");
}

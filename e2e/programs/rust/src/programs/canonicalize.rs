//! What std does not offer on WASI fails.
use std::fs;

pub fn main() {
    fs::write("f", "").unwrap();
    println!("{:?}", fs::canonicalize("f").map_err(|e| e.kind()));
    let file = fs::File::open("f").unwrap();
    println!("{:?}", file.try_clone().map(|_| ()).map_err(|e| e.kind()));
}

//! `hard_link` and `rename`.
use std::fs;

pub fn main() -> std::io::Result<()> {
    fs::write("a", "shared")?;
    fs::hard_link("a", "b")?;
    fs::write("b", "changed")?;
    println!("{}", fs::read_to_string("a")?);
    println!("{:?}", fs::hard_link("a", "b").map_err(|e| e.kind()));
    fs::rename("a", "c")?;
    fs::rename("c", "b")?;
    println!("{}", fs::read_to_string("b")?);
    println!("{:?}", fs::rename("gone", "x").map_err(|e| e.kind()));
    fs::create_dir("d")?;
    println!("{:?}", fs::rename("b", "d").map_err(|e| e.kind()));
    println!("{:?}", fs::rename("d", "b").map_err(|e| e.kind()));
    Ok(())
}

//! `fs::write`, `fs::read`, `fs::copy`, `fs::remove_file`.
use std::fs;

pub fn main() -> std::io::Result<()> {
    fs::write("a", "hello\n")?;
    println!("{:?}", fs::read_to_string("a")?);
    println!("{}", fs::copy("a", "b")?);
    println!("{:?}", fs::read("b")?);
    fs::remove_file("a")?;
    println!("{:?}", fs::read("a").map_err(|e| e.kind()));
    println!("{:?}", fs::remove_file("a").map_err(|e| e.kind()));
    println!("{:?}", fs::write("no/where", "x").map_err(|e| e.kind()));
    println!("{:?}", fs::copy("gone", "c").map_err(|e| e.kind()));
    Ok(())
}

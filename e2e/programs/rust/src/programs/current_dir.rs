//! The current directory.
use std::{env, fs};

pub fn main() {
    println!("{:?}", env::current_dir());
    fs::create_dir("d").unwrap();
    fs::write("d/f", "x").unwrap();
    println!("{:?}", env::set_current_dir("d"));
    println!("{:?}", fs::read_to_string("f"));
    println!("{:?}", fs::read_to_string("/d/f"));
    println!("{:?}", fs::write("g", "y"));
    println!("{:?}", env::current_dir());
    println!(
        "{:?}",
        env::set_current_dir("/nowhere").map_err(|e| e.kind())
    );
}

//! `main` that returns an error: text on stderr, exit code 1.
use std::io;

pub fn main() -> io::Result<()> {
    println!("before");
    Err(io::Error::other("something went wrong"))
}

//! Lines of standard input, sorted.
use std::io::{self, BufRead, Read};

pub fn main() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?;
    lines.sort();
    println!("{}", lines.join("\n"));
    println!("{}", io::stdin().read(&mut [0; 8])?);
    Ok(())
}

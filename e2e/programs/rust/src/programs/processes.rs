//! There are no other processes.
use std::process::Command;

pub fn main() {
    println!(
        "{:?}",
        Command::new("ls")
            .output()
            .map(|_| ())
            .map_err(|e| e.kind())
    );
}

//! `env::args`, `env::vars`.
use std::env;

pub fn main() {
    println!("{:?}", env::args().collect::<Vec<_>>());
    println!("{:?}", env::vars().collect::<Vec<_>>());
    println!("{:?} {:?}", env::var("A"), env::var("MISSING"));
}

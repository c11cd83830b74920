//! `process::exit` from deep within iterators; destructors do not run, files stay.
use std::fs;

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        println!("a destructor ran");
    }
}

pub fn main() {
    let _guard = Guard;
    fs::write("before", "kept").unwrap();
    let found = (0..10).map(|i| vec![i; i]).flat_map(|v| {
        v.into_iter().inspect(|i| {
            if *i == 5 {
                println!("leaving");
                std::process::exit(23);
            }
        })
    });
    println!("{}", found.count());
}

//! There are no threads.
use std::thread;

pub fn main() {
    let spawned = thread::Builder::new().spawn(|| println!("ran"));
    println!("{:?}", spawned.map(|_| ()).map_err(|e| e.kind()));
    println!(
        "{:?}",
        thread::available_parallelism()
            .map(|n| n.get())
            .map_err(|e| e.kind())
    );
}

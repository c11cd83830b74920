//! `Instant`, `SystemTime`, `sleep`.
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub fn main() {
    let start = Instant::now();
    sleep(Duration::from_millis(7));
    let passed = start.elapsed();
    println!("{}", passed >= Duration::from_millis(7));
    println!("{}", passed < Duration::from_secs(60));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    println!("{}", now.as_secs() > 1_577_836_800);
    let mut last = Instant::now();
    for _ in 0..1000 {
        let next = Instant::now();
        assert!(next >= last);
        last = next;
    }
}

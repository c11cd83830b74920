//! `HashMap`, whose keys come from `random_get`.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

pub fn main() {
    let map: HashMap<u32, u32> = (0..1000).map(|i| (i, i * i)).collect();
    println!(
        "{} {}",
        map.len(),
        map.values().map(|v| u64::from(*v)).sum::<u64>()
    );
    println!("{}", map.iter().all(|(k, v)| k * k == *v));
    let hash = |state: &RandomState| state.hash_one("text");
    let (a, b) = (RandomState::new(), RandomState::new());
    println!("{}", hash(&a) == hash(&a) && hash(&a) != hash(&b));
}

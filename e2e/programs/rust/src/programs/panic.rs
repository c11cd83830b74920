//! A panic: text on stderr, then a trap.
pub fn main() {
    std::fs::write("f", "written before the panic").unwrap();
    println!("before");
    panic!("on purpose");
}

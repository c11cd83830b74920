//! Every combination of `OpenOptions`.
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};

pub fn main() {
    for bits in 0..64_u32 {
        fs::write("f", "0123").unwrap();
        let on = |bit: u32| bits & (1 << bit) != 0;
        let mut options = OpenOptions::new();
        options.read(on(0)).write(on(1)).append(on(2));
        options.truncate(on(3)).create(on(4)).create_new(on(5));
        print!("{bits:06b}: ");
        match options.open("f") {
            Err(e) => println!("{:?}", e.kind()),
            Ok(mut file) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text).map_err(|e| e.raw_os_error());
                let written = file.write(b"xy").map_err(|e| e.raw_os_error());
                drop(file);
                println!(
                    "{read:?} {written:?} {:?}",
                    fs::read_to_string("f").unwrap()
                );
            }
        }
        let _ = fs::remove_file("new");
        let made = options.open("new").is_ok();
        println!("  new: {made}");
    }
    let _ = fs::remove_file("new");
}

//! A command in Rust, chosen by its first argument.

use std::collections::HashMap;

fn descend(depth: u32, leave: &dyn Fn(u32) -> u64) -> u64 {
    if depth == 0 { leave(depth) } else { descend(depth - 1, leave) + 1 }
}

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("exit") => {
            std::fs::write("/rust.txt", "kept").unwrap();
            let mut map: HashMap<u32, Box<dyn Fn(u32) -> u64>> = HashMap::new();
            map.insert(1, Box::new(|code| std::process::exit(code as i32 + 5)));
            print!("not a complete line");
            println!("{}", descend(30, &map[&1]));
        }
        Some("panic") => panic!("this is why"),
        Some("sum") => {
            let text = std::io::read_to_string(std::io::stdin()).unwrap();
            let sum: i64 = text.split_whitespace().map(|n| n.parse::<i64>().unwrap()).sum();
            println!("{sum}");
        }
        Some("mkdir") => args.for_each(|path| std::fs::create_dir_all(path).unwrap()),
        Some("write") => {
            std::fs::write(args.next().unwrap(), args.next().unwrap()).unwrap();
        }
        Some("read") => match std::fs::read_to_string(args.next().unwrap()) {
            Ok(text) => print!("{text}"),
            Err(_) => std::process::exit(2),
        },
        other => println!("unknown: {other:?}"),
    }
}

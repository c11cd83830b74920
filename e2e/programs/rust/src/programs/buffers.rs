//! `BufReader` and `BufWriter` over some megabytes of lines.
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

pub fn main() -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1000, File::create("lines")?);
    for i in 0..50_000_u64 {
        writeln!(out, "{i} {}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))?;
    }
    out.into_inner()?;
    let (mut count, mut sum) = (0, 0_u64);
    for line in BufReader::new(File::open("lines")?).lines() {
        let line = line?;
        let (index, value) = line.split_once(' ').unwrap();
        assert_eq!(index.parse::<u64>().unwrap(), count);
        sum = sum.wrapping_add(value.parse::<u64>().unwrap());
        count += 1;
    }
    println!("{count} {sum}");
    Ok(())
}

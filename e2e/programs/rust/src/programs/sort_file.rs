//! An external sort: runs in files, merged.
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};

pub fn main() -> std::io::Result<()> {
    let mut x = 12345_u32;
    fs::create_dir("runs")?;
    for run in 0..8 {
        let mut numbers: Vec<u32> = (0..2_000)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                x >> 8
            })
            .collect();
        numbers.sort_unstable();
        let mut out = BufWriter::new(File::create(format!("runs/{run}"))?);
        for number in numbers {
            writeln!(out, "{number}")?;
        }
    }
    let mut readers = Vec::new();
    for entry in fs::read_dir("runs")? {
        let mut lines = BufReader::new(File::open(entry?.path())?).lines();
        let head = lines.next().unwrap()?.parse::<u32>().unwrap();
        readers.push((head, lines));
    }
    let mut out = BufWriter::new(File::create("sorted")?);
    let (mut last, mut count) = (0, 0);
    while let Some(at) = (0..readers.len()).min_by_key(|&at| readers[at].0) {
        let (head, lines) = &mut readers[at];
        assert!(*head >= last);
        last = *head;
        count += 1;
        writeln!(out, "{last}")?;
        match lines.next() {
            Some(line) => *head = line?.parse().unwrap(),
            None => drop(readers.swap_remove(at)),
        }
    }
    out.flush()?;
    println!("{count} {last}");
    fs::remove_dir_all("runs")
}

//! `Seek`, and a file that is read and written in turn.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

pub fn main() -> std::io::Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open("f")?;
    file.write_all(b"0123456789")?;
    println!("{}", file.stream_position()?);
    println!("{}", file.seek(SeekFrom::Start(2))?);
    file.write_all(b"ab")?;
    println!("{}", file.seek(SeekFrom::Current(-1))?);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    println!("{text}");
    println!("{}", file.seek(SeekFrom::End(-3))?);
    println!(
        "{:?}",
        file.seek(SeekFrom::Current(-100)).map_err(|e| e.kind())
    );
    println!("{}", file.seek(SeekFrom::End(5))?);
    println!("{}", file.read(&mut [0; 4])?);
    file.write_all(b"!")?;
    file.rewind()?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    println!("{all:?}");
    Ok(())
}

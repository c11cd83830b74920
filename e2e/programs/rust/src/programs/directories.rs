//! `create_dir_all`, `read_dir`, `remove_dir_all`.
use std::fs;
use std::path::Path;

fn walk(path: &Path, depth: usize) -> std::io::Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let kind = entry.file_type()?;
        println!(
            "{:depth$}{:?} {} {}",
            "",
            entry.file_name(),
            kind.is_dir(),
            kind.is_file()
        );
        if kind.is_dir() {
            walk(&entry.path(), depth + 2)?;
        }
    }
    Ok(())
}

pub fn main() -> std::io::Result<()> {
    fs::create_dir_all("a/b/c")?;
    fs::create_dir_all("a/b/c")?;
    fs::create_dir_all("a/d")?;
    fs::write("a/b/f", "")?;
    fs::write("a/b/c/g", "")?;
    walk(Path::new("."), 0)?;
    println!("{:?}", fs::create_dir("a").map_err(|e| e.kind()));
    println!("{:?}", fs::create_dir_all("a/b/f/x").map_err(|e| e.kind()));
    println!("{:?}", fs::remove_dir("a").map_err(|e| e.kind()));
    println!(
        "{:?}",
        fs::read_dir("a/b/f").map(|_| ()).map_err(|e| e.kind())
    );
    fs::remove_dir_all("a")?;
    println!("{}", Path::new("a").exists());
    println!("{:?}", fs::remove_dir_all("a").map_err(|e| e.kind()));
    walk(Path::new("."), 0)
}

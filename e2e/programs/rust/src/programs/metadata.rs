//! `metadata`, `symlink_metadata`, `set_len`, `set_times`.
use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn main() -> std::io::Result<()> {
    let before = SystemTime::now();
    fs::write("f", "12345")?;
    let meta = fs::metadata("f")?;
    println!(
        "{} {} {}",
        meta.len(),
        meta.is_file(),
        meta.permissions().readonly()
    );
    // File systems may count in coarser steps than the clock.
    println!("{}", meta.modified()? + Duration::from_secs(2) >= before);
    println!("{}", meta.accessed().is_ok());
    println!("{:?}", meta.created().map(|_| ()).map_err(|e| e.kind()));
    let file = File::options().write(true).open("f")?;
    file.set_len(3)?;
    println!("{}", file.metadata()?.len());
    let at = |seconds| UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    file.set_times(
        FileTimes::new()
            .set_accessed(at(1000))
            .set_modified(at(2000)),
    )?;
    let meta = fs::metadata("f")?;
    println!("{:?}", meta.accessed()?.duration_since(UNIX_EPOCH));
    println!("{:?}", meta.modified()?.duration_since(UNIX_EPOCH));
    file.set_modified(at(3000))?;
    println!(
        "{:?}",
        fs::metadata("f")?.accessed()?.duration_since(UNIX_EPOCH)
    );
    println!("{}", fs::metadata(".")?.is_dir());
    println!(
        "{:?}",
        fs::metadata("gone").map(|_| ()).map_err(|e| e.kind())
    );
    println!("{:?}", fs::exists("gone")?);
    file.sync_all()?;
    file.sync_data()
}

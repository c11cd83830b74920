//! A plain text file, written by `std`.

use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{BufRead, BufReader, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends "SECONDS EVENT". An installation that cannot write its log fails.
pub fn append(event: &str) {
    let write = || -> std::io::Result<()> {
        create_dir_all("/data")?;
        let mut file = OpenOptions::new().create(true).append(true).open(super::LOG)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        writeln!(file, "{} {event}", now.as_secs())
    };
    if let Err(error) = write() {
        ic_cdk::api::trap(format!("cannot write {}: {error}", super::LOG));
    }
}

/// All lines; none if there is no log.
pub fn lines() -> Vec<String> {
    File::open(super::LOG)
        .map(|file| BufReader::new(file).lines().map_while(Result::ok).collect())
        .unwrap_or_default()
}

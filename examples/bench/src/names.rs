//! What names cost: creating, looking up, listing, replacing and removing files.

use std::fs::{self, File, OpenOptions};

use super::measure;

/// A path that ends in a number, which is written in place: formatting a new string for each
/// would cost as much as what is measured.
struct Name(String);

impl Name {
    fn new(directory: &str, stem: &str) -> Self {
        Self(format!("{directory}/{stem}-000000"))
    }

    fn with(&mut self, number: u32) -> &str {
        self.0.truncate(self.0.len() - 6);
        for scale in [100_000, 10_000, 1_000, 100, 10, 1] {
            self.0.push(char::from(b'0' + (number / scale % 10) as u8));
        }
        &self.0
    }
}

/// Makes a directory, unmeasured.
#[ic_cdk::update]
fn make_directory(directory: String) {
    if let Err(error) = fs::create_dir_all(&directory) {
        ic_cdk::api::trap(error.to_string());
    }
}

/// Creates empty files `first..first + count` in a directory.
#[ic_cdk::update]
fn create_files(directory: String, first: u32, count: u32) -> u64 {
    let mut name = Name::new(&directory, "file");
    measure(|| {
        for i in first..first + count {
            File::create_new(name.with(i))?;
        }
        Ok(())
    })
}

/// Creates `count` directories in `directory`, each in the one before if `nested`.
#[ic_cdk::update]
fn create_directories(directory: String, count: u32, nested: bool) -> u64 {
    let mut name = Name::new(&directory, "dir");
    measure(|| {
        // A program has no directory of its own under WASI: every call walks the whole path.
        let mut path = directory.clone();
        for i in 0..count {
            if nested {
                path.push_str("/d");
                fs::create_dir(&path)?;
            } else {
                fs::create_dir(name.with(i))?;
            }
        }
        Ok(())
    })
}

/// Asks `count` times for names that a directory does not hold.
#[ic_cdk::update]
fn stat_missing(directory: String, count: u32) -> u64 {
    let mut name = Name::new(&directory, "none");
    measure(|| {
        for i in 0..count {
            if fs::metadata(name.with(i)).is_ok() {
                return Err("a file that nobody made".into());
            }
        }
        Ok(())
    })
}

/// Lists a directory of `count` entries.
#[ic_cdk::update]
fn list(directory: String, count: u32) -> u64 {
    measure(|| {
        let mut found = 0;
        for entry in fs::read_dir(&directory)? {
            entry?;
            found += 1;
        }
        if found == count {
            Ok(())
        } else {
            Err(format!("{found} entries instead of {count}").into())
        }
    })
}

/// Renames a file.
#[ic_cdk::update]
fn rename(from: String, to: String) -> u64 {
    measure(|| Ok(fs::rename(&from, &to)?))
}

/// Cuts a file.
#[ic_cdk::update]
fn truncate(path: String, size: u64) -> u64 {
    measure(|| Ok(OpenOptions::new().write(true).open(&path)?.set_len(size)?))
}

/// Removes a file.
#[ic_cdk::update]
fn remove(path: String) -> u64 {
    measure(|| Ok(fs::remove_file(&path)?))
}

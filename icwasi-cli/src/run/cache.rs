//! Where compiled programs are kept between runs: compilation is most of what a short run costs.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most programs that are kept; the least recently written go first.
const KEPT: usize = 64;

/// `icwasi/run` in the user's cache directory, made if needed. `None` if there is no such
/// directory that only this user can write: what lies there is executed.
pub fn compile_cache() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let dir = base.join("icwasi").join("run");
    open(&dir)?;
    trim(&dir, KEPT);
    Some(dir)
}

fn open(dir: &Path) -> Option<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .ok()?;
    let found = fs::symlink_metadata(dir).ok()?;
    let own = found.is_dir() && found.uid() == rustix::process::getuid().as_raw();
    if !own {
        return None;
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).ok()?;
    }
    Some(())
}

/// Removes all but the `kept` newest files. What cannot be removed stays.
fn trim(dir: &Path, kept: usize) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let age = |entry: &fs::DirEntry| entry.metadata().and_then(|m| m.modified());
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .map(|entry| (age(&entry).unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
        .collect();
    if files.len() <= kept {
        return;
    }
    files.sort();
    for (_, path) in &files[..files.len() - kept] {
        // Another run may have done it.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_and_does_not_grow_without_end() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = base.path().join("a/run");
        fs::create_dir_all(&dir).expect("made");
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).expect("set");
        open(&dir).expect("is ours");
        assert_eq!(fs::metadata(&dir).expect("there").mode() & 0o777, 0o700);
        for n in 0..5 {
            let file = fs::File::create(dir.join(n.to_string())).expect("made");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(10 - n);
            file.set_modified(time).expect("set");
        }
        trim(&dir, 2);
        let mut left: Vec<_> = fs::read_dir(&dir)
            .expect("there")
            .flatten()
            .map(|e| e.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["0", "1"]);
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).expect("made");
        assert_eq!(open(&link), None, "who can replace the link is not known");
    }
}

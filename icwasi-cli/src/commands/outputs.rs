//! What a command writes must not be what it reads: it would be gone after the first call.

use std::path::{Path, PathBuf};

use super::UsageError;

/// A file that the command line names, and where.
pub struct Named<'a> {
    /// What the user wrote in front of it, such as `--output`.
    pub what: &'a str,
    pub path: &'a Path,
}

/// Refuses if one of `outputs` is one of `inputs`, or another output, however it is spelled: also
/// through links. What does not exist yet is compared by its directory and name.
pub fn check(inputs: &[Named<'_>], outputs: &[Named<'_>]) -> Result<(), UsageError> {
    for (at, output) in outputs.iter().enumerate() {
        for other in inputs.iter().chain(&outputs[..at]) {
            if !is_same(output.path, other.path) {
                continue;
            }
            let place = output.path.display();
            let same = if output.path == other.path {
                String::new()
            } else {
                format!(" ({})", other.path.display())
            };
            return Err(UsageError(format!(
                "{}: {place} is the same file as {}{same}, which would be overwritten: give \
                 another name; nothing was written",
                output.what, other.what
            )));
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        // A terminal or a pipe may be both.
        (Ok(one), Ok(other)) => {
            one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
        }
        (Err(_), Err(_)) => match (absolute(one), absolute(other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        },
        _ => false,
    }
}

/// Where a file would be made.
fn absolute(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize().ok()?;
    Some(directory.join(path.file_name()?))
}

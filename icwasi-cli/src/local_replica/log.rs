//! The log of a background replica: its stderr, which holds what canisters print.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::LocalReplicaError;

/// Bytes that are read at once, and looked through at once for the last lines.
const PIECE: u64 = 64 << 10;

/// Where the log of the background replica of a state directory is. Each start begins a new one.
pub fn log_file(state_dir: &Path) -> PathBuf {
    state_dir.join("replica.log")
}

/// An open log. What is added later is read by [`Log::read`].
pub struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Opens the log of a state directory, to be read from its start, or from the beginning of
    /// its last `lines` lines.
    pub fn open(state_dir: &Path, lines: Option<usize>) -> Result<Self, LocalReplicaError> {
        let path = log_file(state_dir);
        let file = File::open(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => LocalReplicaError::NoLog {
                path: state_dir.to_owned(),
            },
            _ => fail(&path, source),
        })?;
        let mut log = Self { file, path };
        if let Some(lines) = lines {
            let start = log.start_of_last(lines).map_err(|e| fail(&log.path, e))?;
            log.file
                .seek(SeekFrom::Start(start))
                .map_err(|e| fail(&log.path, e))?;
        }
        Ok(log)
    }

    /// Bytes that have not been read; none if there are none yet.
    pub fn read(&mut self) -> Result<Vec<u8>, LocalReplicaError> {
        let mut bytes = Vec::new();
        (&mut self.file)
            .take(PIECE)
            .read_to_end(&mut bytes)
            .map_err(|e| fail(&self.path, e))?;
        Ok(bytes)
    }

    /// Offset at which the last `lines` lines begin. Looks at the file backwards, so that a long
    /// log costs no more than its end.
    fn start_of_last(&mut self, lines: usize) -> std::io::Result<u64> {
        let end = self.file.seek(SeekFrom::End(0))?;
        if lines == 0 {
            return Ok(end);
        }
        let mut wanted = lines;
        let mut at = end;
        let mut piece = Vec::new();
        while at > 0 {
            let from = at.saturating_sub(PIECE);
            piece.resize((at - from) as usize, 0);
            self.file.seek(SeekFrom::Start(from))?;
            self.file.read_exact(&mut piece)?;
            for (index, byte) in piece.iter().enumerate().rev() {
                let position = from + index as u64 + 1;
                // The break that ends the last line begins no further one.
                if *byte != b'\n' || position == end {
                    continue;
                }
                wanted -= 1;
                if wanted == 0 {
                    return Ok(position);
                }
            }
            at = from;
        }
        Ok(0)
    }
}

fn fail(path: &Path, source: std::io::Error) -> LocalReplicaError {
    LocalReplicaError::StateDir {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str, lines: usize) -> String {
        let temp = tempfile::tempdir().expect("temporary directory");
        std::fs::write(log_file(temp.path()), text).expect("write");
        let mut log = Log::open(temp.path(), Some(lines)).expect("there");
        let mut all = Vec::new();
        loop {
            let piece = log.read().expect("reads");
            if piece.is_empty() {
                break;
            }
            all.extend(piece);
        }
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn the_last_lines_are_found() {
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc", 2), "b\nc");
        assert_eq!(last("a\nb\n", 9), "a\nb\n");
        assert_eq!(last("a\nb\n", 0), "");
        assert_eq!(last("", 3), "");
        let long: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        let tail: String = (20_000..50_000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(last(&long, 30_000), tail, "over several pieces");
    }

    #[test]
    fn what_comes_later_is_read_later() {
        use std::io::Write;
        let temp = tempfile::tempdir().expect("temporary directory");
        assert!(matches!(
            Log::open(temp.path(), None),
            Err(LocalReplicaError::NoLog { .. })
        ));
        let mut file = File::create(log_file(temp.path())).expect("create");
        let mut log = Log::open(temp.path(), None).expect("there");
        assert!(log.read().expect("reads").is_empty());
        file.write_all(b"later").expect("write");
        assert_eq!(log.read().expect("reads"), b"later");
    }
}

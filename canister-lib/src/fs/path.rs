//! Path resolution, one component at a time. The only place that follows symbolic links.

use ic_stable_structures::Memory;

use super::error::FsError;
use super::types::{FileType, Ino};
use super::{Fs, check_name};

/// Symbolic links followed in one path before it is called a loop.
const MAX_SYMLINKS: u32 = 40;

/// Where a path leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// The directory of the last component.
    pub parent: Ino,
    /// The last component; `None` if it is ".", ".." or the root: it exists, and cannot be made,
    /// removed or renamed.
    pub name: Option<Vec<u8>>,
    /// What is there, after following if asked for; `None`: nothing, but `parent` exists.
    pub target: Option<Ino>,
    /// The path ended in '/': the target, if it exists, is a directory.
    pub trailing_slash: bool,
}

impl<M: Memory> Fs<M> {
    /// Finds out where `path` leads from directory `start`, never outside `root`.
    ///
    /// Symbolic links in the middle are followed (at most 40), the last one if `follow_last` or if
    /// a '/' follows it. Errors: `NotCapable` for an absolute path or link, or ".." above `root`;
    /// `NotFound`; `NotDir`; `SymlinkLoop`; `NameTooLong` for a component above 255 bytes;
    /// `IllegalByteSequence` for NUL or bytes that are not UTF-8. Cost: one look-up a component.
    pub fn resolve(
        &mut self,
        root: Ino,
        start: Ino,
        path: &[u8],
        follow_last: bool,
    ) -> Result<Resolved, FsError> {
        check_path(path)?;
        let trailing_slash = path.ends_with(b"/");
        // What is still to walk: paths of links on top of what follows them.
        let mut pending: Vec<Vec<u8>> = Vec::new();
        let mut rest: Vec<u8> = path.to_vec();
        let mut at = start;
        let mut links = 0;
        // How far below `start` we are: above it, `root` must be looked for.
        let mut depth = 0_i64;
        loop {
            let Some((name, left)) = next_component(&rest) else {
                match pending.pop() {
                    Some(next) => {
                        rest = next;
                        continue;
                    }
                    None => {
                        if self.stat(at)?.file_type != FileType::Directory {
                            return Err(FsError::NotDir);
                        }
                        let here = Resolved {
                            parent: at,
                            name: None,
                            target: Some(at),
                            trailing_slash,
                        };
                        return Ok(here);
                    }
                }
            };
            let (name, left) = (name.to_vec(), left.to_vec());
            let last = pending
                .iter()
                .chain([&left])
                .all(|path| next_component(path).is_none());
            let slash = pending.iter().chain([&left]).any(|path| !path.is_empty());
            if name == b"." {
                if self.stat(at)?.file_type != FileType::Directory {
                    return Err(FsError::NotDir);
                }
            } else if name == b".." {
                depth -= 1;
                at = self.climb(root, start, at, depth)?;
            } else {
                let found = match self.lookup(at, &name) {
                    Err(FsError::NotFound) if last => {
                        return Ok(Resolved {
                            parent: at,
                            name: Some(name),
                            target: None,
                            trailing_slash,
                        });
                    }
                    found => found?,
                };
                let file_type = self.stat(found)?.file_type;
                if file_type == FileType::Symlink && (!last || follow_last || slash) {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(FsError::SymlinkLoop);
                    }
                    let target = self.read_link(found)?;
                    check_path(&target)?;
                    if !left.is_empty() {
                        pending.push(left);
                    }
                    rest = target;
                    continue;
                }
                if last {
                    if slash && file_type != FileType::Directory {
                        return Err(FsError::NotDir);
                    }
                    let name = Some(name);
                    return Ok(Resolved {
                        parent: at,
                        name,
                        target: Some(found),
                        trailing_slash,
                    });
                }
                depth += 1;
                at = found;
            }
            rest = left;
        }
    }

    /// The parent of `at`, which must not be `root`, nor outside it.
    fn climb(&mut self, root: Ino, start: Ino, at: Ino, depth: i64) -> Result<Ino, FsError> {
        if at == root {
            return Err(FsError::NotCapable);
        }
        // Directories may have been moved since `start` was opened.
        if depth < 0 && start != root && root != self.root() {
            let number = |ino: Ino| u32::try_from(ino.0).map_err(|_| FsError::BadInode);
            if !self.is_inside(number(at)?, number(root)?)? {
                return Err(FsError::NotCapable);
            }
        }
        self.lookup(at, b"..")
    }
}

/// Checks of a whole path that do not depend on what is there.
fn check_path(path: &[u8]) -> Result<(), FsError> {
    if path.is_empty() {
        return Err(FsError::NotFound);
    }
    if path.contains(&0) || std::str::from_utf8(path).is_err() {
        return Err(FsError::IllegalByteSequence);
    }
    if path[0] == b'/' {
        return Err(FsError::NotCapable);
    }
    path.split(|&b| b == b'/')
        .filter(|name| !name.is_empty())
        .try_for_each(check_name)
}

/// The first component of `path`, and what follows it, '/' first.
fn next_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&b| b != b'/')?;
    let path = &path[start..];
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    Some(path.split_at(end))
}

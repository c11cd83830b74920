//! Walking along any path, also one with symbolic links, through one file system or several.

use super::error::FsError;
use super::path::{check_path, next_component};
use super::types::FileType;

/// Symbolic links followed in one path before it is called a loop.
const MAX_SYMLINKS: u32 = 40;

/// What a path leads through.
pub(crate) trait Tree {
    /// What is at a place in it.
    type At: Copy;

    /// What kind of thing that is.
    fn file_type(&mut self, at: Self::At) -> Result<FileType, FsError>;

    /// What `name`, which is neither `.` nor `..`, leads to in `at`.
    fn child(&mut self, at: Self::At, name: &[u8]) -> Result<Self::At, FsError>;

    /// The parent of `at`, which is `depth` directories below where the walk began, or -`depth`
    /// above. `NotCapable` where the walk must not go.
    fn parent(&mut self, at: Self::At, depth: i64) -> Result<Self::At, FsError>;

    /// Where the symbolic link at `at` leads.
    fn read_link(&mut self, at: Self::At) -> Result<Vec<u8>, FsError>;
}

/// Where a walk ended.
pub(crate) struct Walk<At> {
    /// The directory of the last component.
    pub parent: At,
    /// The last component, unless it is `.`, `..` or nothing.
    pub name: Option<Vec<u8>>,
    /// What is there.
    pub target: Option<At>,
    /// A '/' follows the last component, in the path or in a link that it led through.
    pub slash: bool,
}

/// Walks along `path`, which `check_path` took, from `start` on. As `Fs::resolve`.
pub(crate) fn walk<T: Tree>(
    tree: &mut T,
    start: T::At,
    path: &[u8],
    follow_last: bool,
) -> Result<Walk<T::At>, FsError> {
    // What is still to walk: paths of links on top of what follows them.
    let mut pending: Vec<Vec<u8>> = Vec::new();
    let mut rest: Vec<u8> = path.to_vec();
    let mut at = start;
    let mut links = 0;
    let mut depth = 0_i64;
    loop {
        let Some((name, left)) = next_component(&rest) else {
            match pending.pop() {
                Some(next) => {
                    rest = next;
                    continue;
                }
                None => {
                    if tree.file_type(at)? != FileType::Directory {
                        return Err(FsError::NotDir);
                    }
                    return Ok(Walk {
                        parent: at,
                        name: None,
                        target: Some(at),
                        slash: false,
                    });
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
            if tree.file_type(at)? != FileType::Directory {
                return Err(FsError::NotDir);
            }
        } else if name == b".." {
            depth -= 1;
            at = tree.parent(at, depth)?;
        } else {
            let found = match tree.child(at, &name) {
                Err(FsError::NotFound) if last => {
                    return Ok(Walk {
                        parent: at,
                        name: Some(name),
                        target: None,
                        slash,
                    });
                }
                found => found?,
            };
            let file_type = tree.file_type(found)?;
            if file_type == FileType::Symlink && (!last || follow_last || slash) {
                links += 1;
                if links > MAX_SYMLINKS {
                    return Err(FsError::SymlinkLoop);
                }
                let target = tree.read_link(found)?;
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
                return Ok(Walk {
                    parent: at,
                    name: Some(name),
                    target: Some(found),
                    slash,
                });
            }
            depth += 1;
            at = found;
        }
        rest = left;
    }
}

//! Removing files and trees, in bounded steps.

use std::ops::ControlFlow;

use ic_stable_structures::Memory;
use icwasi_types::{AdminError, Removed};

use super::error::{fs_error, invalid_path};
use super::paths::AbsPath;
use crate::fs::{FileType, Fs, FsError, Ino};

/// Most removals and descents of one call.
const MAX_STEPS: u64 = 2_000;

/// How deep a tree is walked. A directory below that is moved to the top of the tree first, so
/// that a tree of any depth goes with bounded memory, and every call gets something done.
const MAX_DEPTH: usize = 500;

/// Entries that are read of a directory at a time.
const BATCH: usize = 128;

/// Removes what is at `path`: a file, a symbolic link (not what it points to), an empty
/// directory, or with `recursive` a whole tree. The root is refused.
///
/// A large tree takes several calls: `more` asks for the next. An error that comes up when
/// something was removed already ends the call with `more`; the next call reports it.
pub fn remove<M: Memory>(
    fs: &mut Fs<M>,
    path: &str,
    recursive: bool,
) -> Result<Removed, AdminError> {
    let parsed = AbsPath::parse(path)?;
    let Some((dir, name)) = parsed.parent(fs)? else {
        return Err(invalid_path(
            path,
            "the root cannot be removed; remove what is in it",
        ));
    };
    let fail = |error| fs_error(error, path);
    let Some((ino, file_type)) = parsed.entry(fs, dir, name)? else {
        return Err(fail(FsError::NotFound));
    };
    if file_type != FileType::Directory {
        if parsed.is_directory() {
            return Err(fail(FsError::NotDir));
        }
        fs.unlink(dir, name.as_bytes()).map_err(fail)?;
        return Ok(Removed {
            removed: 1,
            more: false,
        });
    }
    if !recursive {
        fs.rmdir(dir, name.as_bytes()).map_err(fail)?;
        return Ok(Removed {
            removed: 1,
            more: false,
        });
    }
    let mut tree = Tree {
        fs,
        top: ino,
        removed: 0,
        steps: 0,
        changed: false,
    };
    match tree.remove(dir, name.as_bytes()) {
        Ok(more) => Ok(Removed {
            removed: tree.removed,
            more,
        }),
        Err(_) if tree.changed => Ok(Removed {
            removed: tree.removed,
            more: true,
        }),
        Err(error) => Err(fail(error)),
    }
}

struct Tree<'a, M: Memory> {
    fs: &'a mut Fs<M>,
    top: Ino,
    removed: u64,
    steps: u64,
    /// Something was removed or moved.
    changed: bool,
}

struct Child {
    name: Vec<u8>,
    ino: Ino,
    is_dir: bool,
}

impl<M: Memory> Tree<'_, M> {
    /// Removes the tree, depth first, and its root, `name` in `dir`. True if steps ran out.
    fn remove(&mut self, dir: Ino, name: &[u8]) -> Result<bool, FsError> {
        // The way to the directory at work: each with the name that leads to it.
        let mut way: Vec<(Ino, Vec<u8>)> = vec![(self.top, name.to_vec())];
        while let Some((current, _)) = way.last() {
            let current = *current;
            let mut descend = None;
            let children = self.children(current)?;
            let is_empty = children.is_empty();
            for child in children {
                if self.steps >= MAX_STEPS {
                    return Ok(true);
                }
                self.steps += 1;
                if !child.is_dir {
                    self.fs.unlink(current, &child.name)?;
                    self.removed += 1;
                    self.changed = true;
                } else if way.len() < MAX_DEPTH {
                    descend = Some((child.ino, child.name));
                    break;
                } else {
                    let hoisted = self.unused_name(child.ino)?;
                    self.fs.rename(current, &child.name, self.top, &hoisted)?;
                    self.changed = true;
                }
            }
            if let Some(next) = descend {
                way.push(next);
            } else if is_empty {
                if self.steps >= MAX_STEPS {
                    return Ok(true);
                }
                self.steps += 1;
                let (_, name) = way.pop().expect("the loop has its last element");
                let parent = way.last().map_or(dir, |(parent, _)| *parent);
                self.fs.rmdir(parent, &name)?;
                self.removed += 1;
                self.changed = true;
            }
        }
        Ok(false)
    }

    /// The first entries of `dir`.
    fn children(&mut self, dir: Ino) -> Result<Vec<Child>, FsError> {
        let mut children = Vec::new();
        self.fs.read_dir(dir, 0, &mut |entry| {
            if !matches!(entry.name, b"." | b"..") {
                let is_dir = entry.file_type == FileType::Directory;
                children.push(Child {
                    name: entry.name.to_vec(),
                    ino: entry.ino,
                    is_dir,
                });
            }
            if children.len() < BATCH {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(children)
    }

    /// A name for the directory `ino` that the top does not have.
    fn unused_name(&mut self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let mut name = format!("icwasi-removed-{}", ino.0).into_bytes();
        loop {
            match self.fs.lookup(self.top, &name) {
                Err(FsError::NotFound) => return Ok(name),
                Err(error) => return Err(error),
                Ok(_) => name.push(b'_'),
            }
        }
    }
}

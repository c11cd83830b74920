//! Path resolution, one component at a time. `walk` is the only place that follows symbolic links.

use std::borrow::Cow;

use ic_stable_structures::Memory;

use super::bytes::{plain_until, same_bytes};
use super::error::FsError;
use super::types::{FileType, Ino};
use super::walk::{Tree, Walk, walk};
use super::{Fs, check_name, check_text};
use crate::format::dirent::NAME_MAX;
use crate::format::inode::Kind;

/// The directory that the last path led to, so that names side by side are not walked to anew.
/// Only of paths without links and dots; forgotten when a directory is moved or removed.
#[derive(Debug)]
pub(super) struct Walked {
    start: Ino,
    /// With the '/' at its end; empty: nothing is known.
    prefix: Vec<u8>,
    dir: Ino,
}

impl Walked {
    /// Longest prefix worth keeping.
    const MAX: usize = 4096;

    pub(super) const fn new() -> Self {
        Self {
            start: Ino(0),
            prefix: Vec::new(),
            dir: Ino(0),
        }
    }

    pub(super) fn forget(&mut self) {
        self.prefix.clear();
    }

    /// The directory that the start of `path` leads to, and what is left of the path.
    fn skip<'p>(&self, start: Ino, path: &'p [u8]) -> Option<(Ino, &'p [u8])> {
        let (head, tail) = self.split(start, path)?;
        (tail[0] != b'/' && self.leads(head)).then_some((self.dir, tail))
    }

    /// As much of `path` as the prefix has, and the rest, if there is one.
    #[inline(always)]
    fn split<'p>(&self, start: Ino, path: &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
        let len = self.prefix.len();
        (len != 0 && start == self.start && path.len() > len).then(|| path.split_at(len))
    }

    #[inline(always)]
    fn leads(&self, head: &[u8]) -> bool {
        same_bytes(head, &self.prefix)
    }

    fn remember(&mut self, start: Ino, prefix: &[u8], dir: Ino) {
        if !(1..=Self::MAX).contains(&prefix.len()) {
            return;
        }
        self.prefix.clear();
        self.prefix.extend_from_slice(prefix);
        (self.start, self.dir) = (start, dir);
    }
}

/// Where a path leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved<'p> {
    /// The directory of the last component.
    pub parent: Ino,
    /// The last component; `None` if it is ".", ".." or the root: it exists, and cannot be made,
    /// removed or renamed.
    pub name: Option<Cow<'p, [u8]>>,
    /// What is there, after following if asked for; `None`: nothing, but `parent` exists.
    pub target: Option<Ino>,
    /// The path ended in '/', or did a link that was followed: the target, if it exists, is a directory.
    pub trailing_slash: bool,
}

impl<M: Memory> Fs<M> {
    /// Finds out where `path` leads from directory `start`, never outside `root`.
    ///
    /// Symbolic links in the middle are followed (at most 40), the last one if `follow_last` or if
    /// a '/' follows it. Errors: `NotCapable` for an absolute path or link, or ".." above `root`;
    /// `NotFound`; `NotDir`; `SymlinkLoop`; `NameTooLong` for a component above 255 bytes;
    /// `IllegalByteSequence` for NUL or bytes that are not UTF-8. Cost: one look-up a component.
    #[inline]
    pub fn resolve<'p>(
        &mut self,
        root: Ino,
        start: Ino,
        path: &'p [u8],
        follow_last: bool,
    ) -> Result<Resolved<'p>, FsError> {
        match self.resolve_plain(root, start, path, follow_last) {
            Ok(None) => self.resolve_links(root, start, path, follow_last),
            Ok(Some(resolved)) => Ok(resolved),
            Err(error) => Err(error),
        }
    }

    /// [`Self::resolve`] for all paths.
    #[cold]
    fn resolve_links(
        &mut self,
        root: Ino,
        start: Ino,
        path: &[u8],
        follow_last: bool,
    ) -> Result<Resolved<'static>, FsError> {
        let mut tree = Rooted {
            fs: self,
            root,
            start,
        };
        let Walk {
            parent,
            name,
            target,
            slash,
        } = walk(&mut tree, start, path, follow_last)?;
        Ok(Resolved {
            parent,
            name: name.map(Cow::Owned),
            target,
            trailing_slash: slash || path.ends_with(b"/"),
        })
    }

    /// [`Self::resolve`] for paths without symbolic links to follow; `None`: there is one, or the
    /// path comes to the directory that is covered. The path has been checked then.
    pub(crate) fn resolve_plain<'p>(
        &mut self,
        root: Ino,
        start: Ino,
        path: &'p [u8],
        follow_last: bool,
    ) -> Result<Option<Resolved<'p>>, FsError> {
        // What was walked before was checked before, too.
        let known = self.walked.skip(start, path);
        let resolved = |parent, name: Option<&'p [u8]>, target| Resolved {
            parent,
            name: name.map(Cow::Borrowed),
            target,
            trailing_slash: path.ends_with(b"/"),
        };
        let (dir, left) = known.unwrap_or((start, path));
        if is_plain_name(left) {
            // Nothing to check or take apart any more.
            let entry = self.stored_entry(dir, left)?;
            let through =
                |(found, kind)| (kind == Kind::Symlink && follow_last) || found == self.covered;
            return Ok(match entry {
                Some(entry) if through(entry) => None,
                entry => Some(Resolved {
                    parent: dir,
                    name: Some(Cow::Borrowed(left)),
                    target: entry.map(|(found, _)| found),
                    trailing_slash: false,
                }),
            });
        }
        check_path(left)?;
        // What was walked before is at least one level deep.
        let (mut at, mut rest, mut depth) = match known {
            Some((dir, left)) => (dir, left, 1),
            None => (start, path, 0_i64),
        };
        // Without dots, and further than what was walked before.
        let (mut named, mut further) = (true, known.is_none());
        while let Some((name, left)) = next_component(rest) {
            rest = left;
            if name == b"." {
                self.take_dir(at).map(|node| self.nodes.put(node))?;
                named = false;
                continue;
            }
            if name == b".." {
                named = false;
                depth -= 1;
                at = self.climb(root, start, at, depth)?;
                continue;
            }
            let last = next_component(left).is_none();
            let slash = !left.is_empty();
            let entry = self.entry(at, name)?;
            // Only now is it sure that `at` is a directory.
            if last && named && further && !slash {
                self.walked
                    .remember(start, &path[..path.len() - name.len()], at);
            }
            let Some((found, kind)) = entry else {
                return if last {
                    Ok(Some(resolved(at, Some(name), None)))
                } else {
                    Err(FsError::NotFound)
                };
            };
            if (kind == Kind::Symlink && (!last || follow_last || slash)) || found == self.covered {
                return Ok(None);
            }
            if last {
                if slash && kind != Kind::Directory {
                    return Err(FsError::NotDir);
                }
                return Ok(Some(resolved(at, Some(name), Some(found))));
            }
            depth += 1;
            at = found;
            further = true;
        }
        self.take_dir(at).map(|node| self.nodes.put(node))?;
        Ok(Some(resolved(at, None, Some(at))))
    }

    /// The directory and the name that `path` means, if that takes no look-up and no check.
    #[inline(always)]
    pub(super) fn plain<'p>(&self, start: Ino, path: &'p [u8]) -> Option<(Ino, &'p [u8])> {
        match self.walked.split(start, path) {
            // In this order, as the prefix may be long.
            Some((head, tail)) if is_plain_name(tail) && self.walked.leads(head) => {
                Some((self.walked.dir, tail))
            }
            _ => is_plain_name(path).then_some((start, path)),
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

/// A file system, from a directory in it on.
struct Rooted<'a, M: Memory> {
    fs: &'a mut Fs<M>,
    root: Ino,
    start: Ino,
}

impl<M: Memory> Tree for Rooted<'_, M> {
    type At = Ino;

    fn file_type(&mut self, at: Ino) -> Result<FileType, FsError> {
        Ok(self.fs.stat(at)?.file_type)
    }

    fn child(&mut self, at: Ino, name: &[u8]) -> Result<Ino, FsError> {
        self.fs.lookup(at, name)
    }

    fn parent(&mut self, at: Ino, depth: i64) -> Result<Ino, FsError> {
        self.fs.climb(self.root, self.start, at, depth)
    }

    fn read_link(&mut self, at: Ino) -> Result<Vec<u8>, FsError> {
        self.fs.read_link(at)
    }
}

/// Whether `path` is one component that a name can be, and not "." or "..".
fn is_plain_name(path: &[u8]) -> bool {
    check_name(path).is_ok() && !(path[0] == b'.' && path.len() <= 2)
}

/// Checks of a whole path that do not depend on what is there.
pub(crate) fn check_path(path: &[u8]) -> Result<(), FsError> {
    if path.is_empty() {
        return Err(FsError::NotFound);
    }
    if path[0] == b'/' {
        check_text(path)?;
        return Err(FsError::NotCapable);
    }
    let mut rest = path;
    loop {
        let len = plain_until(rest);
        match rest.get(len) {
            None if len <= NAME_MAX => return Ok(()),
            Some(b'/') if len <= NAME_MAX => rest = &rest[len + 1..],
            _ => break,
        }
    }
    check_text(path)?;
    path.split(|&b| b == b'/')
        .filter(|name| !name.is_empty())
        .try_for_each(check_name)
}

/// The first component of `path`, and what follows it, '/' first.
pub(super) fn next_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&b| b != b'/')?;
    let path = &path[start..];
    let mut end = 0;
    // Characters beyond ASCII stop `plain_until`, too.
    loop {
        end += plain_until(&path[end..]);
        match path.get(end) {
            None | Some(b'/') => return Some(path.split_at(end)),
            Some(_) => end += 1,
        }
    }
}

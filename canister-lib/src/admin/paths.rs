//! Paths as callers of the admin interface send them.
//!
//! Absolute, with `/` between names; repeated slashes count as one. `.` and `..` are refused: a
//! client that sends them did not normalise what its user typed. Symbolic links in the middle of
//! a path are followed, as far as they stay inside the file system.

use ic_stable_structures::Memory;
use icwasi_types::AdminError;

use super::error::{fs_error, invalid_path};
use crate::fs::{FileType, Fs, FsError, Ino};

/// Longest path in bytes.
pub(super) const MAX_PATH: usize = 4096;
/// Longest name in bytes.
const MAX_NAME: usize = 255;

/// A valid path, split into its names.
#[derive(Debug)]
pub(super) struct AbsPath<'a> {
    text: &'a str,
    names: Vec<&'a str>,
    trailing_slash: bool,
}

/// Where the walk along a path ended.
pub(super) struct Walk {
    /// The last directory that exists.
    pub(super) dir: Ino,
    /// How many names led to it; the rest is missing.
    pub(super) found: usize,
}

impl<'a> AbsPath<'a> {
    /// Checks the form of `text`; `InvalidPath` says what is wrong.
    pub(super) fn parse(text: &'a str) -> Result<Self, AdminError> {
        // A hostile path may be as long as a message: it is not sent back whole.
        let refuse = |reason: String| {
            let mut end = text.len().min(MAX_PATH);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Err(invalid_path(&text[..end], reason))
        };
        if text.is_empty() {
            return refuse("empty; a path is absolute, such as /data/file".into());
        }
        if text.len() > MAX_PATH {
            return refuse(format!(
                "{} bytes long; at most {MAX_PATH} are possible",
                text.len()
            ));
        }
        if let Some(at) = text.bytes().position(|byte| byte == 0) {
            return refuse(format!("holds a NUL byte at offset {at}"));
        }
        if !text.starts_with('/') {
            return refuse("relative; a path is absolute: begin it with /".into());
        }
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        for name in &names {
            if matches!(*name, "." | "..") {
                return refuse(format!(
                    "holds the component `{name}`; send the path without it"
                ));
            }
            if name.len() > MAX_NAME {
                return refuse(format!(
                    "holds a name of {} bytes; at most {MAX_NAME} are possible",
                    name.len()
                ));
            }
        }
        Ok(AbsPath {
            text,
            trailing_slash: text.len() > 1 && text.ends_with('/'),
            names,
        })
    }

    /// As sent.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The names, the root's none.
    pub(super) fn names(&self) -> &[&'a str] {
        &self.names
    }

    /// Whether the path says that it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.trailing_slash || self.names.is_empty()
    }

    /// The path of the first `count` names, in its shortest form.
    pub(super) fn prefix(&self, count: usize) -> String {
        match &self.names[..count] {
            [] => "/".into(),
            names => names.iter().flat_map(|name| ["/", name]).collect(),
        }
    }

    /// The whole path in its shortest form.
    pub(super) fn normalized(&self) -> String {
        self.prefix(self.names.len())
    }

    /// The directory part and the last name; `None` for the root.
    pub(super) fn split_last(&self) -> Option<(usize, &'a str)> {
        self.names.last().map(|name| (self.names.len() - 1, *name))
    }

    /// Follows the first `count` names as directories, as far as they exist.
    ///
    /// `NotADirectory` where something else is in the way, `NotFound` at a symbolic link whose
    /// target is missing.
    pub(super) fn walk<M: Memory>(&self, fs: &mut Fs<M>, count: usize) -> Result<Walk, AdminError> {
        let root = fs.root();
        let mut dir = root;
        for (index, name) in self.names[..count].iter().enumerate() {
            let fail = |error| fs_error(error, &self.prefix(index + 1));
            let mut next = match fs.lookup(dir, name.as_bytes()) {
                Ok(next) => next,
                Err(FsError::NotFound) => return Ok(Walk { dir, found: index }),
                Err(error) => return Err(fail(error)),
            };
            let mut file_type = fs.stat(next).map_err(fail)?.file_type;
            if file_type == FileType::Symlink {
                let resolved = fs.resolve(root, dir, name.as_bytes(), true).map_err(fail)?;
                next = resolved.target.ok_or_else(|| fail(FsError::NotFound))?;
                file_type = fs.stat(next).map_err(fail)?.file_type;
            }
            if file_type != FileType::Directory {
                return Err(fail(FsError::NotDir));
            }
            dir = next;
        }
        Ok(Walk { dir, found: count })
    }

    /// The directory that holds the last name, which itself may be missing; `None` for the root.
    pub(super) fn parent<M: Memory>(
        &self,
        fs: &mut Fs<M>,
    ) -> Result<Option<(Ino, &'a str)>, AdminError> {
        let Some((count, name)) = self.split_last() else {
            return Ok(None);
        };
        let walk = self.walk(fs, count)?;
        if walk.found < count {
            return Err(AdminError::NotFound(self.prefix(walk.found + 1)));
        }
        Ok(Some((walk.dir, name)))
    }

    /// What is at the path. A symbolic link at its end is followed if `follow`, or if the path
    /// ends in a slash.
    pub(super) fn existing<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        follow: bool,
    ) -> Result<Ino, AdminError> {
        let Some((dir, name)) = self.parent(fs)? else {
            return Ok(fs.root());
        };
        let fail = |error| fs_error(error, self.text);
        let mut ino = fs.lookup(dir, name.as_bytes()).map_err(fail)?;
        if fs.stat(ino).map_err(fail)?.file_type == FileType::Symlink
            && (follow || self.trailing_slash)
        {
            let root = fs.root();
            let resolved = fs.resolve(root, dir, name.as_bytes(), true).map_err(fail)?;
            ino = resolved.target.ok_or_else(|| fail(FsError::NotFound))?;
        }
        if self.trailing_slash && fs.stat(ino).map_err(fail)?.file_type != FileType::Directory {
            return Err(fail(FsError::NotDir));
        }
        Ok(ino)
    }

    /// What has the last name in `dir`, not followed; `None` if nothing.
    pub(super) fn entry<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        dir: Ino,
        name: &str,
    ) -> Result<Option<(Ino, FileType)>, AdminError> {
        let fail = |error| fs_error(error, self.text);
        match fs.lookup(dir, name.as_bytes()) {
            Ok(ino) => Ok(Some((ino, fs.stat(ino).map_err(fail)?.file_type))),
            Err(FsError::NotFound) => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Makes directories of the names `from..to`, the first of them in `dir`. Returns the last.
    /// On an error, those that were made are removed again.
    pub(super) fn make_dirs<M: Memory>(
        &self,
        fs: &mut Fs<M>,
        dir: Ino,
        from: usize,
        to: usize,
    ) -> Result<Ino, AdminError> {
        let mut made = vec![dir];
        for index in from..to {
            let parent = made[made.len() - 1];
            match fs.mkdir(parent, self.names[index].as_bytes()) {
                Ok(ino) => made.push(ino),
                Err(error) => {
                    self.remove_dirs(fs, dir, from, index);
                    return Err(fs_error(error, &self.prefix(index + 1)));
                }
            }
        }
        Ok(made[made.len() - 1])
    }

    /// Undoes [`Self::make_dirs`], called with the same arguments. Traps if that is impossible,
    /// so that the whole message is undone.
    pub(super) fn remove_dirs<M: Memory>(&self, fs: &mut Fs<M>, dir: Ino, from: usize, to: usize) {
        for last in (from..to).rev() {
            let mut parent = dir;
            for name in &self.names[from..last] {
                parent = fs
                    .lookup(parent, name.as_bytes())
                    .expect("made by this message");
            }
            fs.rmdir(parent, self.names[last].as_bytes())
                .expect("made by this message, empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(path: &str) -> String {
        match AbsPath::parse(path) {
            Err(AdminError::InvalidPath { reason, .. }) => reason,
            other => panic!("{path:?}: {other:?}"),
        }
    }

    #[test]
    fn refused_paths_say_why() {
        assert!(reason("").contains("empty"));
        assert!(reason("data/x").contains("relative"));
        assert!(reason("/a/./b").contains("component `.`"));
        assert!(reason("/a/../../etc").contains("component `..`"));
        assert!(reason("/..").contains("component `..`"));
        assert!(reason("/a\0b").contains("NUL byte at offset 2"));
        assert!(reason(&format!("/{}", "n".repeat(256))).contains("256 bytes"));
        assert!(reason(&"/n".repeat(2_500)).contains("5000 bytes long"));
        // Cut between characters.
        assert!(reason(&format!("/{}", "é".repeat(3_000))).contains("long"));
    }

    #[test]
    fn accepted_paths() {
        let path = AbsPath::parse("//a///b.c/").expect("valid");
        assert_eq!(
            (path.names(), path.is_directory()),
            (&["a", "b.c"][..], true)
        );
        assert_eq!(path.normalized(), "/a/b.c");
        let long = format!("/{}", "n".repeat(255));
        assert_eq!(AbsPath::parse(&long).expect("valid").normalized(), long);
        let root = AbsPath::parse("/").expect("valid");
        assert_eq!((root.names().len(), root.is_directory()), (0, true));
        assert!(AbsPath::parse("/...").is_ok());
    }
}

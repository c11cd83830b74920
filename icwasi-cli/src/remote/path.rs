//! `CANISTER:PATH` as commands take it, and paths inside of a canister.

use thiserror::Error;

/// Longest name of one file, in bytes.
pub const MAX_NAME: usize = 255;

/// Why a path can't name a file of a canister.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// There is no colon.
    #[error("{0:?}: expected CANISTER:PATH, such as app:/data/cities.db")]
    NoCanister(String),
    /// The part before the colon is empty.
    #[error("{0:?}: the canister is missing before the colon")]
    EmptyCanister(String),
    /// A component is `.` or `..`.
    #[error("{path:?}: a path in a canister may not contain {component:?}")]
    Relative {
        /// The path.
        path: String,
        /// The component.
        component: String,
    },
    /// A component is longer than [`MAX_NAME`].
    #[error("{path:?}: a name of {length} bytes is too long, at most 255 are allowed")]
    NameTooLong {
        /// The path.
        path: String,
        /// Bytes.
        length: usize,
    },
    /// A NUL byte.
    #[error("{0:?}: a path may not contain a NUL byte")]
    Nul(String),
}

/// A path in a canister: absolute, without `.`, `..`, empty components or a final slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemotePath {
    text: String,
    slash: bool,
}

impl RemotePath {
    /// Reads a path; a relative one is taken from the root, repeated slashes are one.
    pub fn parse(text: &str) -> Result<RemotePath, PathError> {
        if text.contains('\0') {
            return Err(PathError::Nul(text.to_owned()));
        }
        let mut out = String::with_capacity(text.len() + 1);
        for component in text.split('/').filter(|c| !c.is_empty()) {
            if component == "." || component == ".." {
                return Err(PathError::Relative {
                    path: text.to_owned(),
                    component: component.to_owned(),
                });
            }
            if component.len() > MAX_NAME {
                let length = component.len();
                return Err(PathError::NameTooLong {
                    path: text.to_owned(),
                    length,
                });
            }
            out.push('/');
            out.push_str(component);
        }
        if out.is_empty() {
            out.push('/');
        }
        Ok(RemotePath {
            text: out,
            slash: text.is_empty() || text.ends_with('/'),
        })
    }

    /// The path, beginning with a slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if it was written with a slash at the end: it must be a directory.
    pub fn wants_directory(&self) -> bool {
        self.slash
    }

    /// True for `/`.
    pub fn is_root(&self) -> bool {
        self.text == "/"
    }

    /// Last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.text.rsplit('/').next().filter(|n| !n.is_empty())
    }

    /// The entry `name` of this directory.
    pub fn join(&self, name: &str) -> Result<RemotePath, PathError> {
        RemotePath::parse(&join(&self.text, name))
    }
}

impl std::fmt::Display for RemotePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// `directory` and `name` with one slash between them. Checks nothing.
pub fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// A canister, by name or principal, and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanisterPath {
    /// As written before the colon.
    pub canister: String,
    /// What was after it.
    pub path: RemotePath,
}

impl std::str::FromStr for CanisterPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<CanisterPath, PathError> {
        let (canister, path) = text
            .split_once(':')
            .ok_or_else(|| PathError::NoCanister(text.to_owned()))?;
        if canister.is_empty() {
            return Err(PathError::EmptyCanister(text.to_owned()));
        }
        if canister.contains('/') {
            return Err(PathError::NoCanister(text.to_owned()));
        }
        Ok(CanisterPath {
            canister: canister.to_owned(),
            path: RemotePath::parse(path)?,
        })
    }
}

impl std::fmt::Display for CanisterPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.canister, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        let p = |t: &str| RemotePath::parse(t).map(|p| (p.text, p.slash));
        assert_eq!(p("/a//b"), Ok(("/a/b".into(), false)));
        assert_eq!(p("a/"), Ok(("/a".into(), true)));
        assert_eq!(p(""), Ok(("/".into(), true)));
        assert_eq!(p("/"), Ok(("/".into(), true)));
        assert_eq!(p("/...").map(|p| p.0), Ok("/...".into()));
        assert!(matches!(p("/a/../b"), Err(PathError::Relative { .. })));
        assert!(matches!(p("./b"), Err(PathError::Relative { .. })));
        assert!(matches!(p("/a\0"), Err(PathError::Nul(_))));
        assert!(p(&"x".repeat(255)).is_ok());
        assert!(matches!(
            p(&"x".repeat(256)),
            Err(PathError::NameTooLong { .. })
        ));
    }

    #[test]
    fn splits_at_the_first_colon() {
        let p: CanisterPath = "app:/a:b".parse().expect("valid");
        assert_eq!((p.canister.as_str(), p.path.as_str()), ("app", "/a:b"));
        assert!("./a:b".parse::<CanisterPath>().is_err());
        assert!(":/a".parse::<CanisterPath>().is_err());
        assert!("/a".parse::<CanisterPath>().is_err());
    }
}

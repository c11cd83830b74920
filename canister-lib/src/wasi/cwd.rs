//! The working directory of a run.
//!
//! WASI preview1 has none. A C library (that of Rust's `std` too) keeps the names of the preopened
//! directories without a `/` or `.` at their beginning, does the same to every path, and takes the
//! directory with the longest name that the path begins with; of equal ones, the last. So `x` and
//! `/x` are the same to it, and both are looked for in `.` as well as in `/`.
//!
//! A run with a working directory therefore finds it open as `.`, on descriptor 3, and instead of
//! `/` each directory in it: `x` leads to the working directory, `/data/x` to `/data`. What lies
//! directly in `/` and is no directory cannot be named. Programs that keep a directory of their
//! own (Go) begin in that of the variable `PWD`, which is set as well.

use core::ops::ControlFlow;
use std::rc::Rc;

use icwasi_types::Preopen;

use super::errno::Errno;
use super::fdtable::Dir;
use super::mounts::Object;
use super::types::rights;
use crate::fs::{FileType, FsError};
use crate::runtime::Runtime;

/// Most directories in `/` that a run with a working directory finds open.
const MAX_DIRECTORIES: usize = 4_096;

/// What a run with a working directory finds open.
#[derive(Debug)]
pub(crate) struct Cwd {
    /// In plain form.
    pub(crate) path: String,
    /// `None`: what a run without one finds open is right.
    pub(crate) open: Option<(Dir, Vec<Rc<Preopen>>)>,
}

/// Looks for the directory `path`, which must be in one that the program would find open.
///
/// # Errors
/// What is wrong with it; nothing was changed.
pub(crate) fn find(rt: &mut Runtime, path: &str) -> Result<Cwd, String> {
    let refused = |reason: &dyn core::fmt::Display| format!("cwd {path:?}: {reason}");
    let asked = Preopen {
        path: path.to_owned(),
        read_only: false,
    };
    let names: Vec<&str> = asked.components().map_err(|e| refused(&e))?.collect();
    let plain = format!("/{}", names.join("/"));
    let preopens = rt.wasi.fds.preopens();
    let holder = preopens
        .iter()
        .filter_map(|p| Some((p, rest_of(&plain, &p.path)?)))
        .max_by_key(|(p, _)| p.path.len());
    let Some((holder, rest)) = holder else {
        return Err(refused(&"it is in none of the program's directories"));
    };
    let holder_path = holder.path.clone();
    let read_only = holder.read_only;
    let base = rt.preopened(holder).map_err(|e| refused(&e))?;
    let found = if rest.is_empty() {
        Some(base)
    } else {
        match rt.resolve(base, rest.as_bytes(), true) {
            Ok(reached) => reached.target,
            Err(Errno::NOENT) => None,
            Err(Errno::NOTDIR) => return Err(refused(&"a part of it is not a directory")),
            Err(e) => {
                return Err(refused(&format!(
                    "it cannot be reached (WASI errno {})",
                    e.0
                )));
            }
        }
    };
    let at = found.ok_or_else(|| refused(&"there is no such directory"))?;
    let fs = rt.fs_of(at.mount).map_err(|e| refused(&e))?;
    match fs.stat(at.ino).map_err(|e| refused(&e))?.file_type {
        FileType::Directory => {}
        _ => return Err(refused(&"it is not a directory")),
    }
    if rest.is_empty() && holder_path == "/" {
        return Ok(Cwd {
            path: plain,
            open: None,
        });
    }
    let others = beside(rt, &preopens).map_err(|e| refused(&e))?;
    // Last, since it is what the end of the run has to undo.
    let fs = rt.fs_of(at.mount).map_err(|e| refused(&e))?;
    fs.retain(at.ino).map_err(|e| refused(&e))?;
    Ok(Cwd {
        path: plain,
        open: Some((dot(at, read_only), others)),
    })
}

fn dot(at: Object, read_only: bool) -> Dir {
    Dir {
        at: Some(at),
        preopen: Some(Rc::new(Preopen {
            path: ".".to_owned(),
            read_only,
        })),
        read_only,
        rights: rights::DIRECTORY,
        inheriting: rights::DIRECTORY | rights::FILE,
    }
}

/// What is left of `path` below `above`; both in plain form.
fn rest_of<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    if above == "/" {
        return path.strip_prefix('/');
    }
    match path.strip_prefix(above)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

/// The preopened directories, but for `/` those in it.
fn beside(rt: &mut Runtime, preopens: &[Rc<Preopen>]) -> Result<Vec<Rc<Preopen>>, String> {
    let mut others = Vec::new();
    for preopen in preopens {
        if preopen.path != "/" {
            others.push(preopen.clone());
            continue;
        }
        for name in directories_in_root(rt).map_err(|e| e.to_string())? {
            let path = format!("/{name}");
            if preopens.iter().any(|p| p.path == path) {
                continue;
            }
            let read_only = preopen.read_only;
            others.push(Rc::new(Preopen { path, read_only }));
        }
    }
    if others.len() > MAX_DIRECTORIES {
        return Err(format!(
            "there are {} directories beside it in `/`; with a working directory, at most \
             {MAX_DIRECTORIES} can be opened",
            others.len()
        ));
    }
    Ok(others)
}

fn directories_in_root(rt: &mut Runtime) -> Result<Vec<String>, FsError> {
    let mounted = |_| FsError::Corrupt("not mounted");
    let fs = rt.fs().map_err(mounted)?;
    let root = fs.root();
    let mut names = Vec::new();
    fs.read_dir(root, 0, &mut |entry| {
        let directory = entry.file_type == FileType::Directory;
        if directory && entry.name != b"." && entry.name != b".." {
            names.extend(std::str::from_utf8(entry.name).map(str::to_owned));
        }
        if names.len() > MAX_DIRECTORIES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(names)
}

//! What a file system does, in the plainest way.

use std::collections::BTreeMap;
use std::rc::Rc;

use icwasi::fs::{FsError, Ino};

#[derive(Clone, Debug)]
pub enum Body {
    File(Rc<Vec<u8>>),
    Link(String),
    Dir(BTreeMap<String, u64>, u64),
}

#[derive(Clone, Debug)]
pub struct Obj {
    pub body: Body,
    /// Names; of directories: 1 or 0.
    pub names: u32,
    pub open: u32,
}

/// What a file system does, in the plainest way. Keys are the inode numbers of the real one.
#[derive(Clone, Default)]
pub struct Model {
    pub objs: BTreeMap<u64, Obj>,
}

pub type Res<T> = Result<T, FsError>;

impl Model {
    pub fn new(root: Ino) -> Self {
        let body = Body::Dir(BTreeMap::new(), root.0);
        Self {
            objs: [(
                root.0,
                Obj {
                    body,
                    names: 1,
                    open: 0,
                },
            )]
            .into(),
        }
    }

    pub fn pick(&self, n: u8, dirs: bool) -> Option<u64> {
        let all: Vec<u64> = self
            .objs
            .iter()
            .filter(|(_, o)| matches!(o.body, Body::Dir(..)) == dirs)
            .map(|(&ino, _)| ino)
            .collect();
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    }

    pub fn entries(&mut self, dir: u64) -> Res<&mut BTreeMap<String, u64>> {
        let obj = self.objs.get_mut(&dir).ok_or(FsError::BadInode)?;
        match &mut obj.body {
            Body::Dir(entries, _) if obj.names > 0 => Ok(entries),
            Body::Dir(..) => Err(FsError::NotFound),
            _ => Err(FsError::NotDir),
        }
    }

    pub fn is_dir(&self, ino: u64) -> bool {
        matches!(self.objs[&ino].body, Body::Dir(..))
    }

    pub fn can_make(&mut self, dir: u64, name: &str) -> Res<()> {
        if name.len() > 255 {
            return Err(FsError::NameTooLong);
        }
        let entries = self.entries(dir)?;
        if name == "." || name == ".." || entries.contains_key(name) {
            return Err(FsError::Exists);
        }
        Ok(())
    }

    pub fn make(&mut self, dir: u64, name: &str, ino: Ino, body: Body) {
        self.objs.insert(
            ino.0,
            Obj {
                body,
                names: 1,
                open: 0,
            },
        );
        self.entries(dir).unwrap().insert(name.into(), ino.0);
    }

    pub fn drop_name(&mut self, ino: u64) {
        let obj = self.objs.get_mut(&ino).unwrap();
        obj.names -= 1;
        if obj.names == 0 && obj.open == 0 {
            self.objs.remove(&ino);
        }
    }

    pub fn remove(&mut self, dir: u64, name: &str, want_dir: bool) -> Res<()> {
        if name.len() > 255 {
            return Err(FsError::NameTooLong);
        }
        let entries = self.entries(dir)?;
        match (name, want_dir) {
            ("." | "..", false) => return Err(FsError::IsDir),
            (".", true) => return Err(FsError::Invalid),
            ("..", true) => return Err(FsError::NotEmpty),
            _ => {}
        }
        let ino = *entries.get(name).ok_or(FsError::NotFound)?;
        match (&self.objs[&ino].body, want_dir) {
            (Body::Dir(..), false) => return Err(FsError::IsDir),
            (Body::Dir(entries, _), true) if !entries.is_empty() => return Err(FsError::NotEmpty),
            (Body::File(_) | Body::Link(_), true) => return Err(FsError::NotDir),
            _ => {}
        }
        self.entries(dir)?.remove(name);
        self.drop_name(ino);
        Ok(())
    }

    pub fn rename(&mut self, from_dir: u64, from: &str, to_dir: u64, to: &str) -> Res<()> {
        if from.len() > 255 || to.len() > 255 {
            return Err(FsError::NameTooLong);
        }
        let source = self.entries(from_dir)?.get(from).copied();
        let existing = self.entries(to_dir)?.get(to).copied();
        if [from, to].iter().any(|name| matches!(*name, "." | "..")) {
            return Err(FsError::Invalid);
        }
        let source = source.ok_or(FsError::NotFound)?;
        if existing == Some(source) {
            return Ok(());
        }
        let moves_dir = self.is_dir(source);
        let mut at = to_dir;
        loop {
            if !moves_dir {
                break;
            }
            if at == source {
                return Err(FsError::Invalid);
            }
            let Body::Dir(_, parent) = self.objs[&at].body else {
                unreachable!("a directory")
            };
            if parent == at {
                break;
            }
            at = parent;
        }
        if let Some(existing) = existing {
            match (&self.objs[&existing].body, moves_dir) {
                (Body::Dir(..), false) => return Err(FsError::IsDir),
                (Body::Dir(entries, _), true) if !entries.is_empty() => {
                    return Err(FsError::NotEmpty);
                }
                (Body::File(_) | Body::Link(_), true) => return Err(FsError::NotDir),
                _ => {}
            }
            self.drop_name(existing);
        }
        self.entries(from_dir)?.remove(from);
        self.entries(to_dir)?.insert(to.into(), source);
        if let Body::Dir(_, parent) = &mut self.objs.get_mut(&source).unwrap().body {
            *parent = to_dir;
        }
        Ok(())
    }

    pub fn nlink(&self, ino: u64) -> u32 {
        let obj = &self.objs[&ino];
        match &obj.body {
            Body::Dir(..) if obj.names == 0 => 0,
            Body::Dir(entries, _) => {
                2 + entries.values().filter(|&&ino| self.is_dir(ino)).count() as u32
            }
            _ => obj.names,
        }
    }
}

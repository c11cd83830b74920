//! What a name space of several file systems does, in the plainest way.

use std::collections::BTreeMap;

use icwasi::wasi::errno::Errno;
use icwasi::wasi::types::filetype;

use crate::ops::{How, PREOPENS};
use crate::wasi_support::{CREAT, READ, TRUNC, WRITE};

/// Device of what is on stable memory.
const STABLE: u64 = 1;
/// Device of what is on the heap.
const TMP: u64 = 2;

pub type Id = usize;
pub type Res<T> = Result<T, Errno>;

pub enum Body {
    File(Vec<u8>),
    /// A file that is another memory: which, and the size.
    App(usize, usize),
    Link(String),
    /// Entries and parent.
    Dir(BTreeMap<String, Id>, Id),
}

pub struct Node {
    pub dev: u64,
    /// As it was first seen.
    pub ino: Option<u64>,
    pub names: u32,
    pub fds: u32,
    pub body: Body,
    /// It was written to, and may have blocks.
    pub written: bool,
}

#[derive(Clone, Copy)]
pub struct Fd {
    pub id: Id,
    pub cursor: u64,
    pub append: bool,
    pub readable: bool,
    pub writable: bool,
    /// Reached through a read-only directory.
    pub read_only: bool,
}

/// Where a path leads.
pub struct Place {
    pub parent: Id,
    /// `None`: `.` or `..`.
    pub name: Option<String>,
    pub target: Option<Id>,
    pub slash: bool,
    pub read_only: bool,
}

/// What a call returns.
#[derive(Debug, PartialEq)]
pub enum Val {
    Done,
    Number(u64),
    Bytes(Vec<u8>),
    /// Device, inode, type, links, size (0 for directories).
    Stat(u64, u64, u8, u64, u64),
    /// Inode and type by name.
    Entries(BTreeMap<String, (u64, u8)>),
}

pub struct Model {
    pub nodes: BTreeMap<Id, Node>,
    next: Id,
    pub root: Id,
    /// What `/tmp` is on stable memory.
    covered: Id,
    pub tmp: Id,
    pub apps: Vec<Vec<u8>>,
    pub fds: BTreeMap<u32, Fd>,
}

impl Model {
    /// An empty stable memory, before the first [`Self::start`].
    pub fn new(apps: Vec<Vec<u8>>) -> Self {
        let mut model = Self {
            nodes: BTreeMap::new(),
            next: 0,
            root: 1,
            covered: 2,
            tmp: 2,
            apps,
            fds: BTreeMap::new(),
        };
        let dir = |parent| Body::Dir(BTreeMap::new(), parent);
        model.add(STABLE, dir(1));
        model.make(1, "tmp", dir(1)).expect("a name");
        model
    }

    /// After an install or upgrade: the heap is gone. Refused if `/data` is no directory.
    pub fn start(&mut self) -> Result<(), ()> {
        match self.entries(self.root).and_then(|root| root.get("data")) {
            Some(&data) if !self.is_dir(data) => return Err(()),
            Some(_) => {}
            None => drop(self.make_dir(self.root, "data")),
        }
        self.fds.clear();
        self.nodes
            .retain(|_, node| node.dev == STABLE && node.names > 0);
        for node in self.nodes.values_mut() {
            node.fds = 0;
            if let Body::App(_, size) = node.body {
                // Reads as zero until it is mounted.
                (node.body, node.written) = (Body::File(vec![0; size]), false);
            }
        }
        self.tmp = self.add(TMP, Body::Dir(BTreeMap::new(), self.root));
        self.make_dir(self.tmp, "work");
        for (path, read_only) in PREOPENS {
            let id = self.at(path);
            self.insert(id, How::default(), read_only);
        }
        Ok(())
    }

    pub fn stable_nodes(&self) -> usize {
        let stable = self.nodes.values().filter(|node| node.dev == STABLE);
        stable.count()
    }

    /// What on stable memory is open and has no name.
    pub fn nameless(&self) -> usize {
        let nameless = |node: &&Node| node.dev == STABLE && node.names == 0;
        self.nodes.values().filter(nameless).count()
    }

    /// What an absolute path without links leads to; it is there.
    pub fn at(&self, path: &str) -> Id {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(self.root, |at, name| {
            self.child(at, name).expect("it is there")
        })
    }

    pub fn body(&self, id: Id) -> &Body {
        &self.nodes[&id].body
    }

    pub fn node(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node")
    }

    pub fn entries(&self, id: Id) -> Option<&BTreeMap<String, Id>> {
        match self.body(id) {
            Body::Dir(entries, _) => Some(entries),
            _ => None,
        }
    }

    pub fn entries_mut(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.node(id).body {
            Body::Dir(entries, _) => entries,
            _ => unreachable!("a directory"),
        }
    }

    pub fn is_dir(&self, id: Id) -> bool {
        self.entries(id).is_some()
    }

    pub fn child(&self, dir: Id, name: &str) -> Option<Id> {
        let &found = self.entries(dir)?.get(name)?;
        Some(self.uncover(found))
    }

    pub fn uncover(&self, id: Id) -> Id {
        if id == self.covered { self.tmp } else { id }
    }

    pub fn parent(&self, id: Id) -> Id {
        match *self.body(id) {
            Body::Dir(_, parent) => parent,
            _ => unreachable!("a directory"),
        }
    }

    pub fn content(&self, id: Id) -> Vec<u8> {
        match self.body(id) {
            Body::File(content) => content.clone(),
            Body::App(which, size) => {
                let mut content = self.apps[*which].clone();
                content.resize(*size, 0);
                content
            }
            _ => unreachable!("a file"),
        }
    }

    fn add(&mut self, dev: u64, body: Body) -> Id {
        self.next += 1;
        let node = Node {
            dev,
            ino: None,
            names: 1,
            fds: 0,
            body,
            written: false,
        };
        self.nodes.insert(self.next, node);
        self.next
    }

    pub fn make(&mut self, dir: Id, name: &str, body: Body) -> Res<Id> {
        if self.nodes[&dir].names == 0 {
            return Err(Errno::NOENT);
        }
        let id = self.add(self.nodes[&dir].dev, body);
        self.entries_mut(dir).insert(name.to_owned(), id);
        Ok(id)
    }

    fn make_dir(&mut self, dir: Id, name: &str) -> Id {
        let body = Body::Dir(BTreeMap::new(), dir);
        self.make(dir, name, body).expect("it has a name")
    }

    pub fn collect(&mut self, id: Id) {
        if self.nodes[&id].names == 0 && self.nodes[&id].fds == 0 {
            self.nodes.remove(&id);
        }
    }

    pub fn remove(&mut self, place: &Place) -> Val {
        let name = place.name.as_ref().expect("a name");
        let id = self.entries_mut(place.parent).remove(name).expect("there");
        self.node(id).names -= 1;
        self.collect(id);
        Val::Done
    }

    pub fn insert(&mut self, id: Id, how: How, read_only: bool) -> u32 {
        let fd = (3..).find(|fd| !self.fds.contains_key(fd));
        let fd = fd.expect("there are more numbers");
        let write = how.rights & WRITE != 0;
        let opened = Fd {
            id,
            cursor: 0,
            append: how.append,
            readable: !write || how.rights & READ != 0,
            writable: (write || how.open & (CREAT | TRUNC) != 0) && !read_only,
            read_only,
        };
        self.fds.insert(fd, opened);
        self.node(id).fds += 1;
        fd
    }

    pub fn fd(&mut self, fd: u32) -> Res<&mut Fd> {
        self.fds.get_mut(&fd).ok_or(Errno::BADF)
    }

    pub fn dir(&self, fd: u32) -> Res<(Id, bool)> {
        match self.fds.get(&fd) {
            None => Err(Errno::BADF),
            Some(open) if self.is_dir(open.id) => Ok((open.id, open.read_only)),
            Some(_) => Err(Errno::NOTDIR),
        }
    }

    /// Where a path leads: down a stack of directories, and back up it with `..`.
    pub fn walk(&self, fd: u32, path: &str, follow: bool) -> Res<Place> {
        let (base, read_only) = self.dir(fd)?;
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.starts_with('/') {
            return Err(Errno::PERM);
        }
        let mut slash = path.ends_with('/');
        let mut todo = reversed(path);
        let (mut stack, mut links) = (vec![base], 0);
        let (parent, name, target) = loop {
            let at = *stack.last().ok_or(Errno::PERM)?;
            let Some(name) = todo.pop() else {
                break (at, None, Some(at));
            };
            let entries = self.entries(at).ok_or(Errno::NOTDIR)?;
            let last = todo.is_empty();
            let found = match name.as_str() {
                "." => continue,
                ".." => {
                    stack.pop();
                    continue;
                }
                name => entries.get(name).map(|&found| self.uncover(found)),
            };
            let Some(found) = found else {
                if last {
                    break (at, Some(name), None);
                }
                return Err(Errno::NOENT);
            };
            match self.body(found) {
                Body::Link(target) if !last || follow => {
                    links += 1;
                    if links > 40 {
                        return Err(Errno::LOOP);
                    }
                    slash |= last && target.ends_with('/');
                    todo.extend(reversed(target));
                }
                _ if last => break (at, Some(name), Some(found)),
                _ => stack.push(found),
            }
        };
        Ok(Place {
            parent,
            name,
            target,
            slash,
            read_only,
        })
    }

    pub fn existing(&self, place: &Place) -> Res<Id> {
        let id = place.target.ok_or(Errno::NOENT)?;
        if place.slash && !self.is_dir(id) {
            return Err(Errno::NOTDIR);
        }
        Ok(id)
    }

    /// What a path leads to.
    pub fn find(&self, fd: u32, path: &str, follow: bool) -> Res<Id> {
        let place = self.walk(fd, path, follow || path.ends_with('/'))?;
        self.existing(&place)
    }

    pub fn size(&self, id: Id) -> usize {
        match self.body(id) {
            Body::File(content) => content.len(),
            Body::App(_, size) => *size,
            Body::Link(target) => target.len(),
            Body::Dir(..) => 0,
        }
    }

    pub fn resize(&mut self, id: Id, to: usize) {
        match &mut self.nodes.get_mut(&id).expect("a node").body {
            Body::File(content) => content.resize(to, 0),
            Body::App(which, size) => {
                let memory = &mut self.apps[*which];
                let end = to.min(memory.len());
                // What was cut off does not show again.
                if *size < end {
                    memory[*size..end].fill(0);
                }
                *size = to;
            }
            _ => unreachable!("a file"),
        }
    }

    pub fn file_type(&self, id: Id) -> u8 {
        match self.body(id) {
            Body::File(_) | Body::App(..) => filetype::REGULAR_FILE,
            Body::Link(_) => filetype::SYMBOLIC_LINK,
            Body::Dir(..) => filetype::DIRECTORY,
        }
    }

    /// The inode number that was first seen, which is `seen` if there was none; none if another
    /// object of the file system has it.
    pub fn ino(&mut self, id: Id, seen: Option<u64>) -> u64 {
        let dev = self.nodes[&id].dev;
        let same = |node: &Node| node.dev == dev && node.ino.is_some() && node.ino == seen;
        if self.nodes[&id].ino.is_none() && !self.nodes.values().any(same) {
            self.node(id).ino = seen;
        }
        self.nodes[&id].ino.unwrap_or(u64::MAX)
    }

    pub fn stat(&mut self, id: Id, ino: Option<u64>) -> Val {
        let ino = self.ino(id, ino);
        let node = &self.nodes[&id];
        let links = match &node.body {
            Body::Dir(entries, _) if node.names > 0 => {
                2 + entries.values().filter(|&&id| self.is_dir(id)).count() as u64
            }
            _ => node.names.into(),
        };
        let size = self.size(id) as u64;
        Val::Stat(node.dev, ino, self.file_type(id), links, size)
    }

    /// The listing of a directory; inode numbers that are new are those of `seen`.
    pub fn list(&mut self, id: Id, seen: &BTreeMap<String, (u64, u8)>) -> Val {
        let mut all = BTreeMap::new();
        if self.nodes[&id].names > 0 {
            all.extend([(".".to_owned(), id), ("..".to_owned(), self.parent(id))]);
            // Of a mount point, the directory below.
            all.extend(self.entries(id).expect("a directory").clone());
        }
        let entry = |(name, id): (String, Id)| {
            let ino = self.ino(id, seen.get(&name).map(|seen| seen.0));
            (name, (ino, self.file_type(id)))
        };
        Val::Entries(all.into_iter().map(entry).collect())
    }
}

/// Components, the first one last.
fn reversed(path: &str) -> Vec<String> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.rev().map(str::to_owned).collect()
}

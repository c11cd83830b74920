//! What the calls do to the model.

use std::collections::BTreeMap;

use icwasi::wasi::errno::Errno;
use icwasi::wasi::types::Whence;

use crate::model::{Body, Fd, Model, Place, Res, Val};
use crate::ops::How;
use crate::wasi_support::{CREAT, DIRECTORY, EXCL, TRUNC, WRITE};

const PAGE: usize = 65_536;

impl Model {
    fn vacant(&self, place: &Place) -> Res<String> {
        if place.target.is_some() {
            return Err(Errno::EXIST);
        }
        if place.slash {
            return Err(Errno::NOENT);
        }
        writable(place)?;
        Ok(place.name.clone().expect("what is not there has a name"))
    }

    fn is_mount_point(&self, place: &Place) -> bool {
        place.name.is_some() && place.target == Some(self.tmp)
    }

    fn movable(&self, place: &Place) -> Res<()> {
        if self.is_mount_point(place) {
            return Err(Errno::BUSY);
        }
        writable(place)
    }

    pub fn open(&mut self, fd: u32, path: &str, how: How) -> Res<Val> {
        let has = |flag| how.open & flag != 0;
        if has(DIRECTORY) && how.open != DIRECTORY {
            return Err(Errno::INVAL);
        }
        let exclusive = has(CREAT) && has(EXCL);
        let follow = how.follow || path.ends_with('/');
        let place = self.walk(fd, path, follow && !exclusive)?;
        let changes = how.rights & WRITE != 0 || has(TRUNC);
        let id = match place.target {
            Some(_) if exclusive => return Err(Errno::EXIST),
            Some(id) => {
                match self.body(id) {
                    Body::Dir(..) if changes || has(CREAT) => return Err(Errno::ISDIR),
                    Body::Dir(..) => {}
                    Body::Link(_) if has(DIRECTORY) => return Err(Errno::NOTDIR),
                    Body::Link(_) => return Err(Errno::LOOP),
                    _ if has(DIRECTORY) || place.slash => return Err(Errno::NOTDIR),
                    _ if changes => writable(&place)?,
                    _ => {}
                }
                if has(TRUNC) {
                    self.resize(id, 0);
                }
                id
            }
            None if !has(CREAT) => return Err(Errno::NOENT),
            None if place.slash => return Err(Errno::ISDIR),
            None => {
                let name = self.vacant(&place)?;
                self.make(place.parent, &name, Body::File(Vec::new()))?
            }
        };
        let opened = self.insert(id, how, place.read_only);
        Ok(Val::Number(opened.into()))
    }

    pub fn close(&mut self, fd: u32) -> Res<Val> {
        let closed = self.fds.remove(&fd).ok_or(Errno::BADF)?;
        self.node(closed.id).fds -= 1;
        self.collect(closed.id);
        Ok(Val::Done)
    }

    pub fn renumber(&mut self, from: u32, to: u32) -> Res<Val> {
        let moved = *self.fd(from)?;
        self.fd(to)?;
        if from != to {
            self.close(to)?;
            self.fds.remove(&from);
            self.fds.insert(to, moved);
        }
        Ok(Val::Done)
    }

    pub fn mkdir(&mut self, fd: u32, path: &str) -> Res<Val> {
        let place = self.walk(fd, path, false)?;
        let (Some(name), None) = (&place.name, place.target) else {
            return Err(Errno::EXIST);
        };
        writable(&place)?;
        let body = Body::Dir(BTreeMap::new(), place.parent);
        self.make(place.parent, name, body).map(|_| Val::Done)
    }

    pub fn symlink(&mut self, target: &str, fd: u32, path: &str) -> Res<Val> {
        match target.chars().next() {
            None => return Err(Errno::NOENT),
            Some('/') => return Err(Errno::PERM),
            Some(_) => {}
        }
        let place = self.walk(fd, path, false)?;
        let name = self.vacant(&place)?;
        let body = Body::Link(target.to_owned());
        self.make(place.parent, &name, body).map(|_| Val::Done)
    }

    pub fn link(&mut self, from: (u32, &str), follow: bool, to: (u32, &str)) -> Res<Val> {
        let source = self.walk(from.0, from.1, follow || from.1.ends_with('/'))?;
        let id = self.existing(&source)?;
        let place = self.walk(to.0, to.1, false)?;
        let name = self.vacant(&place)?;
        if self.nodes[&id].dev != self.nodes[&place.parent].dev {
            return Err(Errno::XDEV);
        }
        writable(&source)?;
        if self.nodes[&place.parent].names == 0 {
            return Err(Errno::NOENT);
        }
        if self.is_dir(id) {
            return Err(Errno::PERM);
        }
        self.node(id).names += 1;
        self.entries_mut(place.parent).insert(name, id);
        Ok(Val::Done)
    }

    pub fn unlink(&mut self, fd: u32, path: &str) -> Res<Val> {
        let place = self.walk(fd, path, false)?;
        if place.name.is_none() {
            return Err(Errno::ISDIR);
        }
        let id = self.existing(&place)?;
        if !self.is_mount_point(&place) {
            writable(&place)?;
        }
        if self.is_dir(id) {
            return Err(Errno::ISDIR);
        }
        Ok(self.remove(&place))
    }

    pub fn rmdir(&mut self, fd: u32, path: &str) -> Res<Val> {
        let place = self.walk(fd, path, false)?;
        if place.name.is_none() {
            let up = path.trim_end_matches('/').ends_with("..");
            return Err(if up { Errno::NOTEMPTY } else { Errno::INVAL });
        }
        let id = self.existing(&place)?;
        self.movable(&place)?;
        if !self.entries(id).ok_or(Errno::NOTDIR)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        Ok(self.remove(&place))
    }

    pub fn rename(&mut self, from: (u32, &str), to: (u32, &str)) -> Res<Val> {
        let from = self.walk(from.0, from.1, false)?;
        let to = self.walk(to.0, to.1, false)?;
        let (Some(_), Some(name)) = (&from.name, &to.name) else {
            return Err(Errno::BUSY);
        };
        if self.nodes[&from.parent].dev != self.nodes[&to.parent].dev {
            return Err(Errno::XDEV);
        }
        let moved = self.existing(&from)?;
        let moves_dir = self.is_dir(moved);
        if to.slash && !moves_dir {
            return Err(Errno::NOTDIR);
        }
        self.movable(&from)?;
        self.movable(&to)?;
        if self.nodes[&to.parent].names == 0 {
            return Err(Errno::NOENT);
        }
        if to.target == Some(moved) {
            return Ok(Val::Done);
        }
        let mut above = to.parent;
        while moves_dir && above != self.parent(above) {
            if above == moved {
                return Err(Errno::INVAL);
            }
            above = self.parent(above);
        }
        if let Some(target) = to.target {
            match (moves_dir, self.entries(target)) {
                (false, Some(_)) => return Err(Errno::ISDIR),
                (true, None) => return Err(Errno::NOTDIR),
                (true, Some(entries)) if !entries.is_empty() => return Err(Errno::NOTEMPTY),
                _ => drop(self.remove(&to)),
            }
        }
        self.node(moved).names += 1;
        self.entries_mut(to.parent).insert(name.clone(), moved);
        if let Body::Dir(_, parent) = &mut self.node(moved).body {
            *parent = to.parent;
        }
        Ok(self.remove(&from))
    }

    pub fn readlink(&self, fd: u32, path: &str) -> Res<Val> {
        match self.body(self.find(fd, path, false)?) {
            Body::Link(target) => Ok(Val::Bytes(target.clone().into_bytes())),
            _ => Err(Errno::INVAL),
        }
    }

    fn file(&mut self, fd: u32) -> Res<Fd> {
        let open = *self.fd(fd)?;
        if self.is_dir(open.id) {
            return Err(Errno::BADF);
        }
        Ok(open)
    }

    /// Reads at `at`, or at the cursor.
    pub fn read(&mut self, fd: u32, len: usize, at: Option<u64>) -> Res<Val> {
        let open = self.file(fd)?;
        if !open.readable {
            return Err(Errno::BADF);
        }
        let from = at.unwrap_or(open.cursor);
        let content = self.content(open.id);
        let there = content.get(from as usize..).unwrap_or_default();
        let there = there[..len.min(there.len())].to_vec();
        if at.is_none() {
            self.fd(fd)?.cursor += there.len() as u64;
        }
        Ok(Val::Bytes(there))
    }

    /// Writes at `at`, or at the cursor; at the end in append mode.
    pub fn write(&mut self, fd: u32, data: &[u8], at: Option<u64>) -> Res<Val> {
        let open = self.file(fd)?;
        if !open.writable {
            return Err(Errno::BADF);
        }
        if data.is_empty() {
            return Ok(Val::Number(0));
        }
        let size = self.size(open.id);
        let from = match at.unwrap_or(open.cursor) {
            _ if open.append => size,
            from => from as usize,
        };
        let end = from + data.len();
        self.resize(open.id, size.max(end));
        let node = self.nodes.get_mut(&open.id).expect("a node");
        node.written = true;
        match &mut node.body {
            Body::File(content) => content[from..end].copy_from_slice(data),
            Body::App(which, _) => {
                reserve(&mut self.apps[*which], end);
                self.apps[*which][from..end].copy_from_slice(data);
            }
            _ => unreachable!("a file"),
        }
        if at.is_none() {
            self.fd(fd)?.cursor = end as u64;
        }
        Ok(Val::Number(data.len() as u64))
    }

    pub fn seek(&mut self, fd: u32, delta: i64, whence: Whence) -> Res<Val> {
        let open = self.file(fd)?;
        let base = match whence {
            Whence::Set => 0,
            Whence::Cur => open.cursor,
            Whence::End => self.size(open.id) as u64,
        };
        let cursor = base.checked_add_signed(delta).ok_or(Errno::INVAL)?;
        self.fd(fd)?.cursor = cursor;
        Ok(Val::Number(cursor))
    }

    pub fn set_size(&mut self, fd: u32, size: usize) -> Res<Val> {
        let open = self.file(fd)?;
        if !open.writable {
            return Err(Errno::INVAL);
        }
        self.resize(open.id, size);
        Ok(Val::Done)
    }

    pub fn allocate(&mut self, fd: u32, end: usize) -> Res<Val> {
        let open = self.file(fd)?;
        if !open.writable {
            return Err(Errno::BADF);
        }
        if let Body::App(which, _) = *self.body(open.id) {
            reserve(&mut self.apps[which], end);
        }
        self.resize(open.id, self.size(open.id).max(end));
        self.node(open.id).written = true;
        Ok(Val::Done)
    }
}

fn writable(place: &Place) -> Res<()> {
    if place.read_only {
        return Err(Errno::ROFS);
    }
    Ok(())
}

/// A memory has pages.
fn reserve(memory: &mut Vec<u8>, end: usize) {
    let len = memory.len().max(end.div_ceil(PAGE) * PAGE);
    memory.resize(len, 0);
}

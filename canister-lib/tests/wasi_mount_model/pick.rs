//! What an operation is about, in the name space as it is.

use crate::model::{Body, Fd, Id, Model};
use crate::ops::{At, Kind, Target};

impl Model {
    /// A descriptor that is `fit`, mostly.
    pub fn pick_fd(&self, n: u8, fit: impl Fn(&Fd) -> bool) -> u32 {
        let fds = &self.fds;
        let fitting = |&(&fd, open): &(&u32, &Fd)| fit(open).then_some(fd);
        let open: Vec<u32> = fds.iter().filter_map(|entry| fitting(&entry)).collect();
        match n {
            0..245 if !open.is_empty() => open[usize::from(n) % open.len()],
            0..245 => 2_000,
            _ => 3 + u32::from(n) % (fds.len() as u32 + 3),
        }
    }

    pub fn pick_file(&self, n: u8, fit: impl Fn(&Fd) -> bool) -> u32 {
        self.pick_fd(n, |open| {
            !self.is_dir(open.id) && (fit(open) || n.is_multiple_of(16))
        })
    }

    pub fn pick_dir(&self, n: u8) -> u32 {
        // The one that leads everywhere, more often than others.
        let root = |open: &Fd| !n.is_multiple_of(3) || open.id == self.root;
        self.pick_fd(n, |open| self.is_dir(open.id) && root(open))
    }

    /// A file, or a directory now and then.
    pub fn pick_any(&self, n: u8) -> u32 {
        self.pick_fd(n, |open| n.is_multiple_of(16) || !self.is_dir(open.id))
    }

    /// Paths of what is below `dir`.
    fn below(&self, dir: Id, prefix: &str, wanted: &[Kind], found: &mut Vec<String>) {
        for (name, &id) in self.entries(dir).into_iter().flatten() {
            let path = format!("{prefix}{name}");
            let own = match self.body(id) {
                Body::Dir(..) => {
                    let id = self.uncover(id);
                    self.below(id, &format!("{path}/"), wanted, found);
                    Kind::Dir
                }
                Body::Link(_) => Kind::Link,
                _ => Kind::File,
            };
            if wanted.contains(&own) {
                found.push(path);
            }
        }
    }

    fn object(&self, dir: Id, n: u16, kind: Kind, tail: &[&str]) -> String {
        let mut found = Vec::new();
        let wanted = match kind {
            Kind::File => &[Kind::File, Kind::Link][..],
            Kind::Dir if n % 8 > 1 => &[Kind::Dir],
            Kind::Dir => &[Kind::Dir, Kind::Link],
            Kind::Link if !n.is_multiple_of(8) => &[Kind::Link],
            _ => &[Kind::File, Kind::Dir, Kind::Link],
        };
        self.below(dir, "", wanted, &mut found);
        let path = match found.len() {
            0 => ".".to_owned(),
            _ if n.is_multiple_of(32) => ".".to_owned(),
            len => found.swap_remove(usize::from(n) % len),
        };
        match (path.as_str(), tail) {
            (_, []) => path,
            (".", _) => tail.join("/"),
            _ => format!("{path}/{}", tail.join("/")),
        }
    }

    pub fn path_of(&self, at: &At) -> (u32, String) {
        let fd = self.pick_dir(at.base);
        let path = match (self.dir(fd), at.object) {
            (Ok((dir, _)), Some(n)) => self.object(dir, n, at.kind, &at.tail),
            _ => at.tail.join("/"),
        };
        let other = ["tmp", "data", "a", "b"][usize::from(at.dress / 64)];
        let path = match at.dress % 32 {
            0 => format!("./{path}"),
            1 => format!("{path}/"),
            2 => format!("{path}/."),
            3 => format!("{other}/../{path}"),
            4 => format!("{path}/../{other}"),
            5 => path.replace('/', "//"),
            6 => path.replace('/', "/./"),
            7 => format!("../{path}"),
            8 if at.dress > 200 => format!("/{path}"),
            _ => path,
        };
        (fd, path)
    }

    pub fn target_of(&self, target: &Target, (fd, path): (u32, &str)) -> String {
        let (n, tail) = match target {
            Target::Text(text) => return text.clone(),
            Target::Object(n, tail) => (*n, tail),
        };
        let place = self.walk(fd, path, false);
        let mut at = place.map_or(self.root, |place| place.parent);
        let mut up = String::new();
        // A removed directory is nowhere.
        while at != self.root && self.nodes[&at].names > 0 {
            up += "../";
            at = self.parent(at);
        }
        up + &self.object(self.root, n, Kind::Any, tail)
    }
}

//! What names cost: creating, looking up, listing, replacing and removing.

use crate::message::trap;
use crate::wasi::{self, Name, O_CREAT, O_DIRECTORY, O_EXCL, ROOT};

crate::methods! {
    make_directory create_files create_directories create_nested stat_missing list rename truncate
    remove
}

/// Makes directory number `directory` of the root.
fn make_directory([directory, ..]: [u64; 4]) {
    wasi::make_directory(ROOT, Name::directory(directory).bytes());
}

/// Creates empty files `first..first + count` in a directory: opened, and closed again.
fn create_files([directory, first, count, _]: [u64; 4]) {
    let mut name = Name::directory(directory).within(b"file-");
    for i in first..first + count {
        let fd = wasi::open(ROOT, name.with(i), O_CREAT | O_EXCL, 0);
        wasi::close(fd);
    }
}

/// Creates `count` directories in one.
fn create_directories([directory, count, ..]: [u64; 4]) {
    let mut name = Name::directory(directory).within(b"sub--");
    for i in 0..count {
        wasi::make_directory(ROOT, name.with(i));
    }
}

/// Creates `count` directories, each in the one before. `by_path` 0: each is opened, and the next
/// made relative to it; 1: the whole path is walked for each.
fn create_nested([directory, count, by_path, _]: [u64; 4]) {
    if by_path != 0 {
        let mut path = Name::directory(directory).bytes().to_vec();
        for _ in 0..count {
            path.extend_from_slice(b"/d");
            wasi::make_directory(ROOT, &path);
        }
        return;
    }
    let mut at = wasi::open(ROOT, Name::directory(directory).bytes(), O_DIRECTORY, 0);
    for _ in 0..count {
        wasi::make_directory(at, b"d");
        let next = wasi::open(at, b"d", O_DIRECTORY, 0);
        wasi::close(at);
        at = next;
    }
    wasi::close(at);
}

/// Asks `count` times for names that a directory does not hold.
fn stat_missing([directory, count, ..]: [u64; 4]) {
    let mut name = Name::directory(directory).within(b"none-");
    for i in 0..count {
        if wasi::exists(ROOT, name.with(i)) {
            trap("a file that nobody made");
        }
    }
}

/// Length of an entry's head.
const HEAD: usize = 24;

/// Lists a directory of `entries` entries, and "." and ".." if `dots` is 1, with a buffer of
/// `buffer` bytes. wasi-libc has 4,096.
fn list([directory, entries, buffer, dots]: [u64; 4]) {
    let mut buffer = vec![0_u8; buffer as usize];
    let fd = wasi::open(ROOT, Name::directory(directory).bytes(), O_DIRECTORY, 0);
    let (mut cookie, mut found) = (0, 0);
    loop {
        let used = wasi::list(fd, &mut buffer, cookie);
        let mut rest = &buffer[..used];
        while let Some((head, names)) = rest.split_first_chunk::<HEAD>() {
            let len = u32::from_le_bytes([head[16], head[17], head[18], head[19]]) as usize;
            let Some((_, after)) = names.split_at_checked(len) else {
                break;
            };
            let mut next = [0; 8];
            next.copy_from_slice(&head[..8]);
            (cookie, rest) = (u64::from_le_bytes(next), after);
            found += 1;
        }
        if used < buffer.len() {
            break;
        }
    }
    wasi::close(fd);
    if found != entries + 2 * dots {
        trap("another number of entries");
    }
}

/// Renames file `from` to `to`.
fn rename([from, to, ..]: [u64; 4]) {
    wasi::rename(Name::file(from).bytes(), Name::file(to).bytes());
}

/// Cuts a file.
fn truncate([file, size, ..]: [u64; 4]) {
    let fd = wasi::open(ROOT, Name::file(file).bytes(), 0, 0);
    wasi::set_size(fd, size);
    wasi::close(fd);
}

/// Removes a file.
fn remove([file, ..]: [u64; 4]) {
    wasi::remove(Name::file(file).bytes());
}

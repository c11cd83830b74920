//! Works on many files with `std::fs`, beside a model in memory. Arguments: a directory, steps.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("lists") {
        let entry = entry.expect("an entry");
        let path = entry.path();
        if entry.file_type().expect("a type").is_dir() {
            walk(&path, found);
        } else {
            let content = fs::read(&path).expect("reads");
            assert_eq!(fs::metadata(&path).expect("stat").len(), content.len() as u64);
            found.insert(path, content);
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let root = PathBuf::from(args.next().expect("a directory"));
    let steps: usize = args.next().map_or(2000, |n| n.parse().expect("a number"));
    let mut model: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut random = Random(0x9e3779b97f4a7c15);
    for d in 0..4 {
        fs::create_dir_all(root.join(format!("d{d}/e"))).expect("made");
    }
    // Memory that is only checked at the end.
    let witness: Vec<u64> = (0..1 << 20).map(|i| i * 0x9e37).collect();
    for step in 0..steps {
        let name = |random: &mut Random| {
            let dir = root.join(format!("d{}{}", random.below(4), if random.below(2) == 0 { "/e" } else { "" }));
            dir.join(format!("f{}", random.below(12)))
        };
        let path = name(&mut random);
        match random.below(8) {
            0 | 1 => {
                let content: Vec<u8> = (0..random.below(40_000)).map(|i| (i * step) as u8).collect();
                fs::write(&path, &content).expect("writes");
                model.insert(path, content);
            }
            2 => {
                let at = random.below(60_000);
                let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).expect("opens");
                file.seek(SeekFrom::Start(at as u64)).expect("seeks");
                file.write_all(b"patched").expect("writes");
                let content = model.entry(path).or_default();
                content.resize(content.len().max(at + 7), 0);
                content[at..at + 7].copy_from_slice(b"patched");
            }
            3 => {
                let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("opens");
                writeln!(file, "line of step {step}").expect("appends");
                let text = format!("line of step {step}\n");
                model.entry(path).or_default().extend_from_slice(text.as_bytes());
            }
            4 => {
                let length = random.below(50_000);
                if let Some(content) = model.get_mut(&path) {
                    OpenOptions::new().write(true).open(&path).expect("opens").set_len(length as u64).expect("sets");
                    content.resize(length, 0);
                }
            }
            5 => match (fs::remove_file(&path), model.remove(&path)) {
                (Ok(()), Some(_)) => {}
                (Err(error), None) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
                (found, expected) => panic!("{found:?}, {}", expected.is_some()),
            },
            6 => {
                let to = name(&mut random);
                match (fs::rename(&path, &to), model.remove(&path)) {
                    (Ok(()), Some(content)) => {
                        model.insert(to, content);
                    }
                    (Err(_), None) => {}
                    (found, expected) => panic!("{found:?}, {}", expected.is_some()),
                }
            }
            _ => {
                if let Some(content) = model.get(&path) {
                    let mut file = File::open(&path).expect("opens");
                    let at = random.below(content.len() + 1);
                    file.seek(SeekFrom::Start(at as u64)).expect("seeks");
                    let mut rest = Vec::new();
                    file.read_to_end(&mut rest).expect("reads");
                    assert!(rest == content[at..], "{path:?} from {at}");
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&root, &mut found);
    assert!(found == model, "files differ from the model");
    assert!(witness.iter().enumerate().all(|(i, v)| *v == i as u64 * 0x9e37), "memory was overwritten");
    let lines = found.keys().map(|path| BufReader::new(File::open(path).expect("opens")).split(b'\n').count());
    let lines: usize = lines.sum();
    let bytes: usize = found.values().map(Vec::len).sum();
    println!("{} files, {bytes} bytes, {lines} lines", found.len());
}

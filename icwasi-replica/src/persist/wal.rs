//! The log that makes every message all or nothing.
//!
//! ```text
//! record   "IWAL" | header length u32 | payload length u64 | CRC-32 u32 of these
//!          | header | payload | CRC-32 u32 of all before
//! ```
//! Integers are little-endian. A record that is cut short was being written when the process died:
//! it is dropped. A record that is there but does not match its CRC is damage, and reported: what
//! was acknowledged must not vanish unnoticed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::dir::{StateError, io_error};

const MAGIC: &[u8; 4] = b"IWAL";
const LENGTHS: usize = 4 + 4 + 8;
const FIXED: usize = LENGTHS + 4;
/// Smaller pieces of a record are copied together before they are written.
const GATHER: usize = 64 << 10;

/// The open log.
pub struct Wal {
    file: File,
    len: u64,
    /// After a failed write that could not be taken back, nothing may be appended any more.
    broken: bool,
}

impl Wal {
    /// Opens or makes the log, calls `each` with header and payload of every complete record, and
    /// drops an incomplete one at the end.
    pub fn open(
        path: &Path,
        mut each: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
    ) -> Result<Self, StateError> {
        let fail = |error| io_error("replay", path)(error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        let total = file.metadata().map_err(fail)?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut len = 0;
        loop {
            match read_record(&mut reader, total - len).map_err(fail)? {
                Found::Record(header, payload) => {
                    each(&header, &payload).map_err(fail)?;
                    len += record_len(header.len(), payload.len());
                }
                Found::End => break,
                Found::Damage => {
                    let why = format!(
                        "the record at byte {len} of {total} is not what was written; to go on \
                         without it and what follows, cut the file to {len} bytes"
                    );
                    let path = path.to_path_buf();
                    return Err(StateError::Damaged { path, why });
                }
            }
        }
        if len < total {
            tracing::info!(
                "dropping {} bytes of a message that was not finished",
                total - len
            );
        }
        file.set_len(len).map_err(fail)?;
        let mut file = file;
        file.seek(SeekFrom::Start(len)).map_err(fail)?;
        Ok(Self {
            file,
            len,
            broken: false,
        })
    }

    /// Bytes in the log.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Appends a record. With `sync`, returns when the disk has it; without, it survives the
    /// process but not a power failure. On an error the log is as before.
    pub fn append(&mut self, header: &[u8], payload: &[&[u8]], sync: bool) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier write to the log failed half-way",
            ));
        }
        match self.write(header, payload, sync) {
            Ok(len) => {
                self.len += len;
                Ok(())
            }
            Err(error) => {
                let back = self.file.set_len(self.len);
                let seek = self.file.seek(SeekFrom::Start(self.len));
                self.broken = back.is_err() || seek.is_err();
                Err(error)
            }
        }
    }

    fn write(&mut self, header: &[u8], payload: &[&[u8]], sync: bool) -> io::Result<u64> {
        let payload_len: usize = payload.iter().map(|part| part.len()).sum();
        let header_len =
            u32::try_from(header.len()).map_err(|_| io::Error::other("header size"))?;
        let mut lengths = MAGIC.to_vec();
        lengths.extend(header_len.to_le_bytes());
        lengths.extend((payload_len as u64).to_le_bytes());
        let mut crc = flate2::Crc::new();
        // Small pieces are gathered, large ones written from where they are.
        let mut gathered = Vec::with_capacity(FIXED + header.len() + 4);
        let check = checksum(&lengths).to_le_bytes();
        let parts = [&lengths[..], &check, header].into_iter();
        for part in parts.chain(payload.iter().copied()) {
            crc.update(part);
            if part.len() < GATHER {
                gathered.extend_from_slice(part);
            }
            if part.len() >= GATHER || gathered.len() >= GATHER {
                (&self.file).write_all(&gathered)?;
                gathered.clear();
            }
            if part.len() >= GATHER {
                (&self.file).write_all(part)?;
            }
        }
        gathered.extend(crc.sum().to_le_bytes());
        (&self.file).write_all(&gathered)?;
        if sync {
            self.file.sync_data()?;
        }
        Ok(record_len(header.len(), payload_len))
    }

    /// Empties the log, when everything in it lies elsewhere.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.len = 0;
        Ok(())
    }
}

fn record_len(header: usize, payload: usize) -> u64 {
    (FIXED + header + payload + 4) as u64
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// What comes next in a log.
enum Found {
    /// Header and payload.
    Record(Vec<u8>, Vec<u8>),
    /// Nothing, or the beginning of a record.
    End,
    /// Something else.
    Damage,
}

/// Reads the next record of at most `left` bytes.
fn read_record(reader: &mut impl Read, left: u64) -> io::Result<Found> {
    if left < FIXED as u64 {
        return Ok(Found::End);
    }
    let mut fixed = [0u8; FIXED];
    reader.read_exact(&mut fixed)?;
    let number = |at: usize| {
        let bytes = fixed[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    let header_len = u64::from(number(4));
    let payload_len = u64::from(number(8)) | (u64::from(number(12)) << 32);
    if !fixed.starts_with(MAGIC) || number(LENGTHS) != checksum(&fixed[..LENGTHS]) {
        return Ok(Found::Damage);
    }
    let needed = header_len
        .checked_add(payload_len)
        .and_then(|n| n.checked_add(FIXED as u64 + 4));
    if needed.is_none_or(|needed| needed > left) {
        return Ok(Found::End);
    }
    let mut crc = flate2::Crc::new();
    crc.update(&fixed);
    let mut header = vec![0; header_len as usize];
    reader.read_exact(&mut header)?;
    crc.update(&header);
    let mut payload = vec![0; payload_len as usize];
    reader.read_exact(&mut payload)?;
    crc.update(&payload);
    let mut sum = [0u8; 4];
    reader.read_exact(&mut sum)?;
    if u32::from_le_bytes(sum) == crc.sum() {
        Ok(Found::Record(header, payload))
    } else {
        Ok(Found::Damage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Records = Vec<(Vec<u8>, Vec<u8>)>;

    fn read_all(path: &Path) -> (Wal, Records) {
        let mut records = Vec::new();
        let wal = Wal::open(path, |header, payload| {
            records.push((header.to_vec(), payload.to_vec()));
            Ok(())
        })
        .expect("the log opens");
        (wal, records)
    }

    #[test]
    fn a_log_cut_anywhere_gives_a_prefix_and_damage_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let (mut wal, records) = read_all(&path);
        assert!(records.is_empty());
        for n in 0u8..5 {
            wal.append(&[n; 10], &[&[n; 100], &[n + 1; 7]], false)
                .expect("appends");
        }
        drop(wal);
        let whole = std::fs::read(&path).expect("reads");
        let one = whole.len() / 5;
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("writes");
            let (mut wal, records) = read_all(&path);
            assert_eq!(records.len(), cut / one, "cut at {cut}");
            wal.append(b"next", &[], true).expect("appends after a cut");
            drop(wal);
            assert_eq!(read_all(&path).1.last().expect("one record").0, b"next");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).expect("writes");
            let error = Wal::open(&path, |_, _| Ok(())).err().expect("damage");
            let place = format!("at byte {} of", at / one * one);
            assert!(error.to_string().contains(&place), "{at}: {error}");
            let left = std::fs::read(&path).expect("reads");
            assert_eq!(left, bytes, "nothing is cut off");
        }
    }
}

//! The log that makes every message all or nothing.
//!
//! ```text
//! record   "IWAL" | header length u32 | payload length u64 | header | payload | CRC-32 u32
//! ```
//! Integers are little-endian; the CRC covers everything before it. A record that is cut short or
//! does not match its CRC was being written when the process died: it and what follows is dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 4] = b"IWAL";
const FIXED: usize = 4 + 4 + 8;

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
    ) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let total = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut len = 0;
        while let Some((header, payload)) = read_record(&mut reader, total - len)? {
            each(&header, &payload)?;
            len += record_len(header.len(), payload.len());
        }
        if len < total {
            tracing::info!(
                "dropping {} bytes of a message that was not finished",
                total - len
            );
        }
        file.set_len(len)?;
        let mut file = file;
        file.seek(SeekFrom::Start(len))?;
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
        let mut crc = flate2::Crc::new();
        let mut out = BufWriter::with_capacity(256 << 10, &self.file);
        let mut put = |bytes: &[u8]| {
            crc.update(bytes);
            out.write_all(bytes)
        };
        put(MAGIC)?;
        put(&header_len.to_le_bytes())?;
        put(&(payload_len as u64).to_le_bytes())?;
        put(header)?;
        for part in payload {
            put(part)?;
        }
        let sum = crc.sum();
        out.write_all(&sum.to_le_bytes())?;
        out.flush()?;
        drop(out);
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

/// The next record of at most `left` bytes; `None` at the end or where the log is torn.
fn read_record(reader: &mut impl Read, left: u64) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    if left < FIXED as u64 + 4 {
        return Ok(None);
    }
    let mut fixed = [0u8; FIXED];
    reader.read_exact(&mut fixed)?;
    let mut crc = flate2::Crc::new();
    crc.update(&fixed);
    let (magic, lengths) = fixed.split_at(4);
    let (header_len, payload_len) = lengths.split_at(4);
    let header_len = u64::from(u32::from_le_bytes(
        header_len.try_into().expect("four bytes"),
    ));
    let payload_len = u64::from_le_bytes(payload_len.try_into().expect("eight bytes"));
    let needed = header_len
        .checked_add(payload_len)
        .and_then(|n| n.checked_add(FIXED as u64 + 4));
    if magic != MAGIC || needed.is_none_or(|needed| needed > left) {
        return Ok(None);
    }
    let mut header = vec![0; header_len as usize];
    reader.read_exact(&mut header)?;
    crc.update(&header);
    let mut payload = vec![0; payload_len as usize];
    reader.read_exact(&mut payload)?;
    crc.update(&payload);
    let mut sum = [0u8; 4];
    reader.read_exact(&mut sum)?;
    Ok((u32::from_le_bytes(sum) == crc.sum()).then_some((header, payload)))
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
    fn a_log_cut_anywhere_or_changed_anywhere_gives_a_prefix() {
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
            let (_, records) = read_all(&path);
            assert_eq!(records.len(), at / one, "changed at {at}");
        }
    }
}

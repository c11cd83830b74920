//! Reading and writing. Every loop is the same for files and for stable memory itself.

use crate::device::{Device, File, Mode, open};
use crate::message::trap;

#[cfg(not(feature = "floor"))]
crate::methods! { fragments allocate }
crate::methods! { write read scattered interleaved }

/// The longest call.
const LONGEST: usize = 65_536;

/// The bytes that are written and read. Not of the heap: allocating them would be measured.
static mut BUFFER: [u8; LONGEST] = [0; LONGEST];

fn buffer(len: u64) -> &'static mut [u8] {
    if len == 0 || len > LONGEST as u64 {
        trap("a call of 1 to 65,536 bytes");
    }
    let start = (&raw mut BUFFER).cast::<u8>();
    // SAFETY: `len` is within the array; one method runs at a time and calls this once.
    unsafe { std::slice::from_raw_parts_mut(start, len as usize) }
}

fn mode(mode: u64) -> Mode {
    match mode {
        0 => Mode::Create,
        1 => Mode::Existing,
        2 => Mode::Append,
        _ => trap("mode 0 to 2"),
    }
}

#[inline(always)]
fn write_all(file: &mut impl Device, total: u64, data: &[u8]) {
    let mut left = total;
    while left >= data.len() as u64 {
        file.write(data);
        left -= data.len() as u64;
    }
    if left > 0 {
        file.write(&data[..left as usize]);
    }
}

/// Writes `total` bytes in calls of `call` bytes. Mode: 0 a new file, 1 over an existing one,
/// 2 at its end.
fn write([file, total, call, how]: [u64; 4]) {
    let data = buffer(call);
    let mut file = open(file, mode(how), total);
    write_all(&mut file, total, data);
}

/// Reads `total` bytes in calls of `call` bytes.
fn read([file, total, call, _]: [u64; 4]) {
    let data = buffer(call);
    let mut file = open(file, Mode::Existing, total);
    let mut left = total;
    while left >= data.len() as u64 {
        file.read(data);
        left -= data.len() as u64;
    }
    if left > 0 {
        file.read(&mut data[..left as usize]);
    }
}

/// `count` pieces of 4 KiB at scattered offsets of a file of `size` bytes: 0 read, 1 overwritten,
/// 2 read after a seek.
fn scattered([file, size, count, kind]: [u64; 4]) {
    let data = buffer(4096);
    let mut file = open(file, Mode::Existing, size);
    let slots = (size / 4096).max(1);
    for i in 0..count {
        // A multiplicative step visits the slots in a repeatable, scattered order.
        let offset = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % slots * 4096;
        match kind {
            0 => file.read_at(offset, data),
            1 => file.write_at(offset, data),
            _ => {
                file.seek(offset);
                file.read(data);
            }
        }
    }
}

/// Writes `total` bytes to each of `files` new files in turn, in calls of `call` bytes.
fn interleaved([first, files, total, call]: [u64; 4]) {
    let data = buffer(call);
    let mut open: Vec<File> = (first..first + files)
        .map(|file| open(file, Mode::Create, total))
        .collect();
    let mut left = total;
    while left >= call {
        for file in &mut open {
            file.write(data);
        }
        left -= call;
    }
}

/// A file of `count` extents of `bytes` bytes: another file grows between any two of them.
#[cfg(not(feature = "floor"))]
fn fragments([file, count, bytes, _]: [u64; 4]) {
    let data = buffer(LONGEST as u64);
    let other = file + 1;
    for i in 0..count {
        let mode = if i == 0 { Mode::Create } else { Mode::Append };
        // What was allocated ahead of a file goes when it is closed.
        write_all(&mut open(file, mode, 0), bytes, data);
        write_all(&mut open(other, mode, 0), 4096, data);
    }
}

/// A new file with the blocks of `bytes` bytes, which are not written.
#[cfg(not(feature = "floor"))]
fn allocate([file, bytes, _, _]: [u64; 4]) {
    open(file, Mode::Create, 0).allocate(bytes);
}

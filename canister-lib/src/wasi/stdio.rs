//! Standard streams: input from memory, output line by line to the canister log.

use crate::env::Env;

/// A line without an end is printed in pieces of this length.
const MAX_LINE: usize = 8 * 1024;

/// An output stream, which keeps the line that is not complete yet.
#[derive(Debug)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    const fn new() -> Self {
        Self {
            partial: Vec::new(),
        }
    }

    /// Takes `bytes` and prints every line that they complete.
    pub fn write(&mut self, bytes: &[u8], env: &impl Env) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if self.partial.is_empty() {
                print_line(line, env);
            } else {
                self.partial.extend_from_slice(line);
                self.flush_line(env);
            }
        }
        while self.partial.len() + rest.len() >= MAX_LINE {
            let (now, after) = rest.split_at(MAX_LINE - self.partial.len());
            rest = after;
            self.partial.extend_from_slice(now);
            self.flush_whole_characters(env);
        }
        self.partial.extend_from_slice(rest);
    }

    /// Prints a line that has become too long, but keeps the beginning of a character.
    fn flush_whole_characters(&mut self, env: &impl Env) {
        let keep = match core::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };
        print_line(&self.partial[..keep], env);
        self.partial.drain(..keep);
    }

    /// Prints the incomplete line, if there is one.
    #[inline]
    pub fn flush(&mut self, env: &impl Env) {
        if !self.partial.is_empty() {
            self.flush_line(env);
        }
    }

    fn flush_line(&mut self, env: &impl Env) {
        print_line(&self.partial, env);
        self.partial.clear();
    }
}

/// Prints `line`; what is not UTF-8 becomes `\xNN`, so that nothing is lost.
pub fn print_line(line: &[u8], env: &impl Env) {
    if core::str::from_utf8(line).is_ok() {
        env.print(line);
        return;
    }
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(line.len() + 16);
    for chunk in line.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            text.extend_from_slice(b"\\x");
            text.push(HEX[usize::from(byte >> 4)]);
            text.push(HEX[usize::from(byte & 15)]);
        }
    }
    env.print(&text);
}

/// The three streams.
#[derive(Debug)]
pub struct Stdio {
    /// Descriptor 1.
    pub out: Lines,
    /// Descriptor 2.
    pub err: Lines,
    input: Vec<u8>,
    input_at: usize,
}

impl Stdio {
    pub(crate) const fn new() -> Self {
        Self {
            out: Lines::new(),
            err: Lines::new(),
            input: Vec::new(),
            input_at: 0,
        }
    }

    /// Replaces what descriptor 0 yields; the end of input follows.
    pub fn set_input(&mut self, input: Vec<u8>) {
        self.input = input;
        self.input_at = 0;
    }

    /// Input that was not read yet.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.input[self.input_at..]
    }

    /// Moves input to `buf`; 0 at its end.
    pub fn read(&mut self, buf: &mut [u8]) -> usize {
        let len = self.input().len().min(buf.len());
        buf[..len].copy_from_slice(&self.input()[..len]);
        self.input_at += len;
        len
    }

    /// Prints both incomplete lines.
    #[inline]
    pub fn flush(&mut self, env: &impl Env) {
        self.out.flush(env);
        self.err.flush(env);
    }
}

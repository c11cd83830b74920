//! `random_get`: ChaCha20.
//!
//! A 32-byte key is kept on the heap and, across upgrades, in a file of the system directory. The
//! first use in a message mixes what the platform offers into the key (time, caller, canister,
//! its version, instruction counter), and derives from it the key of later messages and the
//! stream of this one; nobody who learns a key can compute earlier numbers. An upgrade mixes the
//! stored key in and replaces it at once, so no stream repeats.
//!
//! What a query does to the key is discarded with everything else it did, so a query never
//! advances the shared state; its stream differs from that of the updates around it by what is
//! mixed in. Two queries with the same caller, in the same block, with the same instruction
//! count, see the same numbers.
//!
//! At the end of the first update after each install and upgrade the library asks the management
//! canister for `raw_rand`, and mixes the answer in (`icwasi link --no-reseed` leaves that out). A
//! refusal or an answer that is lost is followed by another request, in an update
//! `RETRY_AFTER` later.
//!
//! **Weakness**: before the first answer, everything that was mixed in can be guessed by others,
//! and so can the numbers. Node operators can read the key in any case.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::rand_core::{Rng, SeedableRng};
use chacha20::{ChaCha20, ChaCha20Rng};

use super::errno::Result;
use super::guest::Guest;
use crate::env::Env;
use crate::fs::FsError;
use crate::runtime::Runtime;

const FILE: &[u8] = b"random";

/// Nanoseconds from one request for random bytes to the next.
const RETRY_AFTER: u64 = 10 * 60 * 1_000_000_000;

type Key = [u8; 32];

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Random {
    key: Key,
    /// Of this message.
    stream: Option<ChaCha20Rng>,
    attached: bool,
    reseed: Reseed,
}

/// Since the last install or upgrade.
#[derive(Debug)]
enum Reseed {
    Wanted,
    Asked { at: u64 },
    Done,
}

impl Random {
    pub(crate) const fn new() -> Self {
        Self {
            key: [0; 32],
            stream: None,
            attached: false,
            reseed: Reseed::Wanted,
        }
    }

    #[inline]
    pub(crate) fn new_message(&mut self) {
        self.stream = None;
    }
}

/// `random_get`: fills the whole buffer.
pub fn random_get(rt: &mut Runtime, g: &mut Guest<'_>, buf: u32, len: u32) -> Result<()> {
    let bytes = g.bytes_mut(buf, len)?;
    fill(rt, bytes);
    Ok(())
}

/// Fills `bytes` with random numbers.
pub(crate) fn fill(rt: &mut Runtime, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    if rt.wasi.random.stream.is_none() {
        begin(rt);
    }
    if let Some(stream) = &mut rt.wasi.random.stream {
        stream.fill_bytes(bytes);
    }
}

#[cold]
fn begin(rt: &mut Runtime) {
    let now = rt.now();
    let env = rt.env();
    let mut material = Vec::with_capacity(128);
    material.extend_from_slice(&now.to_le_bytes());
    material.extend_from_slice(&env.canister_version().to_le_bytes());
    material.extend_from_slice(&env.instructions().to_le_bytes());
    material.push(u8::from(env.is_replicated()));
    for principal in [env.caller(), env.canister_id()] {
        material.push(principal.len() as u8);
        material.extend_from_slice(&principal);
    }
    let random = &mut rt.wasi.random;
    let mixed = absorb(random.key, &material);
    let (next, stream) = split(mixed);
    random.key = next;
    random.stream = Some(ChaCha20Rng::from_seed(stream));
}

/// Mixes the stored key in, and stores another one. Once after each install and upgrade.
pub(crate) fn attach(rt: &mut Runtime) {
    if rt.wasi.random.attached || !rt.is_mounted() {
        return;
    }
    rt.wasi.random.attached = true;
    if let Some(stored) = load(rt) {
        mix(rt, &stored);
    } else {
        mix(rt, &[]);
    }
}

/// An update ends: asks for random bytes if that is due.
pub fn reseed_if_due(rt: &mut Runtime) {
    let due = match rt.wasi.random.reseed {
        Reseed::Done => return,
        Reseed::Wanted => 0,
        Reseed::Asked { at } => at.saturating_add(RETRY_AFTER),
    };
    let now = rt.now();
    if now >= due {
        rt.wasi.random.reseed = Reseed::Asked { at: now };
        rt.env().request_random();
    }
}

/// The answer has come.
///
/// The answer is a blob in candid, of which all is mixed in: to decode it here would need random
/// numbers for a hash table, from this library, which is in use.
pub fn take_reply(rt: &mut Runtime) {
    let reply = rt.env().random_reply();
    if let Some(reply) = reply.filter(|reply| is_blob(reply)) {
        reseed(rt, &reply);
    }
}

/// Whether it is one value of type `blob` that is not empty.
fn is_blob(reply: &[u8]) -> bool {
    // One type, vec nat8; one value, of that type; less than 128 bytes.
    let Some([length, blob @ ..]) = reply.strip_prefix(b"DIDL\x01\x6d\x7b\x01\x00") else {
        return false;
    };
    !blob.is_empty() && usize::from(*length) == blob.len()
}

/// Mixes `secret` in; no more bytes are asked for.
pub(crate) fn reseed(rt: &mut Runtime, secret: &[u8]) {
    mix(rt, secret);
    rt.wasi.random.reseed = Reseed::Done;
}

/// Mixes `secret` in and stores a key that depends on it.
fn mix(rt: &mut Runtime, secret: &[u8]) {
    if rt.wasi.random.stream.is_none() {
        begin(rt);
    }
    let random = &mut rt.wasi.random;
    let mixed = absorb(random.key, secret);
    let (next, stored) = split(mixed);
    let (next, stream) = split(next);
    random.key = next;
    random.stream = Some(ChaCha20Rng::from_seed(stream));
    if rt.is_mounted() {
        // If there is no space for it, the heap has the key until the next upgrade, which mixes
        // its time and version into what was stored before.
        let _ = store(rt, &stored);
    }
}

/// A key that depends on `key` and all of `data`, which is padded with its length.
fn absorb(key: Key, data: &[u8]) -> Key {
    let mut key = key;
    let mut padded = data.to_vec();
    padded.extend_from_slice(&(data.len() as u64).to_le_bytes());
    for chunk in padded.chunks(32) {
        for (byte, other) in key.iter_mut().zip(chunk) {
            *byte ^= other;
        }
        (key, _) = split(key);
    }
    key
}

/// Two independent keys from `key`: the first block of its stream.
fn split(key: Key) -> (Key, Key) {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    let mut stream = ChaCha20::new(&key.into(), &[0; 12].into());
    stream.apply_keystream(&mut first);
    stream.apply_keystream(&mut second);
    (first, second)
}

fn load(rt: &mut Runtime) -> Option<Key> {
    let fs = rt.fs().ok()?;
    let ino = fs.lookup(fs.system_dir(), FILE).ok()?;
    let mut key = [0; 32];
    (fs.read(ino, 0, &mut key).ok()? == key.len()).then_some(key)
}

fn store(rt: &mut Runtime, key: &Key) -> Result<()> {
    let fs = rt.fs()?;
    let dir = fs.system_dir();
    let ino = match fs.lookup(dir, FILE) {
        Ok(ino) => ino,
        Err(FsError::NotFound) => fs.create(dir, FILE)?,
        Err(error) => return Err(error.into()),
    };
    fs.write(ino, 0, key)?;
    Ok(())
}

//! What the library needs from the platform.
//!
//! [`Env`] is the only door to the System API: the file system and the WASI functions run
//! natively against [`host::Host`], and on the IC against `ic0::Ic0`.

pub mod host;
#[cfg(target_family = "wasm")]
pub mod ic0;

/// The implementation of [`Env`] on this target.
#[cfg(target_family = "wasm")]
pub type Platform = ic0::Ic0;
/// The implementation of [`Env`] on this target.
#[cfg(not(target_family = "wasm"))]
pub type Platform = host::Host;

/// Services of the platform. None of them may be called in a Wasm `start` function, except
/// [`Env::print`] and [`Env::trap`].
pub trait Env {
    /// Nanoseconds since 1970, constant within a message. 505 instructions on the IC.
    fn now(&self) -> u64;

    /// Instructions that this message has used so far. 205 instructions on the IC.
    fn instructions(&self) -> u64;

    /// Writes one line to the canister log.
    fn print(&self, line: &[u8]);

    /// Ends the message and rolls it back.
    fn trap(&self, message: &[u8]) -> !;

    /// Principal that sent the message.
    fn caller(&self) -> Vec<u8>;

    /// Principal of the canister.
    fn canister_id(&self) -> Vec<u8>;

    /// Goes up with every message that changes the canister.
    fn canister_version(&self) -> u64;

    /// False in a query that runs on a single node, whose effects are discarded.
    fn is_replicated(&self) -> bool;

    /// Whether `principal` controls the canister.
    fn is_controller(&self, principal: &[u8]) -> bool;

    /// Environment variables of the canister's settings: names and values.
    fn environment(&self) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Asks the management canister for random bytes, where calls may be made: in updates, timers
    /// and heartbeats. The answer comes in a later message, to the function in the table's slot
    /// `icwasi_types::RESEED_SLOT`; or not at all. About 10,000 instructions.
    fn request_random(&self);

    /// The answer, in the message that brings it: candid of one `blob`. `None`: a refusal.
    fn random_reply(&self) -> Option<Vec<u8>>;

    /// The candid-encoded `LinkConfig` that the linker stored; empty if it did not.
    fn link_config(&self) -> Vec<u8>;
}

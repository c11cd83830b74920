//! Entry points of messages: four numbers in, nothing out.

/// The candid header of four `nat64`.
const HEADER: [u8; 10] = *b"DIDL\x00\x04\x78\x78\x78\x78";
/// A reply without values.
const NOTHING: [u8; 6] = *b"DIDL\x00\x00";

#[link(wasm_import_module = "ic0")]
unsafe extern "C" {
    fn msg_arg_data_copy(dst: usize, offset: usize, size: usize);
    fn msg_reply_data_append(src: usize, size: usize);
    safe fn msg_reply();
    #[link_name = "trap"]
    fn ic0_trap(src: usize, size: usize) -> !;
}

/// Ends the message and rolls it back: a workload that fails has no figure.
pub fn trap(message: &str) -> ! {
    // SAFETY: `message` is a readable range.
    unsafe { ic0_trap(message.as_ptr().addr(), message.len()) }
}

/// The value, or the error as a trap.
#[cfg(feature = "sqlite")]
pub fn expect<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| trap(&error.to_string()))
}

/// Runs `work` with the numbers of this message.
pub fn answer(work: impl FnOnce([u64; 4])) {
    let mut bytes = [0; HEADER.len() + 32];
    // SAFETY: the destination is as large as the size says; a shorter argument traps.
    unsafe { msg_arg_data_copy(bytes.as_mut_ptr().addr(), 0, bytes.len()) };
    if bytes[..HEADER.len()] != HEADER {
        trap("four nat64 are expected");
    }
    let number = |i: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[HEADER.len() + 8 * i..][..8]);
        u64::from_le_bytes(number)
    };
    work([number(0), number(1), number(2), number(3)]);
    // SAFETY: `NOTHING` is a readable range.
    unsafe { msg_reply_data_append(NOTHING.as_ptr().addr(), NOTHING.len()) };
    msg_reply();
}

/// Replies with a number, from a query.
#[cfg(feature = "sqlite")]
pub fn reply(number: u64) {
    let mut bytes = *b"DIDL\x00\x01\x78........";
    bytes[7..].copy_from_slice(&number.to_le_bytes());
    // SAFETY: `bytes` is a readable range.
    unsafe { msg_reply_data_append(bytes.as_ptr().addr(), bytes.len()) };
    msg_reply();
}

/// Exports functions of four numbers as update methods of the same names.
#[macro_export]
macro_rules! methods {
    ($($name:ident)*) => {
        $(
            const _: () = {
                #[unsafe(export_name = concat!("canister_update ", stringify!($name)))]
                extern "C" fn method() {
                    $crate::message::answer($name);
                }
            };
        )*
    };
}

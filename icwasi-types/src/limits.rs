//! Limits of the admin interface.

/// Granule of upload hashing, in bytes. Chunk offsets are multiples of it, and so are chunk
/// lengths except at the end of a file. A power of two, so that each granule is a subtree of
/// the file's BLAKE3 tree.
pub const CHUNK_ALIGN: u64 = 128 * 1024;

/// Most bytes in one upload chunk: 14 granules. An ingress message holds 2 MiB, envelope included.
pub const MAX_CHUNK: u64 = 14 * CHUNK_ALIGN;

/// Most bytes in one read reply. A replicated reply holds 2 MiB, candid header included.
pub const MAX_READ: u64 = 14 * CHUNK_ALIGN;

/// Most entries in one page of a listing.
pub const MAX_LIST: u32 = 1_000;

/// Most uploads that may be open at a time.
pub const MAX_UPLOADS: u32 = 256;

/// An upload without a chunk for this long may be discarded, in nanoseconds.
pub const UPLOAD_EXPIRY_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// Most environment variables that admins may set.
pub const MAX_VARIABLES: usize = 100;

/// Longest name of an environment variable that an admin sets, in bytes.
pub const MAX_VARIABLE_NAME: usize = 256;

/// Longest value of an environment variable that an admin sets, in bytes.
pub const MAX_VARIABLE_VALUE: usize = 16 * 1024;

/// Most bytes of all those names and values together.
pub const MAX_VARIABLE_BYTES: usize = 64 * 1024;

/// Most roles that may be granted.
pub const MAX_GRANTS: usize = 1_000;

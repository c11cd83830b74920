//! Records of `candid/icwasi.did`; the meaning of each field is documented there and repeated
//! here in short.

use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Handle of an open upload.
pub type UploadId = u64;

/// Kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// Metadata of a file. Times in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Stat {
    /// Kind.
    pub file_type: FileType,
    /// Inode number.
    pub inode: u64,
    /// Bytes; for a symbolic link, the length of its target.
    pub size: u64,
    /// Bytes of stable memory held by the content.
    pub allocated: u64,
    /// Number of directory entries that name the inode.
    pub links: u32,
    /// Last access.
    pub accessed: u64,
    /// Last change of content.
    pub modified: u64,
    /// Last change of content or metadata.
    pub changed: u64,
    /// Goes up with every change.
    pub version: u64,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Entry {
    /// File name, without its directory.
    pub name: String,
    /// Metadata; symbolic links are not followed.
    pub stat: Stat,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct ListPage {
    /// Entries in directory order.
    pub entries: Vec<Entry>,
    /// Cursor of the next page; `None` at the end.
    pub next: Option<u64>,
}

/// Reply of `icwasi_read`.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct ReadReply {
    /// The bytes.
    pub data: ByteBuf,
    /// Size of the file when they were read.
    pub size: u64,
    /// Version of the file when they were read.
    pub version: u64,
}

/// Reply of `icwasi_info`.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Info {
    /// Version of the library.
    pub version: String,
    /// Major version of the admin interface.
    pub api_major: u16,
    /// Minor version of the admin interface.
    pub api_minor: u16,
    /// Major version of the file system's format.
    pub format_major: u16,
    /// Minor version of the file system's format.
    pub format_minor: u16,
    /// Block size in bytes.
    pub block_size: u32,
    /// Bytes in use, metadata included.
    pub used_bytes: u64,
    /// Most bytes that may be used.
    pub quota_bytes: Option<u64>,
    /// Inodes in use.
    pub inodes: u64,
    /// Most bytes in one read reply.
    pub max_read: u32,
    /// Most bytes in one upload chunk.
    pub max_chunk: u32,
    /// Alignment of upload chunks in bytes.
    pub chunk_align: u32,
    /// Most entries in one page of a listing.
    pub max_list: u32,
    /// Uploads that are open.
    pub open_uploads: u32,
    /// Bytes that can still be used, under the quota and the platform's limit. Since 1.1.
    pub free_bytes: Option<u64>,
    /// Whether an admin has set the quota; otherwise it is the linker's. Since 1.1.
    pub quota_set: Option<bool>,
}

/// Argument of `icwasi_upload_begin`.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct UploadRequest {
    /// Where the file shall appear.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the content, 32 bytes.
    pub hash: ByteBuf,
    /// Replace an existing regular file.
    pub overwrite: bool,
    /// Create missing parent directories.
    pub parents: bool,
    /// Modification time to set, in nanoseconds since 1970.
    pub modified: Option<u64>,
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// Reply of `icwasi_upload_begin`.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Upload {
    /// Handle for the other upload methods.
    pub id: UploadId,
    /// What is still to be sent, in order; 1,000 ranges at most.
    pub missing: Vec<Range>,
}

/// Reply of `icwasi_remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Removed {
    /// Files and directories removed by this call.
    pub removed: u64,
    /// Call again: the tree was too large for one message.
    pub more: bool,
}

/// A limit of what the file system may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub enum Quota {
    /// What the link configuration says, also after upgrades.
    Linked,
    /// None, whatever the link configuration says.
    Unlimited,
    /// So many bytes, whatever the link configuration says.
    Bytes(u64),
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A change of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct VariableChange {
    /// Name.
    pub name: String,
    /// New value; `None` removes the variable.
    pub value: Option<String>,
}

/// What a principal may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, CandidType, Deserialize)]
pub enum Role {
    /// Look at files.
    Reader,
    /// Change files.
    Writer,
    /// Change the settings and grant roles, as controllers may.
    Admin,
}

/// A role that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Grant {
    /// To whom.
    pub grantee: Principal,
    /// What.
    pub role: Role,
}

/// Something that is wrong with the file system.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct Finding {
    /// Number of the invariant in `docs/FORMAT.md`.
    pub invariant: u32,
    /// Where: a block for invariant 1, an inode otherwise; 0 for the whole.
    pub subject: u64,
    /// What was found.
    pub detail: String,
}

/// Reply of `icwasi_fsck`: one part of a check.
#[derive(Clone, Debug, PartialEq, Eq, CandidType, Deserialize)]
pub struct CheckedPart {
    /// What is wrong, 1,000 findings at most.
    pub findings: Vec<Finding>,
    /// Which part to ask for next; `None` if this was the last. This one again, if it is not done.
    pub next: Option<u32>,
    /// How many parts there are now.
    pub parts: u32,
    /// What the next step of this part needs. If `next` is this part and this is `None`, the file
    /// system was used since the step before: the part starts anew, its findings do not count.
    pub rest: Option<ByteBuf>,
}

//! Names of the admin methods.

/// `icwasi_info`
pub const INFO: &str = "icwasi_info";
/// `icwasi_stat`
pub const STAT: &str = "icwasi_stat";
/// `icwasi_list`
pub const LIST: &str = "icwasi_list";
/// `icwasi_read`
pub const READ: &str = "icwasi_read";
/// `icwasi_upload_begin`
pub const UPLOAD_BEGIN: &str = "icwasi_upload_begin";
/// `icwasi_upload_chunk`
pub const UPLOAD_CHUNK: &str = "icwasi_upload_chunk";
/// `icwasi_upload_commit`
pub const UPLOAD_COMMIT: &str = "icwasi_upload_commit";
/// `icwasi_upload_abort`
pub const UPLOAD_ABORT: &str = "icwasi_upload_abort";
/// `icwasi_mkdir`
pub const MKDIR: &str = "icwasi_mkdir";
/// `icwasi_remove`
pub const REMOVE: &str = "icwasi_remove";
/// `icwasi_rename`
pub const RENAME: &str = "icwasi_rename";

/// What every name of an admin method begins with.
pub const PREFIX: &str = "icwasi_";

/// All of them.
pub const ALL: [&str; 11] = [
    INFO,
    STAT,
    LIST,
    READ,
    UPLOAD_BEGIN,
    UPLOAD_CHUNK,
    UPLOAD_COMMIT,
    UPLOAD_ABORT,
    MKDIR,
    REMOVE,
    RENAME,
];

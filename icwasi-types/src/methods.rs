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

/// `icwasi_fsck`
pub const FSCK: &str = "icwasi_fsck";
/// `icwasi_quota_set`
pub const QUOTA_SET: &str = "icwasi_quota_set";
/// `icwasi_env_list`
pub const ENV_LIST: &str = "icwasi_env_list";
/// `icwasi_env_set`
pub const ENV_SET: &str = "icwasi_env_set";
/// `icwasi_access_list`
pub const ACCESS_LIST: &str = "icwasi_access_list";
/// `icwasi_access_grant`
pub const ACCESS_GRANT: &str = "icwasi_access_grant";
/// `icwasi_access_revoke`
pub const ACCESS_REVOKE: &str = "icwasi_access_revoke";

/// What every name of an admin method begins with.
pub const PREFIX: &str = "icwasi_";

/// All of them.
pub const ALL: [&str; 18] = [
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
    FSCK,
    QUOTA_SET,
    ENV_LIST,
    ENV_SET,
    ACCESS_LIST,
    ACCESS_GRANT,
    ACCESS_REVOKE,
];

//! What icwasi's canister library and its clients both know: the candid records of
//! `candid/icwasi.did`, names of methods, limits, and the configuration that the linker
//! puts into a canister.

mod admin;
mod error;
pub mod exec;
pub mod limits;
mod link_config;
pub mod methods;

pub use admin::{
    Entry, FileType, Info, ListPage, Range, ReadReply, Removed, Stat, Upload, UploadId,
    UploadRequest,
};
pub use error::AdminError;
pub use link_config::{LINK_CONFIG_VERSION, LinkConfig, Preopen, RESEED_SLOT, TMP_PATH};

//! What the fuzz targets run. The normal tests of `canister-lib` run the same functions on some
//! random bytes and on the corpus.

pub mod fs_image;
pub mod fs_ops;

#[path = "../../canister-lib/tests/fs_model/journal.rs"]
pub mod journal;
#[path = "../../canister-lib/tests/fs_model/model.rs"]
pub mod model;
#[path = "../../canister-lib/tests/fs_model/ops.rs"]
pub mod ops;
#[path = "../../canister-lib/tests/fs_model/run.rs"]
pub mod run;

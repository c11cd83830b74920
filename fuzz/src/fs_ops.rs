//! Operations from bytes, against the model of the property tests.

use crate::ops::decode;
use crate::run::Run;

/// Runs the operations that `data` stands for on the file system and on the model. Panics where
/// they differ, or where the file system is not sound afterwards.
pub fn fs_ops(data: &[u8]) {
    let mut run = Run::new();
    let remounts = data.first().is_some_and(|byte| byte % 4 == 0);
    for op in decode(data) {
        run.step(&op, false);
        if remounts {
            run.remount();
        }
    }
    run.compare();
}

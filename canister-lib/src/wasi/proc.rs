//! `proc_exit`, `proc_raise`, `sched_yield`.

use super::errno::{Errno, Result};
use crate::env::Env;
use crate::runtime::Runtime;

/// `proc_exit`: ends the message with a trap that names the code, after printing incomplete
/// lines. A trap rolls back what the message wrote: the message did not do its work.
pub fn proc_exit(rt: &mut Runtime, code: u32) -> ! {
    rt.flush_stdio();
    rt.env().trap(
        format!("icwasi: exit code {code}: the program called exit; the message is rolled back")
            .as_bytes(),
    )
}

/// `proc_raise`: there are no signals: `ENOTSUP`, and `EINVAL` for a number that is none.
pub fn proc_raise(signal: u32) -> Result<()> {
    if signal > 30 {
        Err(Errno::INVAL)
    } else {
        Err(Errno::NOTSUP)
    }
}

/// `sched_yield`: there is nothing to yield to.
pub fn sched_yield() -> Result<()> {
    Ok(())
}

//! `sock_*`: there are no sockets, so every descriptor is the wrong one.

use super::errno::{Errno, Result};
use crate::runtime::Runtime;

/// `EBADF` if the descriptor is not open, else `ENOTSOCK`.
fn not_a_socket(rt: &mut Runtime, fd: u32) -> Result<()> {
    rt.wasi.fds.get(fd)?;
    Err(Errno::NOTSOCK)
}

/// `sock_accept`
pub fn sock_accept(rt: &mut Runtime, fd: u32) -> Result<()> {
    not_a_socket(rt, fd)
}

/// `sock_recv`
pub fn sock_recv(rt: &mut Runtime, fd: u32) -> Result<()> {
    not_a_socket(rt, fd)
}

/// `sock_send`
pub fn sock_send(rt: &mut Runtime, fd: u32) -> Result<()> {
    not_a_socket(rt, fd)
}

/// `sock_shutdown`: `EINVAL` if `how` has unknown bits.
pub fn sock_shutdown(rt: &mut Runtime, fd: u32, how: u32) -> Result<()> {
    if how & !3 != 0 {
        return Err(Errno::INVAL);
    }
    not_a_socket(rt, fd)
}

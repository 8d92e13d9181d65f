//! Descriptors as numbers.

use std::io;
use std::os::fd::RawFd;

/// Closes every descriptor from `first` on.
///
/// For a forked child that goes on without its parent's descriptors and ends by `_exit`: the owners
/// of those descriptors are never dropped there, and the child must not use them.
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: no memory is involved; that nobody uses the descriptors is this function's contract.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

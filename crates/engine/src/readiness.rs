//! Descriptors under tokio's eye.

use std::io;
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor for readiness. `fd` must own what it names for as long as it lives, as
/// every caller's type does; tokio's replacement for this call is `unsafe` for the sake of types that do not.
#[expect(deprecated, reason = "the successor is unsafe, and all types here own their descriptors")]
pub(crate) fn watch<T: AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(fd)
}

//! A further process in a running container.

use crate::container::{Child, StdioFds};
use crate::failure::Result;
use crate::spec::{Plan, ProcessSpec};
use std::os::fd::BorrowedFd;

/// Clones a process into the namespaces and the cgroup of a container's init process.
///
/// The child is the caller's; its reports are those of [`crate::container::create`]. Must be called
/// from a single-threaded process.
pub fn exec(
    init_pid: u32,
    init_pidfd: BorrowedFd<'_>,
    plan: &Plan,
    process: &ProcessSpec,
    seccomp: &[u8],
    stdio: StdioFds,
) -> Result<Child> {
    let _ = (init_pid, init_pidfd, plan, process, seccomp, stdio);
    todo!()
}

//! The daemon's children: shims, which nobody waits for.

use std::io;

/// Lets the kernel reap children by itself: with `SIGCHLD` ignored no zombie is made (sigaction(2),
/// `SA_NOCLDWAIT`). Pidfds still report the end. `wait` in this process fails with `ECHILD` from then on,
/// so it is for a process whose only children are shims; their exit statuses travel by other ways.
pub fn reap_automatically() -> io::Result<()> {
    // SAFETY: `SIG_IGN` runs no code, and an all-zero mask with no flags is valid.
    let failed = unsafe {
        let mut ignore: libc::sigaction = std::mem::zeroed();
        ignore.sa_sigaction = libc::SIG_IGN;
        ignore.sa_flags = libc::SA_NOCLDWAIT;
        libc::sigaction(libc::SIGCHLD, &raw const ignore, std::ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

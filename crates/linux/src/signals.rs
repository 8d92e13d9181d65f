//! Signals that a process does not want.

use std::{io, ptr};

/// Ignores these signals. A program that is executed later inherits that, unless it is undone
/// ([`crate::process::reset_signals`]).
pub fn ignore(signals: &[i32]) -> io::Result<()> {
    signals.iter().try_for_each(|signal| set(*signal, libc::SIG_IGN))
}

/// Gives a signal its default action, whatever was inherited.
pub fn default(signal: i32) -> io::Result<()> {
    set(signal, libc::SIG_DFL)
}

fn set(signal: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: `SIG_IGN` and `SIG_DFL` run no code, and an all-zero mask with no flags is valid.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

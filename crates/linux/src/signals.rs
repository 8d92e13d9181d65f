//! Signals that a process does not want.

use std::{io, ptr};

/// Ignores these signals. A program that is executed later inherits that, unless it is undone
/// ([`crate::process::reset_signals`]).
pub fn ignore(signals: &[i32]) -> io::Result<()> {
    for &signal in signals {
        // SAFETY: `SIG_IGN` runs no code, and an all-zero mask with no flags is valid.
        let failed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_IGN;
            libc::sigaction(signal, &raw const action, ptr::null_mut())
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

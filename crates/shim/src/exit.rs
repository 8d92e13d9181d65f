//! What is left to do when a process has ended.

use gantry_shim_protocol::{Exit, codec, transport::EXIT_NAME};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Reaps a child that has ended: its status as a shell tells it, 128 + n for a signal n.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<u8> {
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))?;
    // Without NOHANG there always is a status.
    let status = status.ok_or(io::ErrorKind::NotFound)?;
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    Ok(code as u8)
}

/// Leaves the exit status where the next daemon looks for it: whole, or not at all.
pub(crate) fn write_exit_file(state_dir: &Path, exit: &Exit) -> io::Result<()> {
    let temporary = state_dir.join("exit.tmp");
    let bytes = codec::encode(exit).map_err(io::Error::other)?;
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, state_dir.join(EXIT_NAME))
}

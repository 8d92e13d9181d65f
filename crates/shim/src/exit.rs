//! What is left to do when a process has ended.

use gantry_runtime::cgroup::Cgroup;
use gantry_shim_protocol::{Exit, codec, transport::EXIT_NAME};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to die before their cgroup is left behind (the next start of
/// the container, or of the daemon, removes it).
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

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

/// Removes a cgroup after killing whoever is left in it: with the host's pid namespace, or one
/// shared with another container, nobody else does.
pub(crate) fn remove_cgroup(cgroup: &Cgroup) -> io::Result<()> {
    let deadline = Instant::now() + DEATH_TIMEOUT;
    while let Err(e) = cgroup.remove() {
        let left = deadline.saturating_duration_since(Instant::now());
        if e.kind() != io::ErrorKind::ResourceBusy || left.is_zero() {
            return Err(e);
        }
        cgroup.kill_all()?;
        wait_for_any(&cgroup.pids()?, left)?;
    }
    Ok(())
}

/// Waits until one of them, which are being killed, has ended. None that is visible: the kernel
/// has not quite finished with the last one, and is given a moment.
fn wait_for_any(pids: &[u32], timeout: Duration) -> io::Result<()> {
    let open = |pid: &u32| Pid::from_raw(*pid as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let pidfds: Vec<_> = pids.iter().take(64).filter_map(open).collect();
    let mut fds: Vec<_> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = if fds.is_empty() { timeout.min(Duration::from_millis(2)) } else { timeout };
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
    poll(&mut fds, Some(&timeout))?;
    Ok(())
}

/// Leaves the exit status where the next daemon looks for it: whole, or not at all.
pub(crate) fn write_exit_file(state_dir: &Path, exit: &Exit) -> io::Result<()> {
    let temporary = state_dir.join("exit.tmp");
    let bytes = codec::encode(exit).map_err(io::Error::other)?;
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, state_dir.join(EXIT_NAME))
}

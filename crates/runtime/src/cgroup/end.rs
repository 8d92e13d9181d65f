//! The end of a cgroup that may still have processes.

use super::Cgroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::time::{Duration, Instant};

/// How long killed processes may take to die before their cgroup is left behind.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);
/// Processes that are waited for at a time.
const AT_ONCE: usize = 64;

impl Cgroup {
    /// Removes it after killing whoever is left in it. A killed process leaves its cgroup only when it has
    /// ended, which its pidfd tells; processes that do not die in ten seconds (uninterruptible I/O) are an
    /// error, and the cgroup stays for the next start to remove.
    pub fn end(&self) -> io::Result<()> {
        let deadline = Instant::now() + DEATH_TIMEOUT;
        while let Err(e) = self.remove() {
            let left = deadline.saturating_duration_since(Instant::now());
            if e.kind() != io::ErrorKind::ResourceBusy || left.is_zero() {
                return Err(e);
            }
            self.kill_all()?;
            wait_for_any(&self.pids()?, left)?;
        }
        Ok(())
    }
}

/// Waits until one of them, which are being killed, has ended. None that is visible: the kernel
/// has not quite finished with the last one, and is given a moment.
fn wait_for_any(pids: &[u32], timeout: Duration) -> io::Result<()> {
    let open = |pid: &u32| Pid::from_raw(*pid as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let pidfds: Vec<_> = pids.iter().take(AT_ONCE).filter_map(open).collect();
    let mut fds: Vec<_> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = if fds.is_empty() { timeout.min(Duration::from_millis(2)) } else { timeout };
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
    poll(&mut fds, Some(&timeout))?;
    Ok(())
}

//! What a person should read in the daemon's log.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stderr;

/// Writes a line to standard error, the daemon's log, unless nobody takes it: a shim never waits
/// for its daemon.
pub(crate) fn say(text: &str) {
    let line = format!("gantry-shim: {text}\n");
    let mut fds = [PollFd::from_borrowed_fd(stderr(), PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A pipe that reports room takes PIPE_BUF bytes without blocking.
    if poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().contains(PollFlags::OUT) {
        let _ = rustix::io::write(stderr(), &line.as_bytes()[..line.len().min(4096)]);
    }
}

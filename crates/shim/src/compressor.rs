//! Rotated logs are compressed by a child: gzip is slower than containers write.

use crate::diagnostics::say;
use crate::poller::{Interest, Poller, Token, Watched};
use gantry_container_logs::{CompressJob, Compressor};
use gantry_linux::descriptors::close_from;
use gantry_linux::process::{clone_child, pidfd_kill};
use rustix::process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};
use std::os::fd::AsFd;
use std::rc::Rc;

/// At most one child at a time.
#[derive(Debug)]
pub(crate) struct ChildCompressor {
    poller: Rc<Poller>,
    running: Option<Watched>,
}

impl ChildCompressor {
    pub(crate) fn new(poller: Rc<Poller>) -> Self {
        Self { poller, running: None }
    }

    /// Reaps the child that has ended.
    pub(crate) fn reap(&mut self) {
        if let Some(child) = self.running.take() {
            let _ = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

impl Compressor for ChildCompressor {
    fn start(&mut self, job: CompressJob) {
        self.cancel();
        match clone_child(0, None, || run(&job)) {
            Ok(child) => {
                let mut watched = Watched::new(child.pidfd, Token::Compressor);
                // Unwatched, it is reaped by the next job.
                let _ = watched.want(&self.poller, Interest::Read);
                self.running = Some(watched);
            }
            Err(e) => say(&format!("log compression does not start: {e}")),
        }
    }

    fn cancel(&mut self) {
        if let Some(child) = &self.running {
            let _ = pidfd_kill(child.as_fd(), libc::SIGKILL);
            self.reap();
        }
    }
}

impl Drop for ChildCompressor {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// In the child, which is the only process that may rename the log's files until it is reaped:
/// so it ends with the shim.
fn run(job: &CompressJob) -> i32 {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // A copy of the container's stdin would keep it open after the shim closed it.
    let _ = close_from(3);
    let _ = rustix::thread::set_name(c"gantry-log-gzip");
    let _ = rustix::process::nice(19);
    match job.run() {
        Ok(()) => 0,
        Err(e) => {
            say(&format!("a rotated log is not compressed: {e}"));
            1
        }
    }
}

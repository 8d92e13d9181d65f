//! Creating a container: its cgroup, its namespaces and the child that becomes its init.

use crate::channel::Channel;
use crate::failure::Result;
use crate::spec::{ContainerNet, Plan};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

pub use crate::channel::Report;

/// The child's ends of its stdio when it has no terminal; `None` is `/dev/null`.
#[derive(Debug, Default)]
pub struct StdioFds {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

/// A cloned child that sets itself up, reports and becomes the program.
///
/// It is a child of the calling process, which reaps it with `waitid` (the pidfd works for that).
/// Dropping a `Child` kills nobody; during its set-up a child dies with its parent.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
    channel: Channel,
}

/// Makes the cgroup with its limits and clones the init process of a container into its namespaces.
///
/// `seccomp` is the compiled filter (`struct sock_filter[]`), installed if the process asks for it.
/// Must be called from a single-threaded process. On failure nothing is left behind.
pub fn create(plan: &Plan, seccomp: &[u8], stdio: StdioFds) -> Result<Child> {
    let _ = (plan, seccomp, stdio);
    todo!()
}

impl Child {
    /// The pid in the caller's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A pidfd: readable when the process ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.pidfd.as_fd()
    }

    /// The network namespace.
    pub fn netns(&self) -> io::Result<OwnedFd> {
        todo!()
    }

    /// Readable when [`Child::read_report`] has something to say.
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.channel.fd()
    }

    /// The next report; blocks until there is one unless [`Child::events_fd`] is readable.
    ///
    /// Order: at most one `Pty` (with a terminal), then `Executed` or `Failed`, after which
    /// nothing more comes and the fd should leave the event loop.
    pub fn read_report(&mut self) -> io::Result<Report> {
        self.channel.read_report()
    }

    /// The network is attached: configure the container's side of it and run the program.
    /// Only for a plan with `wait_for_network`.
    pub fn go(&mut self, net: &ContainerNet) -> io::Result<()> {
        self.channel.send_go(net)
    }
}

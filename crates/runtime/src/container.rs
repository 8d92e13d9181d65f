//! Creating a container: its cgroup, its namespaces and the child that becomes its init.

use crate::cgroup::{Cgroup, CgroupRoot};
use crate::channel::{self, Channel};
use crate::child::Task;
use crate::child::remapped::{self, Remapped};
use crate::child::setup::{self, Setup};
use crate::failure::{Failure, OrFail, Result, Stage};
use crate::spec::{ContainerNet, Namespace, PLAN_VERSION, Plan};
use gantry_linux::process::{Cloned, clone_child, pidfd_kill, setns};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, set_dumpable_behavior, waitid,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    /// Of a container with a user namespace, until its program runs.
    helper: Option<Helper>,
    /// The mount namespace in which such a container was assembled.
    mounts: Option<OwnedFd>,
}

/// A process that helps with the set-up and is gone when this is.
#[derive(Debug)]
pub(crate) struct Helper(pub(crate) OwnedFd);

impl Drop for Helper {
    fn drop(&mut self) {
        // It ends by itself or has already, unless something went wrong.
        let _ = pidfd_kill(self.0.as_fd(), libc::SIGKILL);
        let _ = wait_for(self.0.as_fd());
    }
}

/// Reaps a child, when it has ended.
pub(crate) fn wait_for(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))?;
    Ok(())
}

/// Makes the cgroup with its limits and clones the init process of a container into its namespaces.
///
/// `seccomp` is the compiled filter (`struct sock_filter[]`), installed if the process asks for it.
/// Must be called from a single-threaded process. On failure nothing is left behind. When the child
/// reports a failure later, the caller reaps it and removes the cgroup ([`Cgroup::remove`]).
pub fn create(plan: &Plan, seccomp: &[u8], stdio: StdioFds) -> Result<Child> {
    if plan.version != PLAN_VERSION {
        return Err(Failure::new(Stage::Setup, format!("plan version {} is not {PLAN_VERSION}", plan.version)));
    }
    let root = CgroupRoot::detect().or_fail(Stage::Setup, || "find the cgroup hierarchies")?;
    let cgroup = root.cgroup(&plan.cgroup.path);
    cgroup.create(&plan.cgroup)?;
    start(plan, &cgroup, seccomp, stdio).inspect_err(|_| drop(cgroup.remove()))
}

fn start(plan: &Plan, cgroup: &Cgroup, seccomp: &[u8], stdio: StdioFds) -> Result<Child> {
    let (new, join) = namespaces(plan)?;
    if let Some(user) = &plan.user_namespace {
        become_non_dumpable()?;
        let remapped = Remapped { cgroup, user, new: new & !libc::CLONE_NEWNS, join: &join };
        let task = |channel| Task { plan, process: &plan.process, seccomp, stdio, channel };
        return remapped::start(task, &remapped);
    }
    let pid_namespace = enter_pid_namespace(&plan.namespaces.pid)?;
    let spawned = spawn(new, cgroup, |born_in_v2, channel| {
        let task = Task { plan, process: &plan.process, seccomp, stdio, channel };
        setup::run(task, &Setup { cgroup, born_in_v2, join: &join })
    });
    leave_pid_namespace(pid_namespace)?;
    spawned
}

/// Clones a child with a channel to it, in the v2 cgroup if the kernel can do that.
pub(crate) fn spawn(
    namespaces: i32,
    cgroup: &Cgroup,
    child: impl FnOnce(bool, channel::ChildEnd) -> i32,
) -> Result<Child> {
    become_non_dumpable()?;
    let (parent_end, child_end) = channel::pair().or_fail(Stage::Setup, || "make a socket pair")?;
    let mut child = Some((child, child_end));
    let mut parent_end = Some(parent_end);
    let cloned = clone_into(namespaces, cgroup, |born_in_v2| {
        // The child's copy: with it open, the child would never hear that its parent is gone.
        drop(parent_end.take());
        match child.take() {
            Some((child, end)) => child(born_in_v2, end),
            None => 1, // Each process has its own copy of the Option, and takes once.
        }
    });
    let Cloned { pid, pidfd } = cloned?;
    let channel = parent_end.ok_or_else(|| Failure::new(Stage::Setup, "the channel is gone"))?;
    Ok(Child { pid, pidfd, channel, helper: None, mounts: None })
}

/// Children inherit this. Until they execute the program, nobody in the container may look into them or their
/// descriptors, not even with `CAP_SYS_PTRACE` by way of `/proc`.
fn become_non_dumpable() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).or_fail(Stage::Setup, || "become non-dumpable")
}

/// Clones in the v2 cgroup if the kernel can do that; `child` is told.
pub(crate) fn clone_into(namespaces: i32, cgroup: &Cgroup, mut child: impl FnMut(bool) -> i32) -> Result<Cloned> {
    let v2 = cgroup.open_v2().or_fail(Stage::Setup, || "open the cgroup")?;
    let mut attempt = |into: Option<BorrowedFd<'_>>| clone_child(namespaces, into, || child(into.is_some()));
    let cloned = match attempt(v2.as_ref().map(AsFd::as_fd)) {
        // A cgroup with children of its own, or one of a threaded subtree, takes nobody in this way.
        Err(e) if v2.is_some() && matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EOPNOTSUPP | libc::EINVAL)) => {
            attempt(None)
        }
        other => other,
    };
    cloned.or_fail(Stage::Setup, || "clone into new namespaces")
}

/// `CLONE_NEW*` flags of new namespaces, and those to join.
fn namespaces(plan: &Plan) -> Result<(i32, Vec<(OwnedFd, i32)>)> {
    let all = &plan.namespaces;
    let mut new = libc::CLONE_NEWNS;
    let mut join = Vec::new();
    if all.pid == Namespace::New {
        new |= libc::CLONE_NEWPID;
    }
    let others = [
        (&all.net, libc::CLONE_NEWNET),
        (&all.ipc, libc::CLONE_NEWIPC),
        (&all.uts, libc::CLONE_NEWUTS),
        // A new cgroup namespace is unshared by the child, once it is in its cgroup.
        (&all.cgroup, libc::CLONE_NEWCGROUP),
    ];
    for (namespace, flag) in others {
        match namespace {
            Namespace::New if flag != libc::CLONE_NEWCGROUP => new |= flag,
            Namespace::Of { pid, start_time } => join.push((open_process(*pid, *start_time)?, flag)),
            Namespace::New | Namespace::Host => {}
        }
    }
    Ok((new, join))
}

/// A pidfd of the process that had this pid at this start time, if it is still the same.
pub(crate) fn open_process(pid: u32, start_time: u64) -> Result<OwnedFd> {
    let gone = || Failure::new(Stage::State, format!("process {pid}, whose namespaces are to be joined, has ended"));
    let raw = Pid::from_raw(pid as i32).ok_or_else(gone)?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|_| gone())?;
    // The descriptor first, then the check: after it, the descriptor is of the process that was checked.
    if self::start_time(pid).ok() == Some(start_time) { Ok(pidfd) } else { Err(gone()) }
}

/// When a process started, in clock ticks after boot: with the pid, its identity.
pub fn start_time(pid: u32) -> io::Result<u64> {
    stat_field(pid, 22)
}

/// A number out of `/proc/PID/stat`, by its place in proc(5), from 4 on.
pub(crate) fn stat_field(pid: u32, number: usize) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, field 2, may contain anything but ends at the last parenthesis.
    let after = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let field = after.split_ascii_whitespace().nth(number - 3).and_then(|f| f.parse().ok());
    field.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A pid namespace is entered by children only: the caller's own stays, to be restored afterwards.
pub(crate) fn enter_pid_namespace(namespace: &Namespace) -> Result<Option<File>> {
    let Namespace::Of { pid, start_time } = namespace else { return Ok(None) };
    let other = open_process(*pid, *start_time)?;
    enter_pid_namespace_of(other.as_fd()).map(Some)
}

/// Makes further children of the caller members of a process' pid namespace; returns what
/// [`leave_pid_namespace`] needs.
pub(crate) fn enter_pid_namespace_of(pidfd: BorrowedFd<'_>) -> Result<File> {
    let own = File::open("/proc/self/ns/pid").or_fail(Stage::Setup, || "open the own pid namespace")?;
    setns(pidfd, libc::CLONE_NEWPID).or_fail(Stage::Setup, || "enter the pid namespace")?;
    Ok(own)
}

pub(crate) fn leave_pid_namespace(own: Option<File>) -> Result<()> {
    let Some(own) = own else { return Ok(()) };
    setns(own.as_fd(), libc::CLONE_NEWPID).or_fail(Stage::Setup, || "leave the pid namespace")
}

impl Child {
    pub(crate) fn of_helper(pid: u32, pidfd: OwnedFd, channel: Channel, helper: Helper, mounts: OwnedFd) -> Self {
        Self { pid, pidfd, channel, helper: Some(helper), mounts: Some(mounts) }
    }

    /// The mount namespace in which a container with a user namespace was assembled; it has the mounts of the
    /// container's own, and they can be cloned there one by one. Whoever wants to look at the container's files later
    /// must keep it, and drop it when the container has ended.
    pub fn take_mounts(&mut self) -> Option<OwnedFd> {
        self.mounts.take()
    }

    /// The pid in the caller's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A pidfd: readable when the process ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The network namespace; from the moment of the clone.
    pub fn netns(&self) -> io::Result<OwnedFd> {
        // The pid cannot be recycled: the process is a child that is not reaped.
        Ok(File::open(format!("/proc/{}/ns/net", self.pid))?.into())
    }

    /// Readable when [`Child::read_report`] has something to say.
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.channel.fd()
    }

    /// The next report; blocks until there is one unless [`Child::events_fd`] is readable (and then
    /// at most for the moment that the exec takes).
    ///
    /// Order: at most one `Pty` (with a terminal), then `Executed` or `Failed`, after which
    /// nothing more comes and the fd should leave the event loop.
    pub fn read_report(&mut self) -> io::Result<Report> {
        let report = self.channel.read_report();
        if !matches!(report, Ok(Report::Pty(_))) {
            // A pid namespace does not end before its last zombie is gone.
            self.helper = None;
        }
        report
    }

    /// The network is attached: configure the container's side of it and run the program.
    /// Only for a plan with `wait_for_network`.
    pub fn go(&mut self, net: &ContainerNet) -> io::Result<()> {
        self.channel.send_go(net)
    }
}

//! A further process in a running container.

use crate::cgroup::{Cgroup, CgroupRoot};
use crate::child::label::Labels;
use crate::child::procfs::Procfs;
use crate::child::{Never, Task, privileges, remapped, report, setup, tail};
use crate::container::{Child, StdioFds, enter_pid_namespace_of, leave_pid_namespace, spawn};
use crate::failure::{OrFail, Result, Stage};
use crate::spec::{Plan, ProcessSpec};
use gantry_linux::process::setns;
use std::os::fd::BorrowedFd;

/// Clones a process into the namespaces and the cgroup of a container's init process.
///
/// The child is the caller's; its reports are those of [`crate::container::create`]. Must be called
/// from a single-threaded process that shares no namespace of the container's but those which the
/// plan leaves to the host. The caller must reap the child even after the container's init was killed:
/// the kernel ends a pid namespace, and so init, only when its last zombie is gone.
pub fn exec(
    init_pid: u32,
    init_pidfd: BorrowedFd<'_>,
    plan: &Plan,
    process: &ProcessSpec,
    seccomp: &[u8],
    stdio: StdioFds,
) -> Result<Child> {
    let root = CgroupRoot::detect().or_fail(Stage::Setup, || "find the cgroup hierarchies")?;
    let cgroup = root.cgroup(&plan.cgroup.path).where_is(init_pid);
    let own = enter_pid_namespace_of(init_pidfd)?;
    let spawned = spawn(0, &cgroup, |born_in_v2, channel| {
        let mut task = Task { plan, process, seccomp, stdio, channel };
        match start(&mut task, init_pidfd, &cgroup, born_in_v2) {
            Ok(never) => match never {},
            Err(failure) => report(&task.channel, failure),
        }
    });
    leave_pid_namespace(Some(own))?;
    spawned
}

fn start(task: &mut Task<'_>, init: BorrowedFd<'_>, cgroup: &Cgroup, born_in_v2: bool) -> Result<Never> {
    setup::detach_from_parent()?;
    cgroup.join(born_in_v2)?;
    let mut labels = Labels::default();
    if task.plan.oom_score_adj.is_some() || Labels::needed(task.process) {
        let procfs = Procfs::new()?;
        if let Some(score) = task.plan.oom_score_adj {
            procfs.oom_score_adj(score)?;
        }
        labels = Labels::of(task.process, &procfs)?;
    }
    let mut namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    if let Some(user) = &task.plan.user_namespace {
        remapped::before_entering(task, user)?;
        privileges::raise_hard_limits(0, &task.process.rlimits)?;
        namespaces |= libc::CLONE_NEWUSER;
    }
    setns(init, namespaces).or_fail(Stage::State, || "enter the container's namespaces")?;
    if task.plan.user_namespace.is_some() {
        remapped::become_root()?;
    }
    setup::session_keyring(&task.plan.id)?;
    let root = setup::root_directory()?;
    let slave = tail::open_terminal(task, &root)?;
    tail::run(task, &root, slave, &labels, false)
}

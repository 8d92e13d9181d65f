//! A container with a user namespace of its own.
//!
//! Its namespaces must belong to the user namespace, but what is mounted in it must be mounted by somebody who is root on
//! the host. So three processes do what otherwise one does: a *supervisor* in a mount namespace of its own clones the
//! container's *init* into the user namespace, writes the maps of ids, and clones an *assembler* into init's other
//! namespaces. That one makes the container's mounts where the supervisor is, up to the change of root. Init waits for it
//! and then takes a copy of that mount namespace: the kernel locks all mounts and their flags in a copy that belongs to a
//! lesser user namespace, so that nothing can be uncovered or made writable from inside, with whatever capabilities.

use super::procfs::Procfs;
use super::setup::{self, Assembled};
use super::{Never, Task, privileges, report, tail};
use crate::cgroup::Cgroup;
use crate::channel::{self, Channel};
use crate::container::{Child, Helper, clone_into, enter_pid_namespace, open_process, wait_for};
use crate::failure::{Failure, OrFail, Result, Stage};
use crate::link::{self, Link};
use crate::spec::{Namespace, UserNamespace};
use gantry_linux::process::{Cloned, clone_child, setns, unshare};
use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Supervisor to init: the ids are mapped.
const MAPPED: u8 = 1;
/// Init to supervisor: it is in its namespaces.
const READY: u8 = 2;
/// Assembler to init: everything is mounted. Comes with a procfs, and the terminal if there is one.
const ASSEMBLED: u8 = 3;

/// What the three share.
pub(crate) struct Remapped<'a> {
    pub(crate) cgroup: &'a Cgroup,
    pub(crate) user: &'a UserNamespace,
    /// New namespaces but the user's and the mount one, as `CLONE_NEW*` flags.
    pub(crate) new: i32,
    /// Running processes whose namespaces are joined, with `CLONE_NEW*` flags.
    pub(crate) join: &'a [(OwnedFd, i32)],
}

/// Clones the supervisor, and returns the init process that it has cloned.
pub(crate) fn start<'t>(
    make_task: impl FnOnce(channel::ChildEnd) -> Task<'t>,
    remapped: &Remapped<'_>,
) -> Result<Child> {
    let (parent_end, child_end) = channel::pair().or_fail(Stage::Setup, || "make a socket pair")?;
    let mut parent_end = Some(parent_end);
    let cloned = clone_child(libc::CLONE_NEWNS, None, || {
        // The child's copy: with it open, nobody would hear that the parent is gone.
        drop(parent_end.take());
        let mut task = make_task(child_end);
        match remapped.supervise(&mut task) {
            Ok(()) => 0,
            Err(failure) => report(&task.channel, failure),
        }
    });
    let Cloned { pidfd, .. } = cloned.or_fail(Stage::Setup, || "clone into a new mount namespace")?;
    let helper = Helper(pidfd);
    let mut channel: Channel = parent_end.ok_or_else(|| Failure::new(Stage::Setup, "the channel is gone"))?;
    let (pid, pidfd, mounts) = channel.receive_init()?;
    Ok(Child::of_helper(pid, pidfd, channel, helper, mounts))
}

/// Root of the user namespace that the process is in.
pub(crate) fn become_root() -> Result<()> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_groups(&[]).or_fail(Stage::Setup, || "setgroups")?;
    set_thread_res_gid(gid, gid, gid).or_fail(Stage::Setup, || "become the user namespace's root group")?;
    set_thread_res_uid(uid, uid, uid).or_fail(Stage::Setup, || "become the user namespace's root")?;
    // A change of ids has cleared it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .or_fail(Stage::Setup, || "set the parent death signal")
}

/// What only root of the host may do for a process that is about to enter a user namespace: it owns the ends of its
/// stdio, and may raise its limits so far.
pub(crate) fn before_entering(task: &Task<'_>, user: &UserNamespace) -> Result<()> {
    let (uid, _) = root_of(user)?;
    for fd in [&task.stdio.stdin, &task.stdio.stdout, &task.stdio.stderr].into_iter().flatten() {
        tail::give(fd.as_fd(), uid).or_fail(Stage::Setup, || "change the owner of stdio")?;
    }
    Ok(())
}

fn root_of(user: &UserNamespace) -> Result<(u32, u32)> {
    user.ids.root().ok_or_else(|| Failure::new(Stage::Setup, "the user namespace has no root"))
}

impl Remapped<'_> {
    fn supervise(&self, task: &mut Task<'_>) -> Result<()> {
        setup::detach_from_parent()?;
        let procfs = Procfs::new()?;
        if let Some(score) = task.plan.oom_score_adj {
            // Inherited by init, which could not lower it.
            procfs.oom_score_adj(score)?;
        }
        before_entering(task, self.user)?;
        for (pidfd, flags) in self.join {
            setns(pidfd.as_fd(), *flags).or_fail(Stage::Setup, || "join the other container's namespaces")?;
        }
        let _own_pid_namespace = enter_pid_namespace(&task.plan.namespaces.pid)?;
        let (ours, theirs) = link::pair().or_fail(Stage::Setup, || "make a socket pair")?;
        let mut ours = Some(ours);
        let init = self.clone_init(task, &mut ours, &theirs)?;
        drop(theirs);
        let ours = ours.ok_or_else(|| Failure::new(Stage::Setup, "the link is gone"))?;
        if self.user.source == Namespace::New {
            for (file, map) in [("uid_map", &self.user.ids.uids), ("gid_map", &self.user.ids.gids)] {
                let path = format!("{}/{file}", init.pid);
                procfs.write(&path, &map.text()).or_fail(Stage::Setup, || format!("write {file} {:?}", map.text()))?;
            }
        }
        // Who ends early has told why; then there is nothing more to say.
        let silent = |_| Failure::new(Stage::Setup, "the container's process ended during its set-up");
        ours.send(MAPPED, &[]).map_err(silent)?;
        ours.expect(READY).map_err(silent)?;
        let mounts = File::open("/proc/self/ns/mnt").or_fail(Stage::Setup, || "open the mount namespace")?;
        task.channel.send_init(init.pid, init.pidfd.as_fd(), mounts.as_fd()).or_fail(Stage::Setup, || "report")?;
        privileges::raise_hard_limits(init.pid, &task.process.rlimits)?;
        self.assemble_beside(task, &init, &ours)
    }

    fn clone_init(&self, task: &mut Task<'_>, ours: &mut Option<Link>, theirs: &Link) -> Result<Cloned> {
        let (mut flags, peer) = match &self.user.source {
            Namespace::Of { pid, start_time } => {
                // The others are made when init is in the user namespace, whose they are to be.
                (self.new & libc::CLONE_NEWPID, Some(open_process(*pid, *start_time)?))
            }
            Namespace::New | Namespace::Host => (self.new | libc::CLONE_NEWUSER, None),
        };
        flags |= libc::CLONE_PARENT;
        clone_into(flags, self.cgroup, |born_in_v2| {
            // Its copy: with it open, init would never hear that the others are gone.
            drop(ours.take());
            match self.init(task, theirs, peer.as_ref().map(AsFd::as_fd), born_in_v2) {
                Ok(never) => match never {},
                Err(failure) => report(&task.channel, failure),
            }
        })
    }

    fn init(&self, task: &mut Task<'_>, link: &Link, peer: Option<BorrowedFd<'_>>, born_in_v2: bool) -> Result<Never> {
        setup::detach_from_parent()?;
        self.cgroup.join(born_in_v2)?;
        if let Some(peer) = peer {
            setns(peer, libc::CLONE_NEWUSER).or_fail(Stage::Setup, || "join the other container's user namespace")?;
            unshare(self.new & !libc::CLONE_NEWPID).or_fail(Stage::Setup, || "unshare namespaces")?;
        }
        let ended = |e| Failure::os(Stage::Setup, "wait for the container to be assembled", &e);
        link.expect(MAPPED).map_err(ended)?;
        become_root()?;
        setup::names(task.plan)?;
        link.send(READY, &[]).map_err(ended)?;
        let mut fds = link.expect(ASSEMBLED).map_err(ended)?.into_iter();
        let procfs = fds.next().map(Procfs::received);
        let procfs = procfs.ok_or_else(|| Failure::new(Stage::Setup, "no procfs was handed over"))?;
        unshare(libc::CLONE_NEWNS).or_fail(Stage::Setup, || "take the container's mounts")?;
        rustix::process::chdir("/").or_fail(Stage::Setup, || "chdir to /")?;
        setup::finish(task, Assembled { procfs, slave: fds.next() })
    }

    /// Clones the assembler and waits for its end.
    fn assemble_beside(&self, task: &Task<'_>, init: &Cloned, link: &Link) -> Result<()> {
        let user =
            File::open(format!("/proc/{}/ns/user", init.pid)).or_fail(Stage::Setup, || "open the user namespace")?;
        let new = self.new & (libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWPID);
        if new != 0 {
            setns(init.pidfd.as_fd(), new).or_fail(Stage::Setup, || "enter the container's namespaces")?;
        }
        let assembler = clone_child(0, None, || match self.assemble(task, user.as_fd(), link) {
            Ok(()) => 0,
            Err(failure) => report(&task.channel, failure),
        });
        let assembler = assembler.or_fail(Stage::Setup, || "clone the process that makes the mounts")?;
        wait_for(assembler.pidfd.as_fd()).or_fail(Stage::Setup, || "wait for the mounts")
    }

    fn assemble(&self, task: &Task<'_>, user: BorrowedFd<'_>, link: &Link) -> Result<()> {
        setup::detach_from_parent()?;
        let shift = Some(setup::Shift { user, root: root_of(self.user)? });
        let Assembled { procfs, slave } = setup::assemble(task, self.cgroup, shift)?;
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(procfs.fd()).chain(slave.as_ref().map(AsFd::as_fd)).collect();
        link.send(ASSEMBLED, &fds).or_fail(Stage::Setup, || "hand over what is assembled")
    }
}

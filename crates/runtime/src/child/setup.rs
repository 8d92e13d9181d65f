//! The init process of a container, from its clone to the common tail.

use super::label::Labels;
use super::procfs::Procfs;
use super::{Never, Task, network, tail, terminal};
use crate::cgroup::Cgroup;
use crate::failure::{Failure, OrFail, Result, Stage, errno_text};
use crate::rootfs::resolve::{Make, Root};
use crate::rootfs::{devices, masks, mounts, overlay, pivot, shifted, tree};
use crate::spec::{ContainerNet, Namespace, Plan};
use gantry_linux::process;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::Signal;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the parent has prepared.
pub(crate) struct Setup<'a> {
    pub(crate) cgroup: &'a Cgroup,
    pub(crate) born_in_v2: bool,
    /// Running processes whose namespaces are joined, with `CLONE_NEW*` flags.
    pub(crate) join: &'a [(OwnedFd, i32)],
}

/// Sets the container up and becomes its program.
pub(crate) fn run(mut task: Task<'_>, setup: &Setup<'_>) -> i32 {
    let result = start(&mut task, setup);
    match result {
        Ok(never) => match never {},
        Err(failure) => super::report(&task.channel, failure),
    }
}

fn start(task: &mut Task<'_>, setup: &Setup<'_>) -> Result<Never> {
    let plan = task.plan;
    detach_from_parent()?;
    setup.cgroup.join(setup.born_in_v2)?;
    for (pidfd, flags) in setup.join {
        process::setns(pidfd.as_fd(), *flags).or_fail(Stage::Setup, || "join the other container's namespaces")?;
    }
    names(plan)?;
    let assembled = assemble(task, setup.cgroup, None)?;
    if let Some(score) = plan.oom_score_adj {
        assembled.procfs.oom_score_adj(score)?;
    }
    finish(task, assembled)
}

/// How the container's ids are shown to the host, where it has a user namespace.
#[derive(Clone, Copy)]
pub(super) struct Shift<'a> {
    pub(super) user: BorrowedFd<'a>,
    /// User and group of the namespace's root.
    pub(super) root: (u32, u32),
}

/// What is there when everything is mounted and the root is changed.
pub(super) struct Assembled {
    /// Of the container's pid namespace.
    pub(super) procfs: Procfs,
    /// The program's terminal.
    pub(super) slave: Option<OwnedFd>,
}

/// Makes every mount of the container in the mount namespace that the process is in, and has it as root.
pub(super) fn assemble(task: &Task<'_>, cgroup: &Cgroup, shift: Option<Shift<'_>>) -> Result<Assembled> {
    let plan = task.plan;
    let sources = mounts::take_sources(plan, cgroup, shift.map(|s| s.user))?;
    pivot::isolate()?;
    if let Some(Shift { root: (uid, gid), .. }) = shift {
        process::own_files_as(uid, gid).or_fail(Stage::Setup, || "make files as the user namespace's root")?;
    }
    let root = root_filesystem(plan, shift.map(|s| s.user))?;
    mounts::attach_all(&root, plan, sources)?;
    devices::set_up(&root, &plan.mounts, &plan.devices)?;
    let slave = tail::open_terminal(task, &root)?;
    if let Some(slave) = &slave {
        terminal::bind_console(&root, slave.as_fd())?;
    }
    working_directory(plan, &root)?;
    let procfs = Procfs::new()?;
    masks::make_readonly(&root, &plan.readonly_paths)?;
    masks::mask(&root, &plan.masked_paths)?;
    mounts::finish_root(&root, plan.rootfs.readonly)?;
    pivot::pivot(&root)?;
    Ok(Assembled { procfs, slave })
}

/// From the changed root to the program.
pub(super) fn finish(task: &mut Task<'_>, assembled: Assembled) -> Result<Never> {
    let Assembled { procfs, slave } = assembled;
    let root = root_directory()?;
    network(task, &procfs)?;
    for (name, value) in &task.plan.sysctls {
        procfs.sysctl(name, value)?;
    }
    let labels = Labels::of(task.process, &procfs)?;
    drop(procfs);
    tail::run(task, &root, slave, &labels, task.plan.init)
}

/// No signal state of the parent's, and no life without it before the program runs.
pub(crate) fn detach_from_parent() -> Result<()> {
    process::reset_signals();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .or_fail(Stage::Setup, || "set the parent death signal")?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// `/` as it is now.
pub(crate) fn root_directory() -> Result<Root> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty()).map(Root::new).or_fail(Stage::Setup, || "open /")
}

/// A new session keyring: the parent's keys are not the container's.
pub(crate) fn session_keyring(id: &str) -> Result<()> {
    let name =
        CString::new(format!("_ses.{id}")).map_err(|_| Failure::new(Stage::Setup, "the id contains a NUL byte"))?;
    match process::join_session_keyring(&name) {
        // A kernel without keyrings, or a host whose own filter denies the call: no keys to protect.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        other => other.or_fail(Stage::Setup, || "join a new session keyring"),
    }
}

/// What is the namespaces' own: the root of the cgroup tree, keys, names.
pub(super) fn names(plan: &Plan) -> Result<()> {
    if plan.namespaces.cgroup == Namespace::New {
        // Its root is the cgroup that the process is in at this moment.
        process::unshare(libc::CLONE_NEWCGROUP).or_fail(Stage::Setup, || "unshare the cgroup namespace")?;
    }
    session_keyring(&plan.id)?;
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).or_fail(Stage::Setup, || format!("sethostname {name}"))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).or_fail(Stage::Setup, || format!("setdomainname {name}"))?;
    }
    Ok(())
}

/// Mounts the overlay at its target, which only this mount namespace shows.
fn root_filesystem(plan: &Plan, user: Option<BorrowedFd<'_>>) -> Result<Root> {
    let rootfs = &plan.rootfs;
    let mount = || -> io::Result<OwnedFd> {
        let label = plan.mount_label.as_deref();
        let writable = Some((rootfs.upper.as_path(), rootfs.work.as_path()));
        let overlay = match user {
            Some(user) => shifted::mount(&rootfs.lower, writable, label, &rootfs.target, user)?,
            None => overlay::mount_labelled(&rootfs.lower, writable, label)?,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = openat(CWD, &rootfs.target, flags, Mode::empty())?;
        tree::attach(overlay.as_fd(), target.as_fd())?;
        Ok(overlay)
    };
    mount().map(Root::new).or_fail(Stage::Mount, || "mount the root file system")
}

fn working_directory(plan: &Plan, root: &Root) -> Result<()> {
    let cwd = &plan.process.cwd;
    if !plan.process.create_cwd || cwd.as_os_str().is_empty() {
        return Ok(());
    }
    root.ensure(cwd, Make::Directory).map(drop).map_err(|e| {
        let message = match e.raw_os_error() {
            Some(libc::ENOTDIR) => format!("Cannot mkdir: {} is not a directory", cwd.display()),
            _ => format!("mkdir {}: {}", cwd.display(), errno_text(&e)),
        };
        Failure { stage: Stage::WorkingDir, errno: e.raw_os_error().unwrap_or(0), message }
    })
}

/// Waits for the daemon to attach the network, if it does; a namespace without one has its loopback.
fn network(task: &Task<'_>, procfs: &Procfs) -> Result<()> {
    if task.plan.wait_for_network {
        let net = task.channel.wait_for_go().or_fail(Stage::Setup, || "wait for the network")?;
        let net = net.ok_or_else(|| Failure::new(Stage::Setup, "the parent is gone"))?;
        return network::configure(&net, procfs);
    }
    match task.plan.namespaces.net {
        Namespace::New => network::configure(&ContainerNet::default(), procfs),
        Namespace::Host | Namespace::Of { .. } => Ok(()),
    }
}

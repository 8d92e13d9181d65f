//! The end of every child, init or exec: stdio, terminal, user, privileges, program.

use super::label::Labels;
use super::{Never, Task, lookup, privileges, terminal, user};
use crate::failure::{Failure, OrFail, Result, Stage};
use crate::init;
use crate::rootfs::devices;
use crate::rootfs::resolve::Root;
use gantry_linux::process;
use rustix::fs::{Mode, OFlags, Uid, fchown, fstat, makedev};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Becomes the program. The process is in its namespaces and `root` is its `/`.
pub(crate) fn run(
    task: &mut Task<'_>,
    root: &Root,
    slave: Option<OwnedFd>,
    labels: &Labels,
    with_init: bool,
) -> Result<Never> {
    let process = task.process;
    let identity = user::resolve(root, &process.user, &process.additional_groups)?;
    connect(task, root, slave, identity.uid)?;
    privileges::limit(&process.rlimits)?;
    // From here on nothing that is open now reaches the program.
    process::close_on_exec_from(3).or_fail(Stage::Setup, || "close descriptors")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut env = process.env.clone();
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
    }
    labels.apply()?;
    privileges::assume(process, &identity, task.seccomp)?;
    let program = process.args.first().map(String::as_str).unwrap_or_default();
    let path = lookup::find(program, &env)?;
    let (args, env) = (c_strings(&process.args)?, c_strings(&env)?);
    if with_init {
        return init::run(task, identity.uid, &|task| Err(execute(task, &path, &args, &env)));
    }
    Err(execute(task, &path, &args, &env))
}

/// Executes the program; returns why it could not.
fn execute(task: &Task<'_>, path: &CString, args: &[CString], env: &[CString]) -> Failure {
    // Until now the child dies with its parent; a running program does not.
    if let Err(e) = rustix::process::set_parent_process_death_signal(None) {
        return Failure::os(Stage::Setup, "clear the parent death signal", &e.into());
    }
    if !task.channel.parent_is_alive() {
        return Failure::new(Stage::Setup, "the parent is gone");
    }
    if let Err(e) = task.channel.executing() {
        return Failure::os(Stage::Setup, "report", &e);
    }
    lookup::exec_failure(path, &process::execve(path, args, env))
}

fn c_strings(strings: &[String]) -> Result<Vec<CString>> {
    let each = strings.iter().map(|s| CString::new(s.as_str()));
    each.collect::<Result<_, _>>()
        .map_err(|_| Failure::new(Stage::NotExecutable, "an argument or environment variable contains a NUL byte"))
}

/// Installs 0, 1 and 2, in a session of its own whose terminal they are if there is one.
fn connect(task: &mut Task<'_>, root: &Root, slave: Option<OwnedFd>, uid: u32) -> Result<()> {
    rustix::process::setsid().or_fail(Stage::Setup, || "setsid")?;
    if let Some(slave) = slave {
        let install = || -> io::Result<()> {
            rustix::process::ioctl_tiocsctty(&slave)?;
            (0..3).try_for_each(|number| process::install_fd(slave.as_fd(), number))?;
            give(slave.as_fd(), uid)
        };
        return install().or_fail(Stage::Setup, || "attach the terminal");
    }
    let stdio = std::mem::take(&mut task.stdio);
    for (number, fd) in [stdio.stdin, stdio.stdout, stdio.stderr].into_iter().enumerate() {
        let connect = || -> io::Result<()> {
            let Some(fd) = fd else {
                let flags = if number == 0 { OFlags::RDONLY } else { OFlags::WRONLY };
                return process::install_fd(devices::null(root, flags)?.as_fd(), number as i32);
            };
            give(fd.as_fd(), uid)?;
            process::install_fd(fd.as_fd(), number as i32)
        };
        connect().or_fail(Stage::Setup, || format!("connect descriptor {number}"))?;
    }
    Ok(())
}

/// The user owns its stdio, so that it can open `/dev/stdout` again. Somebody else's device stays.
pub(super) fn give(fd: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    let stat = fstat(fd)?;
    if stat.st_uid == uid || stat.st_rdev == makedev(1, 3) {
        return Ok(());
    }
    match fchown(fd, Some(Uid::from_raw(uid)), None) {
        Ok(()) => Ok(()),
        // A read-only file, or one of a file system that knows no owners.
        Err(e) if matches!(e.raw_os_error(), libc::EINVAL | libc::EPERM | libc::EROFS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Opens the terminal that the process asks for and hands its master to the parent.
pub(crate) fn open_terminal(task: &Task<'_>, root: &Root) -> Result<Option<OwnedFd>> {
    if !task.process.tty {
        return Ok(None);
    }
    let terminal = terminal::open(root, task.process.console_size)?;
    task.channel.send_pty(terminal.master.as_fd()).or_fail(Stage::Setup, || "hand out the terminal")?;
    Ok(Some(terminal.slave))
}

//! Starting a container's shim, in the daemon.

use crate::container::start_time;
use crate::failure::{OrFail, Result, Stage};
use crate::spec::Plan;
use gantry_linux::{memfd, spawn};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A shim that was started.
#[derive(Debug)]
pub struct Shim {
    /// Its pid in the daemon's pid namespace.
    pub pid: u32,
    /// Readable when it ended.
    pub pidfd: OwnedFd,
}

/// Starts a shim for a container.
///
/// `shim` is its program, a sealed memfd, `seccomp` the compiled filter, and `held` are descriptors
/// that are kept open as long as it lives. It finds `/dev/null` as 0 and 1, this process' standard
/// error as 2, and from 3 on what `gantry_shim_protocol::spawn_fd` names: listener, plan, filter,
/// held ones. Pid and start time are written to `pid_file`. Cheap in a process with many threads
/// and much memory; blocks for the time of an exec.
///
/// `None` if it has ended before it could be looked at, as one does that cannot make its container:
/// where the kernel reaps this process' children nothing is left of it but what its socket says.
pub fn spawn_shim(
    shim: BorrowedFd<'_>,
    listener: OwnedFd,
    plan: &Plan,
    seccomp: &[u8],
    held: Vec<OwnedFd>,
    pid_file: &Path,
) -> Result<Option<Shim>> {
    let start = || -> io::Result<Option<Shim>> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let plan_fd = memfd::sealed("gantry-plan", &crate::spec::encode(plan)?)?;
        let filter = memfd::sealed("gantry-seccomp", seccomp)?;
        let stderr = io::stderr();
        let mut fds =
            vec![null.as_fd(), null.as_fd(), stderr.as_fd(), listener.as_fd(), plan_fd.as_fd(), filter.as_fd()];
        fds.extend(held.iter().map(AsFd::as_fd));
        let args = [CString::new("gantry-shim")?, CString::new(plan.id.as_str())?];
        let pid = spawn::spawn(shim, &args, &fds)?;
        let raw = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            found => found?,
        };
        Ok(write_pid_file(pid_file, pid)?.then_some(Shim { pid, pidfd }))
    };
    let started = start().or_fail(Stage::Setup, || "start the container's shim");
    // From now on they are the shim's alone: its end closes them.
    drop((listener, held));
    started
}

/// Records a process, unless it is gone: then it is false. By rename, so that it is there as a whole or not at all.
pub fn write_pid_file(path: &Path, pid: u32) -> io::Result<bool> {
    let since = match start_time(pid) {
        // `/proc` says the one or the other, as the process ends before its file is opened or after that.
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::SRCH)) => return Ok(false),
        since => since?,
    };
    let new = path.with_extension("pid.new");
    fs::write(&new, format!("{pid} {since}\n"))?;
    fs::rename(&new, path)?;
    Ok(true)
}

/// The shim that a pid file tells of, if it still lives.
pub fn find_shim(pid_file: &Path) -> io::Result<Option<Shim>> {
    let text = match fs::read_to_string(pid_file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let parsed = text.trim().split_once(' ').and_then(|(pid, time)| Some((pid.parse().ok()?, time.parse().ok()?)));
    let (pid, time) = parsed.ok_or(io::ErrorKind::InvalidData)?;
    Ok(crate::container::open_process(pid, time).ok().map(|pidfd| Shim { pid, pidfd }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_process_is_found_again_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("shim.pid");
        assert!(find_shim(&file).unwrap().is_none());
        assert!(write_pid_file(&file, std::process::id()).unwrap());
        assert_eq!(find_shim(&file).unwrap().unwrap().pid, std::process::id());
        fs::write(&file, format!("{} 1\n", std::process::id())).unwrap();
        assert!(find_shim(&file).unwrap().is_none());
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let other = dir.path().join("gone.pid");
        assert!(!write_pid_file(&other, gone.id()).unwrap() && !other.exists());
    }
}

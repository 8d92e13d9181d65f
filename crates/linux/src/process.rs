//! Making, changing and replacing processes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::ptr;

/// `CLONE_INTO_CGROUP`; `libc`'s constant does not fit every target's integer type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A cloned child.
#[derive(Debug)]
pub struct Cloned {
    /// Its pid in the caller's pid namespace.
    pub pid: u32,
    /// Close-on-exec.
    pub pidfd: OwnedFd,
}

/// `clone3` without shared memory: `child` runs in the new process, which exits with its result.
///
/// `namespaces` are `CLONE_NEW*` flags, and `CLONE_PARENT` for a sibling of the caller; with `cgroup` (a directory of the v2 hierarchy) the child is
/// born in it. The caller must be single-threaded: in the child of a multi-threaded process any lock
/// may be held for ever, and `child` may then hang.
pub fn clone_child(namespaces: i32, cgroup: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is plain data for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64 | namespaces as u64;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    // A child of the caller's parent ends with the signal that the caller ends with.
    args.exit_signal = if namespaces & libc::CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has its own copy of the address space, so no reference is
    // shared with the parent; `args` and `pidfd` outlive the call.
    let cloned = check(unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of_val(&args)) });
    let pid = match cloned {
        // Docker's seccomp profile answers so, because it cannot look at clone3's flags.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) && cgroup.is_none() => clone_before_3(args.flags, &mut pidfd)?,
        other => other?,
    };
    if pid == 0 {
        let status = child();
        // SAFETY: ends the process without running the parent's exit handlers a second time.
        unsafe { libc::_exit(status) }
    }
    // SAFETY: the kernel has stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned { pid: pid as u32, pidfd })
}

/// The same by the older call, whose flags end with the signal and which stores the pidfd where
/// other callers get the child's tid.
fn clone_before_3(flags: u64, pidfd: &mut RawFd) -> io::Result<i64> {
    let flags = flags | libc::SIGCHLD as u64;
    let unused = ptr::null_mut::<libc::c_void>();
    // SAFETY: as `clone3` above; a null stack means the copy of the caller's.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, unused, ptr::from_mut(pidfd), unused, unused) })
}

/// `setns` with a pidfd or a namespace's descriptor. Not for mount or user namespaces of
/// multi-threaded processes, which the kernel refuses anyway.
pub fn setns(fd: BorrowedFd<'_>, namespaces: i32) -> io::Result<()> {
    // SAFETY: changes only what the calling process sees; no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), namespaces) }).map(drop)
}

/// Has the calling thread make and reach files as this user and group, and as nobody else than root may: the capabilities
/// over files, which root loses by it, are taken back.
pub fn own_files_as(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; the calls change the calling thread alone, and tell what it was before.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        // They report no failure: asked for nobody, they change nothing and tell what is.
        if libc::syscall(libc::SYS_setfsuid, -1) != i64::from(uid)
            || libc::syscall(libc::SYS_setfsgid, -1) != i64::from(gid)
        {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = sets.permitted;
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// `unshare` of namespaces.
pub fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: as `setns`.
    check(unsafe { libc::syscall(libc::SYS_unshare, namespaces) }).map(drop)
}

/// Every descriptor from `first` on becomes close-on-exec.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: closes nothing now; descriptors stay valid for their owners until the exec.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` on. For a process that goes on without any of its objects
/// that own descriptors: they must not be dropped, or used, afterwards.
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: the caller's promise; a descriptor that is used nevertheless gives EBADF.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Makes `fd` also known as `number` (0 to 2 for a program's stdio), without close-on-exec.
pub fn install_fd(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: `dup2` replaces whatever `number` was; callers do this only for stdio, which
    // std treats as always open and never owns.
    check(i64::from(unsafe { libc::dup2(fd.as_raw_fd(), number) }))?;
    if fd.as_raw_fd() == number {
        // dup2 of a descriptor onto itself keeps its flags.
        // SAFETY: sets a flag on a descriptor that is open.
        check(i64::from(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }))?;
    }
    Ok(())
}

/// Every signal gets its default action and none is blocked, as a new program expects.
pub fn reset_signals() {
    // The C library keeps some real-time signals to itself, but an ignored one is inherited all the
    // same: the system call is asked directly. Four words: handler, flags, restorer, mask.
    let default = [0u64; 4];
    // SAFETY: zero is SIG_DFL with no flags, in the kernel's layout; installing it runs no code.
    // Signals that cannot be changed fail, which is meant to be ignored.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<u64>(), size_of::<u64>());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Blocks every signal for the calling thread; [`wait_signal`] then takes them.
pub fn block_all_signals() {
    // SAFETY: both sets are initialised by `sigfillset` before they are used.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

/// Takes the next pending signal; all must be blocked.
pub fn wait_signal() -> io::Result<i32> {
    // SAFETY: the set is initialised by `sigfillset`; no information is asked for.
    let signal = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigwaitinfo(&raw const all, ptr::null_mut())
    };
    check(i64::from(signal)).map(|s| s as i32)
}

/// `kill(2)`; also for negative pids.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(i64::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// `pidfd_send_signal` with a signal number that may be a real-time one.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill would".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) }).map(drop)
}

/// Reaps any child that ended: its pid and its exit status as a shell tells it (128 + signal).
/// `None` if no child has ended yet; `ECHILD` if there is none.
pub fn reap_any() -> io::Result<Option<(i32, u8)>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if check(i64::from(pid))? == 0 {
        return Ok(None);
    }
    let code = if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
    Ok(Some((pid, code as u8)))
}

/// Shows `line` as the command line of this process, as far as there is room. Writes over the arguments
/// the process was started with, whose place proc(5) tells in fields 48 and 49 of `stat`: moving them
/// elsewhere (`PR_SET_MM`) would take `CAP_SYS_RESOURCE`.
pub fn set_command_line(line: &str) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?.1;
    let mut bounds = after_name.split_ascii_whitespace().skip(45).map(str::parse::<u64>);
    let (Some(Ok(start)), Some(Ok(end))) = (bounds.next(), bounds.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut text: Vec<u8> = line.replace(' ', "\0").into_bytes();
    // The last byte stays zero; otherwise the kernel reads on into the environment.
    text.truncate(room.saturating_sub(1));
    text.resize(room, 0);
    write_own_memory(&text, start)
        .or_else(|_| std::fs::File::options().write(true).open("/proc/self/mem")?.write_all_at(&text, start))
}

/// By the call, since a process that is not dumpable does not own its `/proc` where it has a user namespace.
fn write_own_memory(text: &[u8], start: u64) -> io::Result<()> {
    let own = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    let place = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: text.len() };
    // SAFETY: the kernel reads `text` and writes where it has put this process' arguments, which nobody else uses.
    let written = unsafe { libc::process_vm_writev(libc::getpid(), &raw const own, 1, &raw const place, 1, 0) };
    if check(written as i64)? == text.len() as i64 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// `execve`; returns only the error.
pub fn execve(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both arrays are null-terminated and point to strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Joins a new session keyring with this name, so that the session's keys of the host are out of reach.
pub fn join_session_keyring(name: &CString) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: the name is a C string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) }).map(drop)
}

/// Sets a resource limit of the calling process; `u64::MAX` is unlimited.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = [soft, hard];
    let no_old = ptr::null_mut::<u64>();
    // SAFETY: `prlimit64` reads a `struct rlimit64`, which is two 64-bit numbers.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), no_old) }).map(drop)
}

/// Raises the hard limit of a process, 0 for the caller, if it is below `hard`. The soft limit stays.
pub fn raise_hard_rlimit(pid: u32, resource: u32, hard: u64) -> io::Result<()> {
    let mut limit = [0u64; 2];
    let no_new = ptr::null::<u64>();
    // SAFETY: `prlimit64` fills in a `struct rlimit64`, which is two 64-bit numbers.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, no_new, limit.as_mut_ptr()) })?;
    if limit[1] >= hard {
        return Ok(());
    }
    limit[1] = hard;
    let no_old = ptr::null_mut::<u64>();
    // SAFETY: as above, and now it is read.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, limit.as_ptr(), no_old) }).map(drop)
}

/// Checks whether the calling process' *effective* ids may execute `path`.
pub fn may_execute(path: &CString) -> io::Result<()> {
    // SAFETY: the path is a C string that outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) };
    check(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_clone_runs_and_its_status_is_reaped() {
        let cloned = clone_child(0, None, || 42).unwrap();
        let id = rustix::process::WaitId::PidFd(cloned.pidfd.as_fd());
        let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(42));
    }

    #[test]
    fn the_older_clone_gives_a_pidfd_too() {
        let mut pidfd = -1;
        let pid = clone_before_3(libc::CLONE_PIDFD as u64, &mut pidfd).unwrap();
        if pid == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(43) }
        }
        // SAFETY: the kernel has just stored it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
        let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(43));
    }

    #[test]
    fn exec_of_nothing_is_an_error() {
        let path = CString::new("/nonexistent").unwrap();
        assert_eq!(execve(&path, &[], &[]).raw_os_error(), Some(libc::ENOENT));
        assert_eq!(may_execute(&path).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}

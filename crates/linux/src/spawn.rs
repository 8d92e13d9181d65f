//! Starting a program from a multi-threaded process without copying its page tables.

use crate::process::close_on_exec_from;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// File actions and attributes of one `posix_spawn`.
struct Actions {
    files: libc::posix_spawn_file_actions_t,
    attributes: libc::posix_spawnattr_t,
}

/// `posix_spawn` reports by its return value.
fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

impl Actions {
    fn new() -> io::Result<Self> {
        let mut files = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: both are initialised by their `init` functions, which do not fail on musl and
        // whose results are checked before the values are used.
        unsafe {
            check(libc::posix_spawn_file_actions_init(files.as_mut_ptr()))?;
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            Ok(Self { files: files.assume_init(), attributes: attributes.assume_init() })
        }
    }

    /// A session of its own, every signal at its default and none blocked.
    fn detach(&mut self) -> io::Result<()> {
        const POSIX_SPAWN_SETSID: i32 = 128;
        let flags = POSIX_SPAWN_SETSID | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is filled before each use, and `self.attributes` is initialised.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigdefault(&raw mut self.attributes, set.as_ptr()))?;
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(&raw mut self.attributes, set.as_ptr()))?;
            check(libc::posix_spawnattr_setflags(&raw mut self.attributes, flags as libc::c_short))
        }
    }

    fn dup2(&mut self, from: BorrowedFd<'_>, to: i32) -> io::Result<()> {
        // SAFETY: `self.files` is initialised; only numbers are stored.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.files, from.as_raw_fd(), to) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: both were initialised in `new`, and are destroyed once.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&raw mut self.files);
            libc::posix_spawnattr_destroy(&raw mut self.attributes);
        }
    }
}

/// Executes `program` with `args` and no environment, in a new session, with descriptor `n` being
/// `fds[n]`. All other descriptors become close-on-exec, so nothing else is passed on.
///
/// The kernel suspends only the calling thread, until the exec (`CLONE_VFORK`); the address space is
/// not copied. Returns the pid.
pub fn spawn(program: BorrowedFd<'_>, args: &[CString], fds: &[BorrowedFd<'_>]) -> io::Result<u32> {
    let program = away(program, fds.len())?;
    // Resolved in the child, before the exec closes it.
    let path = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
    spawn_path(&path, args, fds)
}

/// A number may be wanted while it is still somebody's source: first all are moved out of the way.
fn away(fd: BorrowedFd<'_>, wanted: usize) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, wanted as i32)?)
}

/// The same with a program by its path, which may be a script.
pub fn spawn_path(path: &CStr, args: &[CString], fds: &[BorrowedFd<'_>]) -> io::Result<u32> {
    let sources = fds.iter().map(|fd| away(*fd, fds.len())).collect::<io::Result<Vec<OwnedFd>>>()?;
    // This process may itself have inherited descriptors from somebody less careful.
    close_on_exec_from(3)?;
    let mut actions = Actions::new()?;
    actions.detach()?;
    for (number, source) in sources.iter().enumerate() {
        actions.dup2(source.as_fd(), number as i32)?;
    }
    let argv: Vec<*mut libc::c_char> = args.iter().map(|a| a.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect();
    let envp = [ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: path, argv and envp are valid and null-terminated, the actions are initialised, and
    // all outlive the call. posix_spawn does not change the strings.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.files,
            &raw const actions.attributes,
            argv.as_ptr(),
            envp.as_ptr(),
        )
    })?;
    Ok(pid as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn the_program_finds_exactly_its_descriptors() {
        let leaked = rustix::io::fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), 100).unwrap();
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let shell = File::open("/bin/busybox").unwrap();
        // The shell itself uses 10 and reads the directory by the first free one, which is 5.
        let script = "cd /proc/self/fd; for fd in [0-9]; do echo -n $fd; done; echo; echo $PPID >&4; [ ! -e $0 ]";
        let args = ["sh", "-c", script, &leaked.as_raw_fd().to_string()].map(|a| CString::new(a).unwrap());
        let copy = writer.try_clone().unwrap();
        let fds = [null.as_fd(), writer.as_fd(), null.as_fd(), null.as_fd(), copy.as_fd()];
        let pid = spawn(shell.as_fd(), &args, &fds).unwrap();
        drop((writer, copy));
        let mut out = String::new();
        File::from(reader).read_to_string(&mut out).unwrap();
        assert_eq!(out, format!("012345\n{}\n", std::process::id()));
        let pid = rustix::process::Pid::from_raw(pid as i32);
        let end = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
        assert!(end.is_some_and(|(_, status)| status.exit_status() == Some(0)));
    }
}

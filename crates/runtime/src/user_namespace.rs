//! User namespaces that only hold a map of ids, for the daemon: mounts are mapped by one, and making one takes a process
//! with a single thread, which the daemon is not. The shim's program under another name is that process.

use gantry_linux::{process, spawn};
use gantry_model::IdMaps;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The name under which the shim's program is executed for this.
pub const NAME: &str = "gantry-userns";

/// Makes a user namespace with these maps; it lives as long as the descriptor.
pub fn make(shim: BorrowedFd<'_>, ids: &IdMaps) -> io::Result<OwnedFd> {
    let (until, _end) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ready, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let stderr = io::stderr();
    let pid = spawn::spawn(shim, &[CString::new(NAME)?], &[until.as_fd(), tell.as_fd(), stderr.as_fd()])?;
    drop((until, tell));
    let mut word = String::new();
    File::from(ready).read_to_string(&mut word)?;
    if word != "ready" {
        return Err(io::Error::other(if word.is_empty() { "the process that makes it died" } else { &word }));
    }
    // It waits for the end of `until`; until then the pid is its.
    fs::write(format!("/proc/{pid}/uid_map"), ids.uids.text())?;
    fs::write(format!("/proc/{pid}/gid_map"), ids.gids.text())?;
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}

/// That process: says by standard output when it is in its namespace, and ends when standard input does.
pub fn hold() {
    let word = match process::unshare(libc::CLONE_NEWUSER) {
        Ok(()) => "ready".to_owned(),
        Err(e) => format!("unshare: {e}"),
    };
    let _ = rustix::io::write(rustix::stdio::stdout(), word.as_bytes());
    // The end of what it has said is the signal, so nothing may hold it open.
    let _ = rustix::stdio::dup2_stdout(rustix::stdio::stdin());
    let _ = rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut [0; 1][..]));
}

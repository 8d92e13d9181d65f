//! Descriptors that a parent process left open for us under agreed numbers.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::Mutex;

/// Numbers that were given out; a descriptor has one owner.
static TAKEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Takes ownership of the inherited descriptor `number` and marks it close-on-exec. Fails if it is
/// not open or was taken before.
///
/// Only for descriptors above standard error that a protocol with the parent names: nothing else
/// in this process may have opened them, so call this before anything opens files and keeps them.
pub fn take(number: i32) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if taken.contains(&number) {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    // SAFETY: fcntl with an integer argument touches no memory; a closed number is EBADF.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    taken.push(number);
    // SAFETY: it is open (just seen), was inherited and not opened here (this function's contract),
    // and has no other owner (TAKEN).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

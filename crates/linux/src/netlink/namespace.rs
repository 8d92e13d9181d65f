//! Network namespaces of the calling thread. Sockets stay where they were opened, whatever the thread does.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Moves the calling thread into a new network namespace, in which nothing is but a loopback that is down.
pub fn unshare() -> io::Result<()> {
    // SAFETY: no memory is involved; only this thread's view of the network changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves the calling thread into `namespace`.
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is involved; only this thread's view of the network changes.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The calling thread's network namespace, which lives at least as long as the descriptor.
pub fn current() -> io::Result<OwnedFd> {
    File::open("/proc/thread-self/ns/net").map(Into::into)
}

/// The network namespace that a socket belongs to.
pub fn of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SIOCGSKNS: libc::Ioctl = 0x894C as libc::Ioctl;
    // SAFETY: the request has no argument; it answers with a descriptor or -1.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for this process, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs `f` in `namespace`, on a thread that exists for that alone. What it opens stays in that namespace.
pub fn within<T: Send>(namespace: BorrowedFd<'_>, f: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new().spawn_scoped(scope, || enter(namespace).map(|()| f()))?;
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

//! Descriptors as numbers.

use std::io;
use std::os::fd::RawFd;

/// Closes every descriptor from `first` on.
///
/// For a forked child that goes on without its parent's descriptors and ends by `_exit`: the owners
/// of those descriptors are never dropped there, and the child must not use them.
pub fn close_from(first: RawFd) -> io::Result<()> {
    close_range(first as u32, u32::MAX)
}

/// Closes every descriptor from `first` on but those of `kept`, on the same terms.
pub fn close_from_but(first: RawFd, kept: &mut [RawFd]) -> io::Result<()> {
    kept.sort_unstable();
    let mut from = first as u32;
    for fd in kept.iter().map(|fd| *fd as u32).filter(|fd| *fd >= first as u32) {
        if from < fd {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; that nobody uses the descriptors is this module's contract.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::clone_child;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn some_are_kept() {
        let files: Vec<_> = (0..6).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let numbers: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let mut kept = [numbers[4], 2, numbers[1]];
        // The child of a process with threads must not allocate.
        let is_open = |fd: RawFd| {
            // SAFETY: only asked whether it is there.
            rustix::io::fcntl_getfd(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }).is_ok()
        };
        let child = clone_child(0, None, || {
            let closed = close_from_but(3, &mut kept).is_ok() && is_open(2);
            let as_said = numbers.iter().enumerate().all(|(i, fd)| is_open(*fd) == matches!(i, 1 | 4));
            i32::from(!closed || !as_said)
        });
        let status = waitid(WaitId::PidFd(child.unwrap().pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    }
}

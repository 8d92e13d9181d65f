//! Finding out what the kernel has by asking it, for `gantry check`.

use std::io;

use rustix::thread::UnshareFlags;

use crate::netlink::{ACK, Batch, CREATE, EXCL, Protocol, Socket};

/// System calls whose presence can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syscall {
    /// Making processes with a structure of arguments.
    Clone3,
    /// Opening with restrictions on the path's resolution.
    Openat2,
    /// Descriptors of processes.
    PidfdOpen,
    /// Closing a range of descriptors.
    CloseRange,
    /// Mounting by descriptor.
    Fsopen,
    /// Mounts by descriptor.
    OpenTree,
    /// Changing a mount and what is below it.
    MountSetattr,
    /// Filters on system calls.
    Seccomp,
}

/// Whether the kernel has the call. It is made with arguments that it refuses before doing
/// anything, so that only "no such call" says no.
pub fn exists(call: Syscall) -> bool {
    let number = match call {
        Syscall::Clone3 => libc::SYS_clone3,
        Syscall::Openat2 => libc::SYS_openat2,
        Syscall::PidfdOpen => libc::SYS_pidfd_open,
        Syscall::CloseRange => libc::SYS_close_range,
        Syscall::Fsopen => libc::SYS_fsopen,
        Syscall::OpenTree => libc::SYS_open_tree,
        Syscall::MountSetattr => libc::SYS_mount_setattr,
        Syscall::Seccomp => libc::SYS_seccomp,
    };
    // The first argument is, for each of these calls, an invalid pointer, an invalid descriptor, an
    // unknown operation or an inverted range; the null pointers that follow are invalid too.
    // SAFETY: no argument is a pointer that the kernel could write through: all are -1 or null,
    // which it answers with EFAULT, EBADF or EINVAL.
    let result = unsafe { libc::syscall(number, -1_isize, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize) };
    result != -1 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Gives the calling thread a namespace of its own.
///
/// Only namespaces, never `CLONE_FILES`, may be asked for: a thread with descriptors of its own is
/// what makes `unshare` unsafe.
pub fn unshare_thread(namespaces: UnshareFlags) -> io::Result<()> {
    if namespaces.contains(UnshareFlags::FILES) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the descriptor table stays shared (checked above).
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(io::Error::from)
}

/// Makes a link of that kind in the thread's network namespace, which should be a private one.
pub fn link_kind(kind: &str) -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFINFOMSG: [u8; 16] = [0; 16];
    let mut batch = Batch::new();
    batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &IFINFOMSG, |a| {
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, kind);
        });
    });
    transact(Protocol::Route, &mut batch)
}

/// Asks nftables for its generation, which it has as soon as it is there.
pub fn nftables() -> io::Result<()> {
    const NFT_MSG_GETGEN: u16 = 10 << 8 | 16;
    const NFGENMSG: [u8; 4] = [0; 4];
    let mut batch = Batch::new();
    batch.message(NFT_MSG_GETGEN, ACK, &NFGENMSG, |_| ());
    transact(Protocol::Netfilter, &mut batch)
}

fn transact(protocol: Protocol, batch: &mut Batch) -> io::Result<()> {
    Socket::open(protocol)?.transact(batch).map_err(|error| match error.errno() {
        Some(errno) => errno.into(),
        None => io::Error::other(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_calls_exist() {
        assert!(exists(Syscall::PidfdOpen));
        assert!(exists(Syscall::Seccomp));
    }

    #[test]
    fn kinds_are_told_apart() {
        std::thread::spawn(|| {
            if unshare_thread(UnshareFlags::NEWNET).is_ok() {
                link_kind("bridge").expect("bridges are in every kernel that runs these tests");
                assert!(link_kind("no-such-kind").is_err());
            }
        })
        .join()
        .expect("the thread ends");
        assert!(unshare_thread(UnshareFlags::FILES).is_err());
    }
}

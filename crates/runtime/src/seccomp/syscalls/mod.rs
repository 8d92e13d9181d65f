//! System call numbers of the three ABIs of an x86_64 kernel.

mod x86;
mod x86_64;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`, as in `struct seccomp_data`.
pub(super) const AUDIT_X86_64: u32 = 0xc000_003e;
pub(super) const AUDIT_I386: u32 = 0x4000_0003;
/// x32 calls are x86_64 ones with this bit.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Calls whose pointers or structures made x32 give them a number of their own.
#[rustfmt::skip]
const X32_OWN: &[(&str, u32)] = &[
    ("execve", 520), ("execveat", 545), ("get_robust_list", 531), ("getsockopt", 542), ("io_setup", 543),
    ("io_submit", 544), ("ioctl", 514), ("kexec_load", 528), ("move_pages", 533), ("mq_notify", 527), ("preadv", 534),
    ("preadv2", 546), ("process_vm_readv", 539), ("process_vm_writev", 540), ("ptrace", 521), ("pwritev", 535),
    ("pwritev2", 547), ("readv", 515), ("recvfrom", 517), ("recvmmsg", 537), ("recvmsg", 519), ("rt_sigaction", 512),
    ("rt_sigpending", 522), ("rt_sigqueueinfo", 524), ("rt_sigreturn", 513), ("rt_sigtimedwait", 523),
    ("rt_tgsigqueueinfo", 536), ("sendmmsg", 538), ("sendmsg", 518), ("set_robust_list", 530),
    ("setsockopt", 541), ("sigaltstack", 525), ("timer_create", 526), ("vmsplice", 532), ("waitid", 529), ("writev", 516),
];

/// Calls that x32 does not have.
#[rustfmt::skip]
const X32_NONE: &[&str] = &[
    "_sysctl", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms", "get_thread_area", "nfsservctl",
    "query_module", "set_thread_area", "uprobe", "uretprobe", "uselib", "vserver",
];

/// i386's calls through `socketcall(n, …)`.
#[rustfmt::skip]
const SOCKETCALL: &[(&str, u32)] = &[
    ("accept", 5), ("accept4", 18), ("bind", 2), ("connect", 3), ("getpeername", 7), ("getsockname", 6),
    ("getsockopt", 15), ("listen", 4), ("recv", 10), ("recvfrom", 12), ("recvmmsg", 19), ("recvmsg", 17), ("send", 9),
    ("sendmmsg", 20), ("sendmsg", 16), ("sendto", 11), ("setsockopt", 14), ("shutdown", 13), ("socket", 1),
    ("socketpair", 8),
];

/// i386's calls through `ipc(n, …)`.
#[rustfmt::skip]
const IPC: &[(&str, u32)] = &[
    ("msgctl", 14), ("msgget", 13), ("msgrcv", 12), ("msgsnd", 11), ("semctl", 3), ("semget", 2), ("semop", 1),
    ("semtimedop", 4), ("shmat", 21), ("shmctl", 24), ("shmdt", 22), ("shmget", 23),
];

/// An ABI that a filter can speak about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Abi {
    /// Native.
    X86_64,
    /// i386.
    X86,
    /// 32-bit pointers in 64-bit mode.
    X32,
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.binary_search_by_key(&name, |(n, _)| n).ok().map(|at| table[at].1)
}

impl Abi {
    /// The number that `seccomp_data` shows for a call, if the ABI has it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        match self {
            Self::X86_64 => find(x86_64::TABLE, name),
            Self::X86 => find(x86::TABLE, name),
            Self::X32 if X32_NONE.binary_search(&name).is_ok() => None,
            Self::X32 => find(X32_OWN, name).or_else(|| find(x86_64::TABLE, name)).map(|n| n | X32_BIT),
        }
    }

    /// For a call that also goes through a multiplexer: the multiplexer's number and its first argument.
    pub(super) fn multiplexed(self, name: &str) -> Option<(u32, u32)> {
        if self != Self::X86 {
            return None;
        }
        let socket = find(SOCKETCALL, name).and_then(|n| Some((self.number("socketcall")?, n)));
        socket.or_else(|| find(IPC, name).and_then(|n| Some((self.number("ipc")?, n))))
    }

    /// Whether arguments are compared as 32 bits, as libseccomp does.
    pub(super) fn narrow(self) -> bool {
        self != Self::X86_64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_complete() {
        for table in [x86_64::TABLE, x86::TABLE, X32_OWN, SOCKETCALL, IPC] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
        }
        assert!(X32_NONE.is_sorted());
        assert_eq!(X32_OWN.len(), 36, "512 to 547");
        let mut own: Vec<u32> = X32_OWN.iter().map(|(_, n)| *n).collect();
        own.sort_unstable();
        assert_eq!(own, (512..=547).collect::<Vec<_>>());
    }

    #[test]
    fn numbers() {
        assert_eq!(Abi::X86_64.number("openat2"), Some(437));
        assert_eq!(Abi::X86.number("socketcall"), Some(102));
        assert_eq!(Abi::X32.number("execve"), Some(X32_BIT + 520));
        assert_eq!(Abi::X32.number("read"), Some(X32_BIT));
        assert_eq!(Abi::X32.number("uselib"), None);
        assert_eq!(Abi::X86_64.number("no_such_call"), None);
        assert_eq!(Abi::X86.multiplexed("accept"), Some((102, 5)));
        assert_eq!(Abi::X86_64.multiplexed("accept"), None);
    }
}

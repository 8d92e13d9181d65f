//! The filter of the process that carries what comes to published ports: others than the daemon talk to it.
//!
//! It looks at nothing that they send, so this is the second wall. Whoever got behind the first could open sockets, connect
//! them and move bytes between them, which is what the process is for, and end. There is nothing that opens, reads or changes
//! a file, makes or signals a process, executes, or makes memory executable.

use super::{Call, ProfileError, only};
use libc::{AF_INET, AF_INET6, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET};
use std::sync::LazyLock;

/// The bits of an `int` argument: the kernel does not look at the others.
const INT: u64 = 0xffff_ffff;
/// The kind of a socket, without its flags.
const KIND: u64 = 0xf;

const fn call(name: &'static str) -> Call<'static> {
    Call { name, arguments: &[] }
}

const fn when(name: &'static str, arguments: &'static [(u8, u64, u64)]) -> Call<'static> {
    Call { name, arguments }
}

/// Everything that the forwarder, the standard library and the C library below it do in its loop.
const CALLS: [Call<'static>; 44] = [
    call("epoll_create1"),
    call("epoll_ctl"),
    call("epoll_wait"),
    call("epoll_pwait"),
    call("epoll_pwait2"),
    when("socket", &[(0, INT, AF_INET as u64), (1, KIND, SOCK_STREAM as u64), (2, INT, IPPROTO_TCP as u64)]),
    when("socket", &[(0, INT, AF_INET6 as u64), (1, KIND, SOCK_STREAM as u64), (2, INT, IPPROTO_TCP as u64)]),
    when("socket", &[(0, INT, AF_INET as u64), (1, KIND, SOCK_DGRAM as u64), (2, INT, IPPROTO_UDP as u64)]),
    when("socket", &[(0, INT, AF_INET6 as u64), (1, KIND, SOCK_DGRAM as u64), (2, INT, IPPROTO_UDP as u64)]),
    call("accept4"),
    call("connect"),
    call("shutdown"),
    when("setsockopt", &[(1, INT, IPPROTO_TCP as u64), (2, INT, libc::TCP_NODELAY as u64)]),
    when("setsockopt", &[(1, INT, IPPROTO_TCP as u64), (2, INT, libc::TCP_KEEPIDLE as u64)]),
    when("setsockopt", &[(1, INT, IPPROTO_TCP as u64), (2, INT, libc::TCP_KEEPINTVL as u64)]),
    when("setsockopt", &[(1, INT, SOL_SOCKET as u64), (2, INT, libc::SO_KEEPALIVE as u64)]),
    when("setsockopt", &[(1, INT, SOL_SOCKET as u64), (2, INT, libc::SO_LINGER as u64)]),
    when("setsockopt", &[(1, INT, IPPROTO_IPV6 as u64), (2, INT, libc::IPV6_RECVPKTINFO as u64)]),
    when("getsockopt", &[(1, INT, SOL_SOCKET as u64), (2, INT, libc::SO_ERROR as u64)]),
    when("ioctl", &[(1, INT, libc::TIOCOUTQ as u64)]),
    call("pipe2"),
    when("fcntl", &[(1, INT, libc::F_SETPIPE_SZ as u64)]),
    // A debug build asks before it closes.
    when("fcntl", &[(1, INT, libc::F_GETFD as u64)]),
    call("splice"),
    call("recvmsg"),
    call("sendmsg"),
    call("recvfrom"),
    call("sendto"),
    call("read"),
    call("close"),
    // Words to the daemon's log.
    when("poll", &[(1, INT, 1)]),
    when("write", &[(0, INT, 2)]),
    // Time, where the kernel does not give it without a call; keys of hash tables.
    call("clock_gettime"),
    call("getrandom"),
    // Memory, none of it executable.
    call("brk"),
    when("mmap", &[(2, libc::PROT_EXEC as u64, 0), (3, libc::MAP_ANONYMOUS as u64, libc::MAP_ANONYMOUS as u64)]),
    call("mremap"),
    call("munmap"),
    when("madvise", &[(2, INT, libc::MADV_DONTNEED as u64)]),
    when("madvise", &[(2, INT, libc::MADV_FREE as u64)]),
    // After a stop signal.
    call("restart_syscall"),
    call("rt_sigreturn"),
    call("exit"),
    call("exit_group"),
];

/// The filter; it is the same for all.
pub fn carrier() -> Result<&'static [u8], ProfileError> {
    static FILTER: LazyLock<Result<Vec<u8>, ProfileError>> = LazyLock::new(|| only(&CALLS));
    FILTER.as_deref().map_err(Clone::clone)
}

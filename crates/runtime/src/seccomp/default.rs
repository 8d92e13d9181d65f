//! The profile of containers that ask for none: in effect the one of Docker Engine 29.

use super::profile::{Condition, Host, Op, Profile, Rule, ret};
use super::syscalls::Abi;
use crate::capabilities::from_name;

/// Always allowed.
#[rustfmt::skip]
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl
    ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync
    munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv
    preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
    renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto
    set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
    setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
    sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
    unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
";

/// Allowed with a capability.
#[rustfmt::skip]
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("SYS_ADMIN",
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
      lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
      sethostname setns syslog umount umount2 unshare"),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("SYS_RAWIO", "ioperm iopl"),
    ("SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// `AF_UNIX` to `AF_ROSE` (what is 0 cannot be created), and those above without DECnet, ECONET,
/// ATMSVC, IRDA, WANPIPE, ISDN and CAIF, which no kernel has any more, without ALG, whose interface
/// containers have no need for, and without VSOCK, which reaches past network namespaces.
const FAMILIES_BELOW: u64 = 12;
const FAMILIES: &[u64] =
    &[13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];

/// Linux, Linux with an address space laid out as 2.6's, SVr4 binaries' and the query.
const PERSONALITIES: &[u64] = &[0, 0x0008, 0x20000, 0x20008, 0xffff_ffff];

/// `CLONE_NEW*`: namespaces, a user namespace among them, are for who may mount.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

fn rule(names: &str, verdict: u32, conditions: Vec<Condition>) -> Rule {
    let names = names.split_ascii_whitespace().map(str::to_owned).collect();
    Rule { names, verdict, conditions }
}

fn first(op: Op, value: u64) -> Vec<Condition> {
    vec![Condition { index: 0, value, value_two: 0, op }]
}

/// The default profile for a container with these capabilities.
pub(super) fn profile(host: &Host) -> Profile {
    let mut rules = vec![rule(ALLOWED, ret::ALLOW, Vec::new())];
    if host.kernel >= (4, 8) {
        // Before, a tracer could get past a filter.
        rules.push(rule("process_vm_readv process_vm_writev ptrace", ret::ALLOW, Vec::new()));
    }
    rules.push(rule("socket", ret::ALLOW, first(Op::Lt, FAMILIES_BELOW)));
    rules.extend(FAMILIES.iter().map(|family| rule("socket", ret::ALLOW, first(Op::Eq, *family))));
    rules.extend(PERSONALITIES.iter().map(|p| rule("personality", ret::ALLOW, first(Op::Eq, *p))));
    let has = |name: &str| from_name(name).is_some_and(|bit| host.capabilities & bit != 0);
    let granted = BY_CAPABILITY.iter().filter(|(capability, _)| has(capability));
    rules.extend(granted.map(|(_, names)| rule(names, ret::ALLOW, Vec::new())));
    if !has("SYS_ADMIN") {
        rules.push(rule("clone", ret::ALLOW, first(Op::MaskedEq, NEW_NAMESPACES)));
        // Its flags are behind a pointer; a C library that hears "no such call" uses clone instead.
        rules.push(rule("clone3", ret::ERRNO | libc::ENOSYS as u32, Vec::new()));
    }
    let default = ret::ERRNO | libc::EPERM as u32;
    Profile { default, abis: vec![Abi::X86_64, Abi::X86, Abi::X32], rules }
}

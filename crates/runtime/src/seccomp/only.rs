//! Filters of this program's own processes: a few calls, and death for all others.

use super::profile::{Condition, Op, Profile, Rule, ret};
use super::syscalls::Abi;
use super::{ProfileError, encode};

/// A system call that a process may make.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its name.
    pub name: &'a str,
    /// Arguments that must have certain values: their numbers, the bits that count, and what those are.
    pub arguments: &'a [(u8, u64, u64)],
}

/// The filter that lets a process make these calls, of this machine's own ABI, and ends it at any other. A name may come more
/// than once, with other arguments.
pub fn only(calls: &[Call<'_>]) -> Result<Vec<u8>, ProfileError> {
    let condition = |&(index, value, value_two): &_| Condition { index, value, value_two, op: Op::MaskedEq };
    let rule = |call: &Call<'_>| Rule {
        names: vec![call.name.into()],
        verdict: ret::ALLOW,
        conditions: call.arguments.iter().map(condition).collect(),
    };
    if let Some(call) = calls.iter().find(|call| Abi::X86_64.number(call.name).is_none()) {
        return Err(ProfileError(format!("there is no system call {:?}", call.name)));
    }
    let rules = calls.iter().map(rule).collect();
    encode(&Profile { default: ret::KILL_PROCESS, abis: vec![Abi::X86_64], rules })
}

#[cfg(test)]
mod tests {
    use super::{Call, only};
    use gantry_linux::process::clone_child;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;

    /// How a process ends that does this: its exit code, or else the signal.
    fn end(deed: impl FnOnce()) -> (Option<i32>, Option<i32>) {
        let calls = [
            Call { name: "exit_group", arguments: &[] },
            Call { name: "getpid", arguments: &[] },
            Call { name: "fcntl", arguments: &[(0, !0, 2), (1, !0, libc::F_GETFD as u64)] },
            Call { name: "fcntl", arguments: &[(0, !0, 2), (1, !0, libc::F_SETFD as u64)] },
        ];
        let filter = only(&calls).unwrap();
        let child = clone_child(0, None, || {
            rustix::thread::set_no_new_privs(true).unwrap();
            gantry_linux::seccomp::load(&filter).unwrap();
            deed();
            7
        })
        .unwrap();
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        (status.exit_status(), status.terminating_signal())
    }

    #[test]
    fn all_else_ends_the_process() {
        use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
        use rustix::stdio::{stderr, stdout};
        let (lives, dies) = ((Some(7), None), (None, Some(libc::SIGSYS)));
        assert_eq!(end(|| _ = rustix::process::getpid()), lives);
        assert_eq!(end(|| _ = rustix::process::getppid()), dies);
        assert_eq!(end(|| _ = fcntl_getfd(stderr())), lives);
        assert_eq!(end(|| _ = fcntl_setfd(stderr(), FdFlags::empty())), lives);
        assert_eq!(end(|| _ = fcntl_getfd(stdout())), dies);
        assert_eq!(end(|| _ = rustix::fs::fcntl_add_seals(stderr(), rustix::fs::SealFlags::SEAL)), dies);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(only(&[Call { name: "get_rich", arguments: &[] }]).is_err());
    }
}

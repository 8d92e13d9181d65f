//! System calls, namespaces, seccomp.

use gantry_linux::probe::{Syscall, exists};
use rustix::thread::UnshareFlags;

use super::Finding;

/// A call, since when Linux has it, and what its absence means; `true` if nothing works without it.
const CALLS: [(Syscall, &str, &str, bool); 8] = [
    (Syscall::Clone3, "clone3", "containers cannot be born inside their cgroup (Linux 5.7)", true),
    (Syscall::Openat2, "openat2", "paths in images cannot be resolved safely (Linux 5.6)", true),
    (Syscall::PidfdOpen, "pidfd", "processes cannot be named safely (Linux 5.3)", true),
    (Syscall::CloseRange, "close_range", "descriptors could leak into containers (Linux 5.9)", true),
    (Syscall::Fsopen, "fsopen, fsmount", "file systems cannot be mounted by descriptor (Linux 5.2)", true),
    (Syscall::OpenTree, "open_tree, move_mount", "mounts cannot be made by descriptor (Linux 5.2)", true),
    (Syscall::MountSetattr, "mount_setattr", "mounts cannot be made private or read-only (Linux 5.12)", true),
    (Syscall::Seccomp, "seccomp", "containers may use every system call", false),
];

/// Namespaces every container gets.
const NEEDED: [(&str, UnshareFlags); 5] = [
    ("pid", UnshareFlags::NEWPID),
    ("mnt", UnshareFlags::NEWNS),
    ("net", UnshareFlags::NEWNET),
    ("ipc", UnshareFlags::NEWIPC),
    ("uts", UnshareFlags::NEWUTS),
];

pub(super) fn look() -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut findings = vec![Finding::present("Linux", release)];
    findings.extend(CALLS.iter().map(|&(call, name, cost, needed)| match (exists(call), needed) {
        (true, _) => Finding::present(name, ""),
        (false, true) => Finding::fatal(name, cost),
        (false, false) => Finding::absent(name, cost),
    }));
    findings.push(namespaces());
    findings.push(match std::fs::exists("/proc/self/ns/cgroup") {
        Ok(true) => Finding::present("cgroup namespace", ""),
        _ => Finding::absent("cgroup namespace", "containers see the host's cgroup paths"),
    });
    findings.push(user_namespaces());
    findings.push(seccomp_actions());
    findings
}

/// Tried on a thread of its own: a namespace that a thread enters ends with it.
fn namespaces() -> Finding {
    let attempt = std::thread::spawn(|| {
        let mut refused = Vec::new();
        for (name, flag) in NEEDED {
            if let Err(error) = gantry_linux::probe::unshare_thread(flag) {
                refused.push(format!("{name}: {error}"));
            }
        }
        refused
    });
    match attempt.join() {
        Ok(refused) if refused.is_empty() => Finding::present("namespaces", NEEDED.map(|(name, _)| name).join(" ")),
        Ok(refused) => Finding::fatal("namespaces", format!("containers cannot be isolated ({})", refused.join(", "))),
        Err(_) => Finding::fatal("namespaces", "trying them failed"),
    }
}

fn user_namespaces() -> Finding {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    match most.trim().parse::<u64>() {
        Ok(most) if most > 0 => Finding::present("user namespaces", ""),
        _ => Finding::absent("user namespaces", "containers cannot have user ids of their own"),
    }
}

fn seccomp_actions() -> Finding {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if ["errno", "allow"].iter().all(|action| actions.split_whitespace().any(|known| known == *action)) {
        Finding::present("seccomp actions", actions.trim())
    } else {
        Finding::absent("seccomp actions", "containers may use every system call")
    }
}

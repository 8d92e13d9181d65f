//! Who we are: root, and which capabilities.

use super::Finding;

/// Every capability with its number's name and, where containers feel its absence, what is lost.
/// In the kernel's order, so that the index is the bit.
const CAPABILITIES: [(&str, &str); 41] = [
    ("CAP_CHOWN", "files of images cannot get their owners"),
    ("CAP_DAC_OVERRIDE", "images with unreadable files cannot be handled"),
    ("CAP_DAC_READ_SEARCH", ""),
    ("CAP_FOWNER", "files of images cannot get their modes"),
    ("CAP_FSETID", "set-group-id bits of images are lost"),
    ("CAP_KILL", "containers cannot be stopped"),
    ("CAP_SETGID", "containers cannot run as another group"),
    ("CAP_SETUID", "containers cannot run as another user"),
    ("CAP_SETPCAP", "capabilities of containers cannot be limited"),
    ("CAP_LINUX_IMMUTABLE", ""),
    ("CAP_NET_BIND_SERVICE", "ports below 1024 cannot be published"),
    ("CAP_NET_BROADCAST", ""),
    ("CAP_NET_ADMIN", "containers have no network"),
    ("CAP_NET_RAW", "containers cannot ping"),
    ("CAP_IPC_LOCK", ""),
    ("CAP_IPC_OWNER", ""),
    ("CAP_SYS_MODULE", "kernel modules are not loaded when they are needed"),
    ("CAP_SYS_RAWIO", ""),
    ("CAP_SYS_CHROOT", ""),
    ("CAP_SYS_PTRACE", "processes of containers cannot be inspected"),
    ("CAP_SYS_PACCT", ""),
    ("CAP_SYS_ADMIN", "namespaces and mounts are impossible"),
    ("CAP_SYS_BOOT", ""),
    ("CAP_SYS_NICE", "real-time priorities cannot be given"),
    ("CAP_SYS_RESOURCE", "limits (ulimits, negative OomScoreAdj) cannot be raised above the daemon's own"),
    ("CAP_SYS_TIME", ""),
    ("CAP_SYS_TTY_CONFIG", ""),
    ("CAP_MKNOD", "images with device nodes and --device do not work"),
    ("CAP_LEASE", ""),
    ("CAP_AUDIT_WRITE", ""),
    ("CAP_AUDIT_CONTROL", ""),
    ("CAP_SETFCAP", "file capabilities of images are lost"),
    ("CAP_MAC_OVERRIDE", ""),
    ("CAP_MAC_ADMIN", ""),
    ("CAP_SYSLOG", ""),
    ("CAP_WAKE_ALARM", ""),
    ("CAP_BLOCK_SUSPEND", ""),
    ("CAP_AUDIT_READ", ""),
    ("CAP_PERFMON", ""),
    ("CAP_BPF", ""),
    ("CAP_CHECKPOINT_RESTORE", ""),
];

/// Without these no container runs.
const ESSENTIAL: [&str; 6] =
    ["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN", "CAP_DAC_OVERRIDE"];

pub(super) fn look() -> Vec<Finding> {
    let root = rustix::process::geteuid().is_root();
    let mut findings = vec![if root {
        Finding::present("root", "")
    } else {
        Finding::fatal("root", "the daemon must be started by root")
    }];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match effective(&status) {
        Some(mask) => findings.extend(missing(mask)),
        None => findings.push(Finding::fatal("/proc", "the process file system is not mounted")),
    }
    findings
}

/// The effective set in the text of `/proc/self/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(mask: u64) -> Vec<Finding> {
    let absent: Vec<_> = CAPABILITIES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) == 0).collect();
    if absent.is_empty() {
        return vec![Finding::present("capabilities", "all")];
    }
    absent
        .into_iter()
        .map(|(_, &(name, cost))| match cost {
            cost if ESSENTIAL.contains(&name) => Finding::fatal(name, cost),
            "" => Finding::absent(name, "cannot be given to containers (--cap-add, --privileged)"),
            cost => Finding::absent(name, cost),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn names_the_bits_that_are_missing() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(missing(u64::MAX).len(), 1);
        let without_resource = missing(!(1 << 24));
        assert_eq!(without_resource.len(), 1);
        assert_eq!(without_resource[0].what, "CAP_SYS_RESOURCE");
        assert!(matches!(missing(!(1 << 21))[0].verdict, Verdict::Fatal(_)));
    }
}

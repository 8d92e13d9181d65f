//! Capability names and sets.

/// Kernel names in the order of their numbers, without `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability this program knows.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// Docker's default set of fourteen.
pub const DEFAULT: u64 = bit(0)
    | bit(1)
    | bit(3)
    | bit(4)
    | bit(5)
    | bit(6)
    | bit(7)
    | bit(8)
    | bit(10)
    | bit(13)
    | bit(18)
    | bit(27)
    | bit(29)
    | bit(31);

/// `CAP_SYS_ADMIN`.
pub const SYS_ADMIN: u64 = bit(21);

const fn bit(n: u32) -> u64 {
    1 << n
}

/// The bit of a capability by name, with or without `CAP_`, in any case.
pub fn from_name(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|n| *n == short).map(|n| 1 << n)
}

/// The names in a set, as `CAP_CHOWN`.
pub fn names(set: u64) -> Vec<String> {
    NAMES.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// The capabilities that this process can hand to a container: its bounding set.
pub fn available() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let hex = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).map(str::trim).unwrap_or_default();
    u64::from_str_radix(hex, 16).map(|set| set & ALL).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_default_is_the_known_mask() {
        // CapBnd of a container of dockerd 20.10.
        assert_eq!(DEFAULT, 0xa804_25fb);
        assert_eq!(names(DEFAULT).len(), 14);
    }

    #[test]
    fn names_are_found_in_every_spelling() {
        assert_eq!(from_name("CAP_SYS_ADMIN"), Some(SYS_ADMIN));
        assert_eq!(from_name("sys_admin"), Some(SYS_ADMIN));
        assert_eq!(from_name("CHECKPOINT_RESTORE"), Some(1 << 40));
        assert_eq!(from_name("CAP_"), None);
    }
}

//! Facts about the host, as the API words them.

use std::fs;

/// As `uname -r`.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// As `uname -n`.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The architecture in the kernel's words (`x86_64`).
pub(crate) const fn kernel_arch() -> &'static str {
    std::env::consts::ARCH
}

/// The architecture in Go's words (`amd64`), which images use.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `PRETTY_NAME` and `VERSION_ID` of os-release(5).
pub(crate) fn operating_system() -> (String, String) {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let name = os_release_value(&text, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned());
    (name, os_release_value(&text, "VERSION_ID").unwrap_or_default())
}

fn os_release_value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Bytes of memory.
pub(crate) fn memory_total() -> i64 {
    let kilobytes = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<i64>().ok())
    });
    kilobytes.unwrap_or(0) * 1024
}

/// Processors that are online.
pub(crate) fn processors() -> i64 {
    std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1))
}

/// Open descriptors of this process.
pub(crate) fn open_descriptors() -> i64 {
    fs::read_dir("/proc/self/fd").map_or(0, |dir| i64::try_from(dir.count()).unwrap_or(0))
}

/// `net.ipv4.ip_forward` of the daemon's network namespace.
pub(crate) fn ipv4_forwarding() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

/// The name of the file system that holds `path`, as Docker words it.
pub(crate) fn file_system(path: &std::path::Path) -> String {
    /// `f_type` of statfs(2).
    const NAMES: &[(u64, &str)] = &[
        (0xEF53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x794C_7630, "overlayfs"),
        (0x2FC1_2FC1, "zfs"),
        (0xF2F5_2010, "f2fs"),
    ];
    let kind = rustix::fs::statfs(path).map(|s| s.f_type as u64);
    let known = NAMES.iter().find(|(magic, _)| kind == Ok(*magic));
    known.map_or_else(|| "<unknown>".to_owned(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::os_release_value;

    #[test]
    fn quotes_are_optional() {
        let text = "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\n";
        assert_eq!(os_release_value(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(os_release_value(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release_value(text, "NAME").as_deref(), Some("Debian"));
        assert_eq!(os_release_value(text, "VERSION"), None);
    }
}

//! Which hierarchies the host has.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// A mounted v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// `memory`, `cpu`, …, or `name=systemd`.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// The name of its directory in `/sys/fs/cgroup`: the controllers joined by commas.
    pub fn directory_name(&self) -> String {
        self.controllers.iter().map(|c| c.strip_prefix("name=").unwrap_or(c)).collect::<Vec<_>>().join(",")
    }
}

/// The cgroup hierarchies of the host: v1 ones, the v2 one, or both (hybrid).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CgroupRoot {
    /// v1 hierarchies in the order of their mounts.
    pub v1: Vec<Hierarchy>,
    /// The mount point of the v2 hierarchy.
    pub v2: Option<PathBuf>,
}

impl CgroupRoot {
    /// What this process sees mounted.
    pub fn detect() -> io::Result<Self> {
        const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
        let usual = Path::new("/sys/fs/cgroup");
        if rustix::fs::statfs(usual).is_ok_and(|s| s.f_type == CGROUP2_SUPER_MAGIC) {
            return Ok(Self { v1: Vec::new(), v2: Some(usual.to_owned()) });
        }
        Ok(Self::from_mountinfo(&std::fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads the lines of a `mountinfo`; a hierarchy that is mounted twice counts once.
    pub fn from_mountinfo(text: &str) -> Self {
        let mut root = Self::default();
        let mut seen = BTreeSet::new();
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(mount), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            match kind {
                Some("cgroup2") if root.v2.is_none() => root.v2 = Some(unescape(mount)),
                Some("cgroup") => {
                    let controllers = controllers_of(options);
                    if !controllers.is_empty() && seen.insert(controllers.clone()) {
                        root.v1.push(Hierarchy { mount: unescape(mount), controllers });
                    }
                }
                _ => {}
            }
        }
        root
    }

    /// Whether limits are set on v2: there is no v1 hierarchy with a controller.
    pub fn is_unified(&self) -> bool {
        self.v2.is_some() && !self.v1.iter().any(|h| h.controllers.iter().any(|c| !c.starts_with("name=")))
    }
}

/// The controllers among a v1 hierarchy's super block options.
fn controllers_of(options: &str) -> Vec<String> {
    let known = |o: &&str| {
        o.starts_with("name=")
            || !matches!(
                *o,
                "rw" | "ro" | "xattr" | "none" | "noprefix" | "clone_children" | "cpuset_v2_mode" | "favordynmods"
            ) && !o.contains('=')
    };
    options.split(',').filter(known).map(str::to_owned).collect()
}

/// Undoes the octal escapes of `mountinfo`.
fn unescape(field: &str) -> PathBuf {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(code) = code {
            out.push(char::from(code));
        }
        rest = rest.get(at + if code.is_some() { 4 } else { 1 }..).unwrap_or_default();
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory,release_agent=/x
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
50 31 0:33 / /mnt/a\\040b rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn hybrid_hosts_are_read() {
        let root = CgroupRoot::from_mountinfo(HYBRID);
        let names: Vec<_> = root.v1.iter().map(Hierarchy::directory_name).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "systemd"]);
        assert_eq!(root.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert!(!root.is_unified());
    }

    #[test]
    fn v2_with_only_the_systemd_hierarchy_is_unified() {
        let text =
            "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 none rw,nsdelegate\n2 3 0:4 / /c rw - cgroup cgroup rw,name=systemd";
        assert!(CgroupRoot::from_mountinfo(text).is_unified());
        assert_eq!(CgroupRoot::from_mountinfo("garbage\n- \n 1 - cgroup"), CgroupRoot::default());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("/a\\040b\\134\\9"), PathBuf::from("/a b\\9"));
    }
}

//! Which cgroup hierarchies there are, and which limits they can impose.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;

/// A controller, the same controller's name in version 1, and what is lost without it.
const CONTROLLERS: [(&str, &str, &str); 7] = [
    ("memory", "memory", "containers cannot have memory limits"),
    ("cpu", "cpu", "containers cannot have cpu shares and quotas"),
    ("cpuset", "cpuset", "containers cannot be bound to cpus"),
    ("pids", "pids", "containers cannot have a limit on processes"),
    ("io", "blkio", "containers cannot have limits on block devices"),
    ("hugetlb", "hugetlb", "containers cannot have limits on huge pages"),
    ("devices", "devices", "access to devices is limited by capabilities only"),
];

/// What is mounted where.
#[derive(Debug, Default)]
struct Hierarchies {
    unified: Option<PathBuf>,
    /// (controllers, mount point)
    v1: Vec<(BTreeSet<String>, PathBuf)>,
}

pub(super) fn look() -> Vec<Finding> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = hierarchies(&mounts);
    let mut findings = vec![layout(&found)];
    let unified = found.unified.as_deref().map(controllers).unwrap_or_default();
    for (v2, v1, cost) in CONTROLLERS {
        let name = format!("cgroup {v2}");
        let old = found.v1.iter().find(|(controllers, _)| controllers.contains(v1));
        findings.push(match old {
            Some((_, mount)) => Finding::present(name, format!("v1 at {}", mount.display())),
            None if unified.contains(v2) => Finding::present(name, "v2"),
            // On v2, devices are a BPF program on the cgroup and no controller.
            None if v2 == "devices" && found.unified.is_some() && found.v1.is_empty() => {
                Finding::present(name, "v2, by BPF")
            }
            None => Finding::absent(name, cost),
        });
    }
    findings.push(swap(&found, &unified));
    findings.push(io_throttle(&found, &unified));
    findings
}

fn layout(found: &Hierarchies) -> Finding {
    match (&found.unified, found.v1.is_empty()) {
        (Some(_), true) => Finding::present("cgroups", "v2"),
        (Some(_), false) => Finding::present("cgroups", "hybrid: v1 controllers and a v2 hierarchy"),
        (None, false) => Finding::present("cgroups", "v1"),
        (None, true) => Finding::fatal("cgroups", "no cgroup hierarchy is mounted below /sys/fs/cgroup"),
    }
}

fn hierarchies(mountinfo: &str) -> Hierarchies {
    let mut found = Hierarchies::default();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(mount), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        match kind {
            "cgroup2" => found.unified = Some(PathBuf::from(mount)),
            "cgroup" => {
                let options = right.rsplit(' ').next().unwrap_or_default();
                let controllers = options.split(',').filter(|word| *word != "rw" && *word != "ro").map(str::to_owned);
                found.v1.push((controllers.collect(), PathBuf::from(mount)));
            }
            _ => {}
        }
    }
    found
}

fn controllers(unified: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether any cgroup below `root` can have a file of that name: the root cgroup itself has few.
fn offers(root: &Path, file: &str) -> bool {
    root.join(file).exists()
        || fs::read_dir(root).into_iter().flatten().flatten().any(|entry| entry.path().join(file).exists())
}

fn swap(found: &Hierarchies, unified: &BTreeSet<String>) -> Finding {
    let v1 = found.v1.iter().find(|(controllers, _)| controllers.contains("memory"));
    let there = match (v1, &found.unified) {
        (Some((_, mount)), _) => offers(mount, "memory.memsw.limit_in_bytes"),
        (None, Some(root)) => unified.contains("memory") && offers(root, "memory.swap.max"),
        (None, None) => false,
    };
    if there {
        Finding::present("swap accounting", "")
    } else {
        Finding::absent("swap accounting", "--memory-swap has no effect")
    }
}

fn io_throttle(found: &Hierarchies, unified: &BTreeSet<String>) -> Finding {
    let v1 = found.v1.iter().find(|(controllers, _)| controllers.contains("blkio"));
    let there = match (v1, &found.unified) {
        (Some((_, mount)), _) => offers(mount, "blkio.throttle.read_bps_device"),
        (None, Some(root)) => unified.contains("io") && offers(root, "io.max"),
        (None, None) => false,
    };
    if there {
        Finding::present("io throttling", "")
    } else {
        Finding::absent("io throttling", "--device-read-bps and the like have no effect")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hybrid_mounts() {
        let text = "30 24 0:26 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
                    35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let found = hierarchies(text);
        assert_eq!(found.unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(found.v1.len(), 1);
        assert!(found.v1[0].0.contains("cpuacct") && found.v1[0].0.len() == 2);
    }
}
